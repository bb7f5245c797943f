"""The flow `transform`: build, test, and publish the marts as a set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.context import get_run_context
from prefect.logging import get_run_logger
from pydantic import BaseModel

from blocks.changed_nodes import EVERYTHING, Selection
from blocks.dbt import DbtProject
from blocks.dbt_events import DbtResult
from blocks.dbt_retry import Remaining
from blocks.errors import DbtFailed, FloeError
from blocks.object_store import LandingBucket
from blocks.publication import BUILD as BUILD_SCHEMA
from blocks.publication import Publication
from blocks.slim_build import keep_manifest
from flows.changed_build import selection
from flows.dbt_nodes import DbtNodes
from flows.failed_build import leave, take_up
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from flows.slot import slot

# Unit tests test the models' code on made-up rows: for `make test`, not for every day's data. Exposures
# are nodes with nothing to do.
BUILD = ["build", "--exclude-resource-type", "unit_test", "exposure"]


class TransformResult(BaseModel):
    """What a transform did.

    Attributes:
        models: models built.
        snapshots: snapshots taken.
        tests_passed: tests that passed; tests_warned: those that only warn.
        done_before: nodes of these that an attempt before this one had done.
        unchanged: nodes that were not run, because they stand as they were published.
        dbt_seconds: dbt's own time, in all attempts.
        publication_id: the set of marts that readers see now.
    """

    models: int
    snapshots: int
    tests_passed: int
    tests_warned: int
    done_before: int
    unchanged: int
    dbt_seconds: float
    publication_id: str


@flow(name="transform", flow_run_name="transform marts")
def transform(
    full_refresh: bool = False,
    everything: bool = False,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
) -> TransformResult:
    """Run dbt over what has changed since the last publication, then let readers see the marts, all at once.

    What has changed are data, code, or the answer of a test that warned, and all that depends on these; of
    the large marts and their tests only the changed rows, as long as the code is the same. On
    Snowflake, on another host or with another project file everything is built; the log says why.

    A failing model or test publishes nothing: readers keep the last good set. Retrying the run (in the UI)
    then builds only what failed and what was skipped after it, as `dbt retry` does, unless data have come
    since or the project is another; any other run starts with the build tables and the history of the last
    good set, and so does everything that ends in another way. The steps before and after dbt are tried again
    when the warehouse did not answer; dbt tells of a lost warehouse in words only, so its failures are never
    transient.

    Args:
        full_refresh: build everything, incremental models from the beginning
        everything: build also what has not changed
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        DbtFailed: a node failed; the message names each.
        WarehouseUnavailable: the warehouse did not answer, several times in a row.
        ServiceUnavailable: the Prefect server went away while the run waited for another build to end.
    """
    with slot("transform"):
        return _build_and_publish(full_refresh, full_refresh or everything, Steps(first_pause_seconds))


def _build_and_publish(full_refresh: bool, everything: bool, steps: Steps) -> TransformResult:
    project = cast(DbtProject, DbtProject.load("dbt"))
    run = str(get_run_context().flow_run.id)  # type: ignore[union-attr]
    arguments = BUILD + (["--full-refresh"] if full_refresh else [])

    def begin() -> str | None:
        with project.warehouse.publisher() as publisher:
            return publisher.begin(run)

    def restore() -> None:
        with project.warehouse.publisher() as publisher:
            publisher.restore(run)

    asked = project.asked_of_published()
    chosen = EVERYTHING
    remaining = take_up(project, run, arguments, steps)
    if remaining is None:
        if (restored := steps.run("begin the build", begin)) is not None:
            how = "failed" if restored == "failed" else "ended without a word"
            get_run_logger().warning("An earlier build %s; restored what is published", how)
        chosen = EVERYTHING if everything else selection(project, asked, steps)
    try:
        result = _build(project, arguments, remaining, chosen)
    except DbtFailed:
        leave(project, run, arguments, steps)
        raise
    except Exception:
        steps.run("restore what is published", restore)
        raise
    except BaseException:
        # Also on cancellation nothing half-built may stay, and there is no time for pauses.
        restore()
        raise
    built = project.built()
    publication = steps.run("publish", lambda: _publish(project, run, marts(built)))
    _keep_manifest(project)
    _keep_published(project, publication.publication_id, asked)
    unchanged = len(built) - len({node.unique_id for node in result.nodes} & set(built))
    return _summary(result, publication.publication_id, remaining.count_done if remaining else 0, unchanged)


def _build(
    project: DbtProject, arguments: list[str], remaining: Remaining | None, chosen: Selection
) -> DbtResult:
    nodes = DbtNodes("transform-build")
    try:
        return project.run(arguments, nodes.report, remaining, chosen)
    except DbtFailed as failure:
        nodes.explain(failure.failed, "transform-failures")
        raise


def _publish(project: DbtProject, run: str, models: list[str]) -> Publication:
    # Publishing twice would count as two sets, so only what comes before it is transient: connecting.
    with project.warehouse.publisher() as publisher:
        return publisher.publish(run, models)


def _keep_manifest(project: DbtProject) -> None:
    try:
        keep_manifest(cast(LandingBucket, LandingBucket.load("landing")), project)
    except FloeError as error:
        # The marts are published all the same.
        get_run_logger().warning("`floe marts build` goes on comparing with an earlier set: %s", error)


def _keep_published(project: DbtProject, publication_id: str, asked: Mapping[str, Any]) -> None:
    try:
        project.keep_published(publication_id, asked)
    except OSError as error:
        # The marts are published all the same.
        get_run_logger().warning("The next build will build everything: %s", error)


def marts(built: Mapping[str, str]) -> list[str]:
    """Return the models that are published: those that stand in the schema `build`.

    Args:
        built: by dbt's id, the schema of what a build of everything runs.
    """
    models = (name for name, schema in built.items() if schema == BUILD_SCHEMA and name.startswith("model."))
    return sorted(name.split(".")[2] for name in models)


def _summary(result: DbtResult, publication_id: str, done_before: int, unchanged: int) -> TransformResult:
    summary = TransformResult(
        models=result.count("success", kinds=("model",)),
        snapshots=result.count("success", kinds=("snapshot",)),
        tests_passed=result.count("success", kinds=("test", "unit_test")),
        tests_warned=result.count("warn", kinds=("test", "unit_test")),
        done_before=done_before,
        unchanged=unchanged,
        dbt_seconds=result.seconds,
        publication_id=publication_id,
    )
    create_table_artifact(
        key="transform-summary",
        description="dbt build",
        table=[
            {"what": "models built", "count": summary.models},
            {"what": "snapshots taken", "count": summary.snapshots},
            {"what": "tests passed", "count": summary.tests_passed},
            {"what": "tests warned", "count": summary.tests_warned},
            {"what": "of these, done by an earlier attempt", "count": summary.done_before},
            {"what": "not run, as nothing of theirs has changed", "count": summary.unchanged},
        ],
    )
    return summary
