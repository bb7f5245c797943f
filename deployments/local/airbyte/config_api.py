"""The part of Airbyte's Config API that Floe uses: a job with its attempts, the refresh of some streams."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.local.airbyte import job_documents
from deployments.local.airbyte.job_runner import JobRunner
from deployments.local.airbyte.jobs_api import new_job
from deployments.local.airbyte.problems import Problem, lacking
from deployments.local.airbyte.requests import Document, JsonBody, need
from deployments.local.airbyte.store import Store


def router(store: Store, runner: JobRunner) -> APIRouter:
    """Return the routes, without their prefix."""
    routes = APIRouter()

    @routes.post("/jobs/get_without_logs")
    def get_job(body: JsonBody) -> Document:
        identity = body.get("id")
        if type(identity) is not int:
            raise Problem(422, "body.id: must be a number")
        job = store.job(identity) if 0 <= identity < 2**63 else None
        if job is None:
            raise Problem(404, f"Could not find job with id {identity}")
        return job_documents.job_info(job, store.attempts(job["id"]))

    @routes.post("/connections/refresh")
    def refresh(body: JsonBody) -> Document:
        if body.get("refreshMode") != "Truncate":
            raise lacking(f"the refresh mode {body.get('refreshMode')}")
        job_id = new_job(store, body, "refresh", _streams(store, body))
        runner.submit(job_id)
        return job_documents.job_info(store.job(job_id) or {}, [])

    return routes


def _streams(store: Store, body: Document) -> list[tuple[str, str]] | None:
    """Return namespaces and names of the streams that a body lists, None when it lists none."""
    connection = need(store, "connection", body.get("connectionId"))
    known = [(each["namespace"], each["name"]) for each in connection["body"]["configurations"]["streams"]]
    listed = body.get("streams")
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed) or not listed:
        raise Problem(422, "body.streams: must be a list of objects")
    streams = [(each.get("streamNamespace"), each.get("streamName")) for each in listed]
    if unknown := [stream for stream in streams if stream not in known]:
        raise Problem(422, f"body.streams: the connection has no {unknown[0]}")
    return streams
