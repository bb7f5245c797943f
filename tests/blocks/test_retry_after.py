"""The pause that a server asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from blocks.retry_after import retry_after


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None), ("", None), (None, None)],
    ids=["seconds", "fraction", "negative", "words", "empty", "absent"],
)
def test_seconds_are_as_asked(asked: str | None, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({"Retry-After": asked} if asked is not None else {})) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(60, 50, 60), (-60, 0, 0)], ids=["to come", "past"])
def test_a_date_is_waited_for(ahead: int, least: float, most: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    seconds = retry_after(httpx.Headers({"Retry-After": date}))
    assert seconds is not None
    assert least <= seconds <= most
