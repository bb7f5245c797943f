"""What a failed build leaves on the host that ran dbt, and what of it a retry has still to do.

`dbt retry` runs exactly the nodes that its results file names as failed or skipped
(https://docs.getdbt.com/reference/commands/retry) and does not ask whether the others are still as they were
built. That is asked here. The file it gets is written here, too: nodes that are new since then are in it,
and those that are gone are not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS, MANIFEST, _ASKED = "run_results.json", "manifest.json", "asked.json"
# As dbt's own retry has them (dbt/task/retry.py).
UNDONE = {"error", "fail", "runtime error", "skipped", "partial success"}
_FAILED = UNDONE - {"skipped"}
# What `dbt build` runs of a project, but for the unit tests, which are not for every day's data.
KINDS = ("model.", "snapshot.", "seed.", "test.", "function.")
# What others read; of these a build leaves out what stands as it was published.
_READ = ("model.", "snapshot.", "seed.", "source.", "function.")
# They go on from what is in the warehouse, where a failure may have left a part of what they wanted to write.
_CONTINUING = ("incremental", "snapshot")
# They decide about every node; dbt's own comparison of states does not see their variables and hooks.
_PROJECT_FILES = (
    "dbt_project.yml",
    "profiles.yml",
    "packages.yml",
    "package-lock.yml",
    "dependencies.yml",
    "selectors.yml",
)


class WholeBuildNeeded(Exception):
    """Why a retry has to build everything."""


@dataclass(frozen=True)
class Remaining:
    """What a failed build has still to do.

    Attributes:
        nodes: dbt's ids of what failed, was skipped or is new.
        state: folder with the results that `dbt retry` is to go by.
        done: the results of the attempts so far, as a parsed `run_results.json`.
    """

    nodes: tuple[str, ...]
    state: Path
    done: dict[str, Any]

    @property
    def count_done(self) -> int:
        """How many nodes need not be done again."""
        names = {_id(result) for result in self.done["results"]}
        return len({name for name in names if not _is_hook(name)} - set(self.nodes))

    def with_results(self, of_retry: dict[str, Any]) -> dict[str, Any]:
        """Return the results of all attempts as one: of each node its last."""
        last = {_id(result): result for result in [*self.done["results"], *of_retry["results"]]}
        return {
            **self.done,
            "results": list(last.values()),
            "elapsed_time": self.done["elapsed_time"] + of_retry["elapsed_time"],
        }


class KeptResults:
    """Results and manifest of one failed build.

    Args:
        folder: of the build; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def are_there(self) -> bool:
        """Whether they were kept on this host; the file that is written last says so."""
        return (self._folder / _ASKED).exists()

    def keep(self, target: Path, asked: Mapping[str, Any]) -> None:
        """Keep what dbt wrote, instead of what was kept of any other build.

        Args:
            target: dbt's target folder.
            asked: what decides about every node, by what it is called.
        """
        forget(self._folder.parent)
        self._folder.mkdir(parents=True)
        for name in (RESULTS, MANIFEST):
            shutil.copyfile(target / name, self._folder / name)
        (self._folder / _ASKED).write_text(json.dumps(dict(asked)))

    def source_schemas(self) -> set[str]:
        """Return the schemas that the project read, in lower case."""
        return {source["schema"].lower() for source in self._read(MANIFEST)["sources"].values()}

    @property
    def state(self) -> Path:
        """The folder, for dbt's `--state`."""
        return self._folder

    def check(self, asked: Mapping[str, Any], *, undoes_failed_nodes: bool) -> None:
        """Raise where no comparison of nodes is needed to see that everything has to be built.

        Args:
            asked: what `keep` was given, as it is now.
            undoes_failed_nodes: a node that fails leaves nothing in the warehouse.

        Raises:
            WholeBuildNeeded: it has to be.
        """
        if names := differing(self._read(_ASKED), asked):
            raise WholeBuildNeeded(f"other than when it failed: {', '.join(names)}")
        if undoes_failed_nodes:
            return
        nodes = self._read(MANIFEST)["nodes"]
        for result in self._read(RESULTS)["results"]:
            kind = nodes.get(_id(result), {}).get("config", {}).get("materialized")
            if result["status"] in _FAILED and kind in _CONTINUING:
                raise WholeBuildNeeded(f"{_named(_id(result))} is {kind}, and may have written a part")

    def remaining(self, target: Path, modified: Iterable[str]) -> Remaining:
        """Return what has still to be done, and write the results that `dbt retry` goes by.

        Args:
            target: dbt's target folder, with the manifest of the project as it is now.
            modified: what is new or another since the build, as dbt's selector `state:modified` names it.

        Raises:
            WholeBuildNeeded: something that is done would be another now.
        """
        kept, before = self._read(RESULTS), self._read(MANIFEST)
        now = json.loads((target / MANIFEST).read_text())["nodes"]
        built = {name for name, node in now.items() if node["config"]["materialized"] != "ephemeral"}
        done = {
            _id(result): result for result in kept["results"] if _id(result) in built or _is_hook(_id(result))
        }
        for name in modified:
            if name in done:
                if done[name]["status"] not in UNDONE:
                    raise WholeBuildNeeded(f"{_named(name)} was built, and has been changed since")
            elif name.startswith(_READ) and (name in before["nodes"] or name in before["sources"]):
                raise WholeBuildNeeded(f"{_named(name)}, which others read, has been changed since")
            elif name in built and name.startswith(KINDS):
                done[name] = _never_run(name)
        nodes = tuple(
            name for name, result in done.items() if result["status"] in UNDONE and not _is_hook(name)
        )
        kept["results"] = list(done.values())
        state = self._folder / "state"
        state.mkdir(exist_ok=True)
        (state / RESULTS).write_text(json.dumps(kept))
        return Remaining(nodes, state, kept)

    def _read(self, name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self._folder / name).read_text())
        return read


def forget(folder: Path) -> None:
    """Delete what was kept of failed builds."""
    shutil.rmtree(folder, ignore_errors=True)


def asked_of(project: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides about every node of a project, by what it is called.

    Args:
        project: folder of the dbt project.
        asked: what is not in its files.
    """
    files = {name: project / name for name in _PROJECT_FILES}
    return {
        **asked,
        "dbt": version("dbt-core"),
        **{name: digest_of(file) for name, file in files.items()},
    }


def digest_of(path: Path) -> str | None:
    """Return a digest of a file, or of all files below a folder with their names; None when it is missing."""
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what of `asked_of` is another now."""
    return [name for name in now if before.get(name) != now[name]]


def _never_run(unique_id: str) -> dict[str, Any]:
    """Return the result of a node that is new, so that a dbt which left it out has failed."""
    return {
        "unique_id": unique_id,
        "status": "error",
        "message": "dbt retry did not run it",
        "timing": [],
        "thread_id": "",
        "execution_time": 0.0,
        "adapter_response": {},
        "failures": None,
        "compiled": None,
        "compiled_code": None,
        "relation_name": None,
    }


def _is_hook(unique_id: str) -> bool:
    """Tell whether it is a hook of the project, which every dbt command runs anew."""
    return unique_id.startswith("operation.")


def _id(result: dict[str, Any]) -> str:
    return str(result["unique_id"])


def _named(unique_id: str) -> str:
    kind, _, name = unique_id.split(".")[:3]
    return f"{kind} {name}"
