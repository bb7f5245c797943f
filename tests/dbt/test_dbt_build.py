"""The first build of the sample: green, equal to short SQL on the raw layer, and stable."""

from __future__ import annotations

import pytest
from dbt_stages import PROJECT, DbtProject, Stage

from flows.transform import BUILD

SALES = {
    "catalog": ("raw_erp.catalog_sales", "cs"),
    "web": ("raw_erp.web_sales", "ws"),
}
RAW_NAMES = {
    "quantity": "quantity",
    "wholesale_cost": "wholesale_cost",
    "list_price": "list_price",
    "sales_price": "sales_price",
    "discount_amount": "ext_discount_amt",
    "gross_sales_amount": "ext_sales_price",
    "wholesale_amount": "ext_wholesale_cost",
    "coupon_amount": "coupon_amt",
    "tax_amount": "ext_tax",
    "net_paid_amount": "net_paid",
    "net_profit_amount": "net_profit",
}
SALES_ON_RAW = " union all ".join(
    f"""
    select
        '{channel}' as channel, {p}_order_number as order_number, {p}_item_sk as item_sk,
        {p}_bill_customer_sk as customer_sk, coalesce({p}_warehouse_sk, -1) as warehouse_sk,
        d_date as sold_on, {p}_quantity as quantity, {p}_ext_sales_price as gross, {p}_net_profit as profit
    from {table} left join raw_erp.date_dim on d_date_sk = {p}_sold_date_sk
    """
    for channel, (table, p) in SALES.items()
)
RETURNS_ON_RAW = " union all ".join(
    f"""
    select '{channel}' as channel, d_date as returned_on, {amount} as amount, {p}_net_loss as loss
    from raw_accounting.{channel}_returns left join raw_erp.date_dim on d_date_sk = {p}_returned_date_sk
    """
    for channel, p, amount in (("catalog", "cr", "cr_return_amount"), ("web", "wr", "wr_return_amt"))
)


def test_everything_is_built_and_every_test_passes(first: Stage) -> None:
    kinds = {node.split(".")[0] for node in first.outcome.statuses}
    assert kinds == {"model", "snapshot", "test", "unit_test", "operation", "exposure"}
    assert first.outcome.named("error", "fail", "warn", "skipped", "runtime error") == set()


@pytest.mark.parametrize(
    ("relation", "rows"),
    [
        ("build.dim_customers", 1000 + 1),
        ("build.dim_customers_history", 1000 + 1),
        ("build.dim_items", 180),
        ("build.dim_dates", 73049),
        ("build.dim_promotions", 3 + 1),
        ("build.dim_warehouses", 1 + 1),
        ("build.fct_sales", 14313 + 7212),
        ("build.fct_returns", 1358 + 679),
        ("build.fct_inventory_weekly", 23490),
        ("snapshots.snp_customers", 1000),
        ("snapshots.snp_promotions", 3),
    ],
)
def test_no_row_is_lost_or_added(first: Stage, relation: str, rows: int) -> None:
    assert first.query(f"select count(*) from {relation}") == [(rows,)]


@pytest.mark.parametrize("channel", SALES)
def test_money_of_the_sales_equals_the_raw_layer_to_the_cent(first: Stage, channel: str) -> None:
    table, p = SALES[channel]
    totals = ", ".join(f"sum({column})" for column in RAW_NAMES)
    expected = ", ".join(f"sum({p}_{column})" for column in RAW_NAMES.values())
    assert first.query(
        f"select count(*), {totals} from build.fct_sales where sales_channel = '{channel}'"
    ) == first.query(f"select count(*), {expected} from {table}")


def test_money_is_never_floating_point(first: Stage) -> None:
    floats = first.query(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema in ('staging', 'intermediate', 'build', 'snapshots')"
        " and data_type in ('DOUBLE', 'FLOAT') and table_catalog = 'lake'"
    )
    assert floats == []


def test_sales_keep_their_customer_and_unknown_ones_get_minus_one(first: Stage) -> None:
    differing = first.query(
        f"""
        select count(*) from ({SALES_ON_RAW}) as raw
        full outer join build.fct_sales as mart
            on mart.sales_channel = raw.channel and mart.order_number = raw.order_number
            and mart.item_sk = raw.item_sk
        where coalesce(raw.customer_sk, -1) is distinct from mart.customer_sk
            or raw.warehouse_sk is distinct from mart.warehouse_sk
            or raw.sold_on is distinct from mart.sold_date
        """
    )
    unknown = first.query("select count(*) from build.fct_sales where customer_version_key = '-1'")
    assert differing == [(0,)]
    assert unknown == [(71 + 3,)]


