"""Starting a sync: attaching to the one that runs, never starting a second, what refuses."""

from __future__ import annotations

from typing import Any

import pytest

from blocks.airbyte import TRIGGER_TRIES
from blocks.airbyte_errors import (
    AirbyteBusy,
    AirbyteConnectionUnusable,
    AirbyteRequestRefused,
)
from tests.airbyte_script import (
    CREATE,
    GARBAGE,
    RESET,
    block,
    error,
    job,
    script,
)
from tests.scripted_server import Answer, scripted


def test_409_attaches_to_the_running_sync() -> None:
    lists = [Answer(body={"data": []}), Answer(body={"data": [job("running", 7), job("succeeded", 6)]})]
    with scripted(script(create=[error(409)], list_jobs=lists)) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
    assert (sync.job_id, server.times(CREATE)) == (7, 1)


@pytest.mark.parametrize("status", ["pending", "running", "incomplete", "queued", "brand-new"])
def test_a_sync_that_runs_already_is_joined_and_none_started(status: str) -> None:
    with scripted(script(list_jobs=[Answer(body={"data": [job(status)]})])) as server:
        assert block(server.url).trigger().job_id == 7
    assert server.times(CREATE) == 0


@pytest.mark.parametrize(
    "lost", [Answer(502, raw="bad gateway"), RESET, GARBAGE], ids=["502", "reset", "garbage"]
)
def test_a_lost_answer_to_the_trigger_never_starts_a_second_sync(lost: Answer) -> None:
    before = Answer(body={"data": [job("succeeded", 6)]})
    # So short a sync that it has ended before anybody looks again.
    after = Answer(body={"data": [job("succeeded", 7), job("succeeded", 6)]})
    with scripted(script(create=[lost], list_jobs=[before, after])) as server:
        assert block(server.url).trigger().job_id == 7
    assert server.times(CREATE) == 1


def test_another_kind_of_job_is_not_taken_for_a_sync() -> None:
    busy = Answer(body={"data": [job("running", 7, "clear")]})
    with (
        scripted(script(list_jobs=[busy])) as server,
        pytest.raises(AirbyteBusy, match="Connection crm runs a clear"),
    ):
        block(server.url).trigger()
    assert server.times(CREATE) == 0


def test_a_refresh_is_started_though_a_sync_succeeded_and_its_own_is_found_again() -> None:
    lists = [
        Answer(body={"data": [job("succeeded", 6)]}),
        Answer(body={"data": [job("running", 7, "refresh")]}),
    ]
    with scripted(script(list_jobs=lists)) as server:
        assert block(server.url).trigger(after=5, refresh=[]).job_id == 7
        assert server.times(CREATE) == 1
        # The run is tried again, and its refresh is still there.
        assert block(server.url).trigger(after=6, refresh=[]).job_id == 7
        assert server.times(CREATE) == 1


def test_a_refresh_that_is_shown_late_is_not_taken_for_the_job_before_it() -> None:
    before = Answer(body={"data": [job("succeeded", 6, "refresh")]})
    after = Answer(body={"data": [job("running", 7, "refresh"), job("succeeded", 6, "refresh")]})
    with scripted(script(list_jobs=[before, before, before, after])) as server:
        assert block(server.url).trigger(refresh=[]).job_id == 7
        assert server.times(CREATE) == 1


@pytest.mark.parametrize("kind", ["sync", "refresh"])
def test_a_refresh_attaches_neither_to_a_sync_nor_to_somebody_elses_refresh(kind: str) -> None:
    busy = Answer(body={"data": [job("running", 7, kind)]})
    with (
        scripted(script(list_jobs=[busy])) as server,
        pytest.raises(AirbyteBusy, match=f"Connection crm runs a {kind}"),
    ):
        block(server.url).trigger(after=7, refresh=[])
    assert server.times(CREATE) == 0


