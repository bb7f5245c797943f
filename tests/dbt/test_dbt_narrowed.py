"""A build that looks only at what has changed leaves the large marts as one of everything would."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from changed_rows import BEFORE, DAY, MARTS, ROWS, SALES, TIME, Case
from dbt_stages import DbtProject, Stage

pytestmark = pytest.mark.thorough

# It is in a compiled mart that looks at every row.
OF_ALL_ROWS = "where true"


@dataclass(frozen=True)
class Narrowed:
    """The marts before a change, after a build that looks at what has changed, and built in full then."""

    before: Stage
    after: Stage
    in_full: Stage
    looked_at_all: set[str]

    def rows(self, case: Case) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        """Return the rows of a case before and after."""
        query = f"select * from build.{case.mart} where {case.rows} order by all"
        return self.before.query(query), self.after.query(query)

    def stale(self, mart: str) -> list[tuple[object, ...]]:
        """Return rows of a mart that are there in one of the two builds after the change only."""
        full, narrowed = f"from build.{mart}", f"from build.{mart} at (version => {self.after.version})"
        return self.in_full.query(
            f"((select 'full', * {full} except all select 'full', * {narrowed}) union all"
            f" (select 'narrowed', * {narrowed} except all select 'narrowed', * {full})) limit 4"
        )


def narrowed(
    project: DbtProject, before: Stage, *statements: str, marts: tuple[str, ...] = MARTS
) -> Narrowed:
    """Change the raw layer, build what has changed, and then the marts in full."""
    project.change(*statements)
    version = str(before.version)
    since = {"FLOE_DBT_BEGAN_WITH": version, "FLOE_DBT_PUBLISHED_VERSION": version}
    after = built(project, "--select", "snp_customers", "dim_customers_history", *marts, **since)
    compiled = project.folder / "local" / "compiled" / "floe" / "models" / "marts"
    texts = {mart: next(compiled.rglob(f"{mart}.sql")).read_text() for mart in marts}
    looked_at_all = {mart for mart, text in texts.items() if OF_ALL_ROWS in text}
    return Narrowed(before, after, built(project, "--full-refresh", "--select", *marts), looked_at_all)


def built(project: DbtProject, *options: str, **variables: str) -> Stage:
    """Build without tests and return the lake as it is then."""
    stage = project.build("--exclude-resource-type", "test", "unit_test", *options, **variables)
    assert stage.outcome.returncode == 0, stage.outcome.output
    return stage


@pytest.fixture(scope="module")
def first_built(own_project: DbtProject) -> Stage:
    """The large marts of the sample with a few rows more."""
    own_project.change(*BEFORE)
    return built(own_project, "--select", "+fct_weekly_sales_inventory")


@pytest.fixture(scope="module")
def rows(own_project: DbtProject, first_built: Stage) -> Narrowed:
    """All changes of customers, sales, returns and stock at once."""
    return narrowed(own_project, first_built, *(case.statement for case in ROWS.values()))


@pytest.fixture(scope="module")
def time(own_project: DbtProject, rows: Narrowed) -> Narrowed:
    """Then another second of the day."""
    return narrowed(own_project, rows.in_full, TIME.statement, marts=(SALES,))


@pytest.fixture(scope="module")
def day(own_project: DbtProject, time: Narrowed) -> Narrowed:
    """Then another day of the calendar."""
    return narrowed(own_project, time.in_full, DAY.statement)


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS)
def test_a_change_of_rows_reaches_the_mart(rows: Narrowed, case: Case) -> None:
    before, after = rows.rows(case)
    assert before != after


@pytest.mark.parametrize("mart", MARTS)
def test_after_changes_of_rows_nothing_is_stale_though_only_they_are_looked_at(
    rows: Narrowed, mart: str
) -> None:
    assert mart not in rows.looked_at_all
    assert rows.stale(mart) == []


def test_after_a_change_of_the_time_table_all_sales_are_looked_at_and_none_is_stale(time: Narrowed) -> None:
    assert time.stale(SALES) == []
    assert time.looked_at_all == {SALES}
    before, after = time.rows(TIME)
    assert before != after


@pytest.mark.parametrize("mart", MARTS)
def test_after_a_change_of_the_calendar_everything_is_looked_at_and_nothing_is_stale(
    day: Narrowed, mart: str
) -> None:
    assert day.stale(mart) == []
    assert mart in day.looked_at_all
    before, after = day.rows(DAY)
    assert before != after
