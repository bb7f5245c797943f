from __future__ import annotations

import json
import random
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from blocks.dashboard_definitions import ColumnSettings
from blocks.dashboard_pages import figures
from blocks.dashboard_pages.figures import Change

NODE = shutil.which("node")
SCRIPT = Path(figures.__file__).with_suffix(".js")

STYLES = [
    ColumnSettings(number_style=style, currency=currency, decimals=decimals, suffix=suffix)
    for style, currency in [
        ("decimal", "USD"),
        ("percent", "USD"),
        *(("currency", code) for code in ("USD", "EUR", "JPY", "CHF", "KWD")),
    ]
    for decimals, suffix in [(None, ""), (0, ""), (2, " kg")]
]
UNITS = [ColumnSettings(temporal_unit=unit) for unit in ("day", "week", "month", "quarter", "year")]


def values() -> list[float]:
    """Return figures of all sizes, with the ones that round badly among them."""
    source = random.Random(7)  # noqa: S311 - no secret
    spread = [source.choice([1, -1]) * 10 ** source.uniform(-4, 13) for _ in range(80)]
    cents = [round(each, 2) for each in spread if abs(each) < 1e10]
    awkward = [0, 0.5, 1.005, 2.675, -0.001, 0.045, 99999.995, 100000, 999950, 999949.99, 1e6, 12345678901]
    return [*spread, *cents, *awkward]


@pytest.mark.skipif(NODE is None, reason="no node on this machine: figures not compared with the pages'")
def test_figures_read_as_on_the_pages_to_the_letter() -> None:
    asked: list[list[Any]] = []
    answers: list[Any] = []
    for value, style in product(values(), STYLES):
        column = style.model_dump()
        asked += [["number", column, value], ["shown", column, value]]
        answers += [figures.number(value, style), figures.shown(value, style)]
    pairs = list(zip(values(), reversed(values()), strict=True))
    for (now, then), style, good in product(
        [*pairs, (5, 5), (0.25, 0.125), (3, 0), (3, -2)], STYLES[:4], (True, False)
    ):
        asked.append(["change", style.model_dump(), now, then, good])
        found = figures.change(now, then, style, good)
        answers.append({"direction": found.direction, "size": found.size, "tone": found.tone})
    days = ["2003-01-02", "2004-02-29", "2003-03-31T23:30:00Z", "2003-12-31"]
    for day, unit, count in product(days, UNITS, (1, 12, 53)):
        asked += [["day", unit.model_dump(), day], ["earlier", unit.model_dump(), day, count]]
        answers += [figures.day(day, unit), figures.earlier(day, unit, count)]
    for kind, value in [
        ("number", None),
        ("boolean", True),
        ("boolean", False),
        ("text", "x"),
        ("number", 1.5),
    ]:
        asked.append(["written", ColumnSettings().model_dump() | {"kind": kind}, value])
        answers.append(figures.written(value, kind, ColumnSettings()))  # type: ignore[arg-type]
    differing = [
        (question, page, here)
        for question, page, here in zip(asked, on_the_page(asked), answers, strict=True)
        if page != here
    ]
    assert differing == []
    assert len(asked) > 4000


def on_the_page(asked: list[list[Any]]) -> list[Any]:
    """Return what the pages' own script answers."""
    program = """
      const { numberOf, shown, change, dateOf, earlier, writer } = floeFigures;
      const answer = {
        number: (column, value) => numberOf(column)(value),
        shown: (column, value) => shown(column, value),
        change: (column, now, then, good) => change(column, now, then, good),
        day: (column, value) => dateOf(column)(value),
        earlier: (column, value, count) => earlier(value, column.temporal_unit, count),
        written: (column, value) => writer(column)(value),
      };
      const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
      console.log(JSON.stringify(asked.map(([name, ...rest]) => answer[name](...rest))));
    """
    assert NODE
    done = subprocess.run(
        [NODE, "-e", SCRIPT.read_text(encoding="utf-8") + program],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


def test_figures_are_written_for_people() -> None:
    dollars = ColumnSettings(number_style="currency")
    assert figures.number(1234.5, dollars) == "$1,234.50"
    assert figures.number(-0.5, dollars) == "-$0.50"
    assert figures.shown(1234567.8, dollars) == "$1.235M"
    assert figures.number(0.0456, ColumnSettings(number_style="percent")) == "4.6%"
    assert figures.written(None, "number", dollars) == "–"
    assert figures.day("2003-02-01", ColumnSettings(temporal_unit="month")) == "Feb 2003"


def test_a_change_is_welcome_or_not() -> None:
    plain = ColumnSettings()
    assert figures.change(110, 100, plain, fall_is_good=False) == Change("up", "10%", "good")
    assert figures.change(110, 100, plain, fall_is_good=True) == Change("up", "10%", "bad")
    assert figures.change(0.05, 0.07, ColumnSettings(number_style="percent"), True) == Change(
        "down", "2.0 points", "good"
    )
