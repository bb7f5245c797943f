"""Floe's settings: one typed class, two profiles.

`local` needs nothing: `floe up` writes what it started into `<home>/stack.env`, which is read here.
`aws` takes everything from the environment (`FLOE_...`, nested names joined by two underscores) and
refuses to load when something is missing or unsafe.
"""

from __future__ import annotations

import os
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from blocks.errors import ConfigurationError
from blocks.metabase_settings import MetabaseSettings
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.settings import LoaderSettings, ObjectStoreSettings, SnowflakeSettings

ROOT = Path(__file__).resolve().parents[1]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PostgresSource(_Section):
    """One transactional database that Airbyte reads."""

    host: str
    port: int = 5432
    database: str
    user: str
    password: SecretStr
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    ssl_ca_certificate: SecretStr | None = Field(None, description="PEM text, for verify-ca and verify-full")

    @model_validator(mode="after")
    def _certificate_to_verify_with(self) -> Self:
        if self.ssl_mode.startswith("verify") and self.ssl_ca_certificate is None:
            raise ValueError(f"ssl_mode {self.ssl_mode} needs ssl_ca_certificate")
        return self


class AirbyteSettings(_Section):
    """The Airbyte server (or its stand-in) and its OAuth application."""

    server_url: str = Field(description="root of the server, e.g. http://127.0.0.1:8006")
    client_id: str
    client_secret: SecretStr
    workspace: str = "floe"
    public_path: str = Field("/api/public/v1", description="of the public API; /v1 on Airbyte Cloud")
    config_path: str | None = Field("/api/v1", description="of the Config API; empty where there is none")


class DashboardSettings(_Section):
    """Where the dashboards are shown: a folder of pages, or a Metabase."""

    pages: Path | None = Field(None, description="folder for the static preview")
    url: str | None = Field(None, description="where people open them")
    metabase: MetabaseSettings | None = Field(None, description="a Metabase that shows them")


class MailSettings(_Section):
    """The server that alerts and reports are mailed through."""

    host: str
    port: int = 587
    sender: str = Field(description="address that mails come from")
    user: str | None = None
    password: SecretStr | None = None
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="none: on this machine only")
    ca_certificate: SecretStr | None = Field(
        None, description="PEM text, where a private authority signed; reports only: alerts go by Prefect"
    )

    @model_validator(mode="after")
    def _secret(self) -> Self:
        if self.security == "none" and not _is_loopback(self.host):
            raise ValueError(f"mail to {self.host} must be encrypted: security starttls or tls")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are set together")
        return self


class AlertSettings(_Section):
    """Who is told of failed, crashed, late and stuck runs and stale sources; without a receiver nobody."""

    webhook_url: SecretStr | None = Field(None, description="gets each alert as JSON by POST")
    slack_url: SecretStr | None = Field(None, description="an incoming webhook of Slack or Mattermost")
    recipients: list[str] = Field(default_factory=list, description='by mail; JSON: ["oncall@example.com"]')
    owner: str = Field("data platform", description="of what no declaration gives an owner")
    repeat_after_minutes: float = Field(60, gt=0, description="until the same is told again")
    late_after_minutes: float = Field(15, ge=0.2, description="that a due run may wait for its start")
    stuck_after_minutes: float = Field(360, ge=0.2, description="that a run may take")


class Settings(BaseSettings):
    """Everything Floe must be told. Environment variables win over `<home>/stack.env`."""

    model_config = SettingsConfigDict(env_prefix="FLOE_", env_nested_delimiter="__", extra="ignore")

    profile: Literal["local", "aws"] = "local"
    home: Path = ROOT / ".floe"
    airbyte: AirbyteSettings
    sources: dict[str, PostgresSource] = Field(default_factory=dict)
    object_store: ObjectStoreSettings
    warehouse: DuckLakeSettings | SnowflakeSettings = Field(discriminator="type")
    reader_role: str = Field("FLOE_READER", description="Snowflake role that dashboards read the marts with")
    dashboards: DashboardSettings = Field(default_factory=DashboardSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    mail: MailSettings | None = None

    @model_validator(mode="after")
    def _alerts_can_be_mailed(self) -> Settings:
        if self.alerts.recipients and self.mail is None:
            raise ValueError("FLOE_ALERTS__RECIPIENTS needs FLOE_MAIL__HOST and __SENDER")
        return self

    @model_validator(mode="after")
    def _safe_in_production(self) -> Settings:
        if self.profile == "aws":
            if not isinstance(self.warehouse, SnowflakeSettings):
                raise ValueError("profile aws needs FLOE_WAREHOUSE__TYPE=snowflake")
            if not self.airbyte.server_url.startswith("https://"):
                raise ValueError("profile aws needs an https:// FLOE_AIRBYTE__SERVER_URL")
            hooks = (self.alerts.webhook_url, self.alerts.slack_url)
            if any(hook and not hook.get_secret_value().startswith("https://") for hook in hooks):
                raise ValueError("profile aws needs an https:// FLOE_ALERTS__WEBHOOK_URL and __SLACK_URL")
            if not os.environ.get(
                "PREFECT_SERVER_API_AUTH_STRING", os.environ.get("PREFECT_API_AUTH_STRING")
            ):
                raise ValueError(
                    "profile aws needs PREFECT_API_AUTH_STRING (the Prefect API hands out secrets)"
                )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def on_laptop() -> bool:
    """Tell whether a laptop stack may be here: not on a company's hosts, which have `FLOE_PROFILE=aws`."""
    return (os.environ.get("FLOE_PROFILE") or "local") == "local"


def home_folder() -> Path:
    """Return the folder that holds everything a stack writes: `FLOE_HOME`, else `.floe` in the clone."""
    return Path(os.environ.get("FLOE_HOME") or ROOT / ".floe").resolve()


@cache
def load_settings() -> Settings:
    """Read the settings once per process.

    Raises:
        ConfigurationError: a setting is missing or wrong; the message names each one.
    """
    stack_env = home_folder() / "stack.env"
    of_stack = stack_env if on_laptop() and stack_env.exists() else None
    try:
        return Settings(home=home_folder(), _env_file=of_stack)
    except ValidationError as error:
        missing = [str(problem["loc"][0]).upper() for problem in error.errors() if _is_room_missing(problem)]
        if on_laptop() and of_stack is None and len(missing) == error.error_count():
            names = ", ".join(f"FLOE_{name}__..." for name in missing)
            raise ConfigurationError(
                f"No stack runs in {home_folder()}, and no variables say where another is: {names}",
                state="nothing was asked or changed",
                next_command="floe up, or set these variables",
            ) from None
        wrong = "; ".join(
            f"FLOE_{'__'.join(str(part).upper() for part in problem['loc']) or '*'}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise ConfigurationError(
            f"The settings are incomplete: {wrong}",
            next_command="`floe up` for the laptop, or set these variables",
        ) from None


def _is_room_missing(problem: ErrorDetails) -> bool:
    """Tell whether of a whole room no variable is set."""
    return problem["type"] == "missing" and len(problem["loc"]) == 1


def loader_settings(settings: Settings) -> LoaderSettings:
    """Return what the loader is told here, where it is not a function of its own."""
    return LoaderSettings.model_validate(
        {"object_store": settings.object_store.model_dump(), "warehouse": settings.warehouse.model_dump()}
    )
