"""What the loader must be told: the same variables as the rest of Floe, read without its code.

`FLOE_OBJECT_STORE__...` and `FLOE_WAREHOUSE__...` (see `blocks/settings.py`), plus `FLOE_DATASETS`,
the folder of contracts, and `FLOE_LOG_ROW_DATA`. In AWS, `FLOE_SECRET_ID` names a secret whose JSON
holds such variables.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.errors import PermanentError

DATASETS = Path(__file__).resolve().parents[1] / "deployments" / "datasets"


class BadSettings(PermanentError):
    """A variable is missing or wrong."""


class ObjectStoreSettings(BaseModel):
    """The bucket with `landing/` and `quarantine/`, and the queue of its events."""

    model_config = ConfigDict(extra="ignore")

    bucket: str
    queue_url: str
    dead_letter_queue_url: str
    region: str = "eu-central-1"
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    function_name: str | None = Field(
        None, description="the Lambda function that loads files for the flow; None: the flow's process does"
    )


class SnowflakeSettings(BaseModel):
    """The Snowflake account, by key pair."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["snowflake"] = "snowflake"
    account: str
    user: str
    private_key: SecretStr
    private_key_passphrase: SecretStr | None = None
    role: str
    warehouse: str
    database: str
    host: str | None = Field(None, description="of a proxy or an emulator; the account's own when None")
    port: int | None = None
    protocol: Literal["https", "http"] = "https"
    login_timeout: int = Field(30, gt=0, description="seconds until a login is given up")
    network_timeout: int = Field(60, gt=0, description="seconds until a request is given up")

    @model_validator(mode="after")
    def _plain_text_stays_here(self) -> SnowflakeSettings:
        if self.protocol == "http" and self.host != "127.0.0.1":
            raise ValueError("protocol http is for an emulator on 127.0.0.1 only")
        return self

    def endpoint(self) -> dict[str, str | int]:
        """Return the connector's arguments for where to connect, beside the account."""
        found = {"host": self.host, "port": self.port, "protocol": self.protocol if self.host else None}
        return {name: value for name, value in found.items() if value is not None}


class LoaderSettings(BaseSettings):
    """Settings of one loader."""

    model_config = SettingsConfigDict(env_prefix="FLOE_", env_nested_delimiter="__", extra="ignore")

    object_store: ObjectStoreSettings
    warehouse: DuckLakeSettings | SnowflakeSettings = Field(discriminator="type")
    datasets: Path = DATASETS
    log_row_data: bool = Field(
        False, description="let the log show reasons and errors that hold values of rows"
    )


def load_settings() -> LoaderSettings:
    """Read the settings from the environment and, where `FLOE_SECRET_ID` is set, Secrets Manager.

    Raises:
        BadSettings: a variable is missing or wrong; each is named, no value is shown.
    """
    secret = os.environ.get("FLOE_SECRET_ID")
    variables = _secret_variables(secret) if secret else {}
    # Plain variables win, as everywhere; the secret fills what they leave open.
    added = {name: value for name, value in variables.items() if name not in os.environ}
    try:
        os.environ.update(added)
        return LoaderSettings()
    except ValidationError as error:
        wrong = "; ".join(
            f"FLOE_{'__'.join(str(part).upper() for part in problem['loc']) or '*'}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise BadSettings(f"The loader's settings are incomplete: {wrong}") from None
    finally:
        for name in added:
            del os.environ[name]


def _secret_variables(secret_id: str) -> dict[str, str]:
    import boto3

    manager: Any = boto3.client("secretsmanager")
    content = json.loads(manager.get_secret_value(SecretId=secret_id)["SecretString"])
    return {str(name): str(value) for name, value in content.items() if str(name).startswith("FLOE_")}
