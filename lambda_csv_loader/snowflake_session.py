"""One Snowflake connection by key pair, with bounded waits, that sorts what the connector raises."""

from __future__ import annotations

import json
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from snowflake import connector
from snowflake.connector.errors import Error, ForbiddenError

from lambda_csv_loader.retrying import Conflict, RetryingSession
from lambda_csv_loader.settings import SnowflakeSettings
from lambda_csv_loader.writer import TableMismatch, WarehouseRefused, WarehouseUnavailable

QUERY_TAG = json.dumps({"app": "floe", "room": "lambda_csv_loader"})
# A publisher that was killed keeps its lock until Snowflake ends its transaction, 5 minutes after
# another one wants it: 12 tries of 20 s and their pauses nearly span that, the queue does the rest.
LOCK_SECONDS = 20
STATEMENT_SECONDS = 600
# https://docs.snowflake.com/en/sql-reference/parameters
_SESSION = {
    "QUERY_TAG": QUERY_TAG,
    "LOCK_TIMEOUT": LOCK_SECONDS,
    "STATEMENT_TIMEOUT_IN_SECONDS": STATEMENT_SECONDS,
    "ABORT_DETACHED_QUERY": True,
    "TRANSACTION_ABORT_ON_ERROR": True,
    # What an account or user may set otherwise, and what our SQL relies on.
    "AUTOCOMMIT": True,
    "TIMEZONE": "UTC",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "CLIENT_TELEMETRY_ENABLED": False,
}
_CONFLICTS = (625,)
"""The lock was not given in time, or 20 others wait for it already."""
_SESSION_OVER = (390104, 390110, 390111, 390112, 390113, 390114, 390115, 250002, 290401)
"""The session ended while the process slept, as a Lambda does."""
_NOT_ALLOWED = (606, 2003, 2043, 3001, 3540, 90105, 90106)
"""No warehouse or database in use, an object that is missing or not granted, a missing privilege."""
_BAD_VALUES = range(100_000, 101_000)
"""A value that does not fit its column; the texts of these errors show it."""


class SnowflakeSession(RetryingSession):
    """A connection with autocommit on; transactions are begun explicitly."""

    errors = Error

    def execute(self, statement: str, *values: object) -> Any:
        """Run one statement with bound values and return its cursor; only inside `run`."""
        return self._connection.cursor().execute(statement, values or None)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query and return its rows; only inside `run`."""
        found: list[tuple[Any, ...]] = self.execute(statement, *values).fetchall()
        return found

    def _end_transaction(self) -> None:
        self.execute("rollback")

    def _sorted(self, error: Error) -> Exception:
        number = error.errno if isinstance(error.errno, int) else None
        if number in _CONFLICTS:
            return Conflict()
        # Someone may have dropped or changed what was found to be there.
        self.prepared.clear()
        if number in _BAD_VALUES:
            return TableMismatch(
                f"The table refuses rows that the contract allows: error {number}",
                state="nothing was written; the files wait in the queue",
                next_command="compare the table's columns with the contract",
            )
        if number in _NOT_ALLOWED:
            return WarehouseRefused(
                f"Snowflake does not let the loader do this: {_first_line(error)}",
                state="nothing was written; the files wait in the queue",
                next_command="grant what lambda_csv_loader/snowflake_grants.sql lists",
            )
        opened = self._connection is not None
        self._drop()
        if number in _SESSION_OVER and opened:
            return Conflict()
        if not opened and _is_refusal(error):
            return WarehouseRefused(
                f"Snowflake refuses the login: {_first_line(error)}",
                state="nothing was written; the files wait in the queue",
                next_command="check account, user, role and the user's RSA_PUBLIC_KEY",
            )
        return WarehouseUnavailable(
            f"Snowflake failed: {type(error).__name__}: {_first_line(error)}",
            state="nothing was written; it is tried again",
            next_command="floe status",
        )


def open_snowflake(settings: SnowflakeSettings) -> Any:
    """Open a connection.

    Raises:
        WarehouseRefused: the private key cannot be read.
        snowflake.connector.errors.Error: the account does not answer or refuses the login.
    """
    return connector.connect(
        account=settings.account,
        user=settings.user,
        authenticator="SNOWFLAKE_JWT",
        private_key=_private_key(settings),
        role=settings.role,
        warehouse=settings.warehouse,
        database=settings.database,
        # Values are bound by the server: a backslash in a literal would be an escape.
        paramstyle="qmark",
        autocommit=True,
        # The connector retries for ever unless told otherwise.
        login_timeout=settings.login_timeout,
        network_timeout=settings.network_timeout,
        application="Floe",
        session_parameters=dict(_SESSION),
        client_session_keep_alive=False,
        # Asks the cloud's metadata service where it runs, only to report it.
        platform_detection_timeout_seconds=0.0,
        **settings.endpoint(),
    )


def _private_key(settings: SnowflakeSettings) -> RSAPrivateKey:
    secret = settings.private_key_passphrase
    passphrase = secret.get_secret_value().encode() if secret and secret.get_secret_value() else None
    try:
        key = load_pem_private_key(settings.private_key.get_secret_value().encode(), passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        # Without the cause, whose text may hold a part of the key.
        raise WarehouseRefused(
            "The Snowflake user's private key cannot be read: not an RSA key in PEM (PKCS#8), or its "
            "passphrase is missing, wrong or not needed",
            state="nothing was written; the files wait in the queue",
            next_command="set FLOE_WAREHOUSE__PRIVATE_KEY and FLOE_WAREHOUSE__PRIVATE_KEY_PASSPHRASE",
        )
    return key


def _is_refusal(error: Error) -> bool:
    """Tell whether the account answered the login with a no, rather than not at all."""
    if isinstance(error, ForbiddenError):
        return True
    return isinstance(error.errno, int) and 390_000 <= error.errno < 400_000


def _first_line(error: Error) -> str:
    lines = str(error).splitlines()
    return " ".join(line.strip() for line in lines[:2])[:300]
