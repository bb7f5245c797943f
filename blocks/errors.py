"""Floe's exception tree.

FloeError                     lambda_csv_loader/errors.py
├── PermanentError            never retried
│   ├── ConfigurationError    a setting, a declaration or a block is wrong
│   ├── SourceSchemaChanged   a table of a source is not as declared (blocks/schema_drift.py)
│   ├── DbtFailed             a model, snapshot or test of the dbt project failed
│   └── ...                   each room's own leaves
└── TransientError            retried with backoff
    ├── ServiceUnavailable    a server does not answer, or answers 5xx
    └── ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambda_csv_loader.errors import FloeError, PermanentError, TransientError

if TYPE_CHECKING:
    from blocks.dbt_failures import FailedNode

__all__ = [
    "ConfigurationError",
    "DbtFailed",
    "FloeError",
    "PermanentError",
    "ServiceUnavailable",
    "TransientError",
]


class ConfigurationError(PermanentError):
    """A setting, a declaration file or a saved block is missing or wrong."""


class ServiceUnavailable(TransientError):
    """A server that Floe needs does not answer, or says that it cannot serve now.

    Args:
        what: what failed.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(
        self,
        what: str,
        *,
        state: str | None = None,
        next_command: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, state=state, next_command=next_command)
        self.retry_after = retry_after


class DbtFailed(PermanentError):
    """dbt ended with failed nodes; nothing was published.

    Args:
        what: which nodes.
        failed: each of them.
    """

    def __init__(
        self,
        what: str,
        *,
        state: str | None = None,
        next_command: str | None = None,
        failed: Sequence[FailedNode] = (),
    ) -> None:
        super().__init__(what, state=state, next_command=next_command)
        self.failed = failed
