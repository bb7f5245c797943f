"""The flow `backfill` of a dataset: files are really loaded again, by a run of the dataset's deployment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from blocks.backfill import FilesBackfill
from blocks.object_store import LandingBucket
from flows.backfill import backfill
from flows.ingest_csv import ingest_csv
from tests.conftest import Cluster
from tests.file_stack import STOCK, FileStack, handler_environment, new_stack, running_store
from tests.prefect_host import deployment_on, pool_worker

pytestmark = pytest.mark.thorough
DATASET, POOL = "deliveries", "backfill-files"
MONTHS = ("2003-01", "2003-02", "2003-03")
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture
def stack(
    prefect_server: None, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> Iterator[FileStack]:
    """Three months of deliveries, two files each, all loaded; the deployment, and the worker of its pool."""
    with running_store(tmp_path / "store") as store:
        made = new_stack(store, cluster, extension_directory, tmp_path)
        made.contract(DATASET, STOCK)
        with handler_environment(made), get_client(sync_client=True) as client:
            LandingBucket(**made.store.model_dump()).save("landing", overwrite=True)
            for month in MONTHS:
                for name, item in (("a", 1), ("b", 2)):
                    made.put(key(month, name), f"day_id,item,quantity\n{month[-1]},{item},{item}0\n")
            made.drain()
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            deployment = deployment_on(POOL, ingest_csv, DATASET)
            with pool_worker(POOL, 1):
                yield made
            client.delete_deployment(deployment)
            LandingBucket.delete("landing")


def key(month: str, name: str) -> str:
    return f"landing/{DATASET}/{month}_{name}.csv"


def rows(stack: FileStack) -> list[tuple[int, int, int]]:
    found = stack.query(f"select day_id, item, quantity from raw_files.{DATASET} order by all")
    return [(day, item, quantity) for day, item, quantity in found]


def again(month: str, since: date | None = None, until: date | None = None) -> FilesBackfill:
    prefix = f"landing/{DATASET}/{month}"
    return FilesBackfill(dataset=DATASET, prefix=prefix, since=since, until=until, again="everything")


def attempts(stack: FileStack) -> dict[str, int]:
    """Return how often each file was loaded."""
    return dict(stack.query(f"select key, attempts from ops.csv_files where dataset = '{DATASET}'"))


def test_only_the_chosen_files_are_loaded_again_and_each_time_their_rows_are_there_once(
    stack: FileStack,
) -> None:
    loaded = [(month, item, item * 10) for month in (1, 2, 3) for item in (1, 2)]
    assert rows(stack) == loaded
    # What each file has brought is gone: what is loaded again can be seen.
    stack.query(f"delete from raw_files.{DATASET}")

    # Of January no file was uploaded in these days, and March has other names.
    done = backfill(files=[again("2003-01", until=YESTERDAY), again("2003-02", since=YESTERDAY)], build=False)
    assert [part.now for part in done.parts] == ["0 files, 0 of them to load", "2 files, 2 of them to load"]
    assert rows(stack) == [(2, 1, 10), (2, 2, 20)]
    once = {key(month, name): 1 for month in MONTHS for name in ("a", "b")}
    assert attempts(stack) == once | {key("2003-02", name): 2 for name in ("a", "b")}

    backfill(files=[again("2003-02", since=YESTERDAY)], build=False)
    assert rows(stack) == [(2, 1, 10), (2, 2, 20)]
    assert attempts(stack) == once | {key("2003-02", name): 3 for name in ("a", "b")}
