"""The metrics of the semantic layer, asked as they are declared, agree with the marts that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from dbt_stages import PROJECT, DbtProject, Stage

from blocks.dashboard_definitions import QuestionCard
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_queries import render

# What the dashboards call a metric, beside its label.
ALSO_CALLED = {"Gross sales": "revenue", "Net sales": "net_revenue", "Units on hand": "stock_on_hand"}
# What the columns by which cards divide are made of: the metric's dimensions, and an expression of them.
DIVISIONS = {
    "month": ((), "date_trunc('month', date)::date"),
    "week": ((), "date"),
    "quarter": ((), "'Q' || quarter(date)"),
    "year": ((), "year(date)::varchar"),
    "sales_channel": (("sales_channel",), "sales_channel"),
    "category": (
        ("item_sk",),
        "(select coalesce(category, 'Unknown') from build.dim_items where item_sk = metric.item_sk)",
    ),
    "item_id": (("item_sk",), "(select item_id from build.dim_items where item_sk = metric.item_sk)"),
    "warehouse_name": (
        ("warehouse_sk",),
        "(select warehouse_name from build.dim_warehouses where warehouse_sk = metric.warehouse_sk)",
    ),
}
NEWEST_WEEK = (
    "date = (select max(week_start_date) from build.fct_weekly_sales_inventory"
    " where not is_partial_week and quantity_on_hand is not null)"
)


class SemanticLayer:
    """Turns a metric of dbt's own semantic manifest into SQL, for one grain."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.metrics = {metric["name"]: metric for metric in manifest["metrics"]}
        self._measures = {
            measure["name"]: (model, measure)
            for model in manifest["semantic_models"]
            for measure in model["measures"]
        }

    def query(self, metric: str, *dimensions: str, time: str = "date") -> str:
        """Return a query for a metric per day and `dimensions`, with a null or 0 where there is none."""
        measures = sorted(self._inputs(metric))
        keys = [time, *dimensions]
        joined = f"({self._aggregate(measures[0], keys)}) as m0"
        for number, measure in enumerate(measures[1:], 1):
            joined += (
                f" full outer join ({self._aggregate(measure, keys)}) as m{number} using ({', '.join(keys)})"
            )
        return f"select {', '.join(keys)}, {self._formula(metric)} as {metric} from {joined}"

    def _inputs(self, metric: str) -> set[str]:
        kind, parameters = self.metrics[metric]["type"], self.metrics[metric]["type_params"]
        if kind == "simple":
            return {metric}
        if kind == "ratio":
            parts = [parameters["numerator"]["name"], parameters["denominator"]["name"]]
        else:
            parts = [part["name"] for part in parameters["metrics"]]
        return set().union(*map(self._inputs, parts))

    def _formula(self, metric: str) -> str:
        kind, parameters = self.metrics[metric]["type"], self.metrics[metric]["type_params"]
        if kind == "simple":
            filled = parameters["measure"]["fill_nulls_with"]
            return metric if filled is None else f"coalesce({metric}, {filled})"
        if kind == "ratio":
            over, under = (self._formula(parameters[part]["name"]) for part in ("numerator", "denominator"))
            return f"(({over}) / nullif({under}, 0))"
        formula: str = parameters["expr"]
        for part in parameters["metrics"]:
            formula = re.sub(rf"\b{part['name']}\b", self._formula(part["name"]), formula)
        return f"({formula})"

    def _aggregate(self, metric: str, keys: list[str]) -> str:
        measure_name = self.metrics[metric]["type_params"]["measure"]["name"]
        model, measure = self._measures[measure_name]
        expression = measure["expr"] or measure["name"]
        value = (
            f"count(distinct {expression})" if measure["agg"] == "count_distinct" else f"sum({expression})"
        )
        time = model["defaults"]["agg_time_dimension"]
        relation = model["node_relation"]
        return (
            f"select {time} as {keys[0]}, {''.join(f'{key}, ' for key in keys[1:])}{value} as {metric}"
            f" from {relation['schema_name']}.{relation['alias']} where {time} is not null group by all"
        )


@pytest.fixture(scope="module")
def semantic_layer(project: DbtProject, first: Stage) -> SemanticLayer:
    return SemanticLayer(json.loads((project.folder / "local" / "semantic_manifest.json").read_text()))


@pytest.mark.parametrize(
    ("metric", "column"),
    [
        ("revenue", "gross_sales_amount"),
        ("returns", "return_amount"),
        ("net_revenue", "net_sales_amount"),
        ("net_profit", "net_profit_amount"),
        ("net_margin", "net_margin_ratio"),
        ("customers", "customers"),
    ],
)
def test_the_executive_mart_agrees_with_the_metric_per_day_and_channel(
    first: Stage, semantic_layer: SemanticLayer, metric: str, column: str
) -> None:
    rows, differing = first.query(
        f"""
        select count(mart.date), count(*) filter (
            coalesce(metric.{metric}, 0)::decimal(38, 4) <> coalesce(mart.{column}, 0)
        )
        from build.mart_executive_daily as mart
        full outer join ({semantic_layer.query(metric, "sales_channel")}) as metric
            on metric.date = mart.date and metric.sales_channel = mart.sales_channel
        """
    )[0]
    assert rows > 1000
    assert differing == 0


