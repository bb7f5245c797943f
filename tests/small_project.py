"""A dbt project of a test's own, with Floe's profiles and macros, so that a real build takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

from blocks.dbt import PROJECT

DBT_PROJECT = """
name: floe
version: "1.0.0"
profile: floe
models: {floe: {+materialized: table, +schema: build}}
snapshots: {floe: {+schema: snapshots}}
data_tests: {floe: {+store_failures: true, +schema: test_failures}}
"""


def small_project(folder: Path) -> Path:
    """Make a project without models in a folder, and return the folder."""
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(DBT_PROJECT)
    shutil.copy(PROJECT / "profiles.yml", folder)
    shutil.copytree(PROJECT / "macros", folder / "macros")
    return folder
