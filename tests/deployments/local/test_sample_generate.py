from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from blocks.errors import ConfigurationError
from deployments.local.sample.generate import Generation, GenerationInterrupted, generate
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import KEYS, SOURCES, SampleDatabases, generated

SCALE = 0.01
CLOCK_START = datetime(2003, 1, 2, tzinfo=UTC)
ROWS = {
    "crm.income_band": 20,
    "crm.household_demographics": 7200,
    "crm.customer_demographics": 19208,
    "crm.customer_address": 500,
    "crm.customer": 1000,
    "erp.date_dim": 73049,
    "erp.time_dim": 86400,
    "erp.item": 180,
    "erp.warehouse": 1,
    "erp.promotion": 3,
    "erp.catalog_sales": 14313,
    "erp.web_sales": 7212,
    "accounting.reason": 1,
    "accounting.catalog_returns": 1358,
    "accounting.web_returns": 679,
}


@pytest.fixture(scope="module")
def databases(cluster: Cluster, extension_directory: Path) -> SampleDatabases:
    return generated(cluster, extension_directory)[0]


@pytest.fixture(scope="module")
def generation(cluster: Cluster, extension_directory: Path) -> Generation:
    return generated(cluster, extension_directory)[1]


@pytest.fixture(scope="module")
def tpcds(extension_directory: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """What dsdgen gives, to compare with."""
    with duckdb.connect(config={"extension_directory": str(extension_directory)}) as connection:
        connection.execute("load tpcds; load postgres_scanner; set TimeZone = 'UTC'")
        connection.execute("call dsdgen(sf = ?)", [SCALE])
        yield connection


def test_every_table_has_dsdgens_number_of_rows(generation: Generation) -> None:
    assert generation.created
    assert generation.rows == ROWS


@pytest.mark.parametrize("source", SOURCES)
def test_rows_and_types_are_dsdgens(
    source: str, databases: SampleDatabases, tpcds: duckdb.DuckDBPyConnection
) -> None:
    tpcds.execute(f"attach '{databases.sources[source].replace(chr(39), chr(39) * 2)}' as pg (type postgres)")
    try:
        for table in [name.split(".")[1] for name in ROWS if name.startswith(source)]:
            ours = tpcds.execute(f"describe pg.public.{table}").fetchall()
            original = tpcds.execute(f"describe memory.main.{table}").fetchall()
            assert [column[:2] for column in ours if column[0] != "updated_at"] == [
                column[:2] for column in original
            ]
            exclude = "exclude (updated_at)" if (source, table) in KEYS else ""
            different = tpcds.execute(
                f"(select * {exclude} from pg.public.{table} except all from memory.main.{table})"
                f" union all (from memory.main.{table} except all select * {exclude} from pg.public.{table})"
            ).fetchall()
            assert different == [], table
    finally:
        tpcds.execute("detach pg")


def test_weekly_files_hold_dsdgens_inventory(
    databases: SampleDatabases, tpcds: duckdb.DuckDBPyConnection
) -> None:
    lines: list[tuple[int | None, ...]] = []
    for key, content in databases.files.items():
        header, *body = csv.reader(io.StringIO(content.decode("ascii")))
        assert header == ["inv_date_sk", "inv_item_sk", "inv_warehouse_sk", "inv_quantity_on_hand"]
        day = date.fromisoformat(key.removeprefix("landing/inventory/inventory_").removesuffix(".csv"))
        (expected_sk,) = tpcds.execute("select d_date_sk from date_dim where d_date = ?", [day]).fetchall()[0]
        assert {line[0] for line in body} == {str(expected_sk)}
        lines += [tuple(int(value) if value else None for value in line) for line in body]
    assert len(databases.files) == 261
    assert min(databases.files).endswith("inventory_1998-01-01.csv")
    assert lines == tpcds.execute("from inventory order by 1, 2, 3").fetchall()


@pytest.mark.parametrize(("source", "table"), KEYS, ids=[table for _, table in KEYS])
def test_change_times_end_before_the_clock_starts_and_are_hardly_shared(
    source: str, table: str, databases: SampleDatabases
) -> None:
    with databases.connect(source) as connection:
        row = connection.execute(
            f"select max(updated_at), count(*), count(distinct updated_at) from {table}".encode()
        ).fetchone()
        assert row is not None
        last, rows, times = row
        shared = connection.execute(
            f"select count(*) from {table} where updated_at = %s".encode(), [last]
        ).fetchone()
    assert last < CLOCK_START == databases.clock(source)
    assert shared is not None
    assert shared[0] == 1
    assert times > 0.99 * rows


def test_sales_changed_when_they_were_sold(databases: SampleDatabases) -> None:
    other = databases.value(
        "erp",
        "select count(*) from catalog_sales join date_dim on d_date_sk = cs_sold_date_sk"
        " where cs_sold_time_sk is not null and date_trunc('second', updated_at)"
        " <> d_date::timestamptz + make_interval(secs => cs_sold_time_sk)",
    )
    assert other == 0


@pytest.mark.parametrize("source", SOURCES)
def test_primary_keys_stand(source: str, databases: SampleDatabases) -> None:
    with databases.connect(source) as connection:
        keys = dict(
            connection.execute(
                "select conrelid::regclass::text, array_agg(attname::text order by attname)"
                " from pg_constraint join pg_attribute on attrelid = conrelid and attnum = any(conkey)"
                " where contype = 'p' and connamespace = 'public'::regnamespace group by 1"
            ).fetchall()
        )
    assert set(keys) == {name.split(".")[1] for name in ROWS if name.startswith(source)}
    expected = {table: list(key) for (of, table), key in KEYS.items() if of == source}
    assert {table: keys[table] for table in expected} == expected
    assert all(len(key) == 1 for table, key in keys.items() if table not in expected)


@pytest.mark.parametrize(
    ("source", "statement"),
    [
        ("crm", "update customer set c_current_addr_sk = 999999 where c_customer_sk = 1"),
        ("crm", "update customer set c_current_cdemo_sk = 0 where c_customer_sk = 1"),
        ("crm", "delete from income_band where ib_income_band_sk = 1"),
        ("erp", "update catalog_sales set cs_sold_date_sk = 1 where cs_order_number = 1"),
        ("erp", "update web_sales set ws_promo_sk = 99 where ws_order_number = 1"),
        ("erp", "delete from item where i_item_sk in (select cs_item_sk from catalog_sales)"),
        ("accounting", "update web_returns set wr_reason_sk = 99 where wr_order_number = 2"),
    ],
)
def test_foreign_keys_are_enforced_within_a_database(
    source: str, statement: str, databases: SampleDatabases
) -> None:
    with databases.connect(source) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(statement.encode())


def test_a_finished_sample_is_left_alone(databases: SampleDatabases, extension_directory: Path) -> None:
    landed: list[str] = []
    again = generate(databases.sources, SCALE, extension_directory, lambda key, content: landed.append(key))
    assert not again.created
    assert again.rows == ROWS
    assert landed == []


def test_another_scale_is_refused_and_the_way_out_is_named(
    databases: SampleDatabases, extension_directory: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"scale 0\.01, not 0\.05") as refused:
        generate(databases.sources, 0.05, extension_directory, databases.land)
    assert refused.value.next_command is not None
    assert "floe demo --fresh" in refused.value.next_command
    assert databases.value("erp", "select count(*) from catalog_sales") == ROWS["erp.catalog_sales"]


@pytest.mark.parametrize("scale", [0, -1, 0.001, 2, float("nan")])
def test_a_scale_that_cannot_be_made_is_refused(scale: float, extension_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"from 0\.01 to 1"):
        generate({}, scale, extension_directory, lambda key, content: None)


def test_tables_of_somebody_else_are_not_touched(cluster: Cluster, extension_directory: Path) -> None:
    databases = SampleDatabases.empty(cluster)
    with databases.connect("erp") as connection:
        connection.execute("create table item as select 7 as mine")
    with pytest.raises(ConfigurationError, match="erp holds tables that Floe's sample did not make: item"):
        generate(databases.sources, SCALE, extension_directory, databases.land)
    assert databases.value("erp", "select mine from item") == 7


@pytest.mark.thorough
def test_an_interrupted_generation_is_taken_up_and_gives_the_same_rows_times_and_bytes(
    databases: SampleDatabases, cluster: Cluster, extension_directory: Path
) -> None:
    half = SampleDatabases.empty(cluster)

    def land_and_break_erp(key: str, content: bytes) -> None:
        half.land(key, content)
        if len(half.files) == 261:
            with half.connect("erp") as connection:
                connection.execute("insert into sample.business_clock values (now())")

    with pytest.raises(GenerationInterrupted, match=r"scale 0\.01 could not be generated: duplicate key"):
        generate(half.sources, SCALE, extension_directory, land_and_break_erp)
    finished = {source: half.value(source, "select finished from sample.generation") for source in SOURCES}
    assert finished == {"crm": True, "erp": False, "accounting": False}
    half.files.clear()
    assert generate(half.sources, SCALE, extension_directory, half.land).created
    assert half.checksums() == databases.checksums()
    assert half.files == databases.files
    half.drop()


@contextmanager
def rolled_back(databases: SampleDatabases, source: str) -> Iterator[psycopg.Connection]:
    with databases.connect(source) as connection, connection.transaction(force_rollback=True):
        yield connection


def test_a_change_by_hand_gets_a_later_time_than_all_before(databases: SampleDatabases) -> None:
    copy = databases.copy("crm")
    with copy.connect("crm") as connection:
        for number in (1, 2, 3):
            connection.execute("update customer set c_login = 'a' where c_customer_sk = %s", [number])
            latest = connection.execute("select max(updated_at) from customer").fetchone()
            changed = connection.execute(
                "select updated_at from customer where c_customer_sk = %s", [number]
            ).fetchone()
            assert latest == changed == (CLOCK_START + timedelta(seconds=number),)
        connection.execute("insert into customer_address (ca_address_sk, ca_address_id) values (9999, 'x')")
    inserted = copy.value("crm", "select updated_at from customer_address where ca_address_sk = 9999")
    assert inserted == copy.clock("crm") == CLOCK_START + timedelta(seconds=4)
    copy.drop()


def test_rows_of_one_hand_made_transaction_share_its_time(databases: SampleDatabases) -> None:
    with rolled_back(databases, "erp") as connection:
        connection.execute("update item set i_color = 'x' where i_item_sk < 4")
        connection.execute("update item set i_color = 'y' where i_item_sk = 5")
        times = connection.execute(
            "select distinct updated_at from item where i_item_sk in (1, 2, 3, 5)"
        ).fetchall()
    assert times == [(CLOCK_START + timedelta(seconds=1),)]
    assert databases.clock("erp") == CLOCK_START


def test_an_update_that_changes_nothing_keeps_its_time(databases: SampleDatabases) -> None:
    with rolled_back(databases, "crm") as connection:
        before = connection.execute("select * from customer order by 1").fetchall()
        connection.execute("update customer set c_login = c_login, updated_at = '2030-01-01'")
        assert connection.execute("select * from customer order by 1").fetchall() == before


def test_a_transaction_may_set_its_business_time(databases: SampleDatabases) -> None:
    late = datetime(1999, 5, 6, 7, 8, 9, tzinfo=UTC)
    with rolled_back(databases, "erp") as connection:
        connection.execute("select set_config('floe.business_time', %s, true)", [late.isoformat()])
        connection.execute("update item set i_color = 'x' where i_item_sk = 1")
        changed = connection.execute("select updated_at from item where i_item_sk = 1").fetchone()
        clock = connection.execute("select now from sample.business_clock").fetchone()
    assert changed == (late,)
    assert clock == (CLOCK_START,)
