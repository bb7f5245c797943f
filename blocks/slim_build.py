"""What a developer builds: only what differs from the last publication, reading the rest where it stands.

Each publication leaves dbt's manifest in the object store. dbt compares the project with it
(`state:modified+`) and takes whatever it does not build from the tables that the manifest names.
Source: https://docs.getdbt.com/reference/node-selection/defer
"""

from __future__ import annotations

import json
from collections.abc import Callable

from blocks.dbt import DbtProject
from blocks.dbt_events import DbtResult, NodeEvent
from blocks.errors import ConfigurationError
from blocks.object_store import LandingBucket
from lambda_csv_loader.object_store import Bucket, ObjectGone
from lambda_csv_loader.settings import ObjectStoreSettings

KEY = "dbt/published/manifest.json"
# Unit tests of what changed are for `make test`; exposures have nothing to build.
SLIM = ["build", "--select", "state:modified+", "--exclude-resource-type", "unit_test", "exposure", "--defer"]
_MANIFEST = "manifest.json"


def keep_manifest(bucket: LandingBucket, project: DbtProject) -> None:
    """Put the manifest of the build that was just published where slim builds find it.

    Raises:
        StoreUnavailable: the object store does not answer; what stood there stays.
    """
    manifest = project.output / "target" / _MANIFEST
    bucket.write(KEY, manifest.read_bytes(), "application/json")


def slim_build(
    store: ObjectStoreSettings, project: DbtProject, on_event: Callable[[NodeEvent], None]
) -> DbtResult:
    """Build the models that differ from the last publication, and all that depends on them.

    Args:
        store: has the manifest.
        project: with the prefix of the developer's schemas, and an output folder of its own.
        on_event: called for each event of dbt.

    Returns:
        What was built: no node where nothing differs.

    Raises:
        ConfigurationError: no prefix, so that the build of production would be changed, or nothing was
            published yet.
        DbtFailed: a node failed.
        StoreUnavailable: the object store does not answer.
    """
    if not project.schema_prefix:
        raise ConfigurationError(
            "A slim build needs schemas of your own: without a prefix it would change the published build",
            state="nothing was built",
            next_command="floe marts build --prefix <your name>",
        )
    published = project.output / "published"
    published.mkdir(parents=True, exist_ok=True)
    try:
        (published / _MANIFEST).write_text(json.dumps(Bucket(store).get_json(KEY)))
    except ObjectGone:
        raise ConfigurationError(
            f"There is no {KEY} in the bucket {store.bucket}: nothing was published yet",
            state="nothing was built",
            next_command="floe run transform/marts",
        ) from None
    return project.run([*SLIM, "--state", str(published)], on_event)
