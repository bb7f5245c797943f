"""The shapes of Airbyte's answers, written down by hand from its documentation, as JSON Schemas.

https://reference.airbyte.com; fields that Floe reads are required wherever Airbyte always sends them.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
PATHS: Schema = {"type": "array", "items": {"type": "array", "items": TEXT, "minItems": 1}}
JOB_STATUS: Schema = {
    "enum": ["pending", "queued", "running", "incomplete", "failed", "succeeded", "cancelled"]
}
SYNC_MODE: Schema = {
    "enum": [
        "full_refresh_overwrite",
        "full_refresh_append",
        "incremental_append",
        "incremental_deduped_history",
    ]
}


def record(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with these fields and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def listing(item: Schema) -> Schema:
    return record({"data": {"type": "array", "items": item}}, {"previous": TEXT, "next": TEXT})


def actor(kind: str) -> Schema:
    return record(
        {
            f"{kind}Id": ID,
            "name": TEXT,
            f"{kind}Type": TEXT,
            "definitionId": ID,
            "workspaceId": ID,
            "configuration": {"type": "object"},
            "createdAt": COUNT,
        }
    )


JOB = record(
    {
        "jobId": COUNT,
        "status": JOB_STATUS,
        "jobType": {"enum": ["sync", "reset", "refresh", "clear"]},
        "startTime": TIME,
        "connectionId": ID,
    },
    {
        "lastUpdatedAt": TIME,
        "duration": {"type": "string", "pattern": r"^PT(\d+H)?(\d+M)?(\d+S)?$", "minLength": 4},
        "bytesSynced": COUNT,
        "rowsSynced": COUNT,
    },
)
CONNECTION = record(
    {
        "connectionId": ID,
        "name": TEXT,
        "sourceId": ID,
        "destinationId": ID,
        "workspaceId": ID,
        "status": {"enum": ["active", "inactive", "deprecated", "locked"]},
        "schedule": record({"scheduleType": {"enum": ["manual", "cron", "basic"]}}),
        "configurations": record(
            {
                "streams": {
                    "type": "array",
                    "items": record(
                        {"name": TEXT, "syncMode": SYNC_MODE},
                        {
                            "namespace": TEXT,
                            "cursorField": {"type": "array", "items": TEXT},
                            "primaryKey": PATHS,
                            "mappers": {"type": "array"},
                            "selectedFields": {
                                "type": "array",
                                "items": record({"fieldPath": {"type": "array"}}),
                            },
                        },
                    ),
                }
            }
        ),
        "createdAt": COUNT,
        "tags": {"type": "array"},
    },
    {
        "namespaceDefinition": {"enum": ["source", "destination", "custom_format"]},
        "namespaceFormat": {"type": ["string", "null"]},
        "prefix": {"type": ["string", "null"]},
        "nonBreakingSchemaUpdatesBehavior": {
            "enum": ["ignore", "disable_connection", "propagate_columns", "propagate_fully"]
        },
        "statusReason": TEXT,
    },
)
TOTALS: Schema = {
    "recordsEmitted": COUNT,
    "bytesEmitted": COUNT,
    "recordsCommitted": COUNT,
    "bytesCommitted": COUNT,
}
FAILURE = record(
    {"timestamp": COUNT},
    {
        "failureOrigin": {
            "enum": ["source", "destination", "replication", "persistence", "airbyte_platform", "unknown"]
        },
        "failureType": {
            "enum": [
                "config_error",
                "system_error",
                "manual_cancellation",
                "refresh_schema",
                "transient_error",
            ]
        },
        "externalMessage": TEXT,
        "internalMessage": TEXT,
        "retryable": {"type": "boolean"},
        "streamDescriptor": record({"name": TEXT}, {"namespace": TEXT}),
    },
)
ATTEMPT = record(
    {
        "id": COUNT,
        "status": {"enum": ["running", "failed", "succeeded"]},
        "createdAt": COUNT,
        "updatedAt": COUNT,
    },
    {
        "endedAt": COUNT,
        "bytesSynced": COUNT,
        "recordsSynced": COUNT,
        "totalStats": record({}, TOTALS),
        "streamStats": {
            "type": "array",
            "items": record(
                {"streamName": TEXT, "stats": record({}, {**TOTALS, "estimatedRecords": COUNT})},
                {"streamNamespace": TEXT},
            ),
        },
        "failureSummary": record(
            {"failures": {"type": "array", "items": FAILURE, "minItems": 1}},
            {"partialSuccess": {"type": "boolean"}},
        ),
    },
)
JOB_INFO = record(
    {
        "job": record(
            {
                "id": COUNT,
                "configType": {"enum": ["sync", "reset_connection", "refresh", "clear"]},
                "configId": TEXT,
                "createdAt": COUNT,
                "updatedAt": COUNT,
                "status": JOB_STATUS,
            },
            {
                "startedAt": COUNT,
                "aggregatedStats": record(TOTALS),
                "streamAggregatedStats": {
                    "type": "array",
                    "items": record({"streamName": TEXT, **TOTALS}, {"streamNamespace": TEXT}),
                },
            },
        ),
        "attempts": {
            "type": "array",
            "items": record({"attempt": ATTEMPT, "logType": {"enum": ["formatted", "structured"]}}),
        },
    }
)
STREAMS: Schema = {
    "type": "array",
    "items": record(
        {
            "streamName": TEXT,
            "syncModes": {"type": "array", "items": SYNC_MODE},
            "defaultCursorField": {"type": "array", "items": TEXT},
            "sourceDefinedCursorField": {"type": "boolean"},
            "sourceDefinedPrimaryKey": PATHS,
            "propertyFields": PATHS,
        },
        {"streamnamespace": TEXT},
    ),
}
WORKSPACE = record(
    {"workspaceId": ID, "name": TEXT, "dataResidency": TEXT, "notifications": {"type": "object"}}
)
PROBLEM = record(
    {
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "detail": TEXT,
    },
    {"documentationUrl": {"type": ["string", "null"]}, "data": {"type": "object"}},
)
TOKEN = record({"access_token": TEXT, "token_type": {"const": "Bearer"}, "expires_in": COUNT})

# Calls, identifiers left out, and what they answer; None for a body that is no JSON.
SHAPES: dict[str, Schema | None] = {
    "GET /api/public/v1/health": None,
    "GET /api/v1/health": record({"available": {"const": True}, "standIn": TEXT}),
    "POST /api/public/v1/applications/token": TOKEN,
    "POST /api/v1/applications/token": TOKEN,
    "GET /api/public/v1/workspaces": listing(WORKSPACE),
    "POST /api/public/v1/workspaces": WORKSPACE,
    "GET /api/public/v1/workspaces/{}": WORKSPACE,
    **{
        f"{call} /api/public/v1/{kind}s{path}": listing(actor(kind)) if listed else actor(kind)
        for kind in ("source", "destination")
        for call, path, listed in (
            ("GET", "", True),
            ("POST", "", False),
            ("GET", "/{}", False),
            ("PATCH", "/{}", False),
        )
    },
    "DELETE /api/public/v1/sources/{}": None,
    "DELETE /api/public/v1/destinations/{}": None,
    "GET /api/public/v1/connections": listing(CONNECTION),
    "POST /api/public/v1/connections": CONNECTION,
    "GET /api/public/v1/connections/{}": CONNECTION,
    "PATCH /api/public/v1/connections/{}": CONNECTION,
    "DELETE /api/public/v1/connections/{}": None,
    "GET /api/public/v1/streams": STREAMS,
    "GET /api/public/v1/jobs": listing(JOB),
    "POST /api/public/v1/jobs": JOB,
    "GET /api/public/v1/jobs/{}": JOB,
    "DELETE /api/public/v1/jobs/{}": JOB,
    "POST /api/v1/jobs/get_without_logs": JOB_INFO,
    "POST /api/v1/connections/refresh": JOB_INFO,
    "a refusal": PROBLEM,
}


def check(answer: httpx.Response) -> str:
    """Check an answer against its shape and return which one that was."""
    path = re.sub(r"/(\d+|[0-9a-f-]{36})(?=/|$)", "/{}", answer.request.url.path)
    name = f"{answer.request.method} {path}" if answer.is_success else "a refusal"
    answer.read()
    schema = SHAPES[name]
    if schema is not None:
        problems = [error.message for error in Draft202012Validator(schema).iter_errors(answer.json())]
        assert not problems, f"{name}: {problems}"
    return name
