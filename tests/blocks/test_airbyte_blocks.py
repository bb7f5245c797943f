"""The Airbyte blocks against the stand-in: real syncs, real tokens, synchronously and asynchronously."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.airbyte import AirbyteConnection, AirbyteServer, AirbyteSync
from blocks.airbyte_errors import AirbyteSyncCancelled, AirbyteSyncFailed
from blocks.airbyte_watch import JobProgress
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.airbyte_service import Replication, StandIn, locked, new_lake_in, replication, running, until
from tests.conftest import Cluster


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte"), "--token-seconds", "1") as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def shop(
    stand_in: StandIn,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Replication:
    """A connection shared by this module's tests: its tables have been synced any number of times."""
    lake = new_lake_in(tmp_path_factory.mktemp("shop"), cluster, extension_directory)
    return replication(stand_in, cluster, lake)


def test_a_sync_tells_its_progress_and_gives_rows_read_and_written_per_stream(
    stand_in: StandIn, cluster: Cluster, lake: DuckLakeSettings
) -> None:
    shop = replication(stand_in, cluster, lake)
    told: list[JobProgress] = []
    with shop.source() as source, locked(source, "second") as waits:
        sync = shop.block().trigger()
        waits()
        told.append(sync.look())
    sync.wait_for_completion(on_progress=told.append)
    streams = {stream.name: stream for stream in told[0].streams or ()}
    assert (told[0].status, told[-1].status) == ("running", "succeeded")
    assert (streams["first"].rows_read, streams["first"].estimated) == (100, 100)
    assert "third" not in streams
    assert counts(sync) == {"first": (100, 100), "second": (100, 100), "third": (100, 100)}

    again = shop.block().trigger()
    again.wait_for_completion()
    boundary = len(range(6, 101, 7))  # rows that share the largest `changed`
    assert counts(again) == {"first": (boundary, 0), "second": (boundary, boundary), "third": (100, 0)}
    result = again.fetch_result()
    assert (result.attempts, result.rows_written) == (1, boundary)
    assert result.started_at <= result.ended_at


def counts(sync: AirbyteSync) -> dict[str, tuple[int, int]]:
    return {stream.name: (stream.rows_read, stream.rows_written) for stream in sync.fetch_result().streams}


def test_a_token_that_expires_in_the_middle_of_a_poll_is_renewed(shop: Replication) -> None:
    with shop.source() as source, locked(source, "second") as waits:
        sync = shop.block().trigger()
        waits()
        first = sync._client._bearer()
        until(lambda: sync.look() and sync._client._bearer() != first, "the token has been renewed")
    sync.wait_for_completion()
    assert sync.fetch_result().attempts == 1


def test_tokens_lost_with_a_restart_of_the_server_are_renewed(shop: Replication) -> None:
    with shop.source() as source, locked(source, "second") as waits:
        sync = shop.block(tolerated_poll_failures=500).trigger()
        waits()
        shop.stand_in.stop()
        shop.stand_in.start()
    sync.wait_for_completion()
    assert sync.fetch_result().attempts == 2


def test_two_triggers_share_one_job(shop: Replication) -> None:
    with shop.source() as source, locked(source, "first") as waits:
        one = shop.block().trigger()
        waits()
        two = shop.block().trigger()
    assert one.job_id == two.job_id
    two.wait_for_completion()
    assert two.fetch_result().attempts == 1


def test_cancel_ends_the_job(shop: Replication) -> None:
    with shop.source() as source, locked(source, "first") as waits:
        sync = shop.block().trigger()
        waits()
        sync.cancel()
        sync.wait_for_completion()
        with pytest.raises(AirbyteSyncCancelled):
            sync.fetch_result()


def test_a_failure_has_the_stand_ins_reason(shop: Replication) -> None:
    with shop.source() as source:
        source.execute("alter table second rename to elsewhere")
        sync = shop.block().trigger()
        sync.wait_for_completion()
        source.execute("alter table elsewhere rename to second")
    with pytest.raises(AirbyteSyncFailed, match=r"source: Stream public\.second: there is no such table"):
        sync.fetch_result()


def test_the_asynchronous_twins_do_the_same(shop: Replication) -> None:
    async def sync_once() -> int:
        sync = await shop.block().atrigger()
        await sync.await_for_completion()
        return (await sync.afetch_result()).attempts

    assert asyncio.run(sync_once()) == 1


def test_a_cancelled_task_takes_its_job_with_it(shop: Replication) -> None:
    async def cancelled() -> int:
        sync = await shop.block().atrigger()
        waiting = asyncio.create_task(sync.await_for_completion())
        await asyncio.to_thread(waits)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return sync.job_id

    with shop.source() as source, locked(source, "first") as waits:
        job_id = asyncio.run(cancelled())
        assert shop.ended(job_id)["status"] == "cancelled"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"client_id": "x"},
        {"client_id": "x", "client_secret": "y", "token": "z"},
        {"username": "x"},
        {"token": "z", "misspelt": 1},
    ],
    ids=["none", "half", "two", "half basic", "misspelt"],
)
def test_a_server_needs_exactly_one_kind_of_credentials(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AirbyteServer(server_url="http://127.0.0.1:1", **fields)


def test_no_secret_is_shown_by_a_block(shop: Replication) -> None:
    block = shop.block()
    shown = repr(block) + str(block.model_dump()) + repr(block.server.get_client()._credentials)
    assert "test-secret-never-shown" not in shown


def test_the_block_types_are_those_of_prefect_airbyte() -> None:
    assert AirbyteServer.get_block_type_name() == "Airbyte Server"
    assert AirbyteConnection.get_block_type_name() == "Airbyte Connection"
