"""What a build has to do where a published one stands: the nodes whose data or code has changed since.

The manifest of the published build tells which nodes read, however far down, what has changed in the
warehouse; dbt finds what has changed in the project itself (`state:modified+`,
https://docs.getdbt.com/reference/node-selection/methods#state). Every other node would come out as it stands.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from blocks.dbt_retry import KINDS, MANIFEST, RESULTS, WholeBuildNeeded, differing
from blocks.publication import Changes

# Of nodes that ask what time it is; their answer is another each day.
_CLOCK = "tag:clock"
_ALWAYS = ("state:modified+", _CLOCK)
# `read_source` merges them into the table that they are named after.
_REPAIRS = "__floe_repairs_"
_ASKED, _PUBLICATION, _WARNED = "asked.json", "publication.json", "warned.json"
# Of what decides about every node, what decides also about rows whose data have not changed.
CODE = "models, snapshots and tests"


@dataclass(frozen=True)
class Selection:
    """What of a project a build has to do.

    Attributes:
        options: dbt's, of the nodes; none for all.
        environment: since when rows count as changed, for `dbt/macros/portable/changed_values.sql`; empty
            when all rows do.
    """

    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


EVERYTHING = Selection()


class PublishedBuild:
    """What this host keeps of the build that was published last.

    Args:
        folder: of it; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, target: Path, asked: Mapping[str, Any], publication_id: str) -> None:
        """Keep what dbt wrote of a build, once it was published.

        Args:
            target: dbt's target folder.
            asked: what decides about every node, by what it is called.
            publication_id: of the set that was published.
        """
        warned = self._warned(json.loads((target / RESULTS).read_text()))
        self.forget()
        self._folder.mkdir(parents=True)
        shutil.copyfile(target / MANIFEST, self._folder / MANIFEST)
        self._write(_WARNED, sorted(warned))
        self._write(_ASKED, dict(asked))
        # Written last: it says that the others are whole.
        self._write(_PUBLICATION, publication_id)

    def forget(self) -> None:
        """Delete what is kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def is_there(self) -> bool:
        """Whether it was kept on this host."""
        return (self._folder / _PUBLICATION).exists()

    def schemas(self) -> tuple[set[str], set[str]]:
        """Return the schemas that the build read and those that it wrote, in lower case."""
        read = {source["schema"].lower() for source in self._manifest["sources"].values()}
        written = {node["schema"].lower() for name, node in self._nodes() if not name.startswith("test.")}
        return read, written - read

    def selection(self, asked: Mapping[str, Any], changes: Changes) -> Selection:
        """Return what a build of what has changed has to do.

        Rows that have not changed are looked at again only when some code is another, or a table of the
        build is not as it was published.

        Args:
            asked: what `keep` was given, as it is now.
            changes: of the warehouse, in the schemas of `schemas`.

        Raises:
            WholeBuildNeeded: everything has to be built.
        """
        if self._read(_PUBLICATION) != changes.publication_id:
            raise WholeBuildNeeded(f"publication {changes.publication_id} was not built on this host")
        names = differing(self._read(_ASKED), asked)
        if of_every_node := [name for name in names if name != CODE]:
            raise WholeBuildNeeded(f"other than when it was published: {', '.join(of_every_node)}")
        own = self._own(changes.relations)
        chosen = self._reading(changes.relations, own) | set(self._read(_WARNED))
        paths = [f"fqn:{'.'.join(node['fqn'])}" for name, node in self._nodes() if name in chosen]
        options = ("--select", *_ALWAYS, *sorted(paths), "--state", str(self._folder))
        return Selection(options, {} if names or own else _since(changes))

    def _own(self, relations: Collection[tuple[str, str]]) -> set[str]:
        """Return the nodes whose own relation is another than they made it."""
        return {name for name, node in self._nodes() if _relation(node, "alias") in relations}

    def _reading(self, relations: Collection[tuple[str, str]], own: Set[str]) -> set[str]:
        """Return the nodes that have to be built because relations are others than they were.

        A view shows what has changed without being built again, unless it reads a source itself: then the
        source's columns and repairs are written into it (`read_source`).
        """
        changed = {(schema, name.removeprefix(_REPAIRS)) for schema, name in relations} | set(relations)
        children, nodes = self._manifest["child_map"], self._manifest["nodes"]
        sources = {
            name
            for name, source in self._manifest["sources"].items()
            if _relation(source, "identifier") in changed
        }
        direct = {child for source in sources for child in children[source]}
        return {
            name
            for name in _with_descendants(sources | own, children)
            if name in nodes
            and (nodes[name]["config"]["materialized"] != "view" or name in own or name in direct)
        }

    def _warned(self, results: Mapping[str, Any]) -> set[str]:
        """Return the nodes whose last result is a warning: it shall be said again until it is none."""
        last = {result["unique_id"]: result["status"] for result in results["results"]}
        before = set(self._read(_WARNED)) if self.is_there else set()
        return {name for name, status in last.items() if status == "warn"} | (before - set(last))

    def _nodes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, node in self._manifest["nodes"].items():
            if name.startswith(KINDS):
                yield name, node

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = self._read(MANIFEST)
        return manifest

    def _read(self, name: str) -> Any:
        return json.loads((self._folder / name).read_text())

    def _write(self, name: str, content: object) -> None:
        (self._folder / name).write_text(json.dumps(content))


def _since(changes: Changes) -> dict[str, str]:
    return {
        "FLOE_DBT_BEGAN_WITH": str(changes.began_with),
        "FLOE_DBT_PUBLISHED_VERSION": str(changes.published_version),
    }


def _relation(node: Mapping[str, Any], name: str) -> tuple[str, str]:
    return node["schema"].lower(), (node.get(name) or node["name"]).lower()


def _with_descendants(names: Iterable[str], children: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += children.get(name, [])
    return found
