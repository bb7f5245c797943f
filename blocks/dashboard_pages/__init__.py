"""The dashboards as pages that need no server: one HTML file each, and an index.

A page holds its data for every choice of its filters, its styles and its script; only Vega, which is
the same for all pages and large, is a file beside them. No page asks any other host for anything.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from blocks.dashboard_definitions import Dashboard, Filter, QuestionCard
from blocks.dashboard_pages.answers import (
    Answer,
    CardFailed,
    CardUnanswered,
    ask,
    card_error,
    newest,
    on_cursor,
    remembering,
)
from blocks.dashboard_pages.charts import CHART_DISPLAYS, chart
from blocks.dashboard_pages.choices import Option, Query, Result, options_of
from blocks.dashboard_pages.moments import moment

__all__ = [
    "DOCUMENTATION",
    "CardFailed",
    "CardUnanswered",
    "Query",
    "RenderedCard",
    "RenderedPages",
    "Result",
    "on_cursor",
    "render_pages",
]

DOCUMENTATION = "documentation.html"
"""The file beside the pages that dbt's documentation of the marts is written to."""
_TEMPLATES = Path(__file__).parent
_MANIFEST = "floe-pages.json"


@dataclass(frozen=True)
class RenderedCard:
    """What one card cost: rows are those without a filter, seconds those of the warehouse."""

    dashboard: str
    card: str
    rows: int
    choices: int
    seconds: float


@dataclass(frozen=True)
class RenderedPages:
    """What was written where."""

    index: Path
    pages: tuple[Path, ...]
    cards: tuple[RenderedCard, ...]


def render_pages(
    dashboards: Sequence[Dashboard], query: Query, folder: Path, data_as_of: datetime | date | None = None
) -> RenderedPages:
    """Write one page per dashboard and an index.

    Everything is written to a temporary folder first and each file then renamed into place, so a reader
    sees the page before or the page after, never a half one. When a card fails nothing is replaced.

    Args:
        dashboards: in the order of the navigation.
        query: runs a statement on the warehouse (`on_cursor`).
        folder: where the pages go; created when missing. Files in it that are not pages stay.
        data_as_of: the time that the data is of; by default each dashboard's own `data_as_of` column.

    Raises:
        CardFailed: a card's query cannot run on the marts.
        CardUnanswered: the warehouse stopped answering.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))
    try:
        drawn = [_Page.ask(each, query, data_as_of) for each in dashboards]
        vega = _vega(folder, staging)
        environment = _environment()
        shared = {
            "vega": vega,
            "navigation": [(each.key, each.title) for each in dashboards],
            "rendered_at": datetime.now(UTC),
        }
        for page in drawn:
            html = environment.get_template("page.html.j2").render(page=page, **shared)
            (staging / f"{page.dashboard.key}.html").write_text(html, encoding="utf-8")
        documentation = DOCUMENTATION if (folder / DOCUMENTATION).exists() else None
        html = environment.get_template("index.html.j2").render(
            pages=drawn, documentation=documentation, **shared
        )
        (staging / "index.html").write_text(html, encoding="utf-8")
        _swap(staging, folder, vega)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return RenderedPages(
        folder / "index.html",
        tuple(folder / f"{each.key}.html" for each in dashboards),
        tuple(
            RenderedCard(page.dashboard.key, key, len(answer.choices[0]), len(answer.choices), answer.seconds)
            for page in drawn
            for key, answer in page.answers.items()
        ),
    )


@dataclass(frozen=True)
class _Page:
    """A dashboard with its answers, as the template sees it."""

    dashboard: Dashboard
    as_of: datetime | date | None
    options: dict[str, tuple[Option, ...]]
    answers: dict[str, Answer]

    @classmethod
    def ask(cls, dashboard: Dashboard, query: Query, data_as_of: datetime | date | None) -> _Page:
        query = remembering(query)
        as_of = data_as_of or newest(dashboard, query)
        day = as_of.date() if isinstance(as_of, datetime) else as_of or datetime.now(UTC).date()
        options = {each.key: _options(dashboard, each, query, day) for each in dashboard.filters}
        answers = {card.key: ask(dashboard, card, options, query) for card in dashboard.questions}
        return cls(dashboard, as_of, options, answers)

    @property
    def filters(self) -> list[dict[str, Any]]:
        """The controls, without those that would have nothing to choose."""
        return [
            {"key": each.key, "title": each.title, "options": self.options[each.key]}
            for each in self.dashboard.filters
            if len(self.options[each.key]) > 1
        ]

    @property
    def unoffered(self) -> list[str]:
        """Titles of the filters that the page has to do without."""
        return [each.title for each in self.dashboard.filters if len(self.options[each.key]) == 1]

    def settings(self, card: QuestionCard) -> dict[str, Any]:
        """What the page's script needs to know of a card, besides the rows."""
        answer = self.answers[card.key]
        visual = card.visualization_settings
        return {
            "key": card.key,
            "title": card.title,
            "display": card.display,
            "dimensions": visual.dimensions,
            "metrics": visual.metrics,
            "comparisons": visual.comparisons,
            "fallIsGood": visual.switch_positive_negative,
            "columns": [
                {
                    "name": name,
                    "kind": kind,
                    "title": card.title_of(name),
                    **card.settings_of(name).model_dump(),
                }
                for name, kind in answer.columns
            ],
            "filters": answer.filters,
            "unfiltered": [each["key"] for each in self.filters if each["key"] not in answer.filters],
            "spec": chart(card, answer.columns, answer.values_of(*visual.dimensions[-1:]))
            if card.display in CHART_DISPLAYS
            else None,
        }

    def data(self, card: QuestionCard) -> list[Any]:
        """The rows of every choice."""
        return self.answers[card.key].choices

    @property
    def script_options(self) -> list[dict[str, Any]]:
        """The filters as the page's script counts them."""
        return [
            {
                "key": each["key"],
                "title": each["title"],
                "values": [option.value for option in each["options"]],
            }
            for each in self.filters
        ]


