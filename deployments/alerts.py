"""Alerts: automations by which the Prefect server tells somebody that something is wrong.

The server itself sends them, so they need no worker: a host that is down is what they are for. What they
say is in the run's own message, since every error of Floe names what failed and the next command.

The same is told once: an automation that fired keeps silent about its deployment until
`repeat_after_minutes` have passed, however often it fails meanwhile. Runs without a deployment, like the
steps within `elt`, are told of by the run that they are part of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL

from blocks.alerts import MAIL, SLACK, receivers
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.errors import ConfigurationError
from blocks.settings import AlertSettings
from deployments.automations import TAG
from deployments.connection import ConnectionDeclaration, load_declarations
from deployments.provision_changes import in_words
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.settings import DATASETS

RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
POOLS = {"prefect.resource.id": "prefect.work-pool.*"}
EACH_DEPLOYMENT = ["related:deployment:prefect.resource.id"]
EACH = ["prefect.resource.id"]
ENDED = ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "Skipped")
# It waits for the earlier run of its deployment, or for a person.
QUEUED, PAUSED = "AwaitingConcurrencySlot", ("Paused", "Suspended")
PAGE_OF_RUN = "runs/flow-run/{{ flow_run.id }}"

# A backfill without its parameters does nothing: a retry has them.
AGAIN = '{{ "Retry in the UI" if flow.name == "backfill" else "floe run " ~ name }}'
# A run tagged "resume" is put back after a crash (deployments/automations.yaml), at the latest when Prefect
# stops waiting for earlier events, after 15 minutes. Another run would do the same work a second time.
GOES_ON = (
    '{%- if "resume" in flow_run.tags -%}nothing: it is started again by itself, up to three starts. '
    "If it is still Crashed in 20 minutes: prefect flow-run retry {{ flow_run.id }}"
    f"{{%- else -%}}{AGAIN}{{%- endif -%}}"
)

# What each text begins with: the parts of an alert, from the run's own message. The first "Next:" is the
# one of the error that came first, also where a parent run repeats its child's message.
PARTS = """\
{%- set name = flow.name ~ "/" ~ deployment.name -%}
{%- set owner = owners.get(name, everything_else) -%}
{%- set told = (flow_run.state.message or "").split("\\nNext: ") -%}
{%- set message = told[0] | replace("Flow run encountered an exception: ", "") | truncate(1500) -%}
{%- set what -%} <what> {%- endset -%}
{%- set error -%} <error> {%- endset -%}
{%- set usual -%} <command> {%- endset -%}
{%- set next = told[1].split("\\n")[0] if told | length > 1 else usual -%}
{%- set link -%} {{ ui }}/<page> {%- endset -%}
"""
TEXT = """\
{{ what }}
Owner: {{ owner }}
Error: {{ error }}
Look: {{ link }}
Next: {{ next }}"""
JSON = (
    '{"text": {{ text | tojson }}, "what": {{ what | tojson }}, "owner": {{ owner | tojson }}, '
    '"error": {{ error | tojson }}, "link": {{ link | tojson }}, "next": {{ next | tojson }}}'
)


@dataclass(frozen=True)
class Alert:
    """One thing that somebody is told about.

    Attributes:
        name: of the automation.
        description: when it is sent.
        trigger: Prefect's own fields.
        what: what is the matter, as a template; so are the next three.
        error: what was the first error.
        command: what to do next, where the error does not say it.
        page: where to look, below the root of Prefect's UI.
    """

    name: str
    description: str
    trigger: Mapping[str, Any]
    what: str
    error: str
    command: str
    page: str = PAGE_OF_RUN


def alert_automations(
    settings: AlertSettings, declarations: Sequence[ConnectionDeclaration] | None = None
) -> list[AutomationCore]:
    """Return the automation of each alert, none when no receiver is set.

    Args:
        settings: who is told, and how patient the alerts are.
        declarations: the connections whose staleness is told; those of `deployments/connections/` if None.

    Raises:
        ConfigurationError: the block of a receiver is not saved yet.
    """
    documents = _block_documents(settings)
    if not documents:
        return []
    if declarations is None:
        declarations = load_declarations()
    said = _said_of_all(_owners(declarations), settings.owner)
    alerts = (*_alerts(settings), *_staleness(declarations))
    return [_automation(alert, documents, said) for alert in alerts]


def _alerts(settings: AlertSettings) -> Iterator[Alert]:
    repeated = settings.repeat_after_minutes * 60
    waiting, stuck = settings.late_after_minutes * 60, settings.stuck_after_minutes * 60
    yield Alert(
        "alert: a run failed",
        "When a run of a deployment failed; then not again for this deployment for a while.",
        _once_in(repeated, _events("Failed", "TimedOut")),
        what="{{ name }} failed",
        error="{{ message }}",
        command="prefect flow-run logs {{ flow_run.id }}",
    )
    yield Alert(
        "alert: a run crashed",
        "When the process, worker or host of a run died; then not again for this deployment for a while.",
        _once_in(repeated, _events("Crashed")),
        what="{{ name }} crashed",
        error="{{ message }}",
        command=GOES_ON,
    )
    yield Alert(
        "alert: a run is late",
        "When a due run found no worker for a while.",
        _unless(waiting, _events("Late"), _events("Pending", QUEUED, "Running", *ENDED), EACH_DEPLOYMENT),
        what="{{ name }} is late",
        error="due at {{ flow_run.expected_start_time }}, and no worker of {{ work_pool.name }} took it",
        command="python -m deployments.worker --pool {{ work_pool.name }} --limit 4, on the pool's host",
    )
    yield Alert(
        "alert: a run is stuck",
        "When a run lives and does not end.",
        _unless(stuck, _events("Running"), _events(*ENDED, *PAUSED), EACH),
        what="{{ name }} is stuck",
        error=f"it has been running for {in_words(timedelta(seconds=stuck))}",
        command=f"prefect flow-run cancel {{{{ flow_run.id }}}}, then {AGAIN}",
    )
    yield Alert(
        "alert: a work pool has no worker",
        "When a pool is without a worker for a while.",
        _unless(waiting, ["prefect.work-pool.not-ready"], ["prefect.work-pool.ready"], EACH, POOLS),
        what="work pool {{ work_pool.name }} has no worker",
        error="none has said anything for a while, so its runs will not start",
        command="python -m deployments.worker --pool {{ work_pool.name }} --limit 4, on the pool's host",
        page="work-pools/work-pool/{{ work_pool.name }}",
    )


def _staleness(declarations: Sequence[ConnectionDeclaration]) -> Iterator[Alert]:
    for declared in declarations:
        name, length = f"replicate/{declared.source}", declared.fresh_within
        trigger = _unless(length.total_seconds(), _events("Completed"), _events("Completed"), [])
        of_source = [_role("flow", "replicate"), _role("deployment", declared.source)]
        yield Alert(
            f"alert: {declared.source} is stale",
            f"When {name} has brought nothing for {in_words(length)} (fresh_within of the connection).",
            {**trigger, "match_related": of_source},
            what=f"{declared.source} is stale",
            error=f"no run of {name} completed for {in_words(length)}",
            command=f"floe connections check, then floe run {name}",
        )


def _events(*states: str) -> list[str]:
    return [f"prefect.flow-run.{state}" for state in states]


def _role(role: str, name: str) -> dict[str, str]:
    return {"prefect.resource.role": role, "prefect.resource.name": name}


def _once_in(seconds: float, events: list[str]) -> dict[str, Any]:
    """Fire at the first of `events` of a deployment's run, then be silent about it until the time is over."""
    return _trigger("Reactive", seconds, EACH_DEPLOYMENT, RUNS, expect=events)


