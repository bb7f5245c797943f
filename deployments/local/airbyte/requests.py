"""What the routes share: bodies, lookups, pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request

from deployments.local.airbyte.problems import Problem, lacking
from deployments.local.airbyte.store import Kind, Store

Document = dict[str, Any]
JsonBody = Annotated[Document, Body()]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0)]
Workspaces = Annotated[list[str] | None, Query()]
JobId = Annotated[int, Path(ge=0, le=2**63 - 1)]


def need(store: Store, kind: Kind, identity: Any) -> Document:
    """Return a resource or answer 404."""
    found = store.get(kind, str(identity))
    if found is None:
        raise Problem(404, f"Could not find {kind} with id {identity}")
    return found


def member(body: Document, name: str) -> Document:
    """Return an object within a body, empty when it is left out.

    Raises:
        Problem: 422, it is something else than an object.
    """
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise Problem(422, f"body.{name}: must be an object")
    return value


def page(rows: list[Document], limit: int, offset: int) -> Document:
    """Return one page of a list, as every listing call of the API does."""
    return {"data": rows[offset : offset + limit], "previous": "", "next": ""}


def refuse_unknown(request: Request, known: set[str]) -> None:
    """Answer 501 to a query parameter that would otherwise be silently ignored.

    What was deleted is gone here, so `includeDeleted` can only be honoured when it is false.
    """
    for name, value in request.query_params.items():
        if name == "includeDeleted" and value.lower() == "false":
            continue
        if name not in known:
            raise lacking(f"the parameter {name} of {request.method} {request.url.path}")
