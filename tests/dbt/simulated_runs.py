"""Runs of the pipeline on days of the sample company, and what of the marts differs from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from company import Company
from dbt_stages import DbtProject, Stage

from blocks.changed_nodes import EVERYTHING, PublishedBuild
from blocks.ducklake_publisher import DuckLakePublisher
from deployments.local.sample.tables import TABLES
from lambda_csv_loader.ducklake import connect, sql_string

# How a mart is read to be compared; keys that dbt makes up are replaced by what they stand for.
MARTS = {
    "dim_customers_history": "select * exclude (customer_version_key) from build.dim_customers_history",
    "dim_customers": "from build.dim_customers",
    "dim_items": "from build.dim_items",
    "dim_promotions_history": "select * exclude (promotion_version_key) from build.dim_promotions_history",
    "dim_promotions": "from build.dim_promotions",
    "dim_dates": "from build.dim_dates",
    "dim_warehouses": "from build.dim_warehouses",
    "dim_return_reasons": "from build.dim_return_reasons",
    "fct_sales": """
        select sales.* exclude (customer_version_key), version.valid_from as version_from
        from build.fct_sales as sales
        left join build.dim_customers_history as version using (customer_version_key)
    """,
    "fct_returns": "from build.fct_returns",
    "fct_inventory_weekly": "from build.fct_inventory_weekly",
    "fct_weekly_sales_inventory": "from build.fct_weekly_sales_inventory",
    "fct_promotion_performance": "from build.fct_promotion_performance",
    "mart_executive_daily": "from build.mart_executive_daily",
    "mart_customer_lifetime_value": "from build.mart_customer_lifetime_value",
    "mart_customer_cohorts": "from build.mart_customer_cohorts",
}


@dataclass(frozen=True)
class Run:
    """A build, and a database with the truth at its cut-off."""

    stage: Stage
    truth: Path

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the lake and on `truth`."""
        self.stage.connection.execute(f"attach if not exists {sql_string(self.truth)} as truth (read_only)")
        return self.stage.query(sql)

    def differences(self, mart: str) -> dict[str, list[Any]]:
        """Return rows that the mart lacks and rows that it has too many of, five of each at most."""
        expected, actual = f"truth.main.{mart}", f"({MARTS[mart]})"
        columns = self._columns(f"from {expected}")
        assert columns == self._columns(MARTS[mart])
        names = ", ".join(columns)
        both = {"missing": (expected, actual), "surplus": (actual, expected)}
        return {
            kind: rows
            for kind, (one, other) in both.items()
            if (
                rows := self.query(
                    f"(select {names} from {one}) except all (select {names} from {other}) limit 5"
                )
            )
        }

    def _columns(self, query: str) -> list[str]:
        return sorted(name for (name,) in self.query(f"select column_name from (describe {query})"))


def first_run(company: Company, project: DbtProject, *options: str) -> Run:
    """Replicate the company as it is, load all its files and build."""
    company.sync(TABLES)
    company.deliver(company.databases.files, "first")
    return _build(company, project, options)


def run_after(
    company: Company,
    project: DbtProject,
    days: int,
    *options: str,
    lost: Sequence[str] = (),
    again: Sequence[str] = (),
) -> Run:
    """Play days, bring the raw layer up to date and build.

    Args:
        company: plays.
        project: builds.
        days: number of days since the last run.
        options: of `dbt build`.
        lost: dates of the stock files that never arrive.
        again: dates of stock files that are delivered once more.
    """
    last = company.play(days)
    company.sync()
    company.reconcile()
    arrived = {
        key: content
        for key, content in company.databases.files.items()
        if key not in company.delivered and not any(day in key for day in lost)
    }
    if arrived:
        company.deliver(arrived, f"until_{last}")
    for day in again:
        key = f"landing/inventory/inventory_{day}.csv"
        company.deliver({key: company.databases.files[key]}, f"{day}_again_after_{last}")
    return _build(company, project, options)


def _build(company: Company, project: DbtProject, options: Sequence[str]) -> Run:
    """Build what has changed since the run before, as the flow `transform` does, and publish it."""
    truth = company.reckon()
    kept = PublishedBuild(project.folder / "published")
    run = str(uuid4())
    with connect(project.lake) as connection:
        publisher = DuckLakePublisher(connection)
        publisher.begin(run)
        changes = publisher.changes(*kept.schemas()) if kept.is_there else None
    chosen = kept.selection({}, changes) if changes else EVERYTHING
    stage = project.build(*options, *chosen.options, **chosen.environment)
    assert stage.outcome.returncode == 0, stage.outcome.output
    nodes = project.manifest()["nodes"].values()
    marts = [node["name"] for node in nodes if (node["resource_type"], node["schema"]) == ("model", "build")]
    with connect(project.lake) as connection:
        publication = DuckLakePublisher(connection).publish(run, marts)
    kept.keep(project.folder / "local", {}, publication.publication_id)
    return Run(stage, truth)
