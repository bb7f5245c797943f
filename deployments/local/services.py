"""What runs on a laptop: each service's command, in the order of its start, and how to see it ready."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from blocks.settings import ROOT
from deployments.local import postgres
from deployments.local.home import Home, Secrets
from deployments.prefect_server import OUTLIVES_KILL

HOST = "127.0.0.1"
BUCKET = "floe-landing"
REGION = "eu-central-1"
# moto serves every account; boto3 wants some key, and the key id is the account.
OBJECT_STORE_KEY_ID = "floe-laptop"
WORK_POOLS = {"airbyte-host": 3, "dbt-host": 4, "metabase-host": 2}


@dataclass(frozen=True)
class Service:
    """One supervised process.

    Attributes:
        name: as shown by `floe status`.
        command: program and arguments.
        ready: tells whether it serves; None for those that serve nobody (workers).
        account: the operating-system account it runs as; None for ours.
        stop_signal: asks it to end in good order.
        url: where a person can look at it.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool] | None = None
    account: str | None = None
    stop_signal: str = "TERM"
    url: str | None = None


def answers(url: str) -> Callable[[], bool]:
    """Return a check that a GET of `url` succeeds."""

    def check() -> bool:
        try:
            return httpx.get(url, timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return check


def services(home: Home, ports: Mapping[str, int]) -> list[Service]:
    """Return every service of the stack in the order in which they are started."""
    python = sys.executable
    prefect = f"http://{HOST}:{ports['prefect']}"
    store = f"http://{HOST}:{ports['object-store']}"
    airbyte = f"http://{HOST}:{ports['airbyte']}"
    pages = f"http://{HOST}:{ports['dashboards']}"

    def cluster(name: str, data: Path) -> Service:
        port = ports[name]
        return Service(
            name,
            postgres.serve_command(data, port),
            ready=lambda: postgres.accepts_connections(HOST, port, home.passfile),
            account=postgres.service_account(),
            stop_signal="INT",
        )

    def worker(pool: str, limit: int) -> Service:
        options = ["--pool", pool, "--limit", str(limit)]
        return Service(f"worker-{pool}", [python, "-m", "deployments.worker", *options])

    return [
        cluster("postgres-sources", home.sources),
        cluster("postgres-platform", home.platform),
        Service(
            "object-store",
            [python, "-m", "deployments.local.object_store", "--port", str(ports["object-store"])]
            + ["--mirror", str(home.mirror), "--bucket", BUCKET],
            ready=answers(f"{store}/moto-api/"),
        ),
        Service(
            "airbyte",
            [python, "-m", "deployments.local.airbyte", "--port", str(ports["airbyte"])]
            + ["--home", str(home.airbyte)],
            ready=answers(f"{airbyte}/api/public/v1/health"),
        ),
        Service(
            "dashboards",
            [python, "-m", "http.server", str(ports["dashboards"]), "--bind", HOST]
            + ["--directory", str(home.dashboards)],
            ready=answers(pages),
            url=pages,
        ),
        Service(
            "prefect",
            [python, "-m", "deployments.local.prefect_server", "--port", str(ports["prefect"])],
            ready=answers(f"{prefect}/api/health"),
            url=prefect,
        ),
        Service("event-source", [python, "-m", "deployments.local.event_source"]),
        *(worker(pool, limit) for pool, limit in WORK_POOLS.items()),
    ]


def stack_settings(home: Home, secrets: Secrets, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the settings of this stack as `FLOE_...` variables (see `blocks.settings`)."""
    store = f"http://{HOST}:{ports['object-store']}"
    variables = {
        "FLOE_PROFILE": "local",
        "FLOE_AIRBYTE__SERVER_URL": f"http://{HOST}:{ports['airbyte']}",
        "FLOE_AIRBYTE__CLIENT_ID": secrets.airbyte_client_id,
        "FLOE_AIRBYTE__CLIENT_SECRET": secrets.airbyte_client_secret,
        "FLOE_OBJECT_STORE__BUCKET": BUCKET,
        "FLOE_OBJECT_STORE__QUEUE_URL": f"{store}/123456789012/{BUCKET}-events",
        "FLOE_OBJECT_STORE__DEAD_LETTER_QUEUE_URL": f"{store}/123456789012/{BUCKET}-events-dlq",
        "FLOE_OBJECT_STORE__REGION": REGION,
        "FLOE_OBJECT_STORE__ENDPOINT_URL": store,
        "FLOE_OBJECT_STORE__ACCESS_KEY_ID": OBJECT_STORE_KEY_ID,
        "FLOE_OBJECT_STORE__SECRET_ACCESS_KEY": secrets.object_store_key,
        "FLOE_WAREHOUSE__TYPE": "ducklake",
        "FLOE_WAREHOUSE__HOST": HOST,
        "FLOE_WAREHOUSE__PORT": str(ports["postgres-platform"]),
        "FLOE_WAREHOUSE__DATABASE": "lake",
        "FLOE_WAREHOUSE__PASSFILE": str(home.passfile),
        "FLOE_WAREHOUSE__DATA_PATH": str(home.lake),
        "FLOE_WAREHOUSE__EXTENSION_DIRECTORY": str(home.extensions),
        "FLOE_DASHBOARDS__PAGES": str(home.dashboards),
        "FLOE_DASHBOARDS__URL": f"http://{HOST}:{ports['dashboards']}",
    }
    for source in ("crm", "erp", "accounting"):
        prefix = f"FLOE_SOURCES__{source.upper()}__"
        variables |= {
            f"{prefix}HOST": HOST,
            f"{prefix}PORT": str(ports["postgres-sources"]),
            f"{prefix}DATABASE": source,
            f"{prefix}USER": postgres.SUPERUSER,
            f"{prefix}PASSWORD": secrets.postgres_password,
        }
    return variables


def prefect_environment(home: Home, ports: Mapping[str, int]) -> dict[str, str]:
    """Return what every Prefect process of this stack (server, workers, flow runs, CLI) is told."""
    return {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Remembering which block types are registered makes the server import every integration first.
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        # A laptop has one user and short runs: look for work often, start it when it is due.
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        # Where prefect.yaml's pull step finds the code.
        "FLOE_ROOT": str(ROOT),
    }


def service_environment(home: Home, secrets: Secrets, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the variables that all services get on top of the user's own.

    They are handed to supervisord's process, not written into its configuration, since they hold
    secrets. `FLOE_STACK` marks each process, so that orphans are recognised.
    """
    # Prefect on PostgreSQL needs the extension pg_trgm, which the PostgreSQL wheel does not carry.
    database = f"sqlite+aiosqlite:///{home.prefect / 'prefect.db'}"
    return {
        **stack_settings(home, secrets, ports),
        **prefect_environment(home, ports),
        **OUTLIVES_KILL,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_ENCRYPTION_KEY": secrets.prefect_encryption_key,
        "PGPASSFILE": str(home.passfile),
        "FLOE_HOME": str(home.root),
        "FLOE_STACK": str(home.root),
        "PYTHONUNBUFFERED": "1",
    }
