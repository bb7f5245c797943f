"""What the routes share: bodies, lookups, pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Request

from deployments.local.airbyte.problems import Problem, lacking
from deployments.local.airbyte.store import Kind, Store

Document = dict[str, Any]
JsonBody = Annotated[Document, Body()]


def need(store: Store, kind: Kind, identity: Any) -> Document:
    """Return a resource or answer 404."""
    found = store.get(kind, str(identity))
    if found is None:
        raise Problem(404, f"Could not find {kind} with id {identity}")
    return found


def page(rows: list[Document], limit: int, offset: int) -> Document:
    """Return one page of a list, as every listing call of the API does."""
    return {"data": rows[offset : offset + limit], "previous": "", "next": ""}


def refuse_unknown(request: Request, known: set[str]) -> None:
    """Answer 501 to a query parameter that would otherwise be silently ignored."""
    for name in request.query_params:
        if name not in known:
            raise lacking(f"the parameter {name} of {request.method} {request.url.path}")
