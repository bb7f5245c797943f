"""What the stand-in accepts as a source or a destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deployments.local.airbyte.job_spec import PostgresAddress
from deployments.local.airbyte.problems import Problem, lacking
from deployments.local.airbyte.targets import lake_settings

# Airbyte's own id of source-postgres; the lake is no connector of Airbyte's, so its id is made up.
DEFINITIONS = {
    "source": "decd338e-5647-4c0b-adf4-da0e75f5a750",
    "destination": "6f2d5c9e-0f0e-4f57-9c0b-0d0c1a4e0001",
}
Model = TypeVar("Model", bound=BaseModel)
_IGNORED = {"sourceType", "replication_method", "tunnel_method"}


def checked_source(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a source's configuration if this stand-in can read it.

    Raises:
        Problem: 422 for a wrong field, 501 for what only Airbyte can.
    """
    if configuration.get("sourceType") != "postgres":
        raise lacking(f"the source type {configuration.get('sourceType')}")
    method = _only(configuration, "replication_method", "method")
    if method in ("CDC", "Xmin"):
        raise Problem(
            422,
            f"configuration.replication_method: {method} cannot be had from this stand-in, which reads by "
            "cursor: take the method Standard, or a real Airbyte",
        )
    if method not in (None, "Standard"):
        raise Problem(422, f"configuration.replication_method.method: {method}")
    tunnel = _only(configuration, "tunnel_method", "tunnel_method")
    if tunnel not in (None, "NO_TUNNEL"):
        raise lacking(f"the tunnel method {tunnel}")
    _only(configuration, "ssl_mode", "mode")
    fields = {key: value for key, value in configuration.items() if key not in _IGNORED}
    address = _validated(lambda: PostgresAddress(**fields))
    return {
        "sourceType": "postgres",
        **address.model_dump(),
        "ssl_mode": {"mode": address.ssl_mode},
        "replication_method": {"method": "Standard"},
    }


def checked_destination(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a destination's configuration if this stand-in can write to it.

    Raises:
        Problem: 422 for a wrong field, 501 for what only Airbyte can.
    """
    if configuration.get("destinationType") != "ducklake":
        raise lacking(f"the destination type {configuration.get('destinationType')}")
    lake = _validated(lambda: lake_settings(configuration))
    shown = lake.model_dump(mode="json")
    return {"destinationType": "ducklake", **shown, "schema": configuration.get("schema") or "main"}


def _only(configuration: dict[str, Any], name: str, choice: str) -> Any:
    """Return which variant of an option is asked for; refuse what else the option says."""
    option = configuration.get(name)
    if not isinstance(option, dict):
        if option is not None and name != "ssl_mode":
            raise Problem(422, f"configuration.{name}: must be an object with {choice}")
        return None
    if option.get(choice) in ("CDC", "Xmin"):
        return option[choice]
    for further in option:
        if further != choice:
            raise lacking(f"{name}.{further}")
    return option.get(choice)


def _validated(build: Callable[[], Model]) -> Model:
    try:
        return build()
    except ValidationError as error:
        problems = (
            f"configuration.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False)
        )
        raise Problem(422, "; ".join(problems)) from None
