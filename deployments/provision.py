"""Make an Airbyte server hold the declared connections: workspace, sources, destination, connections.

Everything is found by name, so that connections made by hand are adopted. Nothing that is not declared
is touched. Plain JSON over the public API: the SDK's unions of connector configurations are closed, and
neither the stand-in's DuckLake nor the newer options of Snowflake are in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_client import AirbyteClient
from blocks.errors import ConfigurationError
from blocks.settings import Settings
from deployments.connection import ConnectionDeclaration
from deployments.connection_documents import (
    Document,
    connection_document,
    destination_document,
    differences,
    has_secrets,
    keep_undeclared,
    source_document,
)

DESTINATION = "floe warehouse"
_PAGE = 100


@dataclass(frozen=True)
class Change:
    """What is to be done to one resource of the server.

    Attributes:
        kind: of resource.
        name: of the resource.
        action: "none" when it is as declared.
        details: for updates, "field: old → new", secrets left out.
    """

    kind: Literal["workspace", "source", "destination", "connection"]
    name: str
    action: Literal["create", "update", "none"]
    details: tuple[str, ...] = ()


@dataclass
class Provisioned:
    """What `apply` did.

    Attributes:
        changes: in the order in which they were made.
        connection_ids: Airbyte's id of each declared connection, by its source.
    """

    changes: list[Change] = field(default_factory=list)
    connection_ids: dict[str, str] = field(default_factory=dict)


def server_block(settings: Settings) -> AirbyteServer:
    """Return the block of the server that the settings name."""
    return AirbyteServer(
        server_url=settings.airbyte.server_url,
        client_id=settings.airbyte.client_id,
        client_secret=settings.airbyte.client_secret,
    )


def connection_blocks(
    declarations: Sequence[ConnectionDeclaration], settings: Settings, connection_ids: dict[str, str]
) -> dict[str, AirbyteConnection]:
    """Return the block of each connection, by the name under which flows load it: its source."""
    server = server_block(settings)
    return {
        declaration.source: AirbyteConnection(
            server=server,
            connection_id=connection_ids[declaration.source],
            name=declaration.source,
            destination_schema=declaration.destination_schema,
        )
        for declaration in declarations
    }


def plan(
    declarations: Sequence[ConnectionDeclaration], settings: Settings, server: AirbyteServer
) -> list[Change]:
    """Compare the declarations with the server; nothing is changed.

    Raises:
        ConfigurationError: a declared source has no settings.
        FloeError: the server does not answer or refuses, see `blocks.airbyte_errors`.
    """
    return list(_Provisioner(server.get_client(), settings, dry=True).run(declarations).changes)


def apply(
    declarations: Sequence[ConnectionDeclaration],
    settings: Settings,
    server: AirbyteServer,
    *,
    resend_secrets: bool = False,
) -> Provisioned:
    """Create and update what differs; a second call changes nothing.

    Args:
        declarations: what is to be there.
        settings: addresses and credentials of the sources and the warehouse.
        server: the Airbyte server or its stand-in.
        resend_secrets: send the passwords again. Servers never show them, so a changed one is not seen.

    Raises:
        ConfigurationError: a declared source has no settings, or the server does not honour a property.
        FloeError: the server does not answer or refuses, see `blocks.airbyte_errors`.
    """
    return _Provisioner(server.get_client(), settings, resend_secrets=resend_secrets).run(declarations)


class _Provisioner:
    def __init__(
        self, client: AirbyteClient, settings: Settings, *, dry: bool = False, resend_secrets: bool = False
    ) -> None:
        self._client = client
        self._settings = settings
        self._dry = dry
        self._resend = resend_secrets
        self._done = Provisioned()

    def run(self, declarations: Sequence[ConnectionDeclaration]) -> Provisioned:
        for declaration in declarations:
            if declaration.source not in self._settings.sources:
                raise ConfigurationError(
                    f"The connection {declaration.source} is declared, but its database has no settings",
                    next_command=f"set FLOE_SOURCES__{declaration.source.upper()}__HOST, __DATABASE, "
                    "__USER and __PASSWORD",
                )
        workspace = self._workspace()
        destination = self._actor(
            "destination", DESTINATION, workspace, destination_document(self._settings.warehouse)
        )
        for declaration in declarations:
            settings = self._settings.sources[declaration.source]
            source = self._actor(
                "source", declaration.source, workspace, source_document(settings, declaration)
            )
            self._connection(declaration, workspace, source, destination)
        return self._done

    def _workspace(self) -> str | None:
        name = self._settings.airbyte.workspace
        found = [w for w in self._all("/workspaces") if w["name"] == name]
        if found:
            self._note("workspace", name, "none")
            return str(found[0]["workspaceId"])
        self._note("workspace", name, "create")
        created = self._send("POST", "/workspaces", {"name": name})
        return str(created["workspaceId"]) if created else None

    def _actor(
        self, kind: Literal["source", "destination"], name: str, workspace: str | None, wanted: Document
    ) -> str | None:
        present = self._named(f"/{kind}s", name, workspace)
        if present is None:
            self._note(kind, name, "create")
            body = {"name": name, "workspaceId": workspace, "configuration": wanted}
            created = self._send("POST", f"/{kind}s", body)
            if created:
                self._verify(kind, name, wanted, created)
            return str(created[f"{kind}Id"]) if created else None
        identity = str(present[f"{kind}Id"])
        details = differences(wanted, present.get("configuration") or {})
        if self._resend and has_secrets(wanted):
            details = (*details, "secrets: sent again")
        if details:
            self._note(kind, name, "update", details)
            changed = self._send("PATCH", f"/{kind}s/{identity}", {"name": name, "configuration": wanted})
            if changed:
                self._verify(kind, name, wanted, changed)
        else:
            self._note(kind, name, "none")
        return identity

    def _connection(
        self,
        declaration: ConnectionDeclaration,
        workspace: str | None,
        source: str | None,
        destination: str | None,
    ) -> None:
        wanted = connection_document(declaration)
        present = self._named("/connections", declaration.source, workspace)
        if present is not None and (present["sourceId"], present["destinationId"]) != (source, destination):
            raise ConfigurationError(
                f"The server has a connection {declaration.source} between another source and destination",
                state="it was not touched",
                next_command="rename or delete that connection in Airbyte",
            )
        if present is None:
            self._note("connection", declaration.source, "create")
            ends = {"sourceId": source, "destinationId": destination}
            present = self._send("POST", "/connections", {**wanted, **ends})
        else:
            details = differences(wanted, present)
            self._note("connection", declaration.source, "update" if details else "none", details)
            if details:
                keep_undeclared(wanted, present)
                changed = self._send("PATCH", f"/connections/{present['connectionId']}", wanted)
                present = changed or present
        if present is not None:
            if not self._dry:
                self._verify("connection", declaration.source, wanted, present)
            self._done.connection_ids[declaration.source] = str(present["connectionId"])

    def _verify(self, kind: str, name: str, wanted: Document, answered: Document) -> None:
        """Refuse a server that took a property and dropped it."""
        shown = answered if kind == "connection" else answered.get("configuration") or {}
        dropped = differences(wanted, shown)
        if dropped:
            raise ConfigurationError(
                f"The Airbyte server does not honour what was asked of {kind} {name}: {'; '.join(dropped)}",
                state=f"the {kind} is there, with other properties than declared",
                next_command="upgrade the connector in Airbyte, or change the declaration",
            )

    def _named(self, path: str, name: str, workspace: str | None) -> Document | None:
        if workspace is None:
            return None
        found = [item for item in self._all(path, workspaceIds=workspace) if item["name"] == name]
        if len(found) > 1:
            raise ConfigurationError(
                f"The server has {len(found)} {path.strip('/')} named {name}",
                next_command="rename or delete all but one in Airbyte",
            )
        return found[0] if found else None

    def _all(self, path: str, **query: Any) -> Iterator[Document]:
        offset = 0
        while True:
            page = self._client.request("GET", path, limit=_PAGE, offset=offset, **query)
            yield from page["data"]
            if len(page["data"]) < _PAGE:
                return
            offset += _PAGE

    def _send(self, method: str, path: str, body: Document) -> Document | None:
        """Change something, unless this is only a plan."""
        return None if self._dry else self._client.request(method, path, body)

    def _note(
        self,
        kind: Literal["workspace", "source", "destination", "connection"],
        name: str,
        action: Literal["create", "update", "none"],
        details: tuple[str, ...] = (),
    ) -> None:
        self._done.changes.append(Change(kind, name, action, details))
