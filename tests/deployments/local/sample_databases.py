"""The sample's databases in the test cluster: generated once, copied as often as a test needs them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from deployments.local.sample.generate import Generation, generate
from tests.conftest import Cluster

KEYS = {
    ("crm", "customer"): ("c_customer_sk",),
    ("crm", "customer_address"): ("ca_address_sk",),
    ("erp", "item"): ("i_item_sk",),
    ("erp", "catalog_sales"): ("cs_item_sk", "cs_order_number"),
    ("erp", "web_sales"): ("ws_item_sk", "ws_order_number"),
    ("accounting", "catalog_returns"): ("cr_item_sk", "cr_order_number"),
    ("accounting", "web_returns"): ("wr_item_sk", "wr_order_number"),
}
# What only rare events change, without a change time.
RARELY = {("erp", "promotion"): ("p_promo_sk",)}
SOURCES = ("crm", "erp", "accounting")

_numbers = itertools.count(1)
Tables = dict[tuple[str, str], dict[tuple[int, ...], dict[str, object]]]


@dataclass
class SampleDatabases:
    """Three databases of the test cluster, and the bucket that belongs to them."""

    cluster: Cluster
    names: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def empty(cls, cluster: Cluster) -> SampleDatabases:
        return cls(cluster, {source: cluster.create_database(source) for source in SOURCES})

    def copy(self, *sources: str) -> SampleDatabases:
        """Return a copy of all, or of the given databases; nobody may be connected to the originals."""
        names = {source: f"{self.names[source]}_copy_{next(_numbers)}" for source in sources or SOURCES}
        with self.cluster.connect("postgres") as connection:
            for source, name in names.items():
                connection.execute(f"create database {name} template {self.names[source]}".encode())
        return SampleDatabases(self.cluster, names, dict(self.files))

    def drop(self) -> None:
        """Drop the databases, or else the cluster writes all of them to disk when it stops."""
        with self.cluster.connect("postgres") as connection:
            for name in self.names.values():
                connection.execute(f"drop database {name} with (force)".encode())

    @property
    def sources(self) -> dict[str, str]:
        return {source: self.cluster.dsn(name) for source, name in self.names.items()}

    def land(self, key: str, content: bytes) -> None:
        self.files[key] = content

    @contextmanager
    def connect(self, source: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(
            self.cluster.dsn(self.names[source]), autocommit=True, options="-c TimeZone=UTC"
        ) as connection:
            yield connection

    def value(self, source: str, query: str) -> Any:
        with self.connect(source) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def clock(self, source: str) -> datetime:
        now: datetime = self.value(source, "select now from sample.business_clock")
        return now

    def rows(self) -> Tables:
        """Return every column of every row of the tables that change, as the event log writes values."""
        found: Tables = {}
        for (source, table), key in (KEYS | RARELY).items():
            with self.connect(source) as connection, connection.cursor(row_factory=dict_row) as cursor:
                cursor.execute(f"select * from public.{table}".encode())
                found[source, table] = {
                    tuple(row[column] for column in key): {name: _logged(row[name]) for name in row}
                    for row in cursor
                }
        return found

    def checksums(self) -> dict[str, tuple[int, Decimal]]:
        """Return number of rows and a checksum over all columns of every table, the clock's included."""
        found = {}
        for source in SOURCES:
            with self.connect(source) as connection:
                tables = connection.execute(
                    "select schemaname || '.' || tablename from pg_tables"
                    " where schemaname in ('public', 'sample')"
                ).fetchall()
                for (table,) in tables:
                    row = connection.execute(
                        f"select count(*), sum(hashtextextended(t::text, 0)) from {table} as t".encode()
                    ).fetchone()
                    assert row is not None
                    found[f"{source}.{table}"] = row
        return found


@functools.cache
def generated(cluster: Cluster, extension_directory: Path) -> tuple[SampleDatabases, Generation]:
    """Return the sample at scale 0.01, generated once per test run; tests that write take a copy."""
    databases = SampleDatabases.empty(cluster)
    return databases, generate(databases.sources, 0.01, extension_directory, databases.land)


def _logged(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    if isinstance(value, date):
        return str(value)
    return value
