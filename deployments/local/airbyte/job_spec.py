"""What the service tells a worker, as one line of JSON on its standard input, and what the worker answers.

The specification holds the source's password, so it goes through a pipe: not into the command line, not
into the environment, not onto the disk.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lambda_csv_loader.ducklake import DuckLakeSettings

SyncMode = Literal[
    "full_refresh_overwrite", "full_refresh_append", "incremental_append", "incremental_deduped_history"
]
SchemaUpdates = Literal["ignore", "propagate_columns", "disable_connection"]
JobType = Literal["sync", "reset", "clear", "refresh"]
PASSWORD_MASK = "**********"  # noqa: S105  (what Airbyte shows instead)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PostgresAddress(_Message):
    """Where the source is and who reads it."""

    host: str
    port: int = 5432
    database: str
    username: str
    password: str = Field("", repr=False)
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    schemas: list[str] = Field(default_factory=lambda: ["public"])

    @field_validator("ssl_mode", mode="before")
    @classmethod
    def _mode_of(cls, value: Any) -> Any:
        """Take Airbyte's `{"mode": "prefer"}` too."""
        return value.get("mode", "prefer") if isinstance(value, dict) else value


class StreamSpec(_Message):
    """One stream of the job and where its rows go.

    Attributes:
        emitted_before: rows that earlier attempts of this job reported as read.
        committed_before: rows that earlier attempts of this job reported as written.
    """

    namespace: str
    name: str
    sync_mode: SyncMode
    cursor_field: str | None = None
    primary_key: list[str] = Field(default_factory=list)
    selected_fields: list[str] | None = None
    target_schema: str
    target_table: str
    emitted_before: int = 0
    committed_before: int = 0


class JobSpec(_Message):
    """One attempt of one job.

    Attributes:
        schema_updates: what becomes of new and lost columns, Airbyte's `nonBreakingSchemaUpdatesBehavior`.
    """

    job_id: int
    attempt: int
    job_type: JobType
    connection_id: str
    source: PostgresAddress
    destination: DuckLakeSettings
    streams: list[StreamSpec]
    schema_updates: SchemaUpdates = "ignore"
    memory_limit: str = "512MB"


class StreamProgress(_Message):
    """Rows of a stream so far; the last one of a stream has `done`."""

    kind: Literal["progress"] = "progress"
    namespace: str
    name: str
    emitted: int = 0
    committed: int = 0
    bytes_emitted: int = 0
    bytes_committed: int = 0
    estimated: int | None = None
    done: bool = False


class AttemptFailure(_Message):
    """Why an attempt ended early, in the words of Airbyte's `FailureReason`.

    Attributes:
        pauses_connection: whether somebody has to look at the connection before it is synced again.
    """

    kind: Literal["failure"] = "failure"
    origin: Literal["source", "destination", "replication", "airbyte_platform"]
    failure_type: Literal["config_error", "system_error", "transient_error", "manual_cancellation"]
    message: str
    internal: str | None = None
    namespace: str | None = None
    name: str | None = None
    pauses_connection: bool = False


WorkerMessage = Annotated[StreamProgress | AttemptFailure, Field(discriminator="kind")]
