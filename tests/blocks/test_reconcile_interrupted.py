"""What happens in between: a sync during a comparison, a row that changes before it is looked at again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from blocks.errors import ServiceUnavailable
from blocks.reconcile import Sides
from blocks.repairs import NotRepaired
from tests.airbyte_engine import RAW, Engine, open_engine
from tests.conftest import Cluster
from tests.reconciling import Table, open_sides

pytestmark = pytest.mark.thorough

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("interrupted")) as engine:
        yield engine


@pytest.fixture
def sides(engine: Engine) -> Iterator[Sides]:
    with open_sides(engine) as sides:
        yield sides


@pytest.fixture
def table(engine: Engine, sides: Sides) -> Table:
    """A table with rows 1 to 9, synced once."""
    table = Table(sides, engine, f"t{next(_numbers)}", ["id"], "seen", {"compare": "all"})
    table.execute(f"create table {table.name} (id int primary key, v bigint, seen int)")
    table.execute(f"insert into {table.name} select i, i, i * 10 from generate_series(1, 9) i")
    table.sync()
    return table


@dataclass
class Interrupted:
    """A warehouse in which something happens just before the first statement that begins with a word."""

    database: Any
    word: str
    happens: Callable[[], None]
    happened: bool = False

    def execute(self, query: str, parameters: Any = None, /) -> Any:
        if not self.happened and query.startswith(self.word):
            self.happened = True
            self.happens()
        return self.database.execute(query)

    def fetchall(self) -> list[Any]:
        return list(self.database.fetchall())

    def fetchmany(self, size: int, /) -> list[Any]:
        return list(self.database.fetchmany(size))


def interrupt(table: Table, word: str, *statements: str, sync: bool = False) -> Table:
    """Return the table with these changes of the source, and a sync, just before a statement."""

    def happens() -> None:
        for statement in statements:
            table.execute(statement)
        if sync:
            table.sync()

    return replace(
        table, sides=replace(table.sides, database=Interrupted(table.sides.database, word, happens))
    )


def test_a_sync_that_ends_between_the_two_snapshots_makes_no_false_delete(table: Table) -> None:
    name = table.name
    changed = interrupt(
        table,
        "begin",
        f"insert into {name} values (10, 10, 100), (11, 11, 110)",
        f"update {name} set v = 0, seen = 111 where id = 1",
        sync=True,
    )
    assert changed.found() == {}
    assert table.staged() == table.origin()


def test_a_row_that_changes_before_it_is_looked_at_again_is_the_next_syncs(table: Table) -> None:
    name = table.name
    table.execute(f"delete from {name} where id = 1")
    table.execute(f"update {name} set v = 0 where id = 2")
    changed = interrupt(
        table,
        "with wanted",
        f"insert into {name} values (1, 1, 100)",
        f"update {name} set v = -1, seen = 101 where id = 2",
    )
    assert changed.found() == {"not_yet_due": 2}
    table.sync()
    assert table.staged() == table.origin()


def test_a_sync_that_writes_a_row_while_it_is_repaired_wins(table: Table) -> None:
    name = table.name
    table.execute(f"delete from {name} where id = 1")
    table.execute(f"update {name} set v = 0, seen = 5 where id = 2")
    changed = interrupt(
        table,
        "insert into",
        f"insert into {name} values (1, 100, 100)",
        f"update {name} set v = 200, seen = 200 where id = 2",
        sync=True,
    )
    assert changed.found() == {"stale": 1, "deleted": 1, "repaired": 2}
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_a_change_without_a_newer_cursor_that_is_synced_after_the_repair_wins(table: Table) -> None:
    """Syncs read the rows at the boundary again."""
    table.execute(f"update {table.name} set v = 1000 where id = 9")
    assert table.found() == {"stale": 1, "repaired": 1}
    table.execute(f"update {table.name} set v = 2000 where id = 9")
    table.sync()
    assert table.staged() == table.origin()


def test_a_run_that_dies_while_it_writes_leaves_nothing_half_done(table: Table) -> None:
    table.execute(f"insert into {table.name} values (10, 10, 5)")
    before = table.staged()

    def dies() -> None:
        raise KeyboardInterrupt

    killed = replace(
        table, sides=replace(table.sides, database=Interrupted(table.sides.database, "commit", dies))
    )
    with pytest.raises(KeyboardInterrupt):
        killed.found()
    assert table.staged() == before
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.staged() == table.origin()


def test_a_row_that_the_warehouse_refuses_fails_with_its_key(table: Table) -> None:
    raw = f"{RAW}.{table.name}"
    table.engine.lake.execute(f"alter table {raw} drop column v")
    table.engine.lake.execute(f"alter table {raw} add column v smallint")
    table.policy["compare"] = "key"
    table.execute(f"insert into {table.name} values (10, 1, 5), (11, 99999, 5)")
    with pytest.raises(
        NotRepaired, match=rf"public.{table.name}: rows \(id=10\), \(id=11\) cannot be"
    ) as raised:
        table.reconcile()
    assert "repairs before these are kept" in str(raised.value.state)


def test_a_repair_that_does_not_help_is_not_called_one(table: Table) -> None:
    """As if the warehouse had written another value than it was given."""
    table.execute(f"update {table.name} set v = 0 where id = 2")

    @dataclass
    class Forgetful(Interrupted):
        def execute(self, query: str, parameters: Any = None, /) -> Any:
            return super().execute(query.replace("'0'", "'1'") if query.startswith(self.word) else query)

    database = Forgetful(table.sides.database, "insert into", lambda: None)
    with pytest.raises(NotRepaired, match=r"rows \(id=2\) cannot be repaired: a repair was written"):
        replace(table, sides=replace(table.sides, database=database)).reconcile()


def test_a_lost_source_is_told_as_transient(table: Table, engine: Engine) -> None:
    pid = table.sides.source.info.backend_pid
    engine.source.execute("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(ServiceUnavailable, match=f"the source failed while public.{table.name} was compared"):
        table.reconcile()


def test_flows_can_only_read_the_source(table: Table) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        table.sides.source.execute(f"delete from {table.name}".encode())
