"""Alerts: automations by which the Prefect server tells somebody that something is wrong.

The server itself sends them, so they need no worker: a host that is down is what they are for. What they
say is in the run's own message, since every error of Floe names what failed and the next command.

The same is told once: an automation that fired keeps silent about its deployment until
`repeat_after_minutes` have passed, however often it fails meanwhile. Runs without a deployment, like the
steps within `elt`, are told of by the run that they are part of.

A run that failed because runs it waited for did (`flows/runs_elsewhere.py`) is not told of: their alerts
name it, its owner and how it goes on, each at once and with the owner of what failed. One automation looks
for both, so that neither can be silent without the other. A run that fails for a reason of its own, or by one
that no alert told of, is told of.
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
from deployments.alert_texts import AGAIN, GOES_ON, JSON, PARTS, TEXT, THEN_ITS_ASKER
from deployments.automations import TAG
from deployments.connection import ConnectionDeclaration, load_declarations
from deployments.provision_changes import in_words
from flows.attached_runs import ASKED_FOR_BY
from flows.runs_elsewhere import FAILED, RunFailed
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.settings import DATASETS

RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
POOLS = {"prefect.resource.id": "prefect.work-pool.*"}
EACH_DEPLOYMENT = ["related:deployment:prefect.resource.id"]
# And each that asks for its runs: who waits is to be told also when it failed by itself shortly before.
EACH_DEPLOYMENT_AND_ASKER = [*EACH_DEPLOYMENT, "related:tag:prefect.resource.id"]
# By its message, since that is all an event says of an error.
NOT_TOLD_ELSEWHERE = {"prefect.state-message": f"!Flow run encountered an exception: {RunFailed.__name__}: *"}
EACH = ["prefect.resource.id"]
ENDED = ("Completed", *FAILED, "Crashed", "Cancelled", "Skipped")
# It waits for the earlier run of its deployment, or for a person.
QUEUED, PAUSED = "AwaitingConcurrencySlot", ("Paused", "Suspended")
PAGE_OF_RUN = "runs/flow-run/{{ flow_run.id }}"


@dataclass(frozen=True)
class Alert:
    """One thing that somebody is told about.

    Attributes:
        name: of the automation.
        description: when it is sent.
        trigger: Prefect's own fields.
        what: what is the matter, as a template; so are those that follow.
        error: what was the first error.
        command: what to do next, where the error does not say it.
        page: where to look, below the root of Prefect's UI.
        then: what to do after that, also where the error says what is next.
    """

    name: str
    description: str
    trigger: Mapping[str, Any]
    what: str
    error: str
    command: str
    page: str = PAGE_OF_RUN
    then: str = ""


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
        "When a run of a deployment failed, and not by a run that this tells of itself; then not again for "
        "this deployment for a while.",
        _once_in(repeated, _events(*FAILED), {**RUNS, **NOT_TOLD_ELSEWHERE}),
        what="{{ name }} failed",
        error="{{ message }}",
        command="prefect flow-run logs {{ flow_run.id }}",
        then=THEN_ITS_ASKER,
    )
    yield Alert(
        "alert: a run crashed",
        "When the process, worker or host of a run died; then not again for this deployment for a while.",
        _once_in(repeated, _events("Crashed"), RUNS),
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


def _once_in(seconds: float, events: list[str], match: Mapping[str, str]) -> dict[str, Any]:
    """Fire at the first of `events` of a deployment's run, then be silent about it until the time is over."""
    return _trigger("Reactive", seconds, EACH_DEPLOYMENT_AND_ASKER, match, expect=events)


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
        "match_related": {} if match is POOLS else {"prefect.resource.role": "deployment"},
        "for_each": each,
        "threshold": 1,
        "within": seconds,
        **events,
    }


def _automation(alert: Alert, documents: Mapping[str, str], said: str) -> AutomationCore:
    parts = PARTS
    for part in ("what", "error", "command", "page", "then"):
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
    values = {
        "owners": owners,
        "everything_else": everything_else,
        "ui": root,
        "asked_for_by": ASKED_FOR_BY,
    }
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
