"""The CSV loader on a real Snowflake account: the tests that it passes on the lake and the emulator.

Set FLOE_LIVE_SNOWFLAKE as for `test_snowflake_publication`. The database must be a scratch one: its
schemas OPS, OPS_STAGING and RAW_FILES are dropped first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from file_stack import FileStack, handler_environment, running_store, stack_on
from snowflake_stack import behaviours

from lambda_csv_loader.settings import SnowflakeSettings
from lambda_csv_loader.snowflake_session import open_snowflake

VARIABLE = "FLOE_LIVE_SNOWFLAKE"
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set"),
]
OF_THE_EMULATOR = "asks the emulator for something"
globals().update(
    behaviours(
        "test_exactly_once",
        left_out={
            "test_killed_at_any_statement_nothing_or_everything_is_there": "names DuckLake's statements",
            "test_connection_that_the_warehouse_cut_is_opened_again": "cuts PostgreSQL's connections",
            "test_53_warehouse_down_for_a_while_loses_nothing_and_keeps_the_order": "the account stays up",
            "test_duplicate_event_is_recognised_without_a_query": "counts DuckLake's statements",
            "test_53_warehouse_that_breaks_while_rows_are_written_holds_nothing_of_them": "breaks DuckLake",
            "test_one_file_that_the_table_refuses_does_not_hold_up_its_group": "refused as a whole there",
        },
    )
    | behaviours(
        "test_snowflake_writer",
        left_out={
            "stack": "runs on the emulator",
            "session": "runs on the emulator",
            "test_killed_after_any_statement_nothing_or_everything_is_there": OF_THE_EMULATOR,
            "test_session_that_is_over_is_opened_again": OF_THE_EMULATOR,
            "test_only_old_leftovers_of_loads_are_dropped": OF_THE_EMULATOR,
        },
    )
    | behaviours("test_snowflake_tables", left_out={"stack": "runs on the emulator"})
    | behaviours("test_bad_inputs", left_out={})
    | behaviours("test_round_trip", left_out={})
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileStack]:
    """The account that the variable names, emptied, with a bucket beside it."""
    settings = SnowflakeSettings.model_validate_json(os.environ[VARIABLE])
    connection = open_snowflake(settings)
    for schema in ("OPS", "OPS_STAGING", "RAW_FILES"):
        connection.cursor().execute(f"drop schema if exists {schema}")
    connection.close()
    folder = tmp_path_factory.mktemp("live")
    with running_store(folder / "store") as store:
        made = stack_on(settings, store, folder)
        with handler_environment(made):
            made.put("landing/stock/first.csv", "day_id,item,quantity\n1,1,1\n")
            made.drain()
            yield made
