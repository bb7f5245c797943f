"""A time as people read it."""

from __future__ import annotations

from datetime import UTC, date, datetime


def moment(value: datetime | date | None) -> str:
    """Write a time as people read it: `2 January 2003`, with the hour where there is one."""
    if value is None:
        return "no data yet"
    words = f"{value.day} {value:%B %Y}"
    if isinstance(value, datetime) and (value.hour, value.minute) != (0, 0):
        utc = value.astimezone(UTC) if value.tzinfo else value
        words = f"{utc.day} {utc:%B %Y, %H:%M} UTC"
    return words
