"""Marts for the dashboards' tests: the tables that dbt's contracts promise, filled by a small SQL script."""

from __future__ import annotations

from pathlib import Path

import duckdb
import yaml

from blocks.settings import ROOT


def create_marts(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every mart, empty, with the columns and types of its dbt contract, in the schema `marts`."""
    connection.execute("create schema if not exists marts")
    for file in sorted((ROOT / "dbt" / "models" / "marts").rglob("*.yml")):
        for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("models", []):
            columns = ", ".join(f'"{each["name"]}" {each["data_type"]}' for each in model["columns"])
            connection.execute(f"create table marts.{model['name']} ({columns})")


def fill_marts(connection: duckdb.DuckDBPyConnection) -> None:
    """Put the made-up company of `dashboard_marts.sql` into the marts."""
    connection.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
