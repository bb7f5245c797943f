"""Flows that another flow calls as steps of its own, in its process, and not as runs of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import tags

from blocks.own_deployments import OURS

R = TypeVar("R")


def as_ours(step: Callable[..., R], **parameters: Any) -> R:
    """Run a flow as a step of this one, with the tag by which the server notices that its process died.

    A run of a deployment has it from there (`prefect.yaml`); one that is part of another has no deployment.
    So it has none of a deployment's other tags, and what is triggered by those does not follow from it.

    Args:
        step: the flow.
        parameters: of the flow.
    """
    with tags(OURS):
        return step(**parameters)
