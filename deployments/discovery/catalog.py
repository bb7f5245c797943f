"""What a database's catalog tells about keys and cursors: `blocks.postgres_catalog` and more evidence.

Nothing here takes a lock on a table or reads a row, so a table that is being rewritten does not stop it.
(`pg_relation_size`, `pg_get_expr` and `pg_partition_tree` would.)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import psycopg

from blocks.errors import ConfigurationError
from blocks.postgres_catalog import SourceTable, read_tables
from lambda_csv_loader.ducklake import sql_string

_SCHEMAS = """
select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1
"""

_EVIDENCE = """
with recursive base as (
    select c.*, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and n.nspname in ({schemas})
),
partitions as (
    select i.inhparent as root, i.inhrelid as part
    from base b join pg_inherits i on i.inhparent = b.oid where b.relkind = 'p'
    union all
    select p.root, i.inhrelid from partitions p join pg_inherits i on i.inhparent = p.part
),
counts as (
    select r.root, count(*) as relations, max(c.reltuples) as analysed,
        sum(
            case when c.reltuples > 0 then c.reltuples else pg_stat_get_live_tuples(c.oid) end
        )::bigint as rows,
        sum(pg_stat_get_tuples_inserted(c.oid)) as inserted,
        sum(pg_stat_get_tuples_updated(c.oid)) as updated
    from (
        select oid as root, oid as part from base where relkind in ('r', 'm')
        union all select root, part from partitions
    ) r
    join pg_class c on c.oid = r.part and c.relkind <> 'p'
    group by 1
),
indexed as (
    select i.indrelid, json_agg(distinct a.attname) as names
    from base b
    join pg_index i on i.indrelid = b.oid and i.indisvalid and i.indpred is null
    join pg_class c on c.oid = i.indexrelid
    join pg_am m on m.oid = c.relam and m.amname in ('btree', 'brin')
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    group by 1
),
replica as (
    select i.indrelid, json_agg(a.attname order by u.position) as names
    from base b
    join pg_index i on i.indrelid = b.oid and i.indisreplident
    cross join unnest(i.indkey::int[]) with ordinality as u(attnum, position)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
    where u.position <= i.indnkeyatts
    group by 1
),
serial as (
    select distinct d.adrelid, d.adnum
    from pg_attrdef d
    join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
        and p.refclassid = 'pg_class'::regclass
    join pg_class s on s.oid = p.refobjid and s.relkind = 'S'
),
nulls as (
    select schemaname, tablename, attname, max(null_frac) as fraction
    from pg_stats where schemaname in ({schemas}) group by 1, 2, 3
),
columns as (
    select a.attrelid,
        json_agg(a.attname) filter (where a.attgenerated <> '') as generated,
        json_agg(a.attname) filter (where a.attidentity <> '' or s.adnum is not null) as growing,
        json_agg(a.attname) filter (where a.atthasdef and a.attgenerated = '') as defaults,
        json_object_agg(a.attname, u.fraction) filter (where u.fraction > 0) as nulls
    from base b
    join pg_attribute a on a.attrelid = b.oid and a.attnum > 0 and not a.attisdropped
    left join serial s on s.adrelid = a.attrelid and s.adnum = a.attnum
    left join nulls u on u.schemaname = b.nspname and u.tablename = b.relname and u.attname = a.attname
    group by 1
),
triggers as (
    select t.tgrelid, json_agg(json_build_object(
        'name', t.tgname, 'function', t.tgfoid::bigint, 'arguments', encode(t.tgargs, 'hex'),
        'on_insert', t.tgtype & 4 > 0, 'limited', cardinality(t.tgattr::int2[]) > 0,
        'conditional', t.tgqual is not null
    ) order by t.tgname) as triggers
    from base b
    -- 1: for each row, 2: before, 16: update
    join pg_trigger t on t.tgrelid = b.oid and t.tgtype & 19 = 19 and t.tgenabled in ('O', 'A')
    where not t.tgisinternal
    group by 1
)
select json_build_object(
    'schema', b.nspname, 'name', b.relname, 'kind', b.relkind,
    'readable', coalesce(
        has_schema_privilege(b.relnamespace, 'usage') and has_table_privilege(b.oid, 'select'), false
    ),
    'filtered', row_security_active(b.oid),
    'extension', (
        select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = b.oid and d.deptype = 'e'
    ),
    'inherited', b.relkind <> 'p' and exists (select from pg_inherits i where i.inhparent = b.oid),
    'partitions', case when b.relkind = 'p' then coalesce(n.relations, 0) end,
    'rows', case when n.rows > 0 or n.analysed >= 0 then n.rows end,
    'inserted', coalesce(n.inserted, 0), 'updated', coalesce(n.updated, 0),
    'leading', l.names, 'replica_key', r.names, 'generated', c.generated, 'growing', c.growing,
    'defaults', c.defaults, 'nulls', c.nulls, 'triggers', t.triggers
)::text
from base b
left join counts n on n.root = b.oid
left join indexed l on l.indrelid = b.oid
left join replica r on r.indrelid = b.oid
left join columns c on c.attrelid = b.oid
left join triggers t on t.tgrelid = b.oid
order by b.nspname, b.relname
"""

_FUNCTIONS = """
select p.oid::bigint, p.prosrc from pg_proc p where p.oid in (
    select t.tgfoid from pg_trigger t where t.tgtype & 19 = 19 and not t.tgisinternal
)
"""


@dataclass(frozen=True)
class Trigger:
    """A row trigger that runs before updates.

    Attributes:
        name: of the trigger.
        source: the text of its function (of one written in C, its name).
        arguments: what the trigger hands to the function.
        on_insert: whether it runs before inserts too.
        is_limited: whether it runs only when certain columns are named in the update.
        is_conditional: whether it has a WHEN clause.
    """

    name: str
    source: str
    arguments: tuple[str, ...]
    on_insert: bool
    is_limited: bool
    is_conditional: bool = False

    @property
    def code(self) -> str:
        """The function's text without its comments."""
        return re.sub(r"--[^\n]*|/\*.*?\*/", " ", self.source, flags=re.DOTALL)


