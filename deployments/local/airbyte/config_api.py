"""The part of Airbyte's Config API that Floe uses: a job with its attempts, statistics and failures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from deployments.local.airbyte import job_documents
from deployments.local.airbyte.job_runner import JobRunner
from deployments.local.airbyte.problems import Problem
from deployments.local.airbyte.store import Store


def router(store: Store, _runner: JobRunner) -> APIRouter:
    """Return the routes, without their prefix."""
    routes = APIRouter()

    @routes.post("/jobs/get_without_logs")
    def get_job(body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        identity = body.get("id")
        if type(identity) is not int:
            raise Problem(422, "body.id: must be a number")
        job = store.job(identity) if 0 <= identity < 2**63 else None
        if job is None:
            raise Problem(404, f"Could not find job with id {identity}")
        return job_documents.job_info(job, store.attempts(job["id"]))

    return routes
