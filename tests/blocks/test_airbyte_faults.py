"""What the Airbyte blocks make of every fault of a server: which class, which message, what was sent."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from blocks.airbyte import TRIGGER_TRIES, AirbyteServer
from blocks.airbyte_errors import (
    AirbyteDeadlineExceeded,
    AirbyteNotFound,
    AirbyteRequestRefused,
    AirbyteSyncCancelled,
    AirbyteSyncFailed,
    AirbyteSyncStalled,
    AirbyteUnauthorized,
    AirbyteUnreachable,
)
from blocks.airbyte_sync import CANCEL_TRIES
from blocks.airbyte_watch import JobProgress
from blocks.errors import FloeError, PermanentError, TransientError
from tests.airbyte_script import (
    CANCEL,
    CREATE,
    DETAILS,
    GARBAGE,
    GET,
    LIST,
    PUBLIC,
    RESET,
    SLOW,
    TOKEN,
    block,
    details,
    error,
    job,
    script,
    stats,
)
from tests.scripted_server import Answer, ScriptedServer, scripted

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
        "something else than it should (answer: Input should be a valid dictionary",
    ),
    "an empty object": (
        Answer(body={}),
        AirbyteUnreachable,
        TransientError,
        "something else than it should (jobId: Field required)",
    ),
    "JSON of a proxy": (
        Answer(body={"message": "maintenance"}),
        AirbyteUnreachable,
        TransientError,
        "something else than it should (jobId: Field required)",
    ),
    "a job without a number": (
        Answer(body={**job("running"), "jobId": None}),
        AirbyteUnreachable,
        TransientError,
        "something else than it should (jobId: Input should be a valid integer)",
    ),
}


Impatience = Callable[[ScriptedServer], None]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Impatience:
    """Wait briefly for what a server will not answer and long for what it will, however busy the machine."""
    send = httpx.HTTPTransport.handle_request

    def watch(server: ScriptedServer) -> None:
        def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            call = f"{request.method} {request.url.path}"
            before = server.times(call)
            silent = server.found(call, before + 1) is SLOW
            request.extensions["timeout"]["read"] = 0.2 if silent else 60
            try:
                return send(self, request)
            finally:
                while silent and not server.times(call) > before:
                    time.sleep(0.01)

        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)

    return watch


@pytest.mark.parametrize("fault", FAULTS)
def test_a_trigger_that_cannot_succeed(fault: str, impatient: Impatience) -> None:
    answer, expected, kind, words = FAULTS[fault]
    with scripted(script(create=[answer])) as server, pytest.raises(expected) as raised:
        impatient(server)
        block(server.url).trigger()
    assert isinstance(raised.value, kind)
    assert words in raised.value.what
    # What is permanent is asked once (a 401 once more with a new token), what may pass a few times.
    tries = {PermanentError: 2 if fault == "401" else 1, TransientError: TRIGGER_TRIES}
    assert server.times(CREATE) == tries[kind]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_poll_that_cannot_succeed(fault: str, impatient: Impatience) -> None:
    answer, expected, kind, words = FAULTS[fault]
    with scripted(script(get=[answer])) as server:
        impatient(server)
        sync = block(server.url).trigger()
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
def test_a_passing_fault_costs_nothing_but_time(fault: str, impatient: Impatience) -> None:
    answer = FAULTS[fault][0]
    ok, running = Answer(body=job("succeeded")), Answer(body=job("running"))
    calls = script(
        list_jobs=[answer, Answer(body={"data": []})], get=[answer, answer, running, answer, answer, ok]
    )
    with scripted(calls) as server:
        impatient(server)
        sync = block(server.url).trigger()
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
        (Answer(body={"access_token": None}), AirbyteUnreachable, "the token request without a token"),
        (error(503), AirbyteUnreachable, "the token request with 503"),
    ],
    ids=["401", "404", "no token", "garbage", "null", "503"],
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


def test_a_token_of_unknown_life_is_used() -> None:
    unsaid = Answer(body={"access_token": "t", "token_type": "Bearer", "expires_in": None})
    with scripted(script(token=[unsaid])) as server:
        assert block(server.url).trigger().job_id == 7
    assert server.times(TOKEN) == 1


def test_429_is_waited_for_as_long_as_the_server_says() -> None:
    later = Answer(429, {"detail": "slow down"}, {"retry-after": "0"})
    with scripted(script(create=[later, Answer(body=job("pending"))])) as server:
        # With a pause of its own the client would wait for ten minutes here.
        assert block(server.url, poll_seconds=3000).trigger().job_id == 7


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


@pytest.mark.parametrize(
    "answer",
    [Answer(body={"data": None}), Answer(body={}), Answer(body={"data": [None]}), Answer(body=[])],
    ids=["null", "nothing", "a list of null", "a bare list"],
)
def test_a_list_of_jobs_of_another_shape_is_asked_for_again(answer: Answer) -> None:
    with scripted(script(list_jobs=[answer, answer, Answer(body={"data": []})])) as server:
        assert block(server.url).trigger().job_id == 7
    assert (server.times(LIST), server.times(CREATE)) == (3, 1)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(502, raw="bad gateway"),
        GARBAGE,
        Answer(body={"attempts": [None]}),
        Answer(body={"attempts": [{"attempt": {"streamStats": [{"stats": {}}]}}]}),
        Answer(body=[1]),
    ],
    ids=["502", "garbage", "an attempt that is null", "a stream without a name", "a list"],
)
def test_trouble_with_the_statistics_is_none_of_the_syncs(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    seen = details({"id": 0, "status": "running", "streamStats": [stats("a", 5, 4, 3)]})
    calls = script(
        get=[Answer(body=job("running"))] * 4 + [Answer(body=job("succeeded"))], details=[seen, answer]
    )
    shown: list[JobProgress] = []
    with scripted(calls) as server:
        # Nothing can be said of a stall either while the statistics are old.
        sync = block(server.url, stall_seconds=0.001).trigger()
        sync.wait_for_completion(on_progress=shown.append)
        result = sync.fetch_result()
    assert [len(progress.streams or ()) for progress in shown] == [1] * 5
    assert (result.rows_written, result.bytes, result.complete) == (12, 345, False)
    assert sum("No new statistics per stream" in record.message for record in caplog.records) == 1
    assert server.times(CANCEL) == 0


def test_statistics_that_come_back_at_the_end_are_used() -> None:
    bad, good = error(502), details({"id": 0, "streamStats": [stats("a", 5, 4, 3)]})
    with scripted(script(details=[bad, good])) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
        result = sync.fetch_result()
    assert (result.rows_written, result.complete, len(result.streams)) == (4, True, 1)


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


def test_a_failing_cancel_does_not_hide_why_it_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    with scripted(script(get=[Answer(body=job("running"))], cancel=[error(500)])) as server:
        sync = block(server.url, deadline_seconds=0.1).trigger()
        with pytest.raises(AirbyteDeadlineExceeded):
            sync.wait_for_completion()
    assert server.times(CANCEL) == CANCEL_TRIES
    assert any("Job 7 of crm may still run, cancelling it failed" in r.message for r in caplog.records)


@pytest.mark.parametrize(
    "lost", [error(502), RESET, GARBAGE, Answer(body={})], ids=["502", "reset", "garbage", "{}"]
)
def test_a_cancel_that_is_lost_is_sent_again(lost: Answer) -> None:
    with scripted(script(cancel=[lost, lost, Answer(body=job("cancelled"))])) as server:
        block(server.url).trigger().cancel()
    assert server.times(CANCEL) == 3


def test_bytes_that_were_read_and_not_written_are_not_counted_as_written() -> None:
    emitted = {"recordsEmitted": 9, "bytesEmitted": 900}
    streams = [
        {"streamName": "rolled back", "stats": {**emitted, "recordsCommitted": 0, "bytesCommitted": 0}},
        {"streamName": "not counted", "stats": emitted},
    ]
    with scripted(script(details=[details({"id": 0, "streamStats": streams})])) as server:
        sync = block(server.url).trigger()
        sync.wait_for_completion()
    assert [(s.name, s.bytes) for s in sync.fetch_result().streams] == [
        ("rolled back", 0),
        ("not counted", 900),
    ]


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"token": "made-elsewhere"}, "Bearer made-elsewhere"),
        ({"username": "airbyte", "password": "old"}, "Basic " + base64.b64encode(b"airbyte:old").decode()),
    ],
    ids=["bearer", "basic"],
)
def test_credentials_that_need_no_token_request(credentials: dict[str, Any], expected: str) -> None:
    with scripted(script()) as server:
        connection = block(server.url)
        connection.server = AirbyteServer(server_url=server.url, **credentials)
        sync = connection.trigger()
        sync.wait_for_completion()
    # The SDK's calls and those made without it, POST to the Config API among them.
    assert server.times(DETAILS) == 1
    assert set(server.authorizations) == {expected}
    assert server.times(TOKEN) == 0


def test_airbyte_cloud_has_its_api_elsewhere() -> None:
    cloud = {call.replace(PUBLIC, "/v1"): answers for call, answers in script().items() if call != DETAILS}
    with scripted(cloud) as server:
        connection = block(server.url)
        connection.server = AirbyteServer(
            server_url=server.url, client_id="c", client_secret="s", public_path="/v1", config_path=None
        )
        sync = connection.trigger()
        sync.wait_for_completion()
        assert sync.fetch_result().streams == ()
    assert {call.split(" ")[1].split("/")[1] for call in server.asked} == {"v1"}


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
