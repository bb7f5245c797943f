"""What can go wrong between Floe and Airbyte.

PermanentError
├── AirbyteUnauthorized       401 with a fresh token, 403
├── AirbyteNotFound           404: the connection, job or address does not exist
├── AirbyteRequestRefused     any other 4xx: the request itself is wrong
├── NoSuchStream              a stream that the connection does not have was named
├── AirbyteConnectionUnusable the connection is inactive, deprecated or locked
├── AirbyteSyncFailed         the job failed, after Airbyte's own retries
├── AirbyteSyncCancelled      somebody cancelled the job
└── AirbyteDeadlineExceeded   the job did not end in time and was cancelled
TransientError
├── AirbyteUnreachable        no connection, time-out, 5xx, 429, an answer of another shape
├── AirbyteBusy               another kind of job (a clear, a refresh) holds the connection
└── AirbyteSyncStalled        no rows for too long; the job was cancelled
"""

from __future__ import annotations

from blocks.errors import PermanentError, ServiceUnavailable, TransientError


class AirbyteUnauthorized(PermanentError):
    """The server refuses the credentials, or they may not do this."""


class AirbyteNotFound(PermanentError):
    """The server knows no such connection, job or address."""


class AirbyteRequestRefused(PermanentError):
    """The server says that the request is wrong.

    Args:
        what: what failed.
        conflict: whether it says that a job is running already, or the connection is not active.
    """

    def __init__(
        self, what: str, *, state: str | None = None, next_command: str | None = None, conflict: bool = False
    ) -> None:
        super().__init__(what, state=state, next_command=next_command)
        self.conflict = conflict


class NoSuchStream(PermanentError):
    """Somebody named a stream that the connection does not have."""


class AirbyteConnectionUnusable(PermanentError):
    """The connection exists but is not active."""


class AirbyteSyncFailed(PermanentError):
    """The job ended as failed; the message carries Airbyte's failure summary."""


class AirbyteSyncCancelled(PermanentError):
    """The job was cancelled, not by this flow run."""


class AirbyteDeadlineExceeded(PermanentError):
    """The job was still running at its deadline."""


class AirbyteUnreachable(ServiceUnavailable):
    """The server does not answer, or cannot serve now."""


class AirbyteBusy(TransientError):
    """A job that is no sync runs on the connection."""


class AirbyteSyncStalled(TransientError):
    """The job runs but moves no rows."""