def test_weekly_sales_and_stock_equal_short_sql_on_the_raw_layer(first: Stage) -> None:
    """Weeks by DuckDB's own calendar, a partial week by its own days, stock not summed over time."""
    expected = f"""
        with sold as (
            select warehouse_sk, item_sk, date_trunc('week', sold_on)::date as week,
                sum(coalesce(quantity, 0)) as quantity, sum(coalesce(gross, 0)) as gross
            from ({SALES_ON_RAW}) where sold_on is not null group by all
        ),
        stock as (
            select inv_warehouse_sk as warehouse_sk, inv_item_sk as item_sk,
                date_trunc('week', d_date)::date as week, inv_quantity_on_hand as on_hand
            from raw_files.inventory inner join raw_erp.date_dim on d_date_sk = inv_date_sk
        ),
        days as (
            select date_trunc('week', day)::date as week, count(*) as days
            from (select unnest(generate_series(min(sold_on), max(sold_on), interval 1 day)) as day
                from ({SALES_ON_RAW}))
            group by all
        )
        select warehouse_sk, item_sk, week, coalesce(quantity, 0)::bigint, coalesce(gross, 0)::decimal(38, 2),
            on_hand, coalesce(days, 0) < 7 as is_partial,
            (coalesce(quantity, 0) / nullif(days, 0))::decimal(18, 4) as pace,
            (on_hand / nullif(quantity / days * 7, 0))::decimal(18, 4) as weeks,
            case when on_hand is not null
                then on_hand = 0 or coalesce(on_hand < quantity / days * 7, false) end as is_low
        from sold full outer join stock using (warehouse_sk, item_sk, week) left join days using (week)
    """
    actual = """
        select warehouse_sk, item_sk, week_start_date, quantity_sold, gross_sales_amount, quantity_on_hand,
            is_partial_week, average_daily_quantity, weeks_of_supply, is_low_stock
        from build.fct_weekly_sales_inventory
    """
    rows = first.query(
        "select count(*), count(*) filter (is_low_stock) from build.fct_weekly_sales_inventory"
    )
    assert first.query(f"({expected}) except all ({actual})") == []
    assert first.query(f"({actual}) except all ({expected})") == []
    assert rows[0][0] > 23_490
    assert rows[0][1] > 100


def test_the_executive_mart_equals_short_sql_on_the_raw_layer(first: Stage) -> None:
    expected = f"""
        with lines as (
            select channel, sold_on as day, order_number, customer_sk, gross, profit, 0 as returned, 0 as loss
            from ({SALES_ON_RAW})
            union all
            select channel, returned_on, null, null, 0, 0, amount, loss from ({RETURNS_ON_RAW})
        )
        select day, channel, count(distinct order_number), count(distinct customer_sk),
            sum(coalesce(gross, 0)), sum(coalesce(returned, 0)),
            sum(coalesce(gross, 0)) - sum(coalesce(returned, 0)),
            sum(coalesce(profit, 0)) - sum(coalesce(loss, 0)),
            ((sum(coalesce(profit, 0)) - sum(coalesce(loss, 0)))
                / nullif(sum(coalesce(gross, 0)) - sum(coalesce(returned, 0)), 0))::decimal(18, 4)
        from lines where day is not null group by 1, 2 order by 1, 2
    """
    assert first.query(expected) == first.query("select * from build.mart_executive_daily order by 1, 2")


def test_returns_are_matched_to_their_sale(first: Stage) -> None:
    assert first.query(
        """
        select count(*), count(sales.sale_key), sum(r.return_amount)
        from build.fct_returns as r
        left join build.fct_sales as sales
            on sales.sale_key = r.sale_key and sales.order_number = r.order_number
            and sales.item_sk = r.item_sk and sales.sales_channel = r.sales_channel
        """
    ) == first.query(f"select count(*), count(*), sum(amount) from ({RETURNS_ON_RAW})")


def test_customers_without_address_or_demographics_are_kept(first: Stage) -> None:
    missing = "where customer_sk <> -1 and gender is null"
    assert first.query(f"select count(*) from build.dim_customers {missing}") == first.query(
        "select count(*) from raw_crm.customer where c_current_cdemo_sk is null"
    )


def test_a_build_without_changes_changes_no_row(first: Stage, second: Stage) -> None:
    assert second.contents("build", "snapshots") == first.contents("build", "snapshots")
    assert len(first.contents("build", "snapshots")) >= 13


@pytest.mark.parametrize(
    "table",
    [
        "build.fct_sales",
        "build.fct_inventory_weekly",
        "build.fct_weekly_sales_inventory",
        "snapshots.snp_customers",
    ],
)
def test_a_build_without_changes_writes_no_row_of_what_is_incremental(
    first: Stage, second: Stage, table: str
) -> None:
    assert second.changes(table, since=first) == {}


def test_more_than_one_thread_is_refused_on_a_ducklake(project: DbtProject, second: Stage) -> None:
    stage = project.build("--threads", "2", "--select", "stg_erp__warehouses")
    assert stage.outcome.returncode != 0
    assert "Run it again with --threads 1" in stage.outcome.output
    assert stage.version == second.version


@pytest.mark.thorough
def test_the_snowflake_target_is_parsed_without_an_account_for_a_developer(project: DbtProject) -> None:
    outcome = project.run(
        "parse", "--target", "snowflake", FLOE_DBT_TARGET="snowflake", FLOE_DBT_SCHEMA_PREFIX="ada"
    )
    assert outcome.returncode == 0, outcome.output
    schemas = {
        node["schema"]
        for node in project.manifest("snowflake")["nodes"].values()
        if node["resource_type"] in ("model", "snapshot")
    }
    assert schemas == {"ada_staging", "ada_intermediate", "ada_snapshots", "ada_build"}


def test_transform_builds_no_exposure(project: DbtProject, first: Stage) -> None:
    listed = project.run("ls", *BUILD[1:]).output.splitlines()
    assert "floe.marts.sales.fct_sales" in listed
    assert [line for line in listed if line.startswith("exposure:")] == []


def test_nothing_is_written_into_the_project(first: Stage) -> None:
    assert {path.name for path in PROJECT.iterdir()} == {
        ".sqlfluff",
        ".sqlfluffignore",
        "dbt_project.yml",
        "macros",
        "models",
        "profiles.yml",
        "snapshots",
        "tests",
    }
