"""dbt's exposures, generated from the dashboards, so that dbt knows who reads a mart.

One file for all of them, and no second list of what a card reads: `blocks/dashboard_checks.py` tells.
dbt refuses a project in which an exposure depends on a mart that is gone
(https://docs.getdbt.com/reference/exposure-properties).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from blocks.dashboard_checks import marts_read
from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_queries import MARTS
from blocks.errors import ConfigurationError

_HEAD = "# Written by `floe dashboards exposures` from deployments/dashboards/: change those, not this.\n"
_WIDTH = 110
_JINJA = re.compile(r"\{[{%#]")


class _Dumper(yaml.SafeDumper):
    """Writes lists indented below their key, as the other files of the project do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def exposures_file(project: Path) -> Path:
    """Return where the exposures of a dbt project stand."""
    return project / "models" / "exposures.yml"


def marts_of(project: Path) -> frozenset[str]:
    """Return the marts that a dbt project builds."""
    return frozenset(file.stem for file in (project / "models" / MARTS).rglob("*.sql"))


def exposures_text(dashboards: Sequence[Dashboard]) -> str:
    """Return the content of the exposures' file; the same for the same dashboards, in whatever order."""
    exposures = [_exposure(each) for each in sorted(dashboards, key=lambda each: each.key)]
    content = {"version": 2, "exposures": exposures}
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def check_exposures(dashboards: Sequence[Dashboard], project: Path) -> None:
    """Compare the exposures' file with what the dashboards say.

    Raises:
        ConfigurationError: the file is missing or says something else.
    """
    file = exposures_file(project)
    there = file.read_text(encoding="utf-8").splitlines() if file.exists() else None
    wanted = exposures_text(dashboards).splitlines()
    if there != wanted:
        raise ConfigurationError(
            f"{file} is not what the dashboards say: {_first_difference(there, wanted)}",
            state="dbt does not know what the cards read",
            next_command="floe dashboards exposures, and commit the file",
        )


def _first_difference(there: list[str] | None, wanted: list[str]) -> str:
    if there is None:
        return "there is no such file"
    lines = enumerate(zip_longest(there, wanted), start=1)
    number, (is_, should) = next((number, pair) for number, pair in lines if pair[0] != pair[1])
    return f"line {number} is {_quoted(is_)} and should be {_quoted(should)}"


def _quoted(line: str | None) -> str:
    return "nothing" if line is None else f"`{line}`"


def _exposure(dashboard: Dashboard) -> dict[str, Any]:
    marts = sorted({mart for _, marts in marts_read(dashboard) for mart in marts})
    return {
        "name": dashboard.key,
        "label": _literal(dashboard.title),
        "type": "dashboard",
        "description": _literal(dashboard.description),
        "owner": {"name": _literal(dashboard.owner.name), "email": _literal(dashboard.owner.email)},
        "depends_on": [f"ref('{mart}')" for mart in marts],
    }


def _literal(text: str) -> str:
    """Return `text` so that dbt, which renders these values with Jinja, shows it as it is."""
    return _JINJA.sub(lambda found: f"{{{{ '{found[0]}' }}}}", text)
