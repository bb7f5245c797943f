"""Reading dashboard files, with the file and the line in every complaint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import yaml
from pydantic import ValidationError

from blocks.dashboard_definitions import Dashboard, QuestionCard, Tab, VisualizationSettings
from blocks.dashboard_queries import problems_of, tags_in, tags_outside_clauses
from blocks.errors import ConfigurationError
from blocks.settings import ROOT

DASHBOARDS = ROOT / "deployments" / "dashboards"

Location = tuple[int | str, ...]
Problem = tuple[Location, str]

_DIMENSIONS_AND_METRICS = {
    "line": (1, 2, 1, 5),
    "area": (1, 2, 1, 5),
    "bar": (1, 2, 1, 5),
    "row": (1, 2, 1, 5),
    "pie": (1, 1, 1, 1),
    "smartscalar": (1, 1, 1, 1),
    "scalar": (0, 0, 1, 1),
    "table": (0, 0, 0, 0),
}


class InvalidDashboard(ConfigurationError):
    """One or more dashboard files say something that they may not."""


def load_dashboards(folder: Path, *, allow_none: bool = False) -> tuple[Dashboard, ...]:
    """Read every `*.yaml` of a folder.

    Args:
        folder: of the files.
        allow_none: a company may have none yet; whoever is to show them needs one.

    Returns:
        The dashboards, in the order of the navigation.

    Raises:
        InvalidDashboard: with every problem of every file, each with its line.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files and not allow_none:
        raise InvalidDashboard(
            f"There is no dashboard in {folder}",
            next_command="add a file <name>.yaml, or give elt/daily in prefect.yaml `dashboards: false`",
        )
    dashboards: dict[Path, Dashboard] = {}
    problems: list[str] = []
    for file in files:
        loaded = _load(file)
        if isinstance(loaded, Dashboard):
            dashboards[file] = loaded
        else:
            problems += loaded
    problems += _same_keys(dashboards)
    if problems:
        raise InvalidDashboard(
            f"{len(problems)} problem(s) in the dashboards:\n" + "\n".join(problems),
            next_command="mend the lines above, then `floe dashboards check`",
        )
    return tuple(sorted(dashboards.values(), key=lambda each: (each.collection_position, each.title)))


def _load(file: Path) -> Dashboard | list[str]:
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        return [f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}"]
    if node is None or not isinstance(content, dict):
        return [f"{file}:1: a dashboard is a mapping that begins with `key:`"]
    problems: list[Problem]
    try:
        dashboard = Dashboard.model_validate(content)
    except ValidationError as error:
        problems = _causes(error)
    else:
        problems = [*_cross_check(dashboard)]
        if dashboard.key != file.stem:
            problems.append((("key",), f"must be the file's name, {file.stem!r}"))
        if not problems:
            return dashboard
    return [f"{file}:{_line(node, where)}: {_words(where)}{what}" for where, what in problems]


def _causes(error: ValidationError) -> list[Problem]:
    """Return the problems without those that only follow from one further down, like an empty list."""
    found = [(each["loc"], each["msg"]) for each in error.errors(include_input=False)]
    return [
        (where, what)
        for where, what in found
        if not any(len(other) > len(where) and other[: len(where)] == where for other, _ in found)
    ]


def _line(node: yaml.Node, where: Location) -> int:
    """Return the line of the deepest part of `where` that the file has."""
    line = node.start_mark.line
    for step in where:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, node = key.start_mark.line, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
    return line + 1


def _words(where: Location) -> str:
    return ".".join(str(step) for step in where) + ": " if where else ""


def _same_keys(dashboards: dict[Path, Dashboard]) -> Iterator[str]:
    for (first, one), (second, other) in combinations(dashboards.items(), 2):
        if one.title == other.title:
            yield f"{second}: title {other.title!r} is also that of {first}"


