"""A fresh Metabase made ready: the first user, an API key of Floe's own, the database of the marts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from blocks.errors import ConfigurationError
from blocks.metabase_client import PAUSES, Document, MetabaseClient
from blocks.metabase_errors import MetabaseIncompatible, MetabaseUnauthorized
from blocks.metabase_plan import Change
from blocks.metabase_settings import MetabaseSettings

_ADMINISTRATORS = "Administrators"
_KEY_NAME = "floe"
# What Metabase shows for a secret, and takes for "as it is".
_HIDDEN = "**MetabasePass**"
# How Metabase keeps a key that was uploaded is its own matter.
_NOT_COMPARED = ("private-key-options",)
# Which database it is; the rest is how it is read.
_PLACE = ("host", "dbname", "account", "db")


def is_fresh(client: MetabaseClient) -> bool:
    """Return whether nobody has set this Metabase up."""
    return _setup_token(client) is not None


def _setup_token(client: MetabaseClient) -> str | None:
    properties = client.get("/session/properties")
    return None if properties.get("has-user-setup") else properties.get("setup-token")


def make_key(settings: MetabaseSettings, file: Path, *, pauses: Sequence[float] = PAUSES) -> SecretStr:
    """Make an API key, on a fresh instance after its first user, and keep it in a file of mode 0600.

    The key is shown once by Metabase and by nothing here. The file is opened first, so that a key is
    never made in vain. Killed between the key and the file, the key is lost: the next call makes another
    one, and the old one can be deleted in Metabase's administration.

    Args:
        settings: with the administrator's e-mail and password.
        file: where to.
        pauses: seconds before each new try of a read.

    Raises:
        ConfigurationError: the settings name no administrator, or the file cannot be written.
        MetabaseUnauthorized: the administrator's password is wrong.
    """
    if settings.admin_email is None or settings.admin_password is None:
        raise ConfigurationError(
            f"There is no API key for Metabase at {settings.url} yet",
            next_command="set FLOE_DASHBOARDS__METABASE__API_KEY, or __ADMIN_EMAIL and __ADMIN_PASSWORD "
            "so that `floe dashboards apply` can make one",
        )
    draft = _private_file(file)
    try:
        with MetabaseClient(settings.url, pauses=pauses) as anyone:
            anyone.hide(settings.admin_password)
            session = _session(anyone, settings)
        with MetabaseClient(settings.url, session=session, pauses=pauses) as administrator:
            key = _new_key(administrator)
        draft.write_text(key.get_secret_value() + "\n", encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return key


def _private_file(file: Path) -> Path:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"The API key cannot be kept in {file}: {error.strerror}",
            state="no key was made",
            next_command="set FLOE_DASHBOARDS__METABASE__API_KEY_FILE",
        ) from None
    return draft


def _session(anyone: MetabaseClient, settings: MetabaseSettings) -> SecretStr:
    assert settings.admin_password is not None  # noqa: S101 - for the type checker
    password = settings.admin_password.get_secret_value()
    if token := _setup_token(anyone):
        body = {
            "token": token,
            "user": {"email": settings.admin_email, "password": password},
            "prefs": {"site_name": settings.site_name},
        }
        try:
            return SecretStr(str(anyone.post("/setup", body)["id"]))
        except MetabaseUnauthorized:
            pass  # 403: somebody set it up a moment ago, so log in
    answer = anyone.post("/session", {"username": settings.admin_email, "password": password})
    return SecretStr(str(answer["id"]))


def _new_key(administrator: MetabaseClient) -> SecretStr:
    groups = {group["name"]: group["id"] for group in administrator.get("/permissions/group")}
    taken = {key["name"] for key in administrator.get("/api-key")}
    number = 1
    while (name := f"{_KEY_NAME} {number}" if number > 1 else _KEY_NAME) in taken:
        number += 1
    answer = administrator.post("/api-key", {"name": name, "group_id": groups.get(_ADMINISTRATORS, 2)})
    return SecretStr(str(answer["unmasked_key"]))


def find_database(client: MetabaseClient, name: str) -> Document | None:
    """Return the database of a name; the oldest, should two applies have made it at once."""
    answer: Any = client.get("/database")
    named = [each for each in answer["data"] if each["name"] == name]
    return min(named, key=lambda each: int(each["id"])) if named else None


def plan_database(client: MetabaseClient, settings: MetabaseSettings) -> Change:
    """Compare the marts' database in Metabase with the settings; secrets cannot be compared.

    Raises:
        ConfigurationError: a database of that name is of another kind, or reads another database.
    """
    found = find_database(client, settings.database)
    if found is None:
        return Change("database", "database", settings.database, "create")
    if found["engine"] != settings.marts.type:
        raise ConfigurationError(
            f"Metabase has a database {settings.database!r} already, of the kind {found['engine']}",
            next_command="set FLOE_DASHBOARDS__METABASE__DATABASE to another name",
        )
    there, wanted = found.get("details") or {}, settings.marts.details()
    elsewhere = [name for name in _PLACE if name in wanted and there.get(name, wanted[name]) != wanted[name]]
    if elsewhere:
        # Somebody's own of the same name: Metabase gives a database no other mark than that.
        named = ", ".join(f"{name} {there[name]}" for name in elsewhere)
        raise ConfigurationError(
            f"Metabase has a database {settings.database!r} already, which reads another one: {named}",
            state="it was left alone",
            next_command="set FLOE_DASHBOARDS__METABASE__DATABASE to another name, or change it in Metabase",
        )
    shown = tuple(
        f"details.{name}: {there.get(name)} → {value}"
        for name, value in wanted.items()
        if there.get(name) != value and name not in _NOT_COMPARED
    )
    return Change("database", "database", settings.database, "update" if shown else "none", shown)


def apply_database(
    client: MetabaseClient, settings: MetabaseSettings, *, resend_secrets: bool = False
) -> int:
    """Make the marts' database, or change it where it differs.

    Args:
        client: of an administrator.
        settings: what it is to be.
        resend_secrets: send its secrets again, after they were changed.

    Returns:
        The id of the database.
    """
    change = plan_database(client, settings)
    secrets = settings.marts.secret_details()
    client.hide(*secrets.values())
    plain = {name: secret.get_secret_value() for name, secret in secrets.items()}
    if change.action == "create":
        body = {
            "name": settings.database,
            "engine": settings.marts.type,
            "details": settings.marts.details() | plain,
            "is_full_sync": True,
            "is_on_demand": False,
            "auto_run_queries": True,
        }
        client.post("/database", body)
    elif change.action == "update" or resend_secrets:
        kept = plain if resend_secrets else dict.fromkeys(secrets, _HIDDEN)
        found = find_database(client, settings.database) or {}
        others = {name: value for name, value in (found.get("details") or {}).items() if name not in plain}
        details = others | settings.marts.details() | kept
        client.put(f"/database/{found['id']}", {"engine": settings.marts.type, "details": details})
    else:
        return _database_id(client, settings)
    after = plan_database(client, settings)
    if after.action != "none":
        raise MetabaseIncompatible(
            f"Metabase kept other details of the database {settings.database} than it was sent: "
            f"{'; '.join(after.details)}"
        )
    return _database_id(client, settings)


def _database_id(client: MetabaseClient, settings: MetabaseSettings) -> int:
    found = find_database(client, settings.database)
    if found is None:
        raise MetabaseIncompatible(
            f"Metabase does not show the database {settings.database} that was just made"
        )
    return int(found["id"])
