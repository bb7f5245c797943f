"""The folder that holds everything a laptop stack writes, and nothing is written elsewhere."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from blocks.errors import ConfigurationError
from blocks.settings import home_folder

MINIMUM_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Home:
    """Names every file and folder below the home folder."""

    root: Path

    @classmethod
    def open(cls) -> Home:
        """Create the home folder, private to its owner, and check that there is room to work.

        Raises:
            ConfigurationError: the folder cannot be created or its disk is nearly full.
        """
        home = cls(home_folder())
        try:
            for folder in (home.root, home.logs, home.sources.parent, home.lake, home.mirror, home.airbyte):
                folder.mkdir(parents=True, exist_ok=True)
            home.secrets_file.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"Floe cannot write to its home folder {home.root}: {error.strerror}",
                next_command="FLOE_HOME=<a folder of yours> floe up",
            ) from error
        free = shutil.disk_usage(home.root).free
        if free < MINIMUM_FREE_BYTES:
            raise ConfigurationError(
                f"Only {free / 1024**3:.1f} GiB are free on the disk of {home.root}; Floe needs 2 GiB",
                state="nothing was started",
                next_command="free some space, or FLOE_HOME=<a folder on another disk> floe up",
            )
        return home

    @property
    def sources(self) -> Path:
        """Data folder of the PostgreSQL with the company's databases."""
        return self.root / "postgres" / "sources"

    @property
    def platform(self) -> Path:
        """Data folder of the platform's own PostgreSQL (lake catalog, Prefect)."""
        return self.root / "postgres" / "platform"

    @property
    def lake(self) -> Path:
        """The warehouse's Parquet files."""
        return self.root / "lake"

    @property
    def mirror(self) -> Path:
        """The bucket's objects on disk."""
        return self.root / "bucket"

    @property
    def airbyte(self) -> Path:
        """The Airbyte stand-in's own files."""
        return self.root / "airbyte"

    @property
    def prefect(self) -> Path:
        """Prefect's home, apart from the user's own profiles."""
        return self.root / "prefect"

    @property
    def dashboards(self) -> Path:
        """The rendered dashboard pages."""
        return self.root / "dashboards"

    @property
    def extensions(self) -> Path:
        """DuckDB's extension directory."""
        return self.root / "duckdb_extensions"

    @property
    def dbt(self) -> Path:
        """dbt's target and log folders."""
        return self.root / "dbt"

    @property
    def logs(self) -> Path:
        """One log file per service."""
        return self.root / "logs"

    @property
    def event_log(self) -> Path:
        """What `floe simulate` did, as JSON Lines."""
        return self.root / "events.jsonl"

    @property
    def secrets_file(self) -> Path:
        """The generated passwords and keys, readable by the owner only."""
        return self.root / "secrets" / "secrets.json"

    @property
    def passfile(self) -> Path:
        """libpq's pass file for both PostgreSQL servers."""
        return self.root / "secrets" / "pgpass"

    @property
    def stack_env(self) -> Path:
        """The settings of the running stack, read by `blocks.settings`."""
        return self.root / "stack.env"

    @property
    def ports_file(self) -> Path:
        """The ports used last time, kept so that bookmarks stay right."""
        return self.root / "ports.json"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration, written anew at each start."""
        return self.root / "supervisord.conf"

    @property
    def lock(self) -> Path:
        """Held while a command starts or stops the stack."""
        return self.root / "stack.lock"


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys generated once per home; never printed."""

    postgres_password: str
    airbyte_client_id: str
    airbyte_client_secret: str
    object_store_key: str
    prefect_encryption_key: str
    supervisor_password: str

    def __repr__(self) -> str:
        return "Secrets(**********)"


def load_secrets(file: Path) -> Secrets:
    """Read the secrets, or make them on the first start; the file is readable by its owner only."""
    if file.exists():
        return Secrets(**json.loads(file.read_text()))
    from cryptography.fernet import Fernet

    made = {
        "postgres_password": secrets.token_urlsafe(24),
        "airbyte_client_id": f"floe-{secrets.token_hex(8)}",
        "airbyte_client_secret": secrets.token_urlsafe(32),
        "object_store_key": secrets.token_urlsafe(24),
        "prefect_encryption_key": Fernet.generate_key().decode(),
        "supervisor_password": secrets.token_urlsafe(24),
    }
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(made))
    partial.replace(file)
    return Secrets(**made)
