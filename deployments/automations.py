"""The server's automations, made what `automations.yaml` declares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from prefect import get_client
from prefect.events.schemas.automations import Automation, AutomationCore
from pydantic import ValidationError

from blocks.errors import ConfigurationError
from blocks.server_pages import all_pages

AUTOMATIONS_YAML = Path(__file__).with_name("automations.yaml")
# Marks the automations that come from the file, so that nobody's own are ever touched.
TAG = "floe"
# How often each flow run tells that it lives. Prefect's own 180 would be taken for silence, and so every
# longer run for crashed.
HEARTBEAT_SECONDS = 30


def declared_automations(file: Path = AUTOMATIONS_YAML) -> list[AutomationCore]:
    """Return the declared automations.

    Raises:
        ConfigurationError: one is not an automation as Prefect knows it.
    """
    return [_automation(fields, file) for fields in yaml.safe_load(file.read_text())["automations"]]


def apply_automations(declared: list[AutomationCore]) -> list[str]:
    """Create, update and remove the server's automations; return a line for each that changed.

    Automations without our tag are left alone, whatever their names.
    """
    changes = []
    with get_client(sync_client=True) as client:
        # One page would be short of some, which were then made twice.
        there = all_pages(client.read_automations)
        ours = {each.name: each for each in there if TAG in each.tags}
        for automation in declared:
            known = ours.pop(automation.name, None)
            if known is None:
                client.create_automation(automation)
                changes.append(f"{automation.name}: created")
            elif _content(known) != _content(automation):
                client.update_automation(known.id, automation)
                changes.append(f"{automation.name}: updated")
        for name, gone in ours.items():
            client.delete_automation(gone.id)
            changes.append(f"{name}: removed")
    return changes


def _content(automation: AutomationCore | Automation) -> object:
    return _in_order(automation.model_dump(mode="json", exclude={"id", "enabled", "owner_resource"}))


def _in_order(value: object) -> object:
    # Prefect keeps the events of a trigger as sets, whose order differs from process to process.
    if isinstance(value, dict):
        return {name: _in_order(inner) for name, inner in value.items()}
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return sorted(value)
    return [_in_order(each) for each in value] if isinstance(value, list) else value


def _automation(fields: dict[str, object], file: Path) -> AutomationCore:
    try:
        automation = AutomationCore.model_validate({**fields, "tags": [TAG]})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    else:
        # Prefect drops a field that it does not know without a word.
        problems = [
            f"{field}: no such field" for field in _dropped(fields, automation.model_dump(mode="json"))
        ]
        if not problems:
            return automation
    raise ConfigurationError(
        f"{file.name}: automation {fields.get('name')!r}: {'; '.join(problems)}",
        state="the server's automations are as they were",
        next_command="correct the file, then floe deploy",
    )


def _dropped(given: object, kept: object, path: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                yield f"{path}{name}"
            else:
                yield from _dropped(value, kept[name], f"{path}{name}.")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(value, other, f"{path}{index}.")
