"""Exactly one copy on Snowflake too: the tests of `test_exactly_once`, over the real connector."""

from __future__ import annotations

import pytest
from file_stack import FileStack
from snowflake_stack import behaviours

pytestmark = pytest.mark.thorough

NOT_ALLOWED = {
    "test_killed_at_any_statement_nothing_or_everything_is_there": "names DuckLake's statements; "
    "test_snowflake_writer has its like",
    "test_connection_that_the_warehouse_cut_is_opened_again": "cuts PostgreSQL's connections; "
    "test_snowflake_writer has its like",
    "test_duplicate_event_is_recognised_without_a_query": "counts DuckLake's statements; the loader knows "
    "duplicates before it asks any writer",
    "test_53_warehouse_that_breaks_while_rows_are_written_holds_nothing_of_them": "breaks DuckLake's "
    "connection; test_snowflake_writer kills at each statement",
    "test_one_file_that_the_table_refuses_does_not_hold_up_its_group": "a table that is stricter than the "
    "contract refuses every file on Snowflake, naming the statement that mends it (test_snowflake_tables)",
}
globals().update(behaviours("test_exactly_once", left_out=NOT_ALLOWED))


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake in the lake's place."""
    return snowflake_stack
