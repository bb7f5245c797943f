"""The light colours of the pages, for what is drawn without a browser."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@cache
def colours() -> dict[str, str]:
    """Return the variables of the light theme in `page.css`, without their dashes."""
    [light] = re.findall(r"^:root \{(.*?)\}", (_FOLDER / "page.css").read_text(encoding="utf-8"), re.S | re.M)
    return dict(re.findall(r"--([a-z-]+): ([^;]+);", light))


def chart_config(width: float) -> dict[str, Any]:
    """Return Vega's config for a chart of a width, with the light colours in it."""
    series = colours()["series"].split()

    def coloured(part: dict[str, Any]) -> dict[str, Any]:
        return {
            name: colours()[value[2:]] if isinstance(value, str) and value.startswith("--") else value
            for name, value in part.items()
        }

    text = (_FOLDER / "chart_theme.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text, object_hook=coloured)
    config["range"]["category"] = series
    config["legend"]["columns"] = max(1, int((width - 60) / 95))
    return config | {mark: {"color": series[0]} for mark in ("bar", "line", "point", "area")}
