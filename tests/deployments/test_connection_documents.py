"""Declarations in Airbyte's words, and what differs from a server's answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from blocks.settings import PostgresSource
from deployments.connection_documents import (
    connection_document,
    differences,
    keep_undeclared,
    source_document,
    undeclared_streams,
)
from tests.connection_settings import CUSTOMER, REASON, declaration

SETTINGS = PostgresSource(host="h", database="d", user="u", password=SecretStr("p"))


def streams(*names: tuple[str | None, str]) -> dict[str, Any]:
    made = [{"namespace": namespace, "name": name, "syncMode": "x"} for namespace, name in names]
    return {"configurations": {"streams": made}}


@pytest.mark.parametrize("namespace", ["public", None], ids=["shown", "null"])
def test_a_declared_stream_is_found_whether_its_schema_is_shown_or_not(namespace: str | None) -> None:
    wanted = connection_document(declaration("crm", REASON))
    present = streams((namespace, "reason"), (namespace, "by hand"))
    assert [stream["name"] for stream in undeclared_streams(wanted, present)] == ["by hand"]
    kept = keep_undeclared(wanted, present)["configurations"]["streams"]
    assert [stream["name"] for stream in kept] == ["reason", "by hand"]
    assert differences(wanted["configurations"], present["configurations"]) == (
        "stream public.reason.syncMode: x → full_refresh_overwrite",
    )


def test_a_table_of_that_name_in_another_schema_is_another_stream() -> None:
    wanted = connection_document(declaration("crm", REASON))
    assert len(undeclared_streams(wanted, streams(("hr", "reason")))) == 1


@pytest.mark.parametrize(
    ("wanted", "present", "different"),
    [
        ({"schemas": ["a", "b"]}, {"schemas": ["b", "a"]}, False),
        ({"primaryKey": [["a"], ["b"]]}, {"primaryKey": [["b"], ["a"]]}, False),
        ({"selectedFields": [{"fieldPath": ["a"]}]}, {"selectedFields": [{"fieldPath": ["b"]}]}, True),
        ({"prefix": ""}, {}, False),
        ({"prefix": "x"}, {"prefix": None}, True),
        ({"ssl_mode": {"mode": "require", "ca_certificate": "x"}}, {"ssl_mode": {"mode": "require"}}, False),
    ],
    ids=["schemas", "key", "columns", "nothing", "something", "a secret"],
)
def test_what_counts_as_a_difference(
    wanted: dict[str, Any], present: dict[str, Any], different: bool
) -> None:
    assert bool(differences(wanted, present)) == different


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"method": "Standard"}),
        ({"replication": "xmin"}, {"method": "Xmin"}),
        (
            {"replication": "cdc", "cdc": {"replication_slot": "slot", "publication": "pub"}},
            {
                "method": "CDC",
                "plugin": "pgoutput",
                "replication_slot": "slot",
                "publication": "pub",
                "initial_waiting_seconds": 1200,
                "queue_size": 10_000,
                "heartbeat_action_query": "",
                "lsn_commit_behaviour": "After loading Data in the destination",
                "invalid_cdc_cursor_position_behavior": "Fail sync",
                "initial_load_timeout_hours": 8,
            },
        ),
    ],
    ids=["cursor", "xmin", "cdc"],
)
def test_how_changes_are_found(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    cursor = None if fields else "changed"
    declared = declaration("crm", {**CUSTOMER, "cursor": cursor}, **fields)
    assert source_document(SETTINGS, declared)["replication_method"] == expected
    (stream,) = connection_document(declared)["configurations"]["streams"]
    assert ("cursorField" in stream) == (not fields)


def test_encryption_of_the_connection_to_the_source() -> None:
    verified = SETTINGS.model_copy(update={"ssl_mode": "verify-ca", "ssl_ca_certificate": SecretStr("PEM")})
    assert source_document(SETTINGS, declaration("crm", REASON))["ssl_mode"] == {"mode": "prefer"}
    assert source_document(verified, declaration("crm", REASON))["ssl_mode"] == {
        "mode": "verify-ca",
        "ca_certificate": "PEM",
    }
    with pytest.raises(ValidationError, match="verify-full needs ssl_ca_certificate"):
        PostgresSource(host="h", database="d", user="u", password=SecretStr("p"), ssl_mode="verify-full")


@pytest.mark.parametrize(
    ("policy", "behaviour"),
    [("propagate", "propagate_columns"), ("fail", "propagate_columns"), ("ignore", "ignore")],
)
def test_new_columns_are_added_unless_changes_are_ignored(policy: str, behaviour: str) -> None:
    declared = declaration("crm", REASON, schema_changes={"columns": policy})
    assert connection_document(declared)["nonBreakingSchemaUpdatesBehavior"] == behaviour


def test_raw_tables_may_have_a_prefix() -> None:
    assert connection_document(declaration("crm", REASON, table_prefix="crm_"))["prefix"] == "crm_"
