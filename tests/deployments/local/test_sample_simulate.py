from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from deployments.local.sample.event_log import RowChange, read_log
from deployments.local.sample.simulate import simulate
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import KEYS, RARELY, SOURCES, SampleDatabases, Tables, generated
from tests.deployments.local.sample_days import DAYS, FIRST_FILE, SEED, Played, play, three_days


@pytest.fixture(scope="module")
def initial(cluster: Cluster, extension_directory: Path) -> SampleDatabases:
    return generated(cluster, extension_directory)[0]


@pytest.fixture(scope="module")
def played(initial: SampleDatabases, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return three_days(initial, tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="module")
def initial_rows(initial: SampleDatabases) -> Tables:
    return initial.rows()


@pytest.fixture(scope="module")
def with_deletions(initial: SampleDatabases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Two days with another seed, with deletions and rare events."""
    log = tmp_path_factory.mktemp("with_deletions") / "events.jsonl"
    played = play(initial, log, days=2, seed=SEED + 1, all_kinds=True)
    yield played
    played.databases.drop()


def replayed(rows: Tables, log: Path) -> Tables:
    """Replay the log's JSON as anybody would, with nothing of the simulator, and check each `before`."""
    state = {name: {key: dict(row) for key, row in table.items()} for name, table in rows.items()}
    for event in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        if event["operation"] in ("land", "end_of_day"):
            continue
        name = event["source"], event["table"]
        assert tuple(event["key"]) == (KEYS | RARELY)[name]
        key, table = tuple(event["key"].values()), state[name]
        if event["operation"] == "insert":
            assert key not in table
            assert event["before"] is None
            table[key] = event["after"]
        elif event["operation"] == "update":
            assert {column: table[key][column] for column in event["before"]} == event["before"]
            assert event["before"].keys() == event["after"].keys()
            assert all(event["before"][column] != event["after"][column] for column in event["after"])
            table[key].update(event["after"])
        else:
            assert table.pop(key) == event["before"]
            assert event["after"] is None
    return state


def test_replaying_the_log_over_the_initial_rows_gives_the_final_rows(
    played: Played, initial_rows: Tables
) -> None:
    final = played.rows
    assert final != initial_rows
    assert replayed(initial_rows, played.log) == final


def test_replaying_holds_with_deletions_and_rare_events_too(
    with_deletions: Played, initial_rows: Tables
) -> None:
    assert set(with_deletions.summary.kinds) >= {
        "customer_deleted", "sale_line_deleted", "buyer_deleted", "return_after_deletion", "late_change",
        "promotion_change", "new_promotion", "other_promotion",
    }  # fmt: skip
    assert replayed(initial_rows, with_deletions.log) == with_deletions.rows


def deleted(played: Played, kind: str) -> dict[object, datetime]:
    """Return the customers who were deleted by one kind of event, and when."""
    return {change.key["c_customer_sk"]: change.at for change in played.changes if change.kind == kind}


def customers_of(rows: dict[tuple[int, ...], dict[str, object]]) -> set[object]:
    """Return the customers in rows of sales or returns."""
    return {row[column] for row in rows.values() for column in row if column.endswith("_customer_sk")}


def test_of_deleted_customers_only_buyers_bought_or_returned_anything(with_deletions: Played) -> None:
    found: set[object] = set()
    for (_, table), rows in with_deletions.rows.items():
        if table != "customer":
            found |= customers_of(rows)
    assert found.isdisjoint(deleted(with_deletions, "customer_deleted"))
    assert found >= set(deleted(with_deletions, "buyer_deleted"))


def test_what_was_sold_before_a_deletion_comes_back_after_it(with_deletions: Played) -> None:
    gone = deleted(with_deletions, "buyer_deleted")
    returns = [change for change in with_deletions.changes if change.kind == "return_after_deletion"]
    for change in returns:
        assert gone[(change.after or {})[f"{change.table[0]}r_refunded_customer_sk"]] < change.at


def test_a_late_change_began_days_before_what_else_its_day_brings(with_deletions: Played) -> None:
    events = map(json.loads, with_deletions.log.read_text(encoding="utf-8").splitlines())
    late = [event for event in events if event.get("kind") == "late_change"]
    assert {event["table"] for event in late} == {
        "customer", "customer_address", "catalog_sales", "web_sales",
    }  # fmt: skip
    assert all(event["at"][:10] < event["day"] for event in late)


def test_tables_that_do_not_change_stay_as_they_were(played: Played, initial: SampleDatabases) -> None:
    before, after = initial.checksums(), played.databases.checksums()
    changed = {name for name in before if before[name] != after[name]}
    clocks = {f"{source}.sample.{table}" for source in SOURCES for table in ("business_clock", "played_day")}
    assert changed == {f"{source}.public.{table}" for source, table in KEYS} | clocks


def test_every_kind_of_work_is_done_within_three_days(played: Played) -> None:
    assert played.summary.days == DAYS
    assert set(played.summary.kinds) == {
        "new_customer", "move", "address_change", "email_change", "price_change", "price_correction",
        "new_order", "unknown_customer", "late_sale", "return", "correction", "new_week",
    }  # fmt: skip
    assert {change.operation for change in played.changes} == {"insert", "update"}


def test_the_summary_counts_what_the_log_holds(played: Played) -> None:
    tables = [f"{change.source}.{change.table}" for change in played.changes]
    assert played.summary.rows == {table: tables.count(table) for table in sorted(set(tables))}
    assert played.summary.files == (FIRST_FILE,)
    assert played.summary.completed is None


def test_another_seed_gives_other_days(played: Played, with_deletions: Played) -> None:
    assert {change.at for change in played.changes}.isdisjoint(change.at for change in with_deletions.changes)


def test_business_times_increase_and_lie_within_their_day(played: Played) -> None:
    times = [change.at for change in played.changes]
    assert times == sorted(times)
    assert {time.date() for time in times} == set(DAYS)
    assert all(time.hour >= 6 for time in times)
    assert all(played.databases.clock(source) == datetime(2003, 1, 5, tzinfo=UTC) for source in SOURCES)


def test_rows_of_one_transaction_share_their_time_and_no_two_transactions_do(played: Played) -> None:
    shares: dict[datetime, list[RowChange]] = {}
    for change in played.changes:
        shares.setdefault(change.at, []).append(change)
    orders = [rows for rows in shares.values() if rows[0].kind == "new_order"]
    assert any(len(rows) > 1 for rows in orders)
    assert all(
        len({row.key[next(k for k in row.key if "order" in k)] for row in rows}) == 1 for rows in orders
    )
    assert all(len({(row.kind, row.source) for row in rows}) == 1 for rows in shares.values())


def test_who_moves_to_a_new_address_points_to_a_row_that_is_new(played: Played) -> None:
    moves = [change for change in played.changes if change.kind == "move"]
    new = {change.key["ca_address_sk"] for change in moves if change.operation == "insert"}
    pointed = {(change.after or {})["c_current_addr_sk"] for change in moves if change.operation == "update"}
    assert new == pointed
    assert min(new) > 500


def test_an_address_changed_in_place_is_somebodys_home(played: Played) -> None:
    changed = [change.key["ca_address_sk"] for change in played.changes if change.kind == "address_change"]
    with played.databases.connect("crm") as connection:
        for sk in changed:
            inhabitants = connection.execute(
                "select count(*) from customer where c_current_addr_sk = %s", [sk]
            ).fetchone()
            assert inhabitants is not None
            assert inhabitants[0] > 0


def test_a_price_change_closes_the_old_version_where_the_new_one_begins(played: Played) -> None:
    with played.databases.connect("erp") as connection:
        versions = connection.execute(
            "select new.i_current_price <> old.i_current_price, new.i_item_sk > 180"
            " from item as new join item as old on old.i_item_id = new.i_item_id"
            "      and old.i_rec_end_date = new.i_rec_start_date - 1"
            " where new.i_rec_start_date >= '2003-01-02'"
        ).fetchall()
        open_versions = connection.execute(
            "select min(open), max(open) from ("
            "    select count(*) filter (where i_rec_end_date is null) as open from item group by i_item_id"
            ") as counted"
        ).fetchone()
    assert len(versions) == played.summary.kinds["price_change"] / 2
    assert set(versions) == {(True, True)}
    assert open_versions == (1, 1)


def test_late_sales_were_sold_days_before_they_were_entered(played: Played) -> None:
    late = [change for change in played.changes if change.kind == "late_sale"]
    for change in late:
        row = change.after or {}
        sold_sk = row.get("cs_sold_date_sk") or row.get("ws_sold_date_sk")
        assert isinstance(sold_sk, int)
        entered_sk = change.at.date().toordinal() + 1721425
        assert 3 <= entered_sk - sold_sk <= 20


def test_unknown_customers_have_neither_a_payer_nor_a_receiver(played: Played) -> None:
    rows = [change.after or {} for change in played.changes if change.kind == "unknown_customer"]
    columns = ("bill_customer_sk", "bill_addr_sk", "ship_customer_sk", "ship_cdemo_sk")
    for row in rows:
        prefix = next(iter(row))[:2]
        assert [row[f"{prefix}_{column}"] for column in columns] == [None] * 4


def test_known_customers_order_with_what_crm_knows_of_them(played: Played, initial_rows: Tables) -> None:
    customers = initial_rows["crm", "customer"] | played.rows["crm", "customer"]
    for change in played.changes:
        if change.kind == "new_order":
            row = change.after or {}
            prefix = next(iter(row))[:2]
            buyer = row[f"{prefix}_bill_customer_sk"]
            assert isinstance(buyer, int)
            assert (buyer,) in customers


def test_returns_are_of_sales_made_before_and_not_of_more_than_was_sold(played: Played) -> None:
    rows = played.rows
    returns = [change for change in played.changes if change.kind == "return"]
    ages = set()
    for change in returns:
        row = change.after or {}
        back, sales, prefix = (
            ("cr", "catalog_sales", "cs") if change.table[0] == "c" else ("wr", "web_sales", "ws")
        )
        sale = rows["erp", sales][row[f"{back}_item_sk"], row[f"{back}_order_number"]]  # type: ignore[index]
        assert 1 <= row[f"{back}_return_quantity"] <= sale[f"{prefix}_quantity"]  # type: ignore[operator]
        assert str(sale["updated_at"])[:10] <= change.at.date().isoformat()
        ages.add(str(sale["updated_at"])[:4])
    assert len(ages) > 1


SALES_ADD_UP = """
    {p}_ext_sales_price = {p}_quantity * {p}_sales_price
    and {p}_ext_list_price = {p}_quantity * {p}_list_price
    and {p}_ext_wholesale_cost = {p}_quantity * {p}_wholesale_cost
    and {p}_ext_discount_amt = {p}_ext_list_price - {p}_ext_sales_price
    and {p}_net_paid = {p}_ext_sales_price - {p}_coupon_amt
    and {p}_net_paid_inc_tax = {p}_net_paid + {p}_ext_tax
    and {p}_net_paid_inc_ship = {p}_net_paid + {p}_ext_ship_cost
    and {p}_net_paid_inc_ship_tax = {p}_net_paid + {p}_ext_ship_cost + {p}_ext_tax
    and {p}_net_profit = {p}_net_paid - {p}_ext_wholesale_cost
    and {p}_coupon_amt <= {p}_ext_sales_price and {p}_sales_price <= {p}_list_price + 0.01"""
RETURNS_ADD_UP = """
    {p}_return_amt_inc_tax = {amount} + {p}_return_tax
    and {amount} = {p}_refunded_cash + {p}_reversed_charge + {credit}
    and {p}_net_loss = {p}_return_tax + {p}_fee + {p}_return_ship_cost"""


@pytest.mark.parametrize(
    ("source", "table", "rule"),
    [
        ("erp", "catalog_sales", SALES_ADD_UP.format(p="cs")),
        ("erp", "web_sales", SALES_ADD_UP.format(p="ws")),
        ("accounting", "catalog_returns",
         RETURNS_ADD_UP.format(p="cr", amount="cr_return_amount", credit="cr_store_credit")),
        ("accounting", "web_returns",
         RETURNS_ADD_UP.format(p="wr", amount="wr_return_amt", credit="wr_account_credit")),
    ],
    ids=["catalog_sales", "web_sales", "catalog_returns", "web_returns"],
)  # fmt: skip
def test_prices_add_up_to_the_cent(source: str, table: str, rule: str, played: Played) -> None:
    with played.databases.connect(source) as connection:
        added = connection.execute(
            f"select count(*), count(*) filter (where {rule}) from {table}"
            " where updated_at >= '2003-01-02'".encode()
        ).fetchone()
    assert added is not None
    rows, right = added
    assert rows == played.summary.rows[f"{source}.{table}"]
    assert right == rows


def test_the_weekly_file_counts_the_items_in_force(played: Played, initial_rows: Tables) -> None:
    files = [event for event in read_log(played.log) if not isinstance(event, RowChange)]
    content = played.databases.files[FIRST_FILE]
    header, *lines = content.decode("ascii").splitlines()
    assert [(file.key, file.rows, file.sha256) for file in files] == [
        (FIRST_FILE, len(lines), hashlib.sha256(content).hexdigest())
    ]
    assert header == "inv_date_sk,inv_item_sk,inv_warehouse_sk,inv_quantity_on_hand"
    in_force = [sk for (sk,), row in initial_rows["erp", "item"].items() if row["i_rec_end_date"] is None]
    assert [line.split(",")[:3] for line in lines] == [["2452642", str(sk), "1"] for sk in sorted(in_force)]


def test_days_go_on_after_a_change_by_hand_and_the_next_file_comes_on_thursday(
    played: Played, tmp_path: Path
) -> None:
    databases, log = played.databases.copy(), tmp_path / "events.jsonl"
    log.write_bytes(played.log.read_bytes())
    with databases.connect("crm") as connection:
        connection.execute("update sample.business_clock set now = '2003-01-05 11:00:00+00'")
        connection.execute("update customer set c_login = 'by hand' where c_customer_sk = 1")
    by_hand = databases.value("crm", "select updated_at from customer where c_customer_sk = 1")
    summary = simulate(databases.sources, databases.land, 5, SEED, log)
    assert (summary.days[0], summary.days[-1]) == (date(2003, 1, 5), date(2003, 1, 9))
    assert summary.files == ("landing/inventory/inventory_2003-01-09.csv",)
    assert by_hand == datetime(2003, 1, 5, 11, 0, 1, tzinfo=UTC)
    assert min(event.at for event in read_log(log) if event.at.date() == by_hand.date()) >= by_hand
    databases.drop()
