"""A fresh fake Metabase made ready, and what of the secrets can be seen afterwards: nothing."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from blocks.errors import ConfigurationError
from blocks.metabase_client import MetabaseClient
from blocks.metabase_errors import MetabaseRequestRefused, MetabaseUnauthorized, MetabaseUnreachable
from blocks.metabase_settings import MetabaseSettings
from blocks.metabase_setup import apply_database, is_fresh, make_key, plan_database
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import WAREHOUSE

PASSWORD, PRIVATE_KEY = "correct horse battery", "-----BEGIN PRIVATE KEY-----\nnever shown\n"
SNOWFLAKE = {
    "type": "snowflake",
    "account": "acme-x1",
    "user": "METABASE",
    "private_key": PRIVATE_KEY,
    "warehouse": "BI",
    "database": "FLOE",
}


def settings_of(fake: FakeMetabase, **more: Any) -> MetabaseSettings:
    fields = {"url": fake.url, "admin_email": "a@example.com", "admin_password": PASSWORD, "marts": SNOWFLAKE}
    return MetabaseSettings.model_validate(fields | more)


@pytest.fixture
def fresh() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE, upper=True) as fake:
        yield fake


def test_a_fresh_instance_gets_its_administrator_and_a_key_in_a_private_file(
    fresh: FakeMetabase, tmp_path: Path
) -> None:
    file = tmp_path / "home" / "metabase-api-key"
    assert is_fresh(MetabaseClient(fresh.url))
    key = make_key(settings_of(fresh), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [*file.parent.iterdir()] == [file]
    assert settings_of(fresh).key(tmp_path / "home") == key
    assert [user["email"] for user in fresh.state.users] == ["a@example.com"]
    assert fresh.state.keys[key.get_secret_value()]["group"] == {"id": 2}
    assert not is_fresh(MetabaseClient(fresh.url))


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_setup_that_was_killed_at_any_call_goes_on(fresh: FakeMetabase, tmp_path: Path, how: Any) -> None:
    file = tmp_path / "key"
    for call in range(1, 6):
        fresh.fail(call, how)
        with pytest.raises(MetabaseUnreachable):
            # A person, or a host's start-up, tries again later; reads are not tried again within the test.
            _without_pauses(settings_of(fresh), file)
        assert not file.exists()
        fresh.mend()
    make_key(settings_of(fresh), file)
    assert len(fresh.state.users) == 1
    assert file.read_text().strip() in fresh.state.keys


def _without_pauses(settings: MetabaseSettings, file: Path) -> None:
    make_key(settings, file, pauses=())


def test_without_an_administrator_it_says_what_to_set(fresh: FakeMetabase, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no API key") as caught:
        make_key(settings_of(fresh, admin_password=None), tmp_path / "key")
    assert "__ADMIN_PASSWORD" in str(caught.value)


def test_a_file_that_cannot_be_written_is_noticed_before_a_key_is_made(
    fresh: FakeMetabase, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be kept") as caught:
        make_key(settings_of(fresh), tmp_path / "file" / "key")
    assert caught.value.state == "no key was made"
    assert fresh.state.keys == {}


def test_a_wrong_password_is_no_reason_to_show_it(fresh: FakeMetabase, tmp_path: Path) -> None:
    make_key(settings_of(fresh), tmp_path / "key")
    wrong = settings_of(fresh, admin_password="wrong horse battery")
    with pytest.raises(MetabaseUnauthorized) as caught:
        make_key(wrong, tmp_path / "other")
    assert "wrong horse" not in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_the_database_is_made_once_with_a_role_that_only_reads(fresh: FakeMetabase, tmp_path: Path) -> None:
    settings = settings_of(fresh)
    client = MetabaseClient(fresh.url, make_key(settings, tmp_path / "key"))
    number = apply_database(client, settings)
    details = fresh.state.databases[number]["details"]
    assert (details["role"], details["schema-filters-patterns"]) == ("FLOE_READER", "MARTS")
    assert details["private-key-value"].startswith("data:application/octet-stream;base64,")
    fresh.calls.clear()
    assert apply_database(client, settings) == number
    assert fresh.writes() == []
    assert plan_database(client, settings).action == "none"


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_database_that_was_begun_is_not_made_twice(fresh: FakeMetabase, tmp_path: Path, how: Any) -> None:
    settings = settings_of(fresh)
    client = MetabaseClient(fresh.url, make_key(settings, tmp_path / "key"), pauses=())
    for call in range(1, 5):
        fresh.fail(call, how)
        with pytest.raises(MetabaseUnreachable):
            apply_database(client, settings)
            apply_database(client, settings)
        fresh.mend()
    apply_database(client, settings)
    assert len(fresh.state.databases) == 1


def test_a_changed_database_keeps_its_secret_unless_it_is_sent_again(
    fresh: FakeMetabase, tmp_path: Path
) -> None:
    settings = settings_of(fresh)
    client = MetabaseClient(fresh.url, make_key(settings, tmp_path / "key"))
    number = apply_database(client, settings)
    secret = fresh.state.databases[number]["details"]["private-key-value"]
    other = settings_of(fresh, marts=SNOWFLAKE | {"warehouse": "BIGGER", "private_key": "another"})
    assert plan_database(client, other).details == ("details.warehouse: BI → BIGGER",)
    apply_database(client, other)
    details = fresh.state.databases[number]["details"]
    assert (details["warehouse"], details["private-key-value"]) == ("BIGGER", secret)
    apply_database(client, other, resend_secrets=True)
    assert fresh.state.databases[number]["details"]["private-key-value"] != secret


def test_a_refusal_that_repeats_the_secrets_is_shown_without_them(
    fresh: FakeMetabase, tmp_path: Path
) -> None:
    client = MetabaseClient(fresh.url, make_key(settings_of(fresh), tmp_path / "key"))
    postgres = {"type": "postgres", "host": "db", "database": "dwh", "user": "", "password": 'never "shown"'}
    with pytest.raises(MetabaseRequestRefused, match=r"cannot connect with .*'password': '") as caught:
        apply_database(client, settings_of(fresh, marts=postgres))
    assert "never" not in str(caught.value)


def test_another_database_of_that_name_is_left_alone(fresh: FakeMetabase, tmp_path: Path) -> None:
    settings = settings_of(fresh)
    client = MetabaseClient(fresh.url, make_key(settings, tmp_path / "key"))
    fresh.state.new_database({"name": "Marts", "engine": "postgres", "details": {"user": "somebody"}})
    with pytest.raises(ConfigurationError, match="already, of the kind postgres"):
        apply_database(client, settings)


def test_a_database_of_that_name_that_reads_another_one_is_left_alone(
    fresh: FakeMetabase, tmp_path: Path
) -> None:
    client = MetabaseClient(fresh.url, make_key(settings_of(fresh), tmp_path / "key"))
    number = apply_database(client, settings_of(fresh))
    before = dict(fresh.state.databases[number]["details"])
    other = settings_of(fresh, marts=SNOWFLAKE | {"database": "SOMEBODY_ELSES"})
    with pytest.raises(ConfigurationError, match="'Marts' already, which reads another one: db ") as refused:
        apply_database(client, other)
    assert refused.value.state == "it was left alone"
    assert fresh.state.databases[number]["details"] == before


def test_settings_keep_secrets_and_refuse_plain_text_over_the_network(fresh: FakeMetabase) -> None:
    settings = settings_of(fresh, api_key="mb_secret")
    shown = repr(settings) + str(settings) + settings.model_dump_json()
    assert not any(secret in shown for secret in ("mb_secret", PASSWORD, "never shown"))
    with pytest.raises(ValidationError, match="https://"):
        MetabaseSettings.model_validate(
            json.loads(settings.model_dump_json()) | {"url": "http://metabase.example"}
        )
    with pytest.raises(ValidationError, match="databse"):
        MetabaseSettings.model_validate({"url": fresh.url, "marts": SNOWFLAKE, "databse": "x"})


def test_publish_is_told_less_than_it_takes_to_set_up(fresh: FakeMetabase, tmp_path: Path) -> None:
    assert settings_of(fresh).target(tmp_path) is None
    target = settings_of(fresh, api_key="mb_secret").target(tmp_path)
    assert target is not None
    assert target.api_key == SecretStr("mb_secret")
    assert (target.schema_name, target.upper_case, target.drift) == ("MARTS", True, "keep")
    assert not {"admin_password", "marts"} & set(target.model_dump())
