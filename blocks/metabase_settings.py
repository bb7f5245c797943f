"""What must be known of a Metabase: to provision it, and (much less) to publish to it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

Drift = Literal["refuse", "keep", "overwrite"]

_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class MartNames:
    """How the warehouse that Metabase reads spells the marts.

    Attributes:
        schema: of the marts.
        upper: whether it answers in upper case, as Snowflake does.
    """

    schema: str
    upper: bool

    def column(self, name: str) -> str:
        """Return the name of a column of an answer."""
        return name.upper() if self.upper else name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SnowflakeMarts(_Strict):
    """How Metabase reads marts in Snowflake: by key pair, with a role that only reads.

    The key is PKCS 8 without a passphrase, which is all that Metabase takes (metabase#24157).
    """

    type: Literal["snowflake"] = "snowflake"
    account: str
    user: str
    private_key: SecretStr
    role: str = "FLOE_READER"
    warehouse: str
    database: str
    schema_name: str = "MARTS"

    @property
    def names(self) -> MartNames:
        """How this warehouse spells the marts."""
        return MartNames(self.schema_name, upper=True)

    def details(self) -> dict[str, Any]:
        """Return the `details` of `POST /api/database`, without secrets."""
        return {
            "account": self.account,
            "user": self.user,
            "warehouse": self.warehouse,
            "db": self.database,
            "role": self.role,
            "private-key-options": "uploaded",
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": self.schema_name,
        }

    def secret_details(self) -> dict[str, SecretStr]:
        """Return the secret ones; a key is sent as an uploaded file is."""
        encoded = base64.b64encode(self.private_key.get_secret_value().encode()).decode()
        return {"private-key-value": SecretStr(f"data:application/octet-stream;base64,{encoded}")}


class PostgresMarts(_Strict):
    """How Metabase reads marts in PostgreSQL, as a user that only reads."""

    type: Literal["postgres"] = "postgres"
    host: str
    port: int = 5432
    database: str
    user: str
    password: SecretStr
    ssl: bool = True
    schema_name: str = "marts"

    @property
    def names(self) -> MartNames:
        """How this warehouse spells the marts."""
        return MartNames(self.schema_name, upper=False)

    def details(self) -> dict[str, Any]:
        """Return the `details` of `POST /api/database`, without secrets."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "ssl": self.ssl,
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": self.schema_name,
        }

    def secret_details(self) -> dict[str, SecretStr]:
        """Return the secret ones."""
        return {"password": self.password}


class MetabaseTarget(_Strict):
    """What the flow `publish` needs: less than it takes to set a Metabase up.

    Attributes:
        url: root of the server.
        api_key: of the group Administrators, since only those may sync a schema.
        database: name of the marts' database in Metabase.
        schema_name: of the marts.
        upper_case: whether the warehouse answers in upper case.
        drift: what becomes of dashboards that were changed in Metabase by hand.
        sync_seconds: how long the marts' columns may take to appear.
        slow_seconds: a card that takes longer is named in the run's table.
    """

    url: str
    api_key: SecretStr
    database: str = "Marts"
    schema_name: str = "MARTS"
    upper_case: bool = True
    drift: Drift = "keep"
    sync_seconds: float = Field(600, gt=0)
    slow_seconds: float = Field(10, gt=0)

    @property
    def names(self) -> MartNames:
        """How the warehouse spells the marts."""
        return MartNames(self.schema_name, self.upper_case)


class MetabaseSettings(_Strict):
    """A Metabase and how it reads the marts: `FLOE_DASHBOARDS__METABASE__...`.

    Attributes:
        url: root of the server; people and secrets go there, so https unless it is this machine.
        api_key: when one exists already.
        api_key_file: where `floe dashboards apply` writes the key that it makes; `<home>/metabase-api-key`
            when not set.
        admin_email: of the first user, for a fresh instance.
        admin_password: of that user.
        site_name: of a fresh instance.
        database: name of the marts' database in Metabase; a database of this name is Floe's.
        marts: how Metabase reads them.
        analysts: group that may read Floe's collections; None leaves permissions alone.
        drift: for the flow `publish`; the command line has `--drift`.
        sync_seconds: how long the marts' columns may take to appear.
        slow_seconds: a card that takes longer is named in the run's table.
    """

    url: str
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    site_name: str = "Floe"
    database: str = "Marts"
    marts: SnowflakeMarts | PostgresMarts = Field(discriminator="type")
    analysts: str | None = "Analysts"
    drift: Drift = "keep"
    sync_seconds: float = Field(600, gt=0)
    slow_seconds: float = Field(10, gt=0)

    @field_validator("url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
            return url
        raise ValueError("must be https://, or http:// on this machine")

    def key_file(self, home: Path) -> Path:
        """Return where a key that Floe made is kept."""
        return self.api_key_file or home / "metabase-api-key"

    def key(self, home: Path) -> SecretStr | None:
        """Return the API key, if there is one yet."""
        if self.api_key is not None:
            return self.api_key
        file = self.key_file(home)
        return SecretStr(file.read_text(encoding="utf-8").strip()) if file.exists() else None

    def target(self, home: Path) -> MetabaseTarget | None:
        """Return what `publish` needs; None until there is an API key."""
        key = self.key(home)
        if key is None:
            return None
        shared: dict[str, Any] = self.model_dump(
            include={"url", "database", "drift", "sync_seconds", "slow_seconds"}
        )
        names = self.marts.names
        return MetabaseTarget(api_key=key, schema_name=names.schema, upper_case=names.upper, **shared)
