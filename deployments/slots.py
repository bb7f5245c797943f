"""How many runs a work pool must take at once, so that runs which wait for others in it come to an end."""

from __future__ import annotations

from pathlib import Path

import yaml

from blocks.settings import ROOT

# A run of the first waits for runs of the others, while it holds a slot of its own pool.
WAITING = {
    "elt": ("replicate", "publish"),
    "backfill": ("replicate", "ingest-csv", "reconcile", "publish"),
}


def least_slots(pool: str, file: Path = ROOT / "prefect.yaml") -> int:
    """Return the slots that `pool` needs: one more than can be held by runs that wait for others in it.

    With fewer the last slot may be held by a run that waits for one which never gets a slot.
    """
    deployments = yaml.safe_load(file.read_text())["deployments"]
    in_pool = [each for each in deployments if each["work_pool"]["name"] == pool]
    flows = {each["entrypoint"].rsplit(":", 1)[1].replace("_", "-") for each in in_pool}
    # Of each deployment one run at a time: the others wait without a slot.
    waiting = [flow for flow in flows if flows & set(WAITING.get(flow, ()))]
    return 1 + len(waiting)
