"""A look at what tables there are costs the same, however many the lake has."""

from __future__ import annotations

import time
from collections.abc import Callable

import duckdb
import pytest
from conftest import Cluster

from blocks import outbox, reconciliations
from blocks.ducklake_publisher import DuckLakePublisher
from blocks.sync_log import last_good_syncs
from blocks.warehouse_dialects import DUCKDB, describe
from deployments.data_status import ledger_counts
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.ducklake_tables import prepare_ops
from lambda_csv_loader.session import Session

Look = Callable[[duckdb.DuckDBPyConnection], object]


def loaders_tables(lake: duckdb.DuckDBPyConnection) -> None:
    session = Session(lambda: lake)
    session.run(lambda: prepare_ops(session))


LOOKS: dict[str, Look] = {
    "syncs": last_good_syncs,
    "comparisons": lambda lake: reconciliations.last_comparison(lake, DUCKDB, "crm", "public.t", "t"),
    "a raw table": lambda lake: describe(lake, DUCKDB.name, "raw_crm", "t0"),
    "the loader's own tables": loaders_tables,
    "files": ledger_counts,
    "the outbox": lambda lake: outbox.empty(lake, lambda batch: None),
    "the marts": lambda lake: DuckLakePublisher(lake).restore("no run"),
}


def make_tables(lake: DuckLakeSettings, first: int, last: int) -> None:
    with connect(lake) as database:
        database.execute("create schema if not exists raw_crm")
        for number in range(first, last):
            database.execute(f"create table raw_crm.t{number} as select 1 as id")


def scans(cluster: Cluster, lake: DuckLakeSettings, look: Look) -> int:
    """Return how often tables of the lake's catalog were read for a look, in PostgreSQL's own count."""

    def counted() -> int:
        with cluster.connect(lake.database) as catalog:
            others = "select count(*) from pg_stat_activity where datname = current_database()"
            # A connection's counts are added when it has ended.
            while catalog.execute(others).fetchall() != [(1,)]:
                time.sleep(0.01)
            ((found,),) = catalog.execute(
                "select sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)) from pg_stat_user_tables"
            ).fetchall()
        return int(found)

    before = counted()
    with connect(lake) as database:
        look(database)
    return counted() - before


@pytest.mark.thorough
def test_a_look_at_the_tables_costs_the_same_however_many_there_are(
    cluster: Cluster, lake: DuckLakeSettings
) -> None:
    with connect(lake) as database:
        last_good_syncs(database)
        reconciliations.prepare(database)
        loaders_tables(database)
        DuckLakePublisher(database)
        database.execute(
            "insert into ops.reconciliations (source, stream, compared, read_at, finished_at)"
            " values ('crm', 'public.t', 'key', now(), now())"
        )
    few, many = 2, 22
    make_tables(lake, 0, few)
    costs = {name: scans(cluster, lake, look) for name, look in LOOKS.items()}
    make_tables(lake, few, many)
    dearer = {name: scans(cluster, lake, look) - costs[name] for name, look in LOOKS.items()}
    assert {name: more for name, more in dearer.items() if more >= many - few} == {}
