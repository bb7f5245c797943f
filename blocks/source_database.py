"""A source's PostgreSQL as flows see it: read only, one session setup, so that texts do not depend on it."""

from __future__ import annotations

import psycopg
from pydantic import Field, SecretStr

from blocks.errors import ServiceUnavailable
from blocks.strict_block import StrictBlock

_SESSION = (
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex "
    "-c default_transaction_read_only=on"
)
CONNECT_SECONDS = 10


class SourceDatabase(StrictBlock):
    """One transactional database that is replicated. Saved as `<source>-source`."""

    _block_type_name = "Floe Source Database"
    _block_type_slug = "floe-source-database"
    _description = "A PostgreSQL database that Airbyte replicates; Floe itself only reads it."
    saved_by = "floe connections apply"

    host: str
    port: int = 5432
    database: str
    user: str
    password: SecretStr
    ssl_mode: str = Field("prefer", description="as in libpq: disable, prefer, require, verify-full, ...")

    def connect(self) -> psycopg.Connection:
        """Open a connection that can only read: autocommit, ISO dates, UTC.

        Raises:
            ServiceUnavailable: the database does not answer or refuses the user.
        """
        try:
            return psycopg.connect(
                host=self.host,
                port=self.port,
                dbname=self.database,
                user=self.user,
                password=self.password.get_secret_value(),
                sslmode=self.ssl_mode,
                connect_timeout=CONNECT_SECONDS,
                application_name="floe",
                options=_SESSION,
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            raise ServiceUnavailable(
                f"The database {self.database} on {self.host}:{self.port} cannot be read: "
                f"{str(error).strip().splitlines()[0]}",
                state="nothing was changed",
                next_command="floe status",
            ) from None
