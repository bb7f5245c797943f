"""Alerts on a real Prefect server, received by real receivers: what they say, and how often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL
from prefect.states import Cancelled, Completed, Crashed, Failed
from pydantic import SecretStr

from blocks.alerts import alert_blocks
from blocks.errors import ConfigurationError, ServiceUnavailable
from blocks.register import register
from blocks.settings import AlertSettings, MailSettings
from deployments.alerts import alert_automations
from deployments.automations import apply_automations
from deployments.connection import load_declarations
from deployments.prefect_objects import ensure_pools
from flows.attached_runs import ASKED_FOR_BY
from flows.elt import elt
from flows.runs_elsewhere import RunCrashed
from tests.postgres_server import free_port
from tests.receivers import Received, http_receiver, smtp_receiver

SECRET = "T0PSECRET"
SYNC_FAILED = ServiceUnavailable(
    "Airbyte gave up on crm", state="nothing was written", next_command="floe run replicate/crm"
)
Deployed = Callable[..., UUID]


@pytest.fixture(autouse=True)
def clean(prefect_server: None) -> Iterator[None]:
    """Nothing of ours may stay on the server that tests share."""
    yield
    apply_automations([])
    with get_client(sync_client=True) as client:
        for document in client.read_block_documents():
            if (document.name or "").startswith("alerts-"):
                client.delete_block_document(document.id)


@pytest.fixture
def webhook() -> Iterator[tuple[SecretStr, Received]]:
    """A receiver whose URL has a secret in it."""
    with http_receiver() as (root, received):
        yield SecretStr(f"{root}/hooks/{SECRET}"), received


@pytest.fixture
def deployed(prefect_server: None) -> Iterator[Deployed]:
    """Return a function that makes a deployment `flow/name` on the pool `quiet`, which has no worker."""
    made = []

    def make(name: str, *tags: str) -> UUID:
        of_flow, _, own = name.partition("/")
        ensure_pools(["quiet"])
        with get_client(sync_client=True) as client:
            made.append(
                client.create_deployment(
                    client.create_flow_from_name(of_flow),
                    name=own,
                    work_pool_name="quiet",
                    tags=list(tags),
                )
            )
        return made[-1]

    yield make
    with get_client(sync_client=True) as client:
        for deployment in made:
            client.delete_deployment(deployment)


def told(mail: MailSettings | None = None, **receivers: Any) -> AlertSettings:
    """Save the receivers' blocks and make the alerts; return the settings."""
    settings = AlertSettings(**receivers)
    register(alert_blocks(settings, mail))
    apply_automations(alert_automations(settings))
    return settings


def queued(deployment: UUID, state: State | None = None, asked_for_by: str = "") -> FlowRun:
    tags = [f"{ASKED_FOR_BY}{asked_for_by}"] if asked_for_by else []
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment, state=state, tags=tags)


def failed(deployment: UUID, error: Exception = SYNC_FAILED) -> FlowRun:
    """Run a flow that fails with `error` as a run of the deployment."""

    @flow(name="whatever its deployment says")
    def fails() -> None:
        raise error

    run = queued(deployment)
    run_flow(fails, flow_run=run, return_type="state")
    return run


def daily(deployment: UUID, ends: dict[UUID, State]) -> FlowRun:
    """Run `elt` as a run of the deployment, for crm and erp; end the runs that it asks for as `ends` says."""
    sources = {"sources": ["crm", "erp"], "datasets": [], "dashboards": False}
    run = queued(deployment)
    thread = threading.Thread(
        target=copy_context().run,
        args=(lambda: run_flow(elt, flow_run=run, parameters=sources, return_type="state"),),
    )
    thread.start()
    asked_for = DeploymentFilter(id=DeploymentFilterId(any_=list(ends)))
    with get_client(sync_client=True) as client:
        while thread.is_alive():
            for waiting in client.read_flow_runs(deployment_filter=asked_for):
                if waiting.deployment_id and waiting.state and not waiting.state.is_final():
                    client.set_flow_run_state(waiting.id, ends[waiting.deployment_id], force=True)
            time.sleep(0.2)
        state = client.read_flow_run(run.id).state
    assert state is not None and state.name == "Failed", state
    return run