def _cross_check(dashboard: Dashboard) -> Iterator[Problem]:
    """Yield what the shape of a single part cannot show."""
    yield from _repeated("tabs", (tab.key for tab in dashboard.tabs))
    yield from _repeated("filters", (each.key for each in dashboard.filters))
    seen: set[str] = set()
    used: set[str] = set()
    for tab_number, tab in enumerate(dashboard.tabs):
        yield from _overlaps(tab_number, tab)
        for number, card in enumerate(tab.cards):
            if not isinstance(card, QuestionCard):
                continue
            here: Location = ("tabs", tab_number, "cards", number)
            if card.key in seen:
                yield (*here, "key"), f"{card.key!r} is used twice in this dashboard"
            seen.add(card.key)
            used |= set(card.template_tags)
            yield from _check_query(dashboard, card, here)
            yield from _check_drawing(card, here)
    for number, each in enumerate(dashboard.filters):
        if each.key not in used:
            yield ("filters", number), f"no card uses the filter {each.key!r}"


def _repeated(part: str, keys: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, key in enumerate(keys):
        if key in seen:
            yield (part, number, "key"), f"{key!r} is used twice"
        seen.add(key)


def _overlaps(tab_number: int, tab: Tab) -> Iterator[Problem]:
    for number, card in enumerate(tab.cards):
        here = ("tabs", tab_number, "cards", number, "position")
        if card.position.col + card.position.size_x > 24:
            yield here, "the card reaches beyond the grid, which is 24 wide"
        for earlier in tab.cards[:number]:
            if card.position.overlaps(earlier.position):
                name = earlier.key if isinstance(earlier, QuestionCard) else "a text card"
                yield here, f"the card overlaps {name}"


def _check_query(dashboard: Dashboard, card: QuestionCard, here: Location) -> Iterator[Problem]:
    at = (*here, "query")
    for problem in problems_of(card.query):
        yield at, problem
    in_query, declared = set(tags_in(card.query)), set(card.template_tags)
    for tag in sorted(in_query - declared):
        yield at, f"{{{{{tag}}}}} is not declared under template-tags"
    filters = {each.key: each for each in dashboard.filters}
    for tag, settings in card.template_tags.items():
        at_tag = (*here, "template-tags", tag)
        if tag not in in_query:
            yield at_tag, "the query does not use this tag"
        if tag not in filters:
            yield at_tag, "the dashboard has no filter of this name"
        if (settings.dimension is None) != (settings.type == "text"):
            yield at_tag, "a dimension tag names its field as `dimension: model.column`, a text tag has none"
        if settings.type == "text" and tag in filters and filters[tag].type != "string/=":
            yield at_tag, "a text tag takes a filter of type string/= only"
        if settings.type == "text" and tag in tags_outside_clauses(card.query):
            yield at_tag, "a text tag must stand in an optional clause: [[and column = {{tag}}]]"


def _check_drawing(card: QuestionCard, here: Location) -> Iterator[Problem]:
    settings: VisualizationSettings = card.visualization_settings
    low, high, least, most = _DIMENSIONS_AND_METRICS[card.display]
    at = (*here, "visualization_settings")
    if not low <= len(settings.dimensions) <= high:
        yield (*at, "graph.dimensions"), f"a {card.display} takes {_range(low, high)} dimension(s)"
    if not least <= len(settings.metrics) <= most:
        yield (*at, "graph.metrics"), f"a {card.display} takes {_range(least, most)} metric(s)"
    if len(settings.dimensions) == 2 and len(settings.metrics) > 1:
        yield (*at, "graph.metrics"), "with a second dimension (one colour each) there can be one metric"
    weekly = any(card.settings_of(name).temporal_unit == "week" for name in settings.dimensions[:1])
    several = len(settings.metrics) > 1 or len(settings.dimensions) == 2
    if weekly and several and settings.stack_type is None and card.display in ("bar", "row"):
        yield at, "bars of several series by week would cover each other: stack them, or draw lines"
    if card.display in ("line", "area", "bar", "row") and not (
        settings.x_axis_title and settings.y_axis_title
    ):
        yield at, "name both axes: graph.x_axis.title_text and graph.y_axis.title_text"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