@dataclass(frozen=True)
class FoundTable:
    """A table, view or foreign table, and what the catalog says about it.

    Attributes:
        schema: its schema.
        name: its name.
        kind: `pg_class.relkind`.
        table: its columns and keys; None when it has no column.
        readable: whether this user may read it.
        filtered: whether row security hides rows from this user.
        extension: that it belongs to.
        inherited: whether other tables inherit from it, whose rows are read with its own.
        partitions: how many it has, None when it is not partitioned.
        rows: PostgreSQL's estimate, None when it has never counted.
        inserted: rows inserted since the server's statistics were reset.
        updated: rows updated since then.
        leading: first columns of indexes that can serve a range.
        replica_key: columns of the index that was named as replica identity.
        generated: columns computed from others.
        growing: identity columns, and those whose default is drawn from a sequence.
        defaults: columns with a default.
        nulls: share of NULLs by column, where statistics have found some.
        triggers: that may set columns.
    """

    schema: str
    name: str
    kind: str
    table: SourceTable | None
    readable: bool = True
    filtered: bool = False
    extension: str | None = None
    inherited: bool = False
    partitions: int | None = None
    rows: int | None = None
    inserted: int = 0
    updated: int = 0
    leading: frozenset[str] = frozenset()
    replica_key: tuple[str, ...] = ()
    generated: frozenset[str] = frozenset()
    growing: frozenset[str] = frozenset()
    defaults: frozenset[str] = frozenset()
    nulls: tuple[tuple[str, float], ...] = ()
    triggers: tuple[Trigger, ...] = ()

    def null_share(self, column: str) -> float:
        """Return the share of rows without a value in `column`, as far as is known."""
        return dict(self.nulls).get(column, 0.0)


def find_tables(connection: psycopg.Connection, schemas: list[str]) -> list[FoundTable]:
    """Describe every table of a database, ordered by schema and name.

    Args:
        connection: to the database.
        schemas: where to look; everywhere but in PostgreSQL's own schemas when empty.

    Raises:
        ConfigurationError: a schema is not there.
    """
    present = _texts(connection, _SCHEMAS)
    missing = [schema for schema in schemas if schema not in present]
    if missing:
        raise ConfigurationError(
            f"The database has no schema {', '.join(missing)}; it has {', '.join(present)}",
            state="nothing was written",
            next_command="the same command with another --schema, or without",
        )
    wanted = schemas or present
    described = read_tables(lambda sql: _texts(connection, sql), wanted)
    functions: dict[int, str] = dict(connection.execute(_FUNCTIONS.encode()).fetchall())
    evidence = _EVIDENCE.format(schemas=", ".join(sql_string(schema) for schema in wanted) or "''")
    documents = [json.loads(text) for text in _texts(connection, evidence)]
    return [_found(one, described.get((one["schema"], one["name"])), functions) for one in documents]


def _texts(connection: psycopg.Connection, sql: str) -> list[str]:
    return [row[0] for row in connection.execute(sql.encode()).fetchall()]


def _found(document: dict[str, Any], table: SourceTable | None, functions: dict[int, str]) -> FoundTable:
    sets = ("leading", "generated", "growing", "defaults")
    return FoundTable(
        **{
            **document,
            **{name: frozenset(document[name] or ()) for name in sets},
            "table": table,
            "replica_key": tuple(document["replica_key"] or ()),
            "nulls": tuple((document["nulls"] or {}).items()),
            "triggers": tuple(_trigger(trigger, functions) for trigger in document["triggers"] or ()),
        }
    )


def _trigger(document: dict[str, Any], functions: dict[int, str]) -> Trigger:
    return Trigger(
        name=document["name"],
        source=functions.get(document["function"], ""),
        # Each argument ends with a zero byte.
        arguments=tuple(bytes.fromhex(document["arguments"]).decode(errors="replace").split("\0")[:-1]),
        on_insert=document["on_insert"],
        is_limited=document["limited"],
        is_conditional=document["conditional"],
    )
