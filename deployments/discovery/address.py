"""Reaching a database that is only known by its URL: to read it and nothing else, and to show no password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import conninfo

from blocks.errors import ConfigurationError, FloeError, ServiceUnavailable
from lambda_csv_loader.ducklake import sql_name

OLDEST_VERSION = 12
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
_EXAMPLE = "floe connections discover postgresql://user@host:5432/database"
_SECRETS = ("password", "sslpassword")
# jit: compiling a catalog query takes longer than running it. search_path: so that nothing in the
# database can stand in front of PostgreSQL's own functions.
_SESSION = (
    f"set local statement_timeout = '{STATEMENT_SECONDS}s'",
    "set local jit = off",
    "set local search_path = pg_catalog",
)


@dataclass(frozen=True)
class Address:
    """Where a database is.

    Attributes:
        conninfo: for libpq, with everything the URL had; what it lacks libpq takes from its own
            variables and files (PGPASSWORD, ~/.pgpass).
        shown: user, host and database, to be printed.
        has_password: whether the URL holds one.
    """

    conninfo: str = field(repr=False)
    shown: str
    has_password: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a `postgresql://` URL.

        Raises:
            ConfigurationError: it is none. The message does not repeat it: it may hold a password.
        """
        if not url.startswith(("postgresql://", "postgres://")):
            raise _bad_url("it does not start with postgresql://")
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise _bad_url("libpq cannot read it") from None
        host, port, database = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
        # An unescaped @ or / in the password moves a piece of it into the host, the port or the database.
        if "@" in host or (port and not port.replace(",", "").isdecimal()):
            raise _bad_url("the host or the port is none")
        if "@" in database and "%40" not in url:
            raise _bad_url("the database's name holds an @")
        user = f"{parts['user']}@" if parts.get("user") else ""
        shown_host = f"[{host}]" if ":" in host else host
        shown = f"postgresql://{user}{shown_host}{f':{port}' if port else ''}/{database}"
        defaults: dict[str, str | int] = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "floe discover",
            "client_encoding": "utf8",
        }
        wanted = {key: value for key, value in defaults.items() if key not in parts}
        return cls(conninfo.make_conninfo(url, **wanted), shown, bool(parts.get("password")))

    def without_secrets(self, text: str) -> str:
        """Return `text` with every password of the URL replaced."""
        parts = conninfo.conninfo_to_dict(self.conninfo)
        for secret in (str(parts[key]) for key in _SECRETS if parts.get(key)):
            text = text.replace(secret, "***")
        return text


@contextmanager
def reading(address: Address) -> Iterator[psycopg.Connection]:
    """Open one read-only transaction, in which all queries see the same catalog.

    Not by session settings: those would be lost, or left to others, behind a pooler.

    Raises:
        FloeError: the server cannot be reached, refuses us, is too old, or a query in the body failed.
    """
    connection = _connect(address)
    try:
        if connection.info.server_version < OLDEST_VERSION * 10_000:
            raise ConfigurationError(
                f"{address.shown} is PostgreSQL {connection.info.server_version // 10_000}; "
                f"discovering needs {OLDEST_VERSION} or newer",
                state="nothing was written",
                next_command="write the file by hand, as deployments/connections/crm.yaml shows",
            )
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for setting in _SESSION:
            connection.execute(setting.encode())
        yield connection
    except psycopg.errors.QueryCanceled:
        raise ServiceUnavailable(
            f"The catalog of {address.shown} could not be read within {STATEMENT_SECONDS} s",
            state="nothing was written",
            next_command="try again, or look at fewer schemas with --schema",
        ) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__
        raise FloeError(
            f"The catalog of {address.shown} cannot be read: {said}",
            state="nothing was written",
            next_command=f"psql {address.shown}",
        ) from None
    finally:
        connection.close()


def grant(user: str, schema: str, table: str) -> str:
    """Return the statements that let `user` read a table."""
    name, role = sql_name(schema, table), sql_name(user)
    return f"grant usage on schema {sql_name(schema)} to {role}; grant select on {name} to {role};"


def _connect(address: Address) -> psycopg.Connection:
    try:
        return psycopg.connect(address.conninfo)
    except psycopg.Error as error:
        raise _refused(address, error) from None


def _refused(address: Address, error: psycopg.Error) -> FloeError:
    words = address.without_secrets(" ".join(str(error).split()))
    # libpq gives no codes here; where the server speaks another language, its own words must do.
    if "no password supplied" in words:
        return ConfigurationError(
            f"{address.shown} asks for a password and none was given",
            state="nothing was written",
            next_command="set PGPASSWORD, or add a line to ~/.pgpass, then the same command",
        )
    if "authentication failed" in words or "no pg_hba.conf entry" in words:
        return ConfigurationError(
            f"{address.shown} does not let this user in: {words}",
            state="nothing was written",
            next_command="correct the user, or PGPASSWORD or ~/.pgpass, then the same command",
        )
    if "database" in words and "does not exist" in words:
        server = address.shown.rpartition("/")[0]
        return ConfigurationError(
            f"{address.shown}: there is no such database",
            state="nothing was written",
            next_command=f"psql {server}/postgres --list",
        )
    return ServiceUnavailable(
        f"{address.shown} cannot be reached: {words}",
        state="nothing was written",
        next_command="check host, port and network (and sslmode=... in the URL), then the same command",
    )


def _bad_url(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"This is no URL of a PostgreSQL database: {why} (it is not repeated here, it may hold a password). "
        "In a user's name or a password, @ / : ? # % are written as %40 %2F %3A %3F %23 %25",
        state="nothing was written",
        next_command=_EXAMPLE,
    )