def _unless(
    seconds: float,
    after: list[str],
    expected: list[str],
    each: list[str],
    match: Mapping[str, str] = RUNS,
) -> dict[str, Any]:
    """Fire when one of `after` is not followed by one of `expected` in time."""
    return _trigger("Proactive", seconds, each, match, after=after, expect=expected)


def _trigger(
    posture: str, seconds: float, each: list[str], match: Mapping[str, str], **events: list[str]
) -> dict[str, Any]:
    return {
        "type": "event",
        "posture": posture,
        "match": match,
        "match_related": {"prefect.resource.role": "deployment"} if match is RUNS else {},
        "for_each": each,
        "threshold": 1,
        "within": seconds,
        **events,
    }


def _automation(alert: Alert, documents: Mapping[str, str], said: str) -> AutomationCore:
    parts = PARTS
    for part in ("what", "error", "command", "page"):
        parts = parts.replace(f"<{part}>", getattr(alert, part))
    return AutomationCore.model_validate(
        {
            "name": alert.name,
            "description": alert.description,
            "tags": [TAG],
            "trigger": alert.trigger,
            "actions": [_action(name, document, said + parts) for name, document in documents.items()],
        }
    )


def _action(block: str, document: str, parts: str) -> dict[str, Any]:
    if block == MAIL:
        return {
            "type": "send-notification",
            "block_document_id": document,
            "subject": f"{parts}Floe: {{{{ what }}}}",
            "body": f"{parts}{TEXT}",
        }
    text = f"{parts}{{%- set text -%}}{TEXT}{{%- endset -%}}"
    # Slack takes the text alone.
    payload = '{"text": {{ text | tojson }}}' if block == SLACK else JSON
    return {"type": "call-webhook", "block_document_id": document, "payload": f"{text}{payload}"}


def _said_of_all(owners: Mapping[str, str], everything_else: str) -> str:
    root = (PREFECT_UI_URL.value() or "").rstrip("/")
    values = {"owners": owners, "everything_else": everything_else, "ui": root}
    return "".join(
        f"{{%- set {name} = {json.dumps(value, ensure_ascii=False)} -%}}\n" for name, value in values.items()
    )


def _owners(declarations: Sequence[ConnectionDeclaration]) -> dict[str, str]:
    """Return who owns what a deployment brings, by `flow/deployment`."""
    contracts = Contracts(DATASETS)
    return {
        **{f"replicate/{each.source}": each.owner for each in declarations},
        **{f"reconcile/{each.source}": each.owner for each in declarations},
        **{f"ingest-csv/{dataset}": contracts.get(dataset).owner for dataset in contracts.names()},
        **{f"report/{each.key}": each.owner.name for each in load_dashboards(DASHBOARDS, allow_none=True)},
    }


def _block_documents(settings: AlertSettings) -> dict[str, str]:
    """Return the ids of the receivers' saved blocks, by name."""
    documents = {}
    with get_client(sync_client=True) as client:
        for name, kind in receivers(settings).items():
            try:
                document = client.read_block_document_by_name(name, kind.get_block_type_slug())
            except ObjectNotFound:
                raise ConfigurationError(
                    f"There is no block {name}, which alerts are sent through",
                    state="the server's automations are as they were",
                    next_command="floe blocks register, then floe deploy",
                ) from None
            documents[name] = str(document.id)
    return documents
