"""Jobs in Airbyte's public API."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request

from deployments.local.airbyte import job_documents
from deployments.local.airbyte.job_runner import JobRunner
from deployments.local.airbyte.job_spec import JobType
from deployments.local.airbyte.problems import Problem
from deployments.local.airbyte.requests import (
    Document,
    JobId,
    JsonBody,
    Limit,
    Offset,
    Workspaces,
    need,
    page,
    refuse_unknown,
)
from deployments.local.airbyte.store import AlreadyRunning, Store

JobStatus = Literal["pending", "queued", "running", "incomplete", "failed", "succeeded", "cancelled"]
_ORDER = r"^(createdAt|updatedAt)\|(ASC|DESC)$"


def add_jobs(routes: APIRouter, store: Store, runner: JobRunner) -> None:
    """Add the calls that start, show and cancel jobs."""

    def shown(job: Document) -> Document:
        return job_documents.public_job(job, store.attempts(job["id"]))

    def find(identity: int) -> Document:
        return _job(store, identity)

    @routes.post("/jobs")
    def create_job(body: JsonBody) -> Document:
        job_id = new_job(store, body, body.get("jobType"))
        runner.submit(job_id)
        return shown(find(job_id))

    @routes.get("/jobs")
    def list_jobs(
        request: Request,
        connectionId: str | None = None,  # noqa: N803
        jobType: JobType | None = None,  # noqa: N803
        status: JobStatus | None = None,
        limit: Limit = 20,
        offset: Offset = 0,
        orderBy: Annotated[str, Query(pattern=_ORDER)] = "createdAt|DESC",  # noqa: N803
        workspaceIds: Workspaces = None,  # noqa: N803
    ) -> Document:
        refuse_unknown(
            request, {"connectionId", "jobType", "status", "limit", "offset", "orderBy", "workspaceIds"}
        )
        rows = store.jobs(connection_id=connectionId, statuses=(status,) if status else ())
        rows = [row for row in rows if jobType in (None, row["type"])]
        if workspaceIds:
            inside = {c["id"] for c in store.all("connection") if c["workspace_id"] in workspaceIds}
            rows = [row for row in rows if row["connection_id"] in inside]
        column = "created_at" if orderBy.startswith("createdAt") else "updated_at"
        rows.sort(key=lambda row: (row[column], row["id"]), reverse=orderBy.endswith("DESC"))
        return page([shown(row) for row in rows[offset : offset + limit]], limit, 0)

    @routes.get("/jobs/{identity}")
    def get_job(identity: JobId) -> Document:
        return shown(find(identity))

    @routes.delete("/jobs/{identity}")
    def cancel_job(identity: JobId) -> Document:
        find(identity)
        runner.cancel(identity)
        runner.wait_for_end(identity)
        return shown(find(identity))


def _job(store: Store, identity: int) -> Document:
    job = store.job(identity)
    if job is None:
        raise Problem(404, f"Could not find job with id {identity}")
    return job


def new_job(
    store: Store, body: Document, kind: JobType | None, streams: list[tuple[str, str]] | None = None
) -> int:
    """Add a job for the connection that a body names, and return its id; the caller submits it.

    Raises:
        Problem: 404, 409 or 422, as Airbyte answers.
    """
    connection = need(store, "connection", body.get("connectionId"))
    if kind is None or kind not in get_args(JobType):
        raise Problem(422, "body.jobType: must be sync, reset, clear or refresh")
    status = connection["body"]["status"]
    if status != "active":
        raise Problem(409, f"Connection {connection['id']} is {status}")
    try:
        return store.add_job(connection["id"], kind, streams)
    except AlreadyRunning:
        raise Problem(409, f"A sync is already running for: {connection['id']}") from None
