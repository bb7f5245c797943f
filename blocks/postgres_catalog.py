"""What the source's tables look like, from PostgreSQL's own catalog, in one query."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from blocks.postgres_types import SourceColumn
from lambda_csv_loader.ducklake import sql_string

_TABLES = """
with recursive base as (
    select a.attrelid, a.attnum, a.atttypid as type_id, a.atttypmod as modifier
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and n.nspname in ({schemas})
    union all
    select b.attrelid, b.attnum, t.typbasetype, case when b.modifier = -1 then t.typtypmod else b.modifier end
    from base b join pg_type t on t.oid = b.type_id where t.typtype = 'd'
),
columns as (
    select b.attrelid, json_agg(json_build_object(
        'name', a.attname, 'type', t.typname, 'category', t.typcategory,
        'declared', format_type(b.type_id, b.modifier), 'not_null', a.attnotnull, 'position', b.attnum,
        'modifier', case when t.typname = 'numeric' and b.modifier >= 4 then b.modifier - 4 end
    ) order by b.attnum) as columns
    from base b
    join pg_type t on t.oid = b.type_id and t.typtype <> 'd'
    join pg_attribute a on a.attrelid = b.attrelid and a.attnum = b.attnum
    group by 1
),
keys as (
    select k.indrelid, json_agg(k.columns order by k.indisprimary desc) as keys from (
        select i.indrelid, i.indisprimary, json_agg(a.attname order by u.position) as columns
        from pg_index i
        cross join unnest(i.indkey::int[]) with ordinality as u(attnum, position)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
        where i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
            and u.position <= i.indnkeyatts
        group by i.indexrelid, i.indrelid, i.indisprimary
        having bool_and(a.attnotnull)
    ) k group by 1
)
select json_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
    'columns', s.columns, 'keys', coalesce(k.keys, '[]'::json),
    'primary', exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))::text as document
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join columns s on s.attrelid = c.oid
left join keys k on k.indrelid = c.oid
order by n.nspname, c.relname
"""


@dataclass(frozen=True)
class SourceTable:
    """One table, view or partitioned table of the source.

    Attributes:
        schema: its schema, Airbyte's stream namespace.
        name: its name, Airbyte's stream name.
        is_plain_table: whether it has pages of its own, to be read in parallel (views have none).
        columns: in the table's order.
        primary_key: its columns, empty when there is none.
        unique_keys: every set of columns that PostgreSQL keeps unique and not null.
        kind: `pg_class.relkind`: r a table, p a partitioned one, v a view, m a materialized one, f foreign.
    """

    schema: str
    name: str
    is_plain_table: bool
    columns: list[SourceColumn]
    primary_key: list[str]
    unique_keys: list[list[str]]
    kind: str = "r"

    def column(self, name: str) -> SourceColumn | None:
        """Return the column of that name, None when there is none."""
        return next((column for column in self.columns if column.name == name), None)


def tables_query(schemas: list[str]) -> str:
    """Return the PostgreSQL query that describes every table of `schemas`, one JSON document per row."""
    return _TABLES.format(schemas=", ".join(sql_string(schema) for schema in schemas) or "''")


def read_tables(run: Callable[[str], list[str]], schemas: list[str]) -> dict[tuple[str, str], SourceTable]:
    """Describe the source's tables.

    Args:
        run: executes a query on the source and returns its only column.
        schemas: PostgreSQL schemas to look into.

    Returns:
        The tables by (schema, name).
    """
    tables = (_table(json.loads(document)) for document in run(tables_query(schemas)))
    return {(table.schema, table.name): table for table in tables}


def _table(document: dict[str, object]) -> SourceTable:
    keys = document["keys"]
    columns = document["columns"]
    assert isinstance(keys, list) and isinstance(columns, list)  # noqa: S101
    return SourceTable(
        schema=str(document["schema"]),
        name=str(document["name"]),
        is_plain_table=document["kind"] == "r",
        columns=[_column(column) for column in columns],
        primary_key=keys[0] if document["primary"] and keys else [],
        unique_keys=keys,
        kind=str(document["kind"]),
    )


def _column(document: dict[str, object]) -> SourceColumn:
    modifier = document["modifier"]
    precision = scale = None
    if isinstance(modifier, int):
        # numeric's typmod: precision above 16 bits, below it an 11-bit signed scale (PostgreSQL 15).
        precision, scale = modifier >> 16 & 0xFFFF, ((modifier & 0x7FF) ^ 0x400) - 0x400
    return SourceColumn(
        name=str(document["name"]),
        type_name=str(document["type"]),
        type_category=str(document["category"]),
        declared=str(document["declared"]),
        precision=precision,
        scale=scale,
        not_null=bool(document["not_null"]),
        position=int(str(document["position"])),
    )
