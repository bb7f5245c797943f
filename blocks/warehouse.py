"""The warehouse as flows see it: one Prefect block over DuckLake (laptop) or Snowflake (production)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.publication import Publication, Publisher
from blocks.snowflake_publisher import SnowflakePublisher
from blocks.strict_block import StrictBlock
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.retrying import RetryingSession
from lambda_csv_loader.session import Session
from lambda_csv_loader.settings import SnowflakeSettings

if TYPE_CHECKING:
    from blocks.lake_upkeep import LakeUpkeep

SNOWFLAKE_KEEPS_ITSELF = (
    "Nothing to do in Snowflake: it compacts tables by itself, Time Travel ends old versions after "
    "DATA_RETENTION_TIME_IN_DAYS, and of the published sets only MARTS and MARTS_PREVIOUS are kept"
)
# Of a key; to hide shorter ones would spoil texts and hide nothing.
SHORT_LINE = 16


class Cursor(Protocol):
    """What both engines' cursors have in common (PEP 249)."""

    @property
    def description(self) -> Any:
        """One tuple per result column, its name first."""

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Any:
        """Run one statement."""

    def fetchall(self) -> list[Any]:
        """Return the rows of the last statement."""

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return the next rows of the last statement, none at its end."""


class Warehouse(StrictBlock):
    """The warehouse: where raw tables land, dbt builds and dashboards read."""

    _block_type_name = "Floe Warehouse"
    _block_type_slug = "floe-warehouse"
    _description = "DuckLake on a laptop, Snowflake in production."

    target: DuckLakeSettings | SnowflakeSettings = Field(
        discriminator="type", description="which engine, and where it is"
    )
    reader_role: str = Field("FLOE_READER", description="Snowflake role that reads the marts")

    @contextmanager
    def connect(self, *, read_only: bool = False) -> Iterator[Cursor]:
        """Open a connection for the length of a `with` block.

        Args:
            read_only: refuse writes (DuckLake; Snowflake leaves that to the role).

        Raises:
            WarehouseUnavailable: it does not answer; what fails later raises the driver's own errors.
            WarehouseRefused: Snowflake refuses the login.
        """
        connection = _opened(self.target, read_only)
        try:
            yield connection if isinstance(self.target, DuckLakeSettings) else connection.cursor()
        finally:
            connection.close()

    @contextmanager
    def publisher(self) -> Iterator[Publisher]:
        """Open a publisher of the marts (see `blocks.publication`)."""
        with self.connect() as cursor:
            yield (
                DuckLakePublisher(cursor)
                if isinstance(self.target, DuckLakeSettings)
                else SnowflakePublisher(cursor, self.reader_role)
            )

    def keeps_itself(self) -> str | None:
        """Return why there is no upkeep to do, None where `upkeep` does it."""
        return None if isinstance(self.target, DuckLakeSettings) else SNOWFLAKE_KEEPS_ITSELF

    @contextmanager
    def upkeep(self) -> Iterator[LakeUpkeep]:
        """Open the upkeep of a warehouse that does not keep itself."""
        # Here, not at the top: of all flows only one needs it.
        from blocks.lake_upkeep import LakeUpkeep

        assert isinstance(self.target, DuckLakeSettings)  # noqa: S101 - `keeps_itself` says so
        upkeep = LakeUpkeep(self.target)
        try:
            yield upkeep
        finally:
            upkeep.close()

    def last_publication(self) -> Publication | None:
        """Return the publication that readers see now, if there is one."""
        with self.publisher() as publisher:
            return publisher.current()

    def dbt_target(self) -> str:
        """Return the name of the target in `dbt/profiles.yml`."""
        return "local" if isinstance(self.target, DuckLakeSettings) else "snowflake"

    def undoes_failed_nodes(self) -> bool:
        """Tell whether a dbt node that fails leaves nothing behind: on DuckLake each is one transaction."""
        return isinstance(self.target, DuckLakeSettings)

    def secrets(self) -> list[str]:
        """Return what dbt is given and must never show; DuckLake's password is in a file of its own."""
        return [] if isinstance(self.target, DuckLakeSettings) else _secrets(self.target)

    def dbt_environment(self) -> dict[str, str]:
        """Return the variables that `dbt/profiles.yml` reads for this warehouse."""
        if isinstance(self.target, DuckLakeSettings):
            return {
                "FLOE_DUCKLAKE_CATALOG": self.target.catalog_uri(),
                "FLOE_DUCKLAKE_DATA_PATH": f"{self.target.data_path}/",
                "FLOE_DUCKDB_EXTENSIONS": str(self.target.extension_directory),
            }
        secret = self.target.private_key_passphrase
        return {
            "SNOWFLAKE_ACCOUNT": self.target.account,
            "SNOWFLAKE_USER": self.target.user,
            "SNOWFLAKE_PRIVATE_KEY": self.target.private_key.get_secret_value(),
            "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": secret.get_secret_value() if secret else "",
            "SNOWFLAKE_ROLE": self.target.role,
            "SNOWFLAKE_WAREHOUSE": self.target.warehouse,
            "SNOWFLAKE_DATABASE": self.target.database,
        }


@contextmanager
def unchanging(cursor: Cursor) -> Iterator[None]:
    """Let all queries inside see one state, also when new marts are published meanwhile."""
    cursor.execute("begin transaction")
    try:
        yield
    except BaseException:
        # When the warehouse is gone this fails too, and would hide that.
        with suppress(Exception):
            cursor.execute("rollback")
        raise
    cursor.execute("rollback")


def _secrets(target: SnowflakeSettings) -> list[str]:
    """Return each text that tells a secret: of a key also every line, since texts are folded anew."""
    phrase = target.private_key_passphrase
    whole = [target.private_key.get_secret_value(), phrase.get_secret_value() if phrase else ""]
    lines = [line for line in whole[0].splitlines() if len(line) > SHORT_LINE and "-----" not in line]
    return [text for text in (*whole, *lines) if text]


def _opened(target: DuckLakeSettings | SnowflakeSettings, read_only: bool) -> Any:
    """Open a connection, its failure sorted as the loader sorts those of its own."""
    kind: Callable[[Callable[[], Any]], RetryingSession]
    if isinstance(target, DuckLakeSettings):
        kind, connected = Session, partial(connect, target, read_only=read_only)
    else:
        from lambda_csv_loader.snowflake_session import SnowflakeSession

        kind, connected = SnowflakeSession, partial(_snowflake_connection, target)
    opened: list[Any] = []

    def open_connection() -> Any:
        opened.append(connected())
        return opened[-1]

    kind(open_connection).run(lambda: None)
    return opened[-1]


def _snowflake_connection(target: SnowflakeSettings) -> Any:
    """Connect by key pair through prefect-snowflake's credentials, with bounded waits.

    The connector retries an HTTP 500 for ever unless told otherwise.
    """
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials

    credentials = SnowflakeCredentials(
        account=target.account,
        user=target.user,
        role=target.role,
        private_key=target.private_key,
        private_key_passphrase=target.private_key_passphrase,
    )
    connector = SnowflakeConnector(
        credentials=credentials, database=target.database, warehouse=target.warehouse, schema="PUBLIC"
    )
    return connector.get_connection(network_timeout=120, login_timeout=60, autocommit=True)
