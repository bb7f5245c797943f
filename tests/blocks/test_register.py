"""Blocks are saved once, told when they differ, and deleted when nobody declares them any more."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockDocumentUpdate
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from blocks import settings
from blocks.airbyte import AirbyteConnection
from blocks.alerts import WEBHOOK, alert_blocks
from blocks.errors import ConfigurationError
from blocks.reconcile_plan import ReconcilePlan
from blocks.register import Registration, delete_others, delete_undeclared, register
from blocks.settings import AlertSettings
from blocks.source_database import SourceDatabase
from blocks.strict_block import NoSuchBlock, StrictBlock
from deployments.commands.blocks import app
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.connection_settings import made


class Door(StrictBlock):
    """A block of this file's own."""

    _block_type_slug = "floe-test-door"

    key: SecretStr


class Window(StrictBlock):
    """Another one, which nothing here deletes."""

    _block_type_slug = "floe-test-window"


@pytest.fixture
def doors(prefect_server: None) -> Iterator[dict[str, Block]]:
    doors: dict[str, Block] = {name: Door(key=SecretStr(name)) for name in ("front", "back")}
    register(doors)
    yield doors
    delete_others({"none": Door(key=SecretStr("none"))})


def changes(found: list[Registration]) -> dict[str, str]:
    return {one.name: one.change for one in found}


def test_a_second_time_nothing_changes_and_a_changed_secret_is_seen(doors: dict[str, Block]) -> None:
    assert changes(register(doors)) == {"front": "unchanged", "back": "unchanged"}
    changed: dict[str, Block] = {**doors, "back": Door(key=SecretStr("lost"))}
    assert changes(register(changed, check=True)) == {"front": "unchanged", "back": "updated"}
    assert changes(register(doors, check=True)) == {"front": "unchanged", "back": "unchanged"}
    assert changes(register(changed)) == {"front": "unchanged", "back": "updated"}
    assert Door.load("back").key.get_secret_value() == "lost"


def test_a_receiver_that_is_no_longer_declared_is_deleted_with_its_secret(prefect_server: None) -> None:
    alerts = AlertSettings(webhook_url=SecretStr("https://example.com/hooks/secret"))
    declared = alert_blocks(alerts, None)
    register(declared)
    assert delete_undeclared(declared) == []
    assert changes(delete_undeclared({}, check=True)) == {WEBHOOK: "deleted"}
    assert changes(delete_undeclared({})) == {WEBHOOK: "deleted"}
    assert delete_undeclared({}) == []


def test_others_of_the_same_type_are_deleted_and_no_other_type(doors: dict[str, Block]) -> None:
    register({"pane": Window()})
    assert changes(delete_others({"front": doors["front"]})) == {"back": "deleted"}
    assert delete_others({"front": doors["front"]}) == []
    assert Door.load("front").key.get_secret_value() == "front"
    with pytest.raises(NoSuchBlock, match="no block `back`"):
        Door.load("back")
    assert isinstance(Window.load("pane"), Window)


def test_a_block_that_is_not_saved_is_named_with_the_command_that_saves_it(prefect_server: None) -> None:
    with pytest.raises(NoSuchBlock, match=r"no block `nowhere` \(Door\).*\n.*\nNext: floe blocks register"):
        Door.load("nowhere")
    for kind in (AirbyteConnection, SourceDatabase, ReconcilePlan):
        with pytest.raises(NoSuchBlock, match=r"no block `nowhere` .*\n.*\nNext: floe connections apply"):
            kind.load("nowhere")


def test_a_block_that_an_earlier_version_saved_is_told_without_its_secret_and_saved_anew(
    doors: dict[str, Block],
) -> None:
    with get_client(sync_client=True) as client:
        saved = client.read_block_document_by_name("back", "floe-test-door")
        earlier = BlockDocumentUpdate(data={"lock": "s3cret"})
        client.update_block_document(saved.id, earlier)
    with pytest.raises(ConfigurationError, match=r"`back` \(Door\).*lock: Extra inputs are not") as caught:
        Door.load("back")
    assert not isinstance(caught.value, NoSuchBlock)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert changes(register(doors)) == {"front": "unchanged", "back": "updated"}
    assert Door.load("back").key.get_secret_value() == "back"


@pytest.mark.thorough
def test_floe_blocks_check_ends_with_1_where_a_block_differs_from_the_settings(
    prefect_server: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOE_HOME", str(tmp_path))
    lake = DuckLakeSettings(
        port=1, database="lake", passfile=tmp_path, data_path=tmp_path, extension_directory=tmp_path
    )
    declared = made("http://127.0.0.1:9", {}, lake)
    monkeypatch.setattr(settings, "load_settings", lambda: declared)

    def floe_blocks(command: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [command], catch_exceptions=False)
        return done.exit_code, done.output

    floe_blocks("register")
    assert floe_blocks("check")[0] == 0
    declared = declared.model_copy(update={"reader_role": "SOMEBODY"})
    status, told = floe_blocks("check")
    assert (status, "warehouse: updated" in told, "landing: unchanged" in told) == (1, True, True)
    assert floe_blocks("check")[0] == 1
    assert floe_blocks("register")[0] == 0
    assert floe_blocks("check")[0] == 0


@pytest.mark.parametrize("kind", StrictBlock.__subclasses__(), ids=lambda kind: kind.__name__)
def test_no_block_takes_a_field_that_it_does_not_have(kind: type[StrictBlock]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate({"misspelt": 1})
    assert {"extra_forbidden"} == {
        each["type"] for each in refused.value.errors() if each["loc"] == ("misspelt",)
    }
