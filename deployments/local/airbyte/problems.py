"""Error answers in the shape of Airbyte's public API (application/problem+json, RFC 9457)."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

_TITLES = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "resource-not-found",
    409: "state-conflict",
    422: "unprocessable-entity",
    501: "not-implemented",
}


class Problem(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: what is wrong, for a person.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def lacking(what: str) -> Problem:
    """Return the answer for something that Airbyte has and this stand-in lacks."""
    return Problem(501, f"The local stand-in for Airbyte lacks {what}")


def answer(_request: Request, problem: Exception) -> JSONResponse:
    """Turn a `Problem` into a response."""
    assert isinstance(problem, Problem)  # noqa: S101
    return JSONResponse(body(problem.status, problem.message), problem.status)


def body(status: int, message: str) -> dict[str, Any]:
    """Return the JSON body of an error."""
    title = _TITLES.get(status, "error")
    return {
        "status": status,
        "type": f"https://reference.airbyte.com/reference/errors#{title}",
        "title": title,
        "detail": message,
        "documentationUrl": None,
        "data": {"message": message},
    }
