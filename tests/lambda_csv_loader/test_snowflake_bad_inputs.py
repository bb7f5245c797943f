"""Every kind of file on Snowflake too: the tests of `test_bad_inputs`, over the real connector.

The ordinary run leaves out most files that are refused: all that reaches the warehouse of them is a row
of the ledger, whatever their fault. `make chaos` runs them all.
"""

from __future__ import annotations

import pytest
from file_stack import FileStack
from snowflake_stack import behaviours
from test_bad_inputs import CASES, Case

pytestmark = pytest.mark.thorough

check = behaviours("test_bad_inputs", left_out={})
what_becomes_of_a_file = check.pop("test_what_becomes_of_a_file")
globals().update(check)
ALWAYS = ("01-empty-file", "30-newline-in-quoted-text", "41-duplicate-key", "56-no-contract")


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake in the lake's place."""
    return snowflake_stack


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.chaos] if case.reason else [])
        if case.name not in ALWAYS
        else pytest.param(case, id=case.name)
        for case in CASES
    ],
)
def test_what_becomes_of_a_file(stack: FileStack, case: Case) -> None:
    what_becomes_of_a_file(stack, case)
