"""The Prefect server of a company: `python -m deployments.prefect_server --host <private address>`.

The same as `prefect server start`, but it does not serve unprotected: the API hands out the secrets of
blocks to whoever may ask, and without a key from outside, Prefect keeps the key to its database in it.
And when it is started again after it was killed, slots that were held are freed, and what had happened
before it is no more waited for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from cryptography.fernet import Fernet

from blocks.errors import ConfigurationError

# What a server that is started again after it was killed needs.
OUTLIVES_KILL = {
    # Prefect keeps leases of slots in memory by default. Slots that were held then would never be freed:
    # every later build of the marts would wait for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Runs that died with the server would be noticed 15 minutes late or not at all.
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "deployments.event_order",
}
NEW_KEY = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


def main(
    host: Annotated[str, typer.Option(help="the address that the workers reach")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
) -> None:
    """Serve Prefect's API and UI until SIGTERM; refuse to without a password and an encryption key."""
    try:
        refuse_unprotected(os.environ)
    except ConfigurationError as error:
        # Here: whoever imports this for its constants has not settled the width of a terminal yet.
        from deployments.terminal import errors

        errors.print(f"Error: {error}", markup=False)
        sys.exit(1)
    # Here: it imports Prefect's server, and this module's constants are wanted without it.
    from deployments import silence

    asyncio.run(silence.begin_anew())
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    environment = {**OUTLIVES_KILL, **os.environ}
    os.execve(sys.executable, command, environment)  # noqa: S606 - a list of our own arguments, no shell


def refuse_unprotected(environment: Mapping[str, str]) -> None:
    """Refuse an environment in which the server would hand out or keep secrets unprotected.

    Raises:
        ConfigurationError: no password, no encryption key, or not a key.
    """
    if not environment.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise _refused(
            "PREFECT_SERVER_API_AUTH_STRING is not set, and the API hands out secrets",
            "set it here to <user>:<password>, and PREFECT_API_AUTH_STRING to the same wherever Floe runs",
        )
    try:
        Fernet(environment.get("PREFECT_SERVER_ENCRYPTION_KEY", ""))
    except ValueError:
        raise _refused(
            "PREFECT_SERVER_ENCRYPTION_KEY is not set to a key, so the database would hold its own", NEW_KEY
        ) from None


def _refused(what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(what, state="the server was not started", next_command=next_command)


if __name__ == "__main__":
    typer.run(main)
