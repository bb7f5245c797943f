"""What a DuckLake has changed since one of its versions, from its own list of versions.

Source: https://ducklake.select/docs/stable/duckdb/usage/snapshots
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from lambda_csv_loader.ducklake import CATALOG, sql_string

# What a version may have done to a table without changing its rows, as `snapshots()` names it.
_REWRITTEN = {"merge_adjacent", "rewrite_delete", "flushed_inlined", "compacted_table"}


def changed_relations(
    rows: Callable[[str], list[Any]], schemas: Collection[str], since: int
) -> set[tuple[str, str]] | None:
    """Return the tables and views whose rows or definition a later version has changed.

    Args:
        rows: runs a query on the lake.
        schemas: in which to look, in lower case; they need not exist.
        since: the version after which changes count.

    Returns:
        Schema and name of each, in lower case, also of what is gone; None when versions since then have
        ended, so that nobody can tell.
    """
    versions = rows(f"select snapshot_id, changes from {CATALOG}.snapshots() where snapshot_id >= {since}")
    if len(versions) != max((id_ for id_, _ in versions), default=since) - since + 1:
        return None
    changed = {
        identity
        for id_, changes in versions
        if id_ > since
        for kind, identities in (changes or {}).items()
        if kind not in _REWRITTEN
        for identity in identities
    }
    return {
        (schema, name)
        for id_, schema, name, begin, end in rows(_relations(schemas))
        if str(id_) in changed or begin > since or (end or 0) > since
    }


def _relations(schemas: Collection[str]) -> str:
    """Return the query for id, schema, name, first and last version of what schemas have or had."""
    catalog, names = f"__ducklake_metadata_{CATALOG}", ", ".join(map(sql_string, sorted(schemas)))
    return " union all ".join(
        f"select r.{kind}_id, lower(s.schema_name), lower(r.{kind}_name), r.begin_snapshot, r.end_snapshot"
        f" from {catalog}.ducklake_{kind} as r"
        f" inner join {catalog}.ducklake_schema as s on s.schema_id = r.schema_id"
        f" where lower(s.schema_name) in ({names or 'null'})"
        for kind in ("table", "view")
    )
