"""Cell by cell on Snowflake too: the property test of `test_round_trip`, over the real connector."""

from __future__ import annotations

import pytest
from file_stack import FileStack
from snowflake_stack import behaviours

pytestmark = pytest.mark.thorough

globals().update(
    behaviours(
        "test_round_trip",
        left_out={
            "test_staged_rows_equal_what_was_written": "has no warehouse",
            "test_a_number_is_taken_only_when_it_is_plainly_spelt": "has no warehouse",
        },
    )
)


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake in the lake's place."""
    return snowflake_stack
