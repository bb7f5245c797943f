"""The sample as it is declared: days with deletions, synced and reconciled, are in staging."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deployments.connection import load_declarations
from deployments.local.sample.simulate import simulate
from deployments.reconcile_plans import reconcile_plan
from tests.airbyte_engine import open_engine
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import SampleDatabases, generated
from tests.reconciling import Table, open_sides

pytestmark = pytest.mark.thorough


@pytest.fixture
def sample(cluster: Cluster, extension_directory: Path) -> Iterator[SampleDatabases]:
    """A copy of the sample's databases."""
    databases = generated(cluster, extension_directory)[0].copy()
    yield databases
    databases.drop()


def test_staging_has_what_the_sources_have(
    sample: SampleDatabases, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        tables: list[Table] = []
        for declaration in load_declarations():
            database = sample.names[declaration.source]
            engine = stack.enter_context(
                open_engine(cluster, extension_directory, tmp_path / declaration.source, database)
            )
            sides = stack.enter_context(open_sides(engine))
            for stream in reconcile_plan(declaration).streams:
                policy = stream.policy.model_dump() | {"compare": "all"}
                tables.append(Table(sides, engine, stream.name, stream.primary_key, stream.cursor, policy))
        for table in tables:
            table.sync()
        simulate(sample.sources, sample.land, 2, 7, tmp_path / "events.jsonl", deletions=True)
        for table in tables:
            table.sync()
        done = {table.name: table.found() for table in tables}
        assert sum(found.get("deleted", 0) for found in done.values()) > 0
        for table in tables:
            key = ", ".join(table.key)
            assert sorted(table.staged(key)) == sorted(table.origin(key)), table.name
        assert [table.found() for table in tables] == [{}] * len(tables)
