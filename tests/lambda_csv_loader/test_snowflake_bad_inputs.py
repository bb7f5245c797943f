"""Every kind of file on Snowflake too: the tests of `test_bad_inputs`, over the real connector."""

from __future__ import annotations

import pytest
from file_stack import FileStack
from snowflake_stack import behaviours

globals().update(behaviours("test_bad_inputs", left_out={}))


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake in the lake's place."""
    return snowflake_stack
