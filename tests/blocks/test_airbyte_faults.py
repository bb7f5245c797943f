"""What the Airbyte blocks make of every fault of a server: which class, which message, what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blocks.airbyte import TRIGGER_TRIES, AirbyteConnection, AirbyteServer
from blocks.airbyte_errors import (
    AirbyteBusy,
    AirbyteConnectionUnusable,
    AirbyteDeadlineExceeded,
    AirbyteNotFound,
    AirbyteRequestRefused,
    AirbyteSyncCancelled,
    AirbyteSyncFailed,
    AirbyteSyncStalled,
    AirbyteUnauthorized,
    AirbyteUnreachable,
)
from blocks.errors import FloeError, PermanentError, TransientError
from tests.scripted_server import Answer, Script, ScriptedServer, scripted

CONNECTION = "6f2d5c9e-0f0e-4f57-9c0b-0d0c1a4e0001"
PUBLIC = "/api/public/v1"
TOKEN, LIST, CREATE = f"POST {PUBLIC}/applications/token", f"GET {PUBLIC}/jobs", f"POST {PUBLIC}/jobs"
GET, CANCEL, DETAILS = f"GET {PUBLIC}/jobs/7", f"DELETE {PUBLIC}/jobs/7", "POST /api/v1/jobs/get_without_logs"


def job(status: str, number: int = 7, kind: str = "sync") -> dict[str, Any]:
    return {
        "jobId": number,
        "status": status,
        "jobType": kind,
        "startTime": "2003-01-02T00:00:00Z",
        "lastUpdatedAt": "2003-01-02T00:01:00Z",
        "connectionId": CONNECTION,
        "rowsSynced": 12,
        "bytesSynced": 345,
    }


def stats(name: str, read: int, written: int, size: int, **more: int) -> dict[str, Any]:
    counts = {"recordsEmitted": read, "recordsCommitted": written, "bytesCommitted": size, **more}
    return {"streamName": name, "streamNamespace": "public", "stats": counts}


def details(*attempts: dict[str, Any]) -> Answer:
    wrapped = [{"attempt": attempt, "logType": "formatted"} for attempt in attempts]
    return Answer(body={"job": {"id": 7}, "attempts": wrapped})


def script(**calls: list[Answer] | Callable[[int], Answer]) -> Script:
    """A server on which all goes well, but for the calls given."""
    usual: dict[str, list[Answer] | Callable[[int], Answer]] = {
        "token": [Answer(body={"access_token": "t", "token_type": "Bearer", "expires_in": 180})],
        "list_jobs": [Answer(body={"data": []})],
        "create": [Answer(body=job("pending"))],
        "get": [Answer(body=job("succeeded"))],
        "cancel": [Answer(body=job("cancelled"))],
        "details": [details()],
        "connection": [Answer(body={"status": "active"})],
    }
    names = {
        "token": TOKEN,
        "list_jobs": LIST,
        "create": CREATE,
        "get": GET,
        "cancel": CANCEL,
        "details": DETAILS,
        "connection": f"GET {PUBLIC}/connections/{CONNECTION}",
    }
    return {names[name]: answers for name, answers in {**usual, **calls}.items()}


def block(url: str, **fields: Any) -> AirbyteConnection:
    server = AirbyteServer(
        server_url=url,
        client_id="client",
        client_secret="hush-hush",
        timeout_seconds=fields.pop("timeout_seconds", 5),
    )
    patience = {"poll_seconds": 0.02, "tolerated_poll_failures": 3, **fields}
    return AirbyteConnection(
        server=server, connection_id=CONNECTION, name="crm", destination_schema="raw_crm", **patience
    )


def error(status: int, words: str = "told why") -> Answer:
    return Answer(status, {"title": "problem", "data": {"message": words}})


SLOW, RESET = Answer(fault="slow"), Answer(fault="reset")
GARBAGE = Answer(raw="<html>Welcome to nginx</html>")
FAULTS: dict[str, tuple[Answer, type[FloeError], type[FloeError], str]] = {
    "401": (error(401), AirbyteUnauthorized, PermanentError, "with 401: told why"),
    "403": (error(403), AirbyteUnauthorized, PermanentError, "with 403: told why"),
    "404": (error(404), AirbyteNotFound, PermanentError, "with 404: told why"),
    "422": (error(422), AirbyteRequestRefused, PermanentError, "with 422: told why"),
    "501": (error(501), AirbyteRequestRefused, PermanentError, "with 501: told why"),
    "429": (error(429), AirbyteUnreachable, TransientError, "with 429: told why"),
    "500": (error(500), AirbyteUnreachable, TransientError, "with 500: told why"),
    "502 of a proxy": (
        Answer(502, raw="bad gateway"),
        AirbyteUnreachable,
        TransientError,
        "with 502: bad gateway",
    ),
    "slow reply": (SLOW, AirbyteUnreachable, TransientError, "did not answer"),
    "connection reset": (RESET, AirbyteUnreachable, TransientError, "cannot be reached"),
    "garbage body": (
        GARBAGE,
        AirbyteUnreachable,
        TransientError,
        "something that is not JSON: '<html>Welcome",
    ),
    "a list for an object": (
        Answer(body=[1]),
        AirbyteUnreachable,
        TransientError,
        "with list, not an object",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_trigger_that_cannot_succeed(fault: str) -> None:
    answer, expected, kind, words = FAULTS[fault]
    with scripted(script(create=[answer])) as server, pytest.raises(expected) as raised:
        block(server.url, timeout_seconds=0.2).trigger()
    assert isinstance(raised.value, kind)
    assert words in raised.value.what
    # What is permanent is asked once (a 401 once more with a new token), what may pass a few times.
    tries = {PermanentError: 2 if fault == "401" else 1, TransientError: TRIGGER_TRIES}
    assert server.times(CREATE) == tries[kind]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_poll_that_cannot_succeed(fault: str) -> None:
    answer, expected, kind, words = FAULTS[fault]
    with scripted(script(get=[answer])) as server:
        sync = block(server.url, timeout_seconds=0.2).trigger()
        with pytest.raises(expected) as raised:
            sync.wait_for_completion()
    assert words in raised.value.what
    tolerated = 4 if kind is TransientError else 2 if fault == "401" else 1
    assert server.times(GET) == tolerated
    # Losing sight of a job is no reason to cancel it.
    assert server.times(CANCEL) == 0
    if kind is TransientError:
        assert "4 times in a row while waiting for job 7 of crm" in raised.value.what
        assert raised.value.state == "job 7 may still run; the next trigger attaches to it"


@pytest.mark.parametrize("fault", [name for name, case in FAULTS.items() if case[2] is TransientError])
def test_a_passing_fault_costs_nothing_but_time(fault: str) -> None:
    answer = FAULTS[fault][0]
    ok, running = Answer(body=job("succeeded")), Answer(body=job("running"))
    calls = script(
        list_jobs=[answer, Answer(body={"data": []})], get=[answer, answer, running, answer, answer, ok]
    )
    with scripted(calls) as server:
        sync = block(server.url, timeout_seconds=0.2).trigger()
        sync.wait_for_completion()
        assert sync.fetch_result().job_id == 7
        assert server.times(CREATE) == 1


def test_a_refused_connection() -> None:
    with scripted({}) as server:
        pass
    with pytest.raises(AirbyteUnreachable, match="cannot be reached for the token request"):
        block(server.url).trigger()


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (error(401), AirbyteUnauthorized, "the token request with 401: told why"),
        (error(404), AirbyteNotFound, "the token request with 404"),
        (Answer(body={"nothing": 1}), AirbyteUnreachable, "answered the token request without a token"),
        (GARBAGE, AirbyteUnreachable, "answered the token request without a token"),
        (error(503), AirbyteUnreachable, "the token request with 503"),
    ],
    ids=["401", "404", "no token", "garbage", "503"],
)
def test_a_token_that_cannot_be_had(answer: Answer, expected: type[FloeError], words: str) -> None:
    with scripted(script(token=[answer])) as server, pytest.raises(expected) as raised:
        block(server.url).trigger()
    assert words in raised.value.what
    assert "hush-hush" not in str(raised.value)


def test_the_token_request_is_json_as_airbyte_wants_it() -> None:
    with scripted(script()) as server:
        block(server.url).trigger()
    sent = json.loads(next(body for call, body in server.bodies if call == TOKEN))
    assert sent == {"client_id": "client", "client_secret": "hush-hush", "grant_type": "client_credentials"}
    assert server.times(TOKEN) == 1


def test_a_token_refused_in_the_middle_of_a_poll_is_renewed_once() -> None:
    running, refused, ok = Answer(body=job("running")), error(401), Answer(body=job("succeeded"))
    with scripted(script(get=[running, refused, running, refused, ok])) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
    assert server.times(TOKEN) == 3


def test_a_token_is_renewed_before_its_end() -> None:
    fresh = [
        Answer(body={"access_token": f"t{i}", "token_type": "Bearer", "expires_in": 0}) for i in range(9)
    ]
    with scripted(script(token=fresh)) as server:
        block(server.url).trigger()
    # At least one for each of the two calls: none is used again after its end.
    assert server.times(TOKEN) >= 2


def test_429_is_waited_for_as_long_as_the_server_says() -> None:
    later = Answer(429, {"detail": "slow down"}, {"retry-after": "0"})
    with scripted(script(create=[later, Answer(body=job("pending"))])) as server:
        # With a pause of its own the client would wait for ten minutes here.
        assert block(server.url, poll_seconds=3000).trigger().job_id == 7


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


def test_409_without_a_job_is_given_up() -> None:
    with scripted(script(create=[error(409)])) as server, pytest.raises(AirbyteBusy, match="crm is busy"):
        block(server.url).trigger()


@pytest.mark.parametrize("status", ["inactive", "deprecated", "locked"])
def test_a_connection_that_is_not_active(status: str) -> None:
    calls = script(create=[error(409)], connection=[Answer(body={"status": status})])
    with (
        scripted(calls) as server,
        pytest.raises(AirbyteConnectionUnusable, match=f"Connection crm is {status}"),
    ):
        block(server.url).trigger()


def test_an_unknown_status_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    answers = [Answer(body=job(status)) for status in ("queued", "hibernating", "hibernating", "succeeded")]
    with scripted(script(get=answers)) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        assert sync.fetch_result().rows_written == 12
    assert [record.message for record in caplog.records if "hibernating" in record.message] == [
        "Airbyte says that job 7 is 'hibernating', which is new; waiting"
    ]


def test_rows_and_bytes_are_summed_over_attempts_and_given_per_stream() -> None:
    calls = script(
        get=[Answer(body=job("incomplete")), Answer(body=job("succeeded"))],
        details=[
            details({"id": 0, "status": "failed", "streamStats": [stats("a", 700, 600, 70)]}),
            details(
                {"id": 0, "status": "failed", "streamStats": [stats("a", 700, 600, 70)]},
                {
                    "id": 1,
                    "streamStats": [stats("a", 300, 100, 10, estimatedRecords=300), stats("b", 5, 0, 0)],
                },
            ),
        ],
    )
    with scripted(calls) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        result = sync.fetch_result()
    assert (result.attempts, result.rows_written, result.bytes) == (2, 700, 80)
    assert [(s.name, s.rows_read, s.rows_written, s.estimated) for s in result.streams] == [
        ("a", 1000, 700, 300),
        ("b", 5, 0, None),
    ]


@pytest.mark.parametrize("answer", [error(404), error(403), error(501)], ids=["404", "403", "501"])
def test_a_server_without_the_config_api_gives_totals_only(answer: Answer) -> None:
    with scripted(
        script(details=[answer], get=[Answer(body=job("running")), Answer(body=job("succeeded"))])
    ) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        result = sync.fetch_result()
    assert (result.rows_written, result.bytes, result.streams) == (12, 345, ())
    assert server.times(DETAILS) == 1


def test_a_failed_job_carries_airbytes_own_words() -> None:
    reasons = [
        {"failureOrigin": "source", "externalMessage": "column v is gone"},
        {"failureOrigin": "destination", "internalMessage": "disk full"},
    ]
    failed = {"id": 0, "status": "failed", "failureSummary": {"failures": reasons}}
    with scripted(script(get=[Answer(body=job("failed"))], details=[details(failed)])) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        with pytest.raises(AirbyteSyncFailed) as raised:
            sync.fetch_result()
    assert raised.value.what == (
        "Sync of crm (job 7) failed: source: column v is gone; destination: disk full"
    )


def test_a_job_cancelled_elsewhere() -> None:
    with scripted(script(get=[Answer(body=job("running")), Answer(body=job("cancelled"))])) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        with pytest.raises(AirbyteSyncCancelled, match=r"Sync of crm \(job 7\) was cancelled"):
            sync.fetch_result()
    assert server.times(CANCEL) == 0


@pytest.mark.parametrize("status", ["running", "pending", "incomplete", "brand-new"])
def test_a_job_that_never_ends_is_cancelled_at_the_deadline(status: str) -> None:
    with scripted(script(get=[Answer(body=job(status))])) as server:
        sync = block(server.url, deadline_seconds=0.3).trigger()
        with pytest.raises(AirbyteDeadlineExceeded, match=f"was still {status} after 0 s"):
            sync.wait_for_completion()
    assert server.times(CANCEL) == 1


def test_a_job_that_moves_nothing_is_cancelled() -> None:
    still = details({"id": 0, "status": "running", "streamStats": [stats("a", 5, 0, 0)]})
    with scripted(script(get=[Answer(body=job("running"))], details=[still])) as server:
        sync = block(server.url, stall_seconds=0.2).trigger()
        with pytest.raises(AirbyteSyncStalled, match="moved no rows or bytes"):
            sync.wait_for_completion()
    assert server.times(CANCEL) == 1


def test_a_slow_job_that_moves_is_let_be() -> None:
    def moving(number: int) -> Answer:
        return details({"id": 0, "status": "running", "streamStats": [stats("a", number, 0, 0)]})

    def ends(number: int) -> Answer:
        return Answer(body=job("running" if number < 30 else "succeeded"))

    with scripted(script(get=ends, details=moving)) as server:
        sync = block(server.url, stall_seconds=1.0).trigger()
        sync.wait_for_completion()
    assert server.times(GET) == 30


def test_a_failing_cancel_does_not_hide_why_it_was_cancelled() -> None:
    with scripted(script(get=[Answer(body=job("running"))], cancel=[error(500)])) as server:
        sync = block(server.url, deadline_seconds=0.1).trigger()
        with pytest.raises(AirbyteDeadlineExceeded):
            sync.wait_for_completion()


@pytest.fixture
def endless() -> Iterator[ScriptedServer]:
    with scripted(script(get=[Answer(body=job("running"))])) as server:
        yield server


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, RuntimeError], ids=lambda kind: kind.__name__)
def test_a_run_that_is_cancelled_or_crashes_takes_its_job_with_it(
    endless: ScriptedServer, end: type[BaseException]
) -> None:
    def stop(_progress: object) -> None:
        raise end

    sync = block(endless.url).trigger()
    with pytest.raises(end):
        sync.wait_for_completion(on_progress=stop)
    assert endless.times(CANCEL) == 1