def test_units_agree_with_the_weekly_mart(first: Stage, semantic_layer: SemanticLayer) -> None:
    daily = semantic_layer.query("units", "item_sk", "warehouse_sk")
    assert _differing(
        first,
        "select week_start_date, warehouse_sk, item_sk, quantity_sold from build.fct_weekly_sales_inventory"
        " where sale_lines > 0",
        "select date_trunc('week', date)::date, warehouse_sk, item_sk, sum(units)"
        f" from ({daily}) group by all",
    ) == [(0,)]


def test_weeks_of_supply_agree_with_the_weekly_mart(first: Stage, semantic_layer: SemanticLayer) -> None:
    """At the mart's own grain, and over all items as the stock of a week over what the week sells."""
    metric_per_item = semantic_layer.query("weeks_of_supply", "warehouse_sk", "item_sk")
    [(rows, differing)] = first.query(
        f"""
        select count(*), count(*) filter (
            abs(mart.weeks_of_supply - metric.weeks_of_supply) > 0.001 * mart.weeks_of_supply + 0.001
        )
        from build.fct_weekly_sales_inventory as mart
        inner join ({metric_per_item}) as metric
            on metric.date = mart.week_start_date and metric.warehouse_sk = mart.warehouse_sk
            and metric.item_sk = mart.item_sk
            and (metric.weeks_of_supply is null) = (mart.weeks_of_supply is null)
        """
    )
    assert first.query("select count(*) from build.fct_weekly_sales_inventory") == [(rows,)]
    assert differing == 0
    [(metric,)] = first.query(
        f"select weeks_of_supply from ({semantic_layer.query('weeks_of_supply')})"
        " where date = date '2001-06-04'"
    )
    [(on_hand, pace)] = first.query(
        "select sum(quantity_on_hand), sum(average_daily_quantity) * 7 from build.fct_weekly_sales_inventory"
        " where week_start_date = date '2001-06-04' and quantity_on_hand is not null"
    )
    assert metric == pytest.approx(float(on_hand) / float(pace))


def test_stock_is_declared_as_what_cannot_be_summed_over_time(project: DbtProject, first: Stage) -> None:
    manifest = json.loads((project.folder / "local" / "semantic_manifest.json").read_text())
    [stock] = [model for model in manifest["semantic_models"] if model["name"] == "weekly_stock"]
    assert {measure["non_additive_dimension"]["window_choice"] for measure in stock["measures"]} == {"max"}


def _differing(stage: Stage, one: str, other: str) -> list[Any]:
    return stage.query(
        f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
    )


def named_metrics() -> Iterator[tuple[QuestionCard, str, str]]:
    """Yield each card whose title, or a heading in it, is a metric's name, with its column and the metric."""
    called = dict(ALSO_CALLED)
    for file in sorted((PROJECT / "models" / "semantic").glob("*.yml")):
        called |= {metric["label"]: metric["name"] for metric in yaml.safe_load(file.read_text())["metrics"]}
    for dashboard in load_dashboards(DASHBOARDS):
        for card in dashboard.questions:
            of_chart = card.visualization_settings.metrics
            for column in dict.fromkeys((*of_chart, *card.visualization_settings.column_settings)):
                heading = re.split(", | by ", card.title)[0] if column in of_chart else ""
                names = {called[name] for name in (heading, card.title_of(column)) if name in called}
                yield from ((card, column, metric) for metric in names)


NAMED = list(named_metrics())


def test_cards_name_metrics() -> None:
    assert {metric for _, _, metric in NAMED} == {
        *("revenue", "net_revenue", "returns", "units", "stock_on_hand", "weeks_of_supply")
    }


@pytest.mark.parametrize(
    ("card", "column", "metric"), NAMED, ids=[f"{card.key}-{column}" for card, column, _ in NAMED]
)
def test_a_card_that_names_a_metric_shows_its_numbers(
    first: Stage, semantic_layer: SemanticLayer, card: QuestionCard, column: str, metric: str
) -> None:
    shown = f"({render(card.query, schema='build')})"
    columns = [row[0] for row in first.query(f"describe {shown}")]
    parts = [part for part in columns if part in DIVISIONS]
    assert parts
    dimensions = dict.fromkeys(name for part in parts for name in DIVISIONS[part][0])
    expected = (
        f"select {', '.join(f'{DIVISIONS[part][1]} as {part}' for part in parts)}, sum({metric}) as expected"
        f" from ({semantic_layer.query(metric, *dimensions)}) as metric"
        f" where {NEWEST_WEEK if 'item_id' in parts else 'true'} group by all"
    )
    [(rows, differing)] = first.query(
        f"select count(*), count(*) filter (not coalesce(abs({column} - expected) < 0.005, false))"
        f" from {shown} as card left join ({expected}) as metric using ({', '.join(parts)})"
    )
    assert rows > 0
    assert differing == 0
