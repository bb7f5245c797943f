"""What the discovery concludes from names, triggers and numbers, and that its text says what it concluded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn
from deployments.connection import load_declaration
from deployments.discover import source_name
from deployments.discovery.catalog import FoundTable, Trigger
from deployments.discovery.cursors import candidates, maintaining_trigger
from deployments.discovery.declaration_text import declaration_text, scalar
from deployments.discovery.names import is_change_time
from deployments.discovery.streams import LeftOut, Proposal, Stream, folded, propose


def column(name: str, type_name: str = "timestamptz", *, not_null: bool = True) -> SourceColumn:
    return SourceColumn(name, type_name, "D", type_name, None, None, not_null)


def table(*columns: SourceColumn, **known: object) -> FoundTable:
    every = [column("id", "int8"), *columns]
    described = SourceTable("public", "thing", True, every, ["id"], [["id"]])
    return replace(FoundTable("public", "thing", "r", described), **known)  # type: ignore[arg-type]


def trigger(source: str, *arguments: str) -> Trigger:
    return Trigger("stamp", source, arguments, on_insert=True, is_limited=False)


def stream(found: FoundTable) -> Stream:
    return propose([found], "somebody").streams[0]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "updated_at",
            "UpdatedAt",
            "UPDATED_ON",
            "last_update",
            "lastModified",
            "LastModifiedDate",
            "mtime",
        ),
        *("modified", "date_modified", "dt_modified", "updatedat", "last_upd_ts", "SystemModstamp"),
        *("write_date", "sys_updated_on", "changed_at", "row_updated_at", "updated_at_utc", "rec_chg_dttm"),
        *("cs_updated_at", "thing_updated_at", "geändert_am", "Aenderungsdatum", "fecha_modificacion"),
        *("date_de_modification", "data_alteracao", "updated_at2"),
    ],
)
def test_a_name_says_that_it_is_the_time_of_the_last_change(name: str) -> None:
    assert is_change_time(name, "things")


@pytest.mark.parametrize(
    "name",
    [
        *("created_at", "ts", "date", "at", "password_changed_at", "email_updated_at", "next_update_at"),
        *("exchange_date", "update_due_date", "status_change_date", "last_login", "valid_from", "deleted_at"),
        *("shipped_at", "modifier_id", "birthday", "updated_by", "price_updated_at", "", "__"),
    ],
)
def test_a_name_that_says_something_else_is_not_believed(name: str) -> None:
    assert not is_change_time(name, "things")


@pytest.mark.parametrize(
    ("column_name", "table_name", "is_one"),
    [
        ("post_modified", "wp_posts", True),
        ("customer_updated_at", "customer", True),
        ("customer_address_updated_at", "customer_addresses", True),
        ("updated_at", "update", True),
        ("customer_updated_at", "customer_addresses", False),
        ("price_updated_at", "price_list", False),
        ("customer_updated_at", "42", False),
    ],
)
def test_the_tables_own_name_may_stand_in_it(column_name: str, table_name: str, is_one: bool) -> None:
    assert is_change_time(column_name, table_name) is is_one


@pytest.mark.parametrize(
    ("source", "sets"),
    [
        ("begin new.updated_at := now(); return new; end", True),
        ("begin NEW . UPDATED_AT = clock_timestamp(); return new; end", True),
        ('begin new."updated_at" := now(); return new; end', True),
        ("begin new.updated_at := old.updated_at; new.updated_at := now(); return new; end", True),
        ("begin select now() into new.updated_at; return new; end", True),
        ("begin new := new #= hstore('updated_at', now()::text); return new; end", True),
        ("begin -- new.updated_at := now();\n return new; end", False),
        ("begin /* new.updated_at := now(); */ return new; end", False),
        ("begin new.updated_at := old.updated_at; return new; end", False),
        ("begin new.updated_at_utc := now(); return new; end", False),
        ("begin if new.updated_at < old.updated_at then raise exception ''; end if; return new; end", False),
        ("moddatetime", False),
    ],
)
def test_a_trigger_maintains_a_column_only_if_it_assigns_it(source: str, sets: bool) -> None:
    found = table(column("updated_at"), triggers=(trigger(source),))
    assert (maintaining_trigger(found, "updated_at") is not None) is sets


def test_a_trigger_in_c_maintains_the_column_that_it_is_given() -> None:
    found = table(column("x"), column("y"), triggers=(trigger("moddatetime", "y"),))
    assert [one.column.name for one in candidates(found) if one.role == "change"] == ["y"]


def test_the_case_of_a_quoted_column_counts() -> None:
    found = table(column("TS"), triggers=(trigger("begin new.ts := now(); return new; end"),))
    assert maintaining_trigger(found, "TS") is None


def test_the_best_evidence_wins_then_the_grain_then_the_index() -> None:
    found = table(
        column("modified_on", "date"),
        column("changed_at", "timestamp"),
        column("touched_at", not_null=False),
        column("modified_at"),
        column("updated_at"),
        leading=frozenset({"updated_at"}),
    )
    order = ["updated_at", "modified_at", "touched_at", "changed_at", "modified_on"]
    assert [one.column.name for one in candidates(found)] == order
    kept_by_trigger = replace(found, triggers=(trigger("new.changed_at := now();"),))
    assert candidates(kept_by_trigger)[0].column.name == "changed_at"


@pytest.mark.parametrize(
    "kind", ["uuid", "bool", "json", "jsonb", "text", "float8", "numeric", "bytea", "time"]
)
def test_other_types_are_never_offered(kind: str) -> None:
    name = "updated_at"
    found = table(column(name, kind), growing=frozenset({name}), triggers=(trigger(f"new.{name} := x;"),))
    assert candidates(found) == []


@pytest.mark.parametrize(
    ("known", "cursor"),
    [
        ({"rows": 99_999, "inserted": 99_999}, None),
        ({"rows": 100_000, "inserted": 100_000}, "id"),
        ({"rows": 5_000_000, "inserted": 10, "updated": 1}, None),
        ({"rows": 5_000_000}, None),
        ({"rows": None, "inserted": 5}, None),
    ],
    ids=["small", "large and never updated", "updated", "nothing was counted", "never analysed"],
)
def test_a_growing_key_is_the_cursor_of_a_large_table_that_was_never_updated(
    known: dict[str, int], cursor: str | None
) -> None:
    made = stream(table(growing=frozenset({"id"}), **known))
    assert made.cursor == cursor
    missed = "id grows with new rows only: later changes of a row are missed"
    assert (missed in made.warnings) is (cursor is not None)


def test_a_large_table_without_a_cursor_or_an_index_gets_advice() -> None:
    (without,) = stream(table(rows=2_000_000)).warnings
    assert "about 2,000,000 rows; give it an updated_at timestamptz that a trigger sets" in without
    assert "use xmin; or, if rows are only added and id grows, take that as the cursor" in without
    (unindexed,) = stream(table(column("updated_at"), rows=2_000_000)).warnings
    assert unindexed == "updated_at is not indexed: every sync scans about 2,000,000 rows"
    assert (
        stream(table(column("updated_at"), rows=2_000_000, leading=frozenset({"updated_at"}))).warnings == ()
    )


def test_rows_without_a_cursor_are_no_harm_where_every_new_row_gets_one() -> None:
    nulls = (("updated_at", 0.2),)
    late = table(column("updated_at", not_null=False), nulls=nulls)
    assert stream(late).cursor is None
    assert stream(replace(late, defaults=frozenset({"updated_at"}))).cursor == "updated_at"
    assert stream(replace(late, triggers=(trigger("new.updated_at := now();"),))).cursor == "updated_at"


def test_a_key_named_like_airbytes_columns_is_refused() -> None:
    described = SourceTable("public", "thing", True, [column("_Airbyte_Raw_Id")], ["_Airbyte_Raw_Id"], [])
    described = replace(described, unique_keys=[described.primary_key])
    (left,) = propose([FoundTable("public", "thing", "r", described)], "somebody").left_out
    assert left.reason == "its key or cursor is named like a column of Airbyte's own"


@pytest.mark.parametrize(
    ("database", "source"),
    [("crm", "crm"), ("My Shop-DB", "myshopdb"), ("a__b", "ab"), ("2024", "db2024"), ("日本", "db")],
)
def test_a_connection_is_named_after_its_database(database: str, source: str) -> None:
    assert source_name(database) == source


@pytest.mark.parametrize("word", ["on", "null", "yes", "NaN", "1", "~", "a: b", "x #y", "*a", "- b", "", "y"])
def test_what_yaml_would_take_for_something_else_is_quoted(word: str) -> None:
    assert yaml.safe_load(f"[{scalar(word)}, {scalar(word)}]") == [word, word]
    assert yaml.safe_load(f"name: {scalar(word)}") == {"name": word}


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=63),
    st.text("ab:#'\"\\%{}[],&*!|>@` \n\t\r\x85\u2028\ufeff-?", min_size=1, max_size=20),
    st.sampled_from(["on", "null", "yes", "~", "0x1", "1e3", "2024-01-01", "true", "<<", "=", "---", "..."]),
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(NAMES, NAMES), min_size=1, max_size=4, unique_by=lambda t: (folded(t[0]), folded(t[1]))
    ),
    st.lists(NAMES, min_size=1, max_size=3, unique_by=folded),
    NAMES,
)
def test_any_name_comes_back_from_the_file(
    tables: list[tuple[str, str]], columns: list[str], odd: str
) -> None:
    streams = [
        Stream(
            *(namespace, name, "incremental_deduped_history"),
            cursor=columns[-1],
            primary_key=tuple(columns),
            columns=tuple(columns),
            notes=(f"Cursor {odd}",),
            warnings=(f"{odd} is odd",),
        )
        for namespace, name in tables
    ]
    left = [LeftOut(odd, odd, f"{odd} is in the way", f"rename {odd}", streams[0], is_warning=True)]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "odd.yaml"
        file.write_text(declaration_text(Proposal(streams, left), "odd", odd), encoding="utf-8")
        declared = load_declaration(file)
    assert [(s.namespace, s.name) for s in declared.streams] == tables
    assert all(s.primary_key == columns == s.columns for s in declared.streams)
    assert {s.cursor for s in declared.streams} == {columns[-1]}
