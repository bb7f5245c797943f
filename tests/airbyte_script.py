"""A scripted Airbyte: all goes well on it, but for the calls that a test gives other answers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blocks.airbyte import AirbyteConnection, AirbyteServer
from tests.scripted_server import Answer, Script

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