def _options(dashboard: Dashboard, one: Filter, query: Query, day: date) -> tuple[Option, ...]:
    try:
        return options_of(one, query, day)
    except Exception as error:
        raise card_error(dashboard, f"filter {one.key}", error) from error


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    markdown = MarkdownIt("js-default")

    def script_json(value: object) -> Markup:
        # Inside <script> only `</` and `<!--` could end or open anything.
        return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704

    environment.filters["script_json"] = script_json
    environment.filters["markdown"] = lambda text: Markup(markdown.render(text))  # noqa: S704 - HTML is off
    environment.filters["moment"] = moment
    environment.globals["asset"] = lambda name: Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704
    return environment


def _vega(folder: Path, staging: Path) -> str:
    """Put Vega beside the pages unless it is there, and return the file's name."""
    name = f"vega-{version('vl-convert-python')}.js"
    if not (folder / name).exists():
        import vl_convert

        # The stub forgets the defaults.
        bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
        (staging / name).write_text(f"(() => {{{bundle}\n}})();\n", encoding="utf-8")
    return name


def _swap(staging: Path, folder: Path, vega: str) -> None:
    """Move the new files into place, scripts first and the index last; drop pages no longer defined."""
    manifest = folder / _MANIFEST
    earlier = set(json.loads(manifest.read_text(encoding="utf-8"))) if manifest.exists() else set()
    pages = {file.name for file in staging.glob("*.html")}
    (staging / _MANIFEST).write_text(json.dumps(sorted(pages | {vega})), encoding="utf-8")
    for file in sorted(staging.iterdir(), key=lambda each: (each.suffix != ".js", each.name == "index.html")):
        file.replace(folder / file.name)
    for name in earlier - pages - {vega}:
        (folder / name).unlink(missing_ok=True)
