"""What a workspace has and no file declares: shown, and deleted only when that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Literal

from blocks.airbyte_client import AirbyteClient
from deployments.connection_documents import Document
from deployments.provision_changes import Change

_KINDS: tuple[Literal["connection", "source", "destination"], ...] = ("connection", "source", "destination")
LEFT_ALONE = "not declared, left alone; `floe connections apply --prune` deletes it"


class Undeclared:
    """The connections, sources and destinations of one workspace that nobody declared.

    Args:
        client: of the server.
        workspace: its id; None when there is none yet.
        kept: ids of the sources and destinations that declared connections use.
        names: of the declared connections.
    """

    def __init__(
        self, client: AirbyteClient, workspace: str | None, *, kept: Set[str | None], names: Set[str]
    ) -> None:
        self._client = client
        self._found = list(self._find(workspace, kept, names)) if workspace else []

    def changes(self, *, prune: bool) -> list[Change]:
        """Return what there is, to be deleted or left alone; connections first, then what they use."""
        return [
            Change(kind, str(item["name"]), "delete" if prune else "none", note="" if prune else LEFT_ALONE)
            for kind, item in self._found
        ]

    def delete(self) -> None:
        """Delete it all, connections first.

        Raises:
            FloeError: the server does not answer or refuses; a second call deletes the rest.
        """
        for kind, item in self._found:
            self._client.request("DELETE", f"/{kind}s/{item[f'{kind}Id']}")

    def _find(
        self, workspace: str, kept: Set[str | None], names: Set[str]
    ) -> Iterator[tuple[Literal["connection", "source", "destination"], Document]]:
        for kind in _KINDS:
            for item in self._client.pages(f"/{kind}s", workspaceIds=workspace):
                declared = item["name"] in names if kind == "connection" else item[f"{kind}Id"] in kept
                if not declared:
                    yield kind, item
