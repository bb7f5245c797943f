"""The sample company of a stack: generated once, then played on, day by day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from blocks.settings import load_settings
from deployments.local import postgres
from deployments.local.services import HOST
from deployments.local.stack import SOURCES, Stack
from lambda_csv_loader.ducklake import libpq


def source_dsns(stack: Stack) -> dict[str, str]:
    """Return a libpq connection string, without a secret in it, for each source database."""
    port = stack.ports["postgres-sources"]
    return {name: libpq(HOST, port, postgres.SUPERUSER, name, stack.home.passfile) for name in SOURCES}


def landing_upload() -> Callable[[str, bytes], None]:
    """Return a function that puts an object into the landing bucket, as any producer of files would."""
    store = load_settings().object_store
    secret = store.secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )
    return lambda key, content: client.put_object(Bucket=store.bucket, Key=key, Body=content) and None


def ensure(stack: Stack, scale: float, say: Callable[[str], None]) -> None:
    """Generate the sample unless it is there already.

    Args:
        stack: its databases and object store must be ready.
        scale: TPC-DS scale factor.
        say: receives one sentence per table.
    """
    from deployments.local.sample.generate import generate

    def progress(name: str, rows: int) -> None:
        if not name.endswith(".csv"):
            say(f"Sample {name}: {rows:,} rows")

    made = generate(source_dsns(stack), scale, stack.home.extensions, landing_upload(), progress)
    if made.created:
        say(f"Sample company at scale {made.scale:g}: {len(made.rows)} tables, {made.files} weekly files")


def play(stack: Stack, days: int, seed: int, console: Console, *, rare: bool = False) -> None:
    """Play business days and print what happened.

    Args:
        stack: whose company it is.
        days: how many.
        seed: of the dice.
        console: where to print.
        rare: whether rows are also deleted, and what else a sync by cursor misses happens.
    """
    from deployments.local.sample.simulate import simulate

    stack.enter()
    summary = simulate(
        source_dsns(stack),
        landing_upload(),
        days,
        seed,
        stack.home.event_log,
        deletions=rare,
        rare=rare,
    )
    table = Table(title=_title(summary.days), title_justify="left", box=None, header_style="bold")
    table.add_column("what happened")
    table.add_column("rows", justify="right")
    for kind, count in sorted(summary.kinds.items()):
        table.add_row(kind.replace("_", " "), f"{count:,}")
    console.print(table)
    console.print(f"Every change is in {stack.home.event_log}. Load it: floe run")


def _title(days: Sequence[date]) -> str:
    return f"Played {days[0]}" if len(days) == 1 else f"Played {days[0]} to {days[-1]}"