def everything_that_server_kept() -> str:
    """Return the server's log and events, and what it hands out without being asked for secrets."""
    log = (PREFECT_HOME.value() / "log").read_text()
    api = PREFECT_API_URL.value()
    asked = [("events/filter", {"limit": 50}), ("artifacts/filter", {}), ("automations/filter", {})]
    answers = [httpx.post(f"{api}/{path}", json=body) for path, body in asked]
    blocks = httpx.post(f"{api}/block_documents/filter", json={})
    assert all(answer.is_success for answer in [*answers, blocks])
    return "".join([log, *(answer.text for answer in answers), blocks.text])


def test_without_a_receiver_there_is_no_alert() -> None:
    assert alert_automations(AlertSettings()) == []


def test_a_receiver_whose_block_is_not_saved_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no block alerts-webhook") as caught:
        alert_automations(AlertSettings(webhook_url=SecretStr("http://127.0.0.1:9/")))
    assert caught.value.next_command.startswith("floe blocks register")


def test_alerts_made_twice_change_nothing(webhook: tuple[SecretStr, Received]) -> None:
    settings = told(webhook_url=webhook[0], slack_url=webhook[0])
    assert apply_automations(alert_automations(settings)) == []


# The first alert makes the server import every installed integration, for 6 seconds.
@pytest.mark.thorough
def test_failures_of_one_deployment_are_told_once_with_all_that_is_needed(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    url, received = webhook
    told(webhook_url=url)
    crm, erp = deployed("replicate/crm"), deployed("replicate/erp")
    first = failed(crm)
    for deployment in (crm, crm, erp):
        queued(deployment, State(type=StateType.FAILED))
    for name in ("replicate/accounting", "backfill/manual"):
        queued(deployed(name), State(type=StateType.CRASHED))
    alerts = received.upto(lambda alert: alert["what"] == "backfill/manual crashed")
    assert len(alerts) == 4
    assert [alert["next"] for alert in alerts[2:]] == ["floe run replicate/accounting", "Retry in the UI"]
    text, group = alerts[0].pop("text"), alerts[0].pop("group")
    assert group == f"prefect.flow-run.{first.id}"
    assert alerts[0] == {
        "what": "replicate/crm failed",
        "owner": "customer care",
        "waiting": "",
        "error": "ServiceUnavailable: Airbyte gave up on crm\nState: nothing was written",
        "link": f"{PREFECT_UI_URL.value()}/runs/flow-run/{first.id}",
        "next": "floe run replicate/crm",
        "content type": "application/json",
    }
    assert all(part in text for name, part in alerts[0].items() if name != "content type")
    assert SECRET not in everything_that_server_kept()


@pytest.mark.thorough
def test_of_a_crashed_run_that_goes_on_by_itself_nobody_is_told_to_start_another(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    told(webhook_url=webhook[0])
    run = queued(deployed("elt/daily", "daily", "resume"), State(type=StateType.CRASHED))
    alert = webhook[1].next()
    assert alert["what"] == "elt/daily crashed"
    assert alert["next"] == (
        "nothing: it is started again by itself, up to three starts. "
        f"If it is still Crashed in 20 minutes: prefect flow-run retry {run.id}"
    )
    assert "floe run" not in alert["text"]


@pytest.mark.thorough
def test_each_alert_names_the_owner_that_is_declared_and_else_the_one_of_the_settings(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    owners = {
        "reconcile/crm": "customer care",
        "ingest-csv/inventory": "warehouse operations",
        "report/customers": "Customer Operations",
        "transform/marts": "the data team",
    }
    told(webhook_url=webhook[0], owner="the data team")
    for name in owners:
        queued(deployed(name), State(type=StateType.FAILED))
    alerts = [webhook[1].next() for _ in owners]
    assert {alert["what"].removesuffix(" failed"): alert["owner"] for alert in alerts} == owners


@pytest.mark.thorough
def test_runs_that_fail_and_the_daily_run_that_stops_by_them_are_told_once(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    told(webhook_url=webhook[0], owner="the data team")
    elt_daily, crm, erp = deployed("elt/daily"), deployed("replicate/crm", "floe"), deployed("replicate/erp")
    # That crm has failed by itself, and been told of, hides nothing of what stops the daily run.
    failed(crm)
    message = f"Flow run encountered an exception: ServiceUnavailable: {SYNC_FAILED}"
    stopped = daily(elt_daily, {crm: Failed(message=message), erp: Failed(message=message, name="TimedOut")})
    # Again, by one of the same.
    daily(elt_daily, {crm: Failed(message=message), erp: Completed()})
    failed(elt_daily, ConfigurationError("it has a fault of its own", next_command="mend it"))
    by_itself, *with_it, own = webhook[1].upto(lambda alert: alert["what"] == "elt/daily failed")
    assert by_itself["waiting"] == ""
    assert {alert["what"]: alert["owner"] for alert in with_it} == {
        "replicate/crm failed": "customer care",
        "replicate/erp failed": "operations",
    }
    assert len(with_it) == 2
    for alert in with_it:
        assert alert["waiting"] == "elt/daily, owner the data team"
        assert "\nWaiting: elt/daily, owner the data team\nError: " in alert["text"]
        assert alert["next"] == (
            f"floe run replicate/crm; when elt/daily has ended: prefect flow-run retry {stopped.id}"
        )
        assert alert["group"] == f"prefect.flow-run.{stopped.id}"
    assert own["error"] == "ConfigurationError: it has a fault of its own"
    assert own["next"] == "mend it"


@pytest.mark.thorough
def test_a_run_that_no_alert_told_of_is_told_with_the_daily_run_that_stops_by_it(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    told(webhook_url=webhook[0])
    elt_daily, crm, erp = deployed("elt/daily"), deployed("replicate/crm"), deployed("replicate/erp")
    stopped = daily(elt_daily, {crm: Failed(message="gone"), erp: Cancelled(message="by somebody")})
    alerts = webhook[1].upto(lambda alert: alert["what"] == "elt/daily failed")
    assert [alert["what"] for alert in alerts] == ["replicate/crm failed", "elt/daily failed"]
    assert alerts[1]["error"].startswith(
        "RunNotCompleted: 2 of 2 replications did not complete: replicate/erp ended Cancelled: by somebody; "
        "replicate/crm ended Failed: gone"
    )
    assert {alert["group"] for alert in alerts} == {f"prefect.flow-run.{stopped.id}"}


@pytest.mark.thorough
def test_a_crash_that_is_tried_again_is_told_and_so_is_the_run_that_gives_up(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    told(webhook_url=webhook[0])
    queued(deployed("replicate/crm"), Crashed(message="killed"), asked_for_by="backfill/manual")
    crashed = f"replicate/crm ended Crashed: killed\nState: {SYNC_FAILED.state}\nNext: floe run replicate/crm"
    failed(deployed("backfill/manual"), RunCrashed(crashed, next_command="read another run"))
    child, parent = webhook[1].next(), webhook[1].next()
    assert child["what"] == "replicate/crm crashed"
    assert child["next"] == (
        "nothing: backfill/manual starts another one, up to three, and is told of if that does not help"
    )
    assert parent["what"] == "backfill/manual failed"
    # The first error's.
    assert parent["next"] == "floe run replicate/crm"


@pytest.mark.thorough
def test_an_error_without_a_command_is_told_with_one(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    told(slack_url=webhook[0])
    run = failed(deployed("publish/metabase"), ZeroDivisionError('"{{ 1 }}" is <odd>'))
    alert = webhook[1].next()
    assert set(alert) == {"text", "content type"}
    assert alert["text"].splitlines() == [
        "publish/metabase failed",
        "Owner: data platform",
        'Error: ZeroDivisionError: "{{ 1 }}" is <odd>',
        f"Look: {PREFECT_UI_URL.value()}/runs/flow-run/{run.id}",
        f"Next: prefect flow-run logs {run.id}",
    ]


@pytest.mark.thorough
def test_an_alert_is_mailed(deployed: Deployed) -> None:
    with smtp_receiver() as (port, received):
        recipients = ["one@example.com", "two@example.com"]
        told(
            MailSettings(host="127.0.0.1", port=port, security="none", sender="floe@example.com"),
            recipients=recipients,
        )
        failed(deployed("replicate/crm"))
        mails = [received.next(), received.next()]
    assert {mail["To"] for mail in mails} == set(recipients)
    assert {mail["Subject"] for mail in mails} == {"Floe: replicate/crm failed"}
    assert {mail["From"] for mail in mails} == {"floe@example.com"}
    assert "Next: floe run replicate/crm" in mails[0].get_content()


@pytest.mark.thorough
def test_a_receiver_that_is_down_leaves_no_secret_behind(deployed: Deployed) -> None:
    url = f"http://127.0.0.1:{free_port()}/hooks/{SECRET}"
    where = {"host": "127.0.0.1", "port": free_port(), "sender": "floe@example.com"}
    mail = MailSettings(user="floe", password=SecretStr(SECRET), **where)
    told(mail, webhook_url=SecretStr(url), recipients=["a@b.com"])
    failed(deployed("replicate/crm"))
    kept = ""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while kept.count("prefect.automation.action.failed") < 2:
        assert datetime.now(UTC) < deadline, "two actions that failed"
        kept = everything_that_server_kept()
    assert SECRET not in kept


@pytest.mark.thorough
def test_what_is_late_stuck_or_stale_is_told(webhook: tuple[SecretStr, Received], deployed: Deployed) -> None:
    settings = AlertSettings(webhook_url=webhook[0], late_after_minutes=0.2, stuck_after_minutes=0.2)
    register(alert_blocks(settings, None))
    soon_stale = [
        declared.model_copy(update={"fresh_within": timedelta(seconds=12)})
        for declared in load_declarations()
        if declared.source == "crm"
    ]
    # First, since a pool that is new has no worker, which would be told of too.
    late, stuck = deployed("elt/daily"), deployed("transform/marts")
    apply_automations(alert_automations(settings, soon_stale))
    for _ in range(2):
        queued(late, State(type=StateType.SCHEDULED, name="Late"))
    queued(stuck, State(type=StateType.RUNNING), asked_for_by="backfill/manual")
    queued(deployed("replicate/crm"), State(type=StateType.COMPLETED), asked_for_by="elt/daily")
    # Started in time, so nothing to tell.
    in_time = queued(deployed("replicate/erp"), State(type=StateType.SCHEDULED, name="Late"))
    with get_client(sync_client=True) as client:
        for state in (State(type=StateType.PENDING), State(type=StateType.RUNNING)):
            client.set_flow_run_state(in_time.id, state, force=True)
        client.set_flow_run_state(in_time.id, State(type=StateType.COMPLETED), force=True)
    alerts = {}
    for alert in [webhook[1].next() for _ in range(3)]:
        alerts[alert["what"]] = alert
    assert set(alerts) == {
        "elt/daily is late",
        "transform/marts is stuck",
        "crm is stale",
    }
    assert alerts["crm is stale"]["owner"] == "customer care"
    # The run whose end is so long ago keeps nobody waiting.
    assert alerts["crm is stale"]["waiting"] == ""
    assert alerts["transform/marts is stuck"]["waiting"] == "backfill/manual, owner data platform"
    assert alerts["elt/daily is late"]["next"].startswith("python -m deployments.worker --pool quiet")


@pytest.mark.thorough
def test_the_same_is_told_again_after_the_pause(
    webhook: tuple[SecretStr, Received], deployed: Deployed
) -> None:
    pause = timedelta(seconds=3)
    told(webhook_url=webhook[0], repeat_after_minutes=pause / timedelta(minutes=1))
    crm, ended = deployed("replicate/crm"), {}
    alerts: list[Any] = []
    while len(alerts) < 2:
        run = queued(crm, State(type=StateType.FAILED))
        ended[f"{PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"] = run.state.timestamp
        alerts += webhook[1].within(0.5)
    first, second = (list(ended).index(alert["link"]) for alert in alerts)
    times = list(ended.values())
    assert first == 0
    assert second > 1
    assert times[second - 1] - times[0] < pause <= times[second] - times[0]


@pytest.mark.thorough
def test_a_pool_that_lost_its_last_worker_is_told(webhook: tuple[SecretStr, Received]) -> None:
    told(webhook_url=webhook[0], late_after_minutes=0.2)
    ensure_pools(["lost"])
    with get_client(sync_client=True) as client:
        client.send_worker_heartbeat("lost", "its only one", heartbeat_interval_seconds=1)
    alert = webhook[1].next()
    assert alert["what"] == "work pool lost has no worker"
    assert alert["next"] == "python -m deployments.worker --pool lost --limit 4, on the pool's host"
    assert alert["link"].endswith("/work-pools/work-pool/lost")
