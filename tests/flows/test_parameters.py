"""The form of each flow in Prefect's UI: what its parameters are made of, and that each is described."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.importtools import import_object

from blocks.settings import ROOT
from deployments.prefect_objects import PREFECT_YAML, deployed_sources


def deployed_flows() -> dict[str, Flow[..., Any]]:
    """Return every flow that has a deployment, by its entrypoint."""
    entrypoints = {each["entrypoint"] for each in yaml.safe_load(PREFECT_YAML.read_text())["deployments"]}
    return {
        each: import_object(each.replace(".py", "").replace("/", ".").replace(":", "."))
        for each in sorted(entrypoints)
    }


def classes_in(annotation: Any) -> Iterator[type]:
    """Yield the classes that an annotation names, at any depth."""
    for part in get_args(annotation):
        yield from classes_in(part)
    if inspect.isclass(annotation):
        yield annotation


FLOWS = deployed_flows()


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_changed_class_of_a_parameter_is_deployed(flow: Flow[..., Any]) -> None:
    hints = [hint for name, hint in get_type_hints(flow.fn).items() if name != "return"]
    kinds = {kind for hint in hints for kind in classes_in(hint) if kind.__module__ != "builtins"}
    files = {Path(inspect.getfile(kind)) for kind in kinds}
    own = {
        file for file in files if file.is_relative_to(ROOT / "blocks") or file.is_relative_to(ROOT / "flows")
    }
    assert own <= set(deployed_sources())


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_each_parameter_is_described(flow: Flow[..., Any]) -> None:
    fields = dict(flow.parameters.properties)
    for name, definition in (flow.parameters.definitions or {}).items():
        fields |= {f"{name}.{field}": form for field, form in definition.get("properties", {}).items()}
    assert [name for name, field in fields.items() if not field.get("description")] == []


PATIENT = {name: flow for name, flow in FLOWS.items() if "first_pause_seconds" in flow.parameters.properties}


@pytest.mark.parametrize("flow", PATIENT.values(), ids=PATIENT)
def test_a_pause_is_not_negative(flow: Flow[..., Any]) -> None:
    given = dict.fromkeys(flow.parameters.required or [], "x")
    flow.validate_parameters({**given, "first_pause_seconds": 0})
    with pytest.raises(ParameterTypeError, match=r"first_pause_seconds: .*greater than or equal to 0"):
        flow.validate_parameters({**given, "first_pause_seconds": -1})


def test_every_flow_that_tries_again_lets_its_pauses_be_set() -> None:
    assert set(FLOWS) - set(PATIENT) == {"flows/elt.py:elt"}
