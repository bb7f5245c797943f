"""The README's everyday commands on a stack whose first run has ended. In the order in which they stand."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.contents import STREAMS, mart_contents

pytestmark = [pytest.mark.e2e, pytest.mark.thorough]


def test_up_runs_elt_for_the_first_time(stack: Stack) -> None:
    stack.succeed("floe", "up")
    stack.succeed("floe", "run")


def test_a_second_run_by_hand_changes_no_row_of_the_marts(stack: Stack) -> None:
    before = mart_contents(stack)
    stack.succeed("prefect", "deployment", "run", "elt/daily", "--watch", PREFECT_API_URL=stack.prefect_api())
    assert mart_contents(stack) == before


def test_a_backfill_says_what_it_would_do_and_upkeep_what_it_did(stack: Stack) -> None:
    marts = mart_contents(stack)
    planned = stack.succeed("floe", "backfill", "--source", "crm", "--stream", "customer", "--plan")
    assert "What the backfill does, in this order" in planned
    assert re.search(r"replicate/crm\s+read customer anew as a whole", planned), planned
    freed = stack.succeed("floe", "run", "maintain/daily")
    assert re.search(r"lake: small files merged into \d+\s+[1-9]", freed), freed
    assert mart_contents(stack) == marts


def test_prometheus_is_given_what_status_tells(stack: Stack) -> None:
    exporter = stack.start("floe", "metrics", "--port", "0")
    try:
        assert exporter.stdout is not None
        scraped = httpx.get(exporter.stdout.readline().split()[-1], timeout=60).text
    finally:
        exporter.terminate()
        exporter.communicate(timeout=30)
    samples = dict(line.rsplit(" ", 1) for line in scraped.splitlines() if not line.startswith("#"))
    assert samples['floe_deployment_last_run_failed{deployment="elt/daily"}'] == "0.0"
    assert samples['floe_flow_runs_total{deployment="elt/daily",state="failed"}'] == "0.0"
    assert float(samples['floe_csv_files{dataset="inventory",status="loaded"}']) > 100
    for source, table in STREAMS:
        stream = f'{{namespace="public",source="{source}",stream="{table}"}}'
        assert float(samples[f"floe_stream_rows_written_total{stream}"]) > 0


def test_the_documentation_is_served_beside_the_dashboards(stack: Stack) -> None:
    address = stack.succeed("floe", "marts", "docs").split()[-1]
    page = httpx.get(address, trust_env=False).text
    assert "fct_weekly_sales_inventory" in page
    assert "documentation.html" not in httpx.get(str(stack.settings().dashboards.url), trust_env=False).text
    stack.succeed("floe", "dashboards", "preview")
    assert "documentation.html" in httpx.get(str(stack.settings().dashboards.url), trust_env=False).text


def test_what_syncs_by_cursor_miss_is_in_the_marts_after_reconciling(stack: Stack) -> None:
    stack.succeed("floe", "simulate", "--days", "2", "--rare")
    stack.succeed("floe", "run", "replicate/crm")
    stack.succeed("floe", "run", "transform/marts")
    assert emails_of_marts(stack) != emails_of_source(stack)
    stack.succeed("floe", "run", "reconcile/crm")
    stack.succeed("floe", "run", "transform/marts")
    assert emails_of_marts(stack) == emails_of_source(stack)


def emails_of_marts(stack: Stack) -> dict[int, str | None]:
    rows = stack.query(
        "select customer_sk, email_address from marts.dim_customers"
        " where customer_sk <> -1 and not is_deleted"
    )
    return dict(rows)


def emails_of_source(stack: Stack) -> dict[int, str | None]:
    with stack.source("crm") as crm:
        return dict(crm.execute("select c_customer_sk, c_email_address from customer").fetchall())
