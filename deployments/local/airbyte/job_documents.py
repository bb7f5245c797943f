"""Jobs as Airbyte shows them: `JobResponse` of the public API, `JobInfoRead` of the Config API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from deployments.local.airbyte.job_spec import AttemptFailure, StreamProgress

Document = dict[str, Any]


def public_job(job: Document, attempts: list[Document]) -> Document:
    """Return a job as `JobResponse` (rows and bytes summed over its attempts)."""
    streams = [stream for attempt in attempts for stream in attempt["streams"]]
    ended = job["status"] in ("succeeded", "failed", "cancelled")
    seconds = max(0, round((job["updated_at"] if ended else _now()) - job["created_at"]))
    return {
        "jobId": job["id"],
        "status": job["status"],
        "jobType": job["type"],
        "startTime": _iso(job["created_at"]),
        "connectionId": job["connection_id"],
        "lastUpdatedAt": _iso(job["updated_at"]),
        "duration": _duration(seconds),
        "bytesSynced": sum(stream.bytes_committed for stream in streams),
        "rowsSynced": sum(stream.committed for stream in streams),
    }


def job_info(job: Document, attempts: list[Document]) -> Document:
    """Return a job as `JobInfoRead`, its attempts without their logs."""
    streams = [stream for attempt in attempts for stream in attempt["streams"]]
    return {
        "job": {
            "id": job["id"],
            "configType": {"sync": "sync", "refresh": "refresh"}.get(job["type"], "reset_connection"),
            "configId": job["connection_id"],
            "createdAt": int(job["created_at"]),
            "updatedAt": int(job["updated_at"]),
            **({"startedAt": int(job["started_at"])} if job["started_at"] else {}),
            "status": job["status"],
            "aggregatedStats": _totals(streams),
            "streamAggregatedStats": _by_stream(streams),
        },
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _attempt(attempt: Document) -> Document:
    streams: list[StreamProgress] = attempt["streams"]
    shown: Document = {
        "id": attempt["number"],
        "status": attempt["status"],
        "createdAt": int(attempt["created_at"]),
        "updatedAt": int(attempt["updated_at"]),
        "bytesSynced": sum(stream.bytes_committed for stream in streams),
        "recordsSynced": sum(stream.committed for stream in streams),
        "totalStats": _totals(streams),
        "streamStats": [
            {"streamName": stream.name, "streamNamespace": stream.namespace, "stats": _stats(stream)}
            for stream in streams
        ],
    }
    if attempt["ended_at"]:
        shown["endedAt"] = int(attempt["ended_at"])
    if attempt["failures"]:
        partial = any(stream.done for stream in streams)
        failures = [_failure(failure, attempt["ended_at"]) for failure in attempt["failures"]]
        shown["failureSummary"] = {"failures": failures, "partialSuccess": partial}
    return {"attempt": shown, "logType": "formatted"}


def _failure(failure: AttemptFailure, when: float) -> Document:
    shown: Document = {
        "failureOrigin": failure.origin,
        "failureType": failure.failure_type,
        "externalMessage": failure.message,
        "internalMessage": failure.internal or failure.message,
        "retryable": failure.failure_type in ("system_error", "transient_error"),
        "timestamp": int(when * 1000),
    }
    if failure.name is not None:
        shown["streamDescriptor"] = {"name": failure.name, "namespace": failure.namespace}
    return shown


def _stats(stream: StreamProgress) -> Document:
    shown = {
        "recordsEmitted": stream.emitted,
        "bytesEmitted": stream.bytes_emitted,
        "recordsCommitted": stream.committed,
        "bytesCommitted": stream.bytes_committed,
    }
    return shown if stream.estimated is None else {**shown, "estimatedRecords": stream.estimated}


def _totals(streams: Iterable[StreamProgress]) -> Document:
    streams = list(streams)
    return {
        "recordsEmitted": sum(stream.emitted for stream in streams),
        "bytesEmitted": sum(stream.bytes_emitted for stream in streams),
        "recordsCommitted": sum(stream.committed for stream in streams),
        "bytesCommitted": sum(stream.bytes_committed for stream in streams),
    }


def _by_stream(streams: list[StreamProgress]) -> list[Document]:
    names = dict.fromkeys((stream.namespace, stream.name) for stream in streams)
    return [
        {
            "streamNamespace": namespace,
            "streamName": name,
            **_totals(stream for stream in streams if (stream.namespace, stream.name) == (namespace, name)),
        }
        for namespace, name in names
    ]


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _iso(when: float) -> str:
    return datetime.fromtimestamp(int(when), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(seconds: int) -> str:
    """Return seconds as an ISO 8601 duration, "PT1H2M3S"."""
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(hours, "H"), (minutes, "M"), (seconds, "S")]
    return "PT" + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0S")
