"""The part of Airbyte's public API that Floe uses (https://reference.airbyte.com)."""

from __future__ import annotations

from fastapi import APIRouter, Request

from deployments.local.airbyte import jobs_api
from deployments.local.airbyte.connection_bodies import ConnectionBody, validated
from deployments.local.airbyte.connection_rules import checked_connection, stream_properties
from deployments.local.airbyte.job_runner import JobRunner
from deployments.local.airbyte.job_spec import PASSWORD_MASK
from deployments.local.airbyte.problems import Problem
from deployments.local.airbyte.requests import (
    Document,
    JsonBody,
    Limit,
    Offset,
    Workspaces,
    member,
    need,
    page,
    refuse_unknown,
)
from deployments.local.airbyte.resource_rules import DEFINITIONS, checked_destination, checked_source
from deployments.local.airbyte.store import Kind, Store


def router(store: Store, runner: JobRunner) -> APIRouter:
    """Return the routes, without their prefix."""
    routes = APIRouter()
    _add_workspaces(routes, store)
    _add_actors(routes, store, "source")
    _add_actors(routes, store, "destination")
    _add_connections(routes, store, runner)
    _add_streams(routes, store)
    jobs_api.add_jobs(routes, store, runner)
    return routes


def _add_workspaces(routes: APIRouter, store: Store) -> None:
    def shown(row: Document) -> Document:
        return {
            "workspaceId": row["id"],
            "name": row["name"],
            "dataResidency": "auto",
            "notifications": {},
        }

    @routes.get("/workspaces")
    def list_workspaces(request: Request, limit: Limit = 20, offset: Offset = 0) -> Document:
        refuse_unknown(request, {"limit", "offset"})
        return page([shown(row) for row in store.all("workspace")], limit, offset)

    @routes.post("/workspaces")
    def create_workspace(body: JsonBody) -> Document:
        if not body.get("name"):
            raise Problem(422, "body.name: Field required")
        return shown(store.add("workspace", None, body["name"], {}))

    @routes.get("/workspaces/{identity}")
    def get_workspace(identity: str) -> Document:
        return shown(need(store, "workspace", identity))


def _add_actors(routes: APIRouter, store: Store, kind: Kind) -> None:
    """Sources and destinations: the same five calls."""
    check = checked_source if kind == "source" else checked_destination
    type_field = f"{kind}Type"

    def shown(row: Document) -> Document:
        configuration = dict(row["body"])
        if configuration.get("password"):
            configuration["password"] = PASSWORD_MASK
        return {
            f"{kind}Id": row["id"],
            "name": row["name"],
            type_field: configuration.pop(type_field),
            "definitionId": DEFINITIONS[kind],
            "workspaceId": row["workspace_id"],
            "configuration": configuration,
            "createdAt": row["created_at"],
        }

    @routes.get(f"/{kind}s")
    def list_all(
        request: Request,
        limit: Limit = 20,
        offset: Offset = 0,
        workspaceIds: Workspaces = None,  # noqa: N803
    ) -> Document:
        refuse_unknown(request, {"limit", "offset", "workspaceIds"})
        rows = [row for row in store.all(kind) if not workspaceIds or row["workspace_id"] in workspaceIds]
        return page([shown(row) for row in rows], limit, offset)

    @routes.post(f"/{kind}s")
    def create(body: JsonBody) -> Document:
        workspace = need(store, "workspace", body.get("workspaceId"))
        configuration = check(member(body, "configuration"))
        return shown(store.add(kind, workspace["id"], str(body.get("name") or kind), configuration))

    @routes.get(f"/{kind}s/{{identity}}")
    def get(identity: str) -> Document:
        return shown(need(store, kind, identity))

    @routes.patch(f"/{kind}s/{{identity}}")
    def patch(identity: str, body: JsonBody) -> Document:
        row = need(store, kind, identity)
        given = {k: v for k, v in member(body, "configuration").items() if v != PASSWORD_MASK}
        store.change(kind, identity, body.get("name") or row["name"], check({**row["body"], **given}))
        return shown(need(store, kind, identity))

    @routes.delete(f"/{kind}s/{{identity}}", status_code=204)
    def delete(identity: str) -> None:
        used = [row for row in store.all("connection") if row["body"][f"{kind}Id"] == identity]
        if used:
            raise Problem(409, f"{kind} {identity} is used by the connection {used[0]['name']}")
        need(store, kind, identity)
        store.remove(kind, identity)


def _add_connections(routes: APIRouter, store: Store, runner: JobRunner) -> None:
    def shown(row: Document) -> Document:
        return {
            "connectionId": row["id"],
            "name": row["name"],
            "workspaceId": row["workspace_id"],
            "createdAt": row["created_at"],
            "tags": [],
            **row["body"],
        }

    @routes.get("/connections")
    def list_connections(
        request: Request,
        limit: Limit = 20,
        offset: Offset = 0,
        workspaceIds: Workspaces = None,  # noqa: N803
    ) -> Document:
        refuse_unknown(request, {"limit", "offset", "workspaceIds"})
        rows = store.all("connection")
        wanted = [row for row in rows if not workspaceIds or row["workspace_id"] in workspaceIds]
        return page([shown(row) for row in wanted], limit, offset)

    @routes.post("/connections")
    def create_connection(body: JsonBody) -> Document:
        source = need(store, "source", body.get("sourceId"))
        destination = need(store, "destination", body.get("destinationId"))
        asked = validated(ConnectionBody, body)
        connection = checked_connection(asked, source["body"], destination["body"])
        name = asked.name or f"{source['name']} → {destination['name']}"
        return shown(store.add("connection", source["workspace_id"], name, connection))

    @routes.get("/connections/{identity}")
    def get_connection(identity: str) -> Document:
        return shown(need(store, "connection", identity))

    @routes.patch("/connections/{identity}")
    def patch_connection(identity: str, body: JsonBody) -> Document:
        row = need(store, "connection", identity)
        source = need(store, "source", row["body"]["sourceId"])
        destination = need(store, "destination", row["body"]["destinationId"])
        fixed = {key: row["body"][key] for key in ("sourceId", "destinationId")}
        asked = validated(ConnectionBody, {**row["body"], **body, **fixed})
        merged = checked_connection(asked, source["body"], destination["body"])
        store.change("connection", identity, asked.name or row["name"], merged)
        return shown(need(store, "connection", identity))

    @routes.delete("/connections/{identity}", status_code=204)
    def delete_connection(identity: str) -> None:
        need(store, "connection", identity)
        for job in store.jobs(connection_id=identity):
            runner.cancel(job["id"])
        store.remove("connection", identity)


def _add_streams(routes: APIRouter, store: Store) -> None:
    @routes.get("/streams")
    def get_streams(
        request: Request,
        sourceId: str,  # noqa: N803
        destinationId: str | None = None,  # noqa: N803
    ) -> list[Document]:
        # Nothing is cached here, and every sync mode works with every destination.
        refuse_unknown(request, {"sourceId", "destinationId", "ignoreCache"})
        if destinationId is not None:
            need(store, "destination", destinationId)
        return stream_properties(need(store, "source", sourceId)["body"])