def test_a_lost_answer_to_a_refresh_never_starts_a_second() -> None:
    before = Answer(body={"data": [job("succeeded", 6)]})
    after = Answer(body={"data": [job("succeeded", 7, "refresh"), job("succeeded", 6)]})
    with scripted(script(create=[Answer(502, raw="bad gateway")], list_jobs=[before, after])) as server:
        assert block(server.url).trigger(refresh=[]).job_id == 7
    assert server.times(CREATE) == 1


def test_409_without_a_job_is_given_up_after_pauses(caplog: pytest.LogCaptureFixture) -> None:
    with scripted(script(create=[error(409)])) as server, pytest.raises(AirbyteBusy, match="crm is busy"):
        block(server.url, poll_seconds=0.5).trigger()
    assert server.times(CREATE) == TRIGGER_TRIES
    pauses = [r.message.rpartition(" in ")[2] for r in caplog.records if "the job that runs" in r.message]
    assert pauses == ["0.1 s", "0.2 s", "0.4 s", "0.8 s"]


def test_a_job_that_is_shown_only_after_the_last_try_is_attached_to() -> None:
    running = Answer(body={"data": [job("running", 7)]})
    lists = [Answer(body={"data": []})] * TRIGGER_TRIES + [running]
    with scripted(script(create=[error(409)], list_jobs=lists)) as server:
        assert block(server.url).trigger().job_id == 7


@pytest.mark.parametrize(
    "answer",
    [
        Answer(422, {"exceptionClassName": "io.airbyte.commons.server.errors.ValueConflictKnownException"}),
        Answer(400, {"message": "A sync is already running for: 6f2d"}),
        Answer(409, {"message": "conflit"}),
    ],
    ids=["by its class", "by its words", "by its status"],
)
def test_whatever_way_a_conflict_is_said_it_attaches(answer: Answer) -> None:
    lists = [Answer(body={"data": []}), Answer(body={"data": [job("running", 7)]})]
    with scripted(script(create=[answer], list_jobs=lists)) as server:
        assert block(server.url).trigger().job_id == 7


def test_a_409_quoted_in_a_message_is_no_conflict() -> None:
    quoted = Answer(422, {"message": "the upstream answered with 409 yesterday"})
    with scripted(script(create=[quoted])) as server, pytest.raises(AirbyteRequestRefused):
        block(server.url).trigger()
    assert server.times(CREATE) == 1


def test_a_connection_in_a_state_nobody_knows_is_said(caplog: pytest.LogCaptureFixture) -> None:
    calls = script(create=[error(409)], connection=[Answer(body={"status": "hibernating"})])
    with scripted(calls) as server, pytest.raises(AirbyteBusy):
        block(server.url).trigger()
    assert any("connection crm is 'hibernating', which is new" in entry.message for entry in caplog.records)


@pytest.mark.parametrize("status", ["inactive", "deprecated", "locked"])
def test_a_connection_that_is_not_active(status: str) -> None:
    calls = script(create=[error(409)], connection=[Answer(body={"status": status})])
    with (
        scripted(calls) as server,
        pytest.raises(AirbyteConnectionUnusable, match=f"Connection crm is {status}"),
    ):
        block(server.url).trigger()


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_an_interrupted_run_finds_its_own_sync_again(status: str) -> None:
    lists = [Answer(body={"data": [job(status, 7), job("succeeded", 6)]})]
    with scripted(script(list_jobs=lists)) as server:
        assert block(server.url).trigger(after=6).job_id == 7
    assert server.times(CREATE) == 0


@pytest.mark.parametrize(
    "jobs",
    [[job("succeeded", 6)], [job("failed", 7), job("succeeded", 6)], [job("succeeded", 7, "clear")]],
    ids=["none since", "it failed", "another kind of job"],
)
def test_an_interrupted_run_without_a_good_sync_starts_one(jobs: list[dict[str, Any]]) -> None:
    started = Answer(body=job("pending", 8))
    with scripted(script(list_jobs=[Answer(body={"data": jobs})], create=[started])) as server:
        assert block(server.url).trigger(after=6).job_id == 8
