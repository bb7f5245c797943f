"""The pause that a server asks for. Source: RFC 9110, 10.2.3 (Retry-After)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that an answer's headers ask for; None where they ask for none.

    Args:
        headers: of the answer, found in lower case (as httpx does in any).
    """
    asked = headers.get("retry-after")
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None  # neither a number nor a date with its zone
    return max(0.0, seconds)
