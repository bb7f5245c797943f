"""What of the project a build has to do: everything, or what has changed since the last publication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.logging import get_run_logger

from blocks.changed_nodes import EVERYTHING, PublishedBuild, Selection
from blocks.dbt import DbtProject
from blocks.dbt_retry import WholeBuildNeeded
from blocks.publication import Changes
from flows.retries import Steps


def selection(project: DbtProject, asked: Mapping[str, Any], steps: Steps) -> Selection:
    """Return what a build of what has changed has to do: everything, where nobody can tell.

    Ask when the build has begun: what changes from then on counts for the next one.

    Args:
        project: that is built.
        asked: what its `asked_of_published` said.
        steps: of the flow run.
    """
    try:
        published = project.published
        if not published.is_there:
            raise WholeBuildNeeded("no publication was built on this host")
        changes = _changes(project, published, steps)
        chosen = published.selection(asked, changes)
    except WholeBuildNeeded as reason:
        get_run_logger().info("Everything is built: %s", reason)
        return EVERYTHING
    get_run_logger().info("Only what has changed since the last publication is built")
    return chosen


def _changes(project: DbtProject, published: PublishedBuild, steps: Steps) -> Changes:
    read, written = published.schemas()

    def look() -> Changes | None:
        with project.warehouse.publisher() as publisher:
            return publisher.changes(read, written)

    changes = steps.run("look for changes", look)
    if changes is None:
        raise WholeBuildNeeded("nobody can tell what has changed since the last publication")
    return changes
