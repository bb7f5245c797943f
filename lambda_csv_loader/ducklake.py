"""DuckLake, the embedded warehouse: DuckDB engine, Parquet files, catalog in PostgreSQL.

The local counterpart of Snowflake. Many processes read and write at once, a transaction spans
tables and schemas, and every version can be read back (https://ducklake.select/docs).
"""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import duckdb
from pydantic import BaseModel, ConfigDict

from lambda_csv_loader.workspace import engine_limits

EXTENSIONS = ("ducklake", "postgres_scanner", "tpcds")
CATALOG = "lake"
# Commits of others in between only cost another try; 10, the default, are too few for a busy minute.
COMMIT_TRIES = 100


class DuckLakeSettings(BaseModel):
    """Where a DuckLake's catalog and files are, and the memory that one process may take for a query.

    Holds no secret: the password is in `passfile`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["ducklake"] = "ducklake"
    host: str = "127.0.0.1"
    port: int
    user: str = "floe"
    database: str = "lake"
    passfile: Path
    data_path: Path
    extension_directory: Path
    # Three hosts of 2 to 8 GB hold several processes each; DuckDB alone would take 80 % of the machine.
    memory_limit: str = "1GB"

    def catalog_uri(self) -> str:
        """Return the `ducklake:postgres:...` string to attach; it names the pass file, not the password."""
        return f"ducklake:postgres:{libpq(self.host, self.port, self.user, self.database, self.passfile)}"


def libpq(host: str, port: int, user: str, database: str, passfile: Path | None = None) -> str:
    """Return a libpq keyword/value connection string, with values quoted as libpq asks for.

    Source: https://www.postgresql.org/docs/16/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
    """

    def quoted(value: object) -> str:
        return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"

    pairs = {"host": host, "port": port, "user": user, "dbname": database}
    if passfile is not None:
        pairs["passfile"] = str(passfile)
    return " ".join(f"{key}={quoted(value)}" for key, value in pairs.items())


def sql_string(value: object) -> str:
    """Return `value` as a single-quoted SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(*parts: str) -> str:
    """Return a quoted, dotted SQL identifier: `sql_name("lake", "ops", "syncs")`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def install_extensions(directory: Path) -> Path:
    """Put DuckDB's extensions where plain `LOAD` finds them, from the wheels that carry them.

    A copy, not a link: a link into a virtual environment dies with it.

    Args:
        directory: the future `extension_directory`; created when missing.

    Returns:
        `directory`, for `DuckLakeSettings.extension_directory`.
    """
    target = directory / f"v{duckdb.__version__}" / duckdb_platform()
    target.mkdir(parents=True, exist_ok=True)
    for name in EXTENSIONS:
        file = target / f"{name}.duckdb_extension"
        source = _wheel_file(name)
        if source is None or (file.exists() and file.stat().st_size == source.stat().st_size):
            continue
        partial = file.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(file)
    return directory


def duckdb_platform() -> str:
    """Return DuckDB's name for this platform, as `PRAGMA platform` gives it, without a connection."""
    system = {"darwin": "osx", "win32": "windows"}.get(sys.platform, "linux")
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    return f"{system}_{machine}"


def _wheel_file(name: str) -> Path | None:
    spec = find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    return file if file.exists() else None


def connect(
    settings: DuckLakeSettings, *, read_only: bool = False, threads: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the lake attached as `lake` and made the default database.

    Args:
        settings: where the catalog and the files are.
        read_only: attach the lake so that nothing can be written.
        threads: DuckDB's worker threads; its own default when None.

    Raises:
        duckdb.IOException: the catalog's PostgreSQL does not answer.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "extension_directory": str(settings.extension_directory),
        **engine_limits(settings.memory_limit),
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(config=config)
    options = [f"DATA_PATH {sql_string(str(settings.data_path) + '/')}"]
    if read_only:
        options.append("READ_ONLY")
    try:
        connection.execute("LOAD ducklake; LOAD postgres_scanner")
        connection.execute(f"ATTACH {sql_string(settings.catalog_uri())} AS {CATALOG} ({', '.join(options)})")
        connection.execute(
            f"USE {CATALOG}; SET TimeZone = 'UTC'; SET ducklake_max_retry_count = {COMMIT_TRIES}"
        )
    except BaseException:
        connection.close()
        raise
    return connection
