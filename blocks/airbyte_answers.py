"""The shapes of Airbyte's answers, as far as Floe reads them, and what its refusals mean.

A proxy in maintenance answers 200 with JSON of its own. So an answer is checked where it arrives, and a
wrong one is trouble of the server's, to be asked again, never a fault in the code that reads it. Fields
that are not read are let through: a newer Airbyte may have more.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from blocks.airbyte_errors import (
    AirbyteNotFound,
    AirbyteRequestRefused,
    AirbyteUnauthorized,
    AirbyteUnreachable,
)
from blocks.errors import FloeError
from blocks.retry_after import retry_after

Document = dict[str, Any]


class Job(BaseModel):
    """`JobResponse` of the public API."""

    jobId: int  # noqa: N815
    status: str
    jobType: str | None = None  # noqa: N815
    startTime: str | None = None  # noqa: N815
    lastUpdatedAt: str | None = None  # noqa: N815
    rowsSynced: int | None = None  # noqa: N815
    bytesSynced: int | None = None  # noqa: N815


class Jobs(BaseModel):
    """`JobsResponse` of the public API."""

    data: list[Job]


class Connection(BaseModel):
    """`ConnectionResponse` of the public API."""

    status: str


class Page(BaseModel):
    """Any list of the public API."""

    data: list[Document]


class _Stats(BaseModel):
    recordsEmitted: int | None = None  # noqa: N815
    recordsCommitted: int | None = None  # noqa: N815
    bytesEmitted: int | None = None  # noqa: N815
    bytesCommitted: int | None = None  # noqa: N815
    estimatedRecords: int | None = None  # noqa: N815


class _StreamStats(BaseModel):
    streamName: str  # noqa: N815
    streamNamespace: str | None = None  # noqa: N815
    stats: _Stats | None = None


class _FailureSummary(BaseModel):
    failures: list[Document] | None = None


class _Attempt(BaseModel):
    streamStats: list[_StreamStats] | None = None  # noqa: N815
    failureSummary: _FailureSummary | None = None  # noqa: N815


class _AttemptInfo(BaseModel):
    attempt: _Attempt


class JobInfo(BaseModel):
    """`JobInfoRead` of the Config API."""

    attempts: list[_AttemptInfo] | None = None


class Token(BaseModel):
    """What the token request is answered with. Some servers do not say how long the token lives."""

    access_token: str = Field(min_length=1)
    expires_in: float | None = None


def checked(what: str, answer: Any, shape: type[BaseModel]) -> Document:
    """Return an answer that has the shape it should have.

    Raises:
        AirbyteUnreachable: it has another.
    """
    try:
        shape.model_validate(answer)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "answer"
        raise AirbyteUnreachable(
            f"Airbyte answered {what} with something else than it should ({place}: {problem['msg']})"
        ) from None
    found: Document = answer
    return found


def refusal(what: str, response: httpx.Response) -> FloeError:
    """Return the exception for an error status, with the server's own words."""
    status, body = response.status_code, _body(response)
    words = _message(body) if body is not None else response.text[:200].strip()
    said = f"Airbyte answered {what} with {status}" + (f": {words}" if words else "")
    if status in (401, 403):
        return AirbyteUnauthorized(
            said, next_command="check FLOE_AIRBYTE__CLIENT_ID and _SECRET, then floe blocks register"
        )
    if status == 404:
        return AirbyteNotFound(said, next_command="floe connections plan")
    if status in (408, 429) or (status >= 500 and status != 501):
        return AirbyteUnreachable(said, retry_after=retry_after(response.headers))
    return AirbyteRequestRefused(said, conflict=status == 409 or _names_a_conflict(body, words))


def _names_a_conflict(body: Any, words: str) -> bool:
    """Tell whether a refusal that is no 409 says that a job is running already.

    Airbyte's `ValueConflictKnownException` is a 409, but its API documents only 200, 404 and 422 for
    starting a sync, and versions differ in what they answer. The text is for those that pass on neither
    status nor class.
    """
    kind = body.get("exceptionClassName") if isinstance(body, dict) else None
    return str(kind or "").endswith("ValueConflictKnownException") or "already running" in words.lower()


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _message(body: Any) -> str:
    if not isinstance(body, dict):
        return json.dumps(body)[:200]
    data = body.get("data")
    inner = data.get("message") if isinstance(data, dict) else None
    return str(inner or body.get("detail") or body.get("message") or body.get("title") or "")[:1000]
