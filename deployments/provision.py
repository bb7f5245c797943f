"""Make an Airbyte server hold the declared connections: workspace, sources, destination, connections.

A connection is found by its name; one that was made by hand is adopted together with its source and its
destination, whatever these are called. Nothing that is not declared is touched, unless it is asked for.
Plain JSON over the public API: the SDK's unions of connector configurations are closed, and neither the
stand-in's DuckLake nor the newer options of Snowflake are in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from blocks.airbyte import AirbyteServer
from blocks.airbyte_client import AirbyteClient
from blocks.errors import ConfigurationError, FloeError, PermanentError
from blocks.settings import Settings
from deployments.connection import ConnectionDeclaration
from deployments.connection_blocks import connection_blocks, server_block
from deployments.connection_documents import (
    Document,
    connection_document,
    destination_document,
    differences,
    has_secrets,
    keep_undeclared,
    source_document,
    undeclared_streams,
)
from deployments.provision_changes import Action, Change, Kind, Provisioned, described
from deployments.provision_undeclared import Undeclared

__all__ = ["Change", "Provisioned", "apply", "connection_blocks", "plan", "server_block", "survey"]

DESTINATION = "floe warehouse"
Ends = tuple[str | None, str | None]


def plan(
    declarations: Sequence[ConnectionDeclaration],
    settings: Settings,
    server: AirbyteServer,
    *,
    prune: bool = False,
) -> list[Change]:
    """Compare the declarations with the server; nothing is changed.

    Args:
        declarations: what is to be there.
        settings: addresses and credentials of the sources and the warehouse.
        server: the Airbyte server or its stand-in.
        prune: show what `apply` would delete.

    Raises:
        ConfigurationError: a declared source has no settings.
        FloeError: the server does not answer or refuses, see `blocks.airbyte_errors`.
    """
    return survey(declarations, settings, server, prune=prune).changes


def survey(
    declarations: Sequence[ConnectionDeclaration],
    settings: Settings,
    server: AirbyteServer,
    *,
    prune: bool = False,
) -> Provisioned:
    """Return what `plan` does and the ids of the connections that are there."""
    return _Provisioner(server.get_client(), settings, dry=True, prune=prune).run(declarations)


def apply(
    declarations: Sequence[ConnectionDeclaration],
    settings: Settings,
    server: AirbyteServer,
    *,
    resend_secrets: bool = False,
    prune: bool = False,
) -> Provisioned:
    """Create and update what differs; a second call changes nothing.

    Args:
        declarations: what is to be there.
        settings: addresses and credentials of the sources and the warehouse.
        server: the Airbyte server or its stand-in.
        resend_secrets: send the passwords again. Servers never show them, so a changed one is not seen.
        prune: delete what the workspace has and no file declares.

    Raises:
        ConfigurationError: a declared source has no settings, or the server does not honour a property.
        FloeError: the server does not answer or refuses, see `blocks.airbyte_errors`.
    """
    provisioner = _Provisioner(server.get_client(), settings, resend_secrets=resend_secrets, prune=prune)
    return provisioner.run(declarations)


class _Provisioner:
    def __init__(
        self,
        client: AirbyteClient,
        settings: Settings,
        *,
        dry: bool = False,
        resend_secrets: bool = False,
        prune: bool = False,
    ) -> None:
        self._client = client
        self._settings = settings
        self._dry = dry
        self._resend = resend_secrets
        self._prune = prune
        self._listed: dict[tuple[Kind, str], list[Document]] = {}
        self._done = Provisioned()

    def run(self, declarations: Sequence[ConnectionDeclaration]) -> Provisioned:
        _refuse_unknown_sources(declarations, self._settings)
        workspace = self._workspace()
        found = {d.source: self._named("connection", d.source, workspace) for d in declarations}
        adopted: dict[str, Document] = {name: c for name, c in found.items() if c is not None}
        shared = self._destinations(adopted, new=not declarations or len(adopted) < len(found), at=workspace)
        ends: set[str | None] = {*shared.values()}
        for declaration in declarations:
            present = adopted.get(declaration.source)
            destination = shared[str(present["destinationId"]) if present else ""]
            ends.add(self._source_and_connection(declaration, present, workspace, destination))
        undeclared = Undeclared(self._client, workspace, kept=ends, names={d.source for d in declarations})
        self._done.changes += undeclared.changes(prune=self._prune)
        if self._prune and not self._dry:
            undeclared.delete()
        return self._done

    def _workspace(self) -> str | None:
        name = self._settings.airbyte.workspace
        found = [w for w in self._client.pages("/workspaces") if w["name"] == name]
        if found:
            self._note("workspace", name, "none")
            return str(found[0]["workspaceId"])
        self._note("workspace", name, "create")
        created = self._send("POST", "/workspaces", {"name": name})
        return str(created["workspaceId"]) if created else None

    def _destinations(
        self, adopted: dict[str, Document], *, new: bool, at: str | None
    ) -> dict[str, str | None]:
        """Return the destination of each adopted connection by its id, and under "" that of new ones."""
        wanted = destination_document(self._settings.warehouse)
        ids: dict[str, str | None] = {}
        if new:
            present = self._named("destination", DESTINATION, at)
            identity, _ = self._actor("destination", DESTINATION, at, wanted, present)
            ids[""] = identity
            if identity is not None:
                ids[identity] = identity
        for connection in adopted.values():
            identity = str(connection["destinationId"])
            if identity not in ids:
                present = self._client.request("GET", f"/destinations/{identity}")
                ids[identity], _ = self._actor("destination", DESTINATION, at, wanted, present)
        return ids

    def _source_and_connection(
        self,
        declaration: ConnectionDeclaration,
        present: Document | None,
        workspace: str | None,
        destination: str | None,
    ) -> str | None:
        name, settings = declaration.source, self._settings.sources[declaration.source]
        source = (
            self._client.request("GET", f"/sources/{present['sourceId']}")
            if present
            else self._named("source", name, workspace)
        )
        wanted = source_document(settings, declaration)
        identity, made = self._actor("source", name, workspace, wanted, source)
        try:
            self._connection(declaration, present, (identity, destination))
        except PermanentError:
            # Not after a lost answer: then there may be a connection, which would go with its source.
            if made and identity is not None:
                with suppress(FloeError):
                    self._client.request("DELETE", f"/sources/{identity}")
            raise
        return identity

    def _actor(
        self,
        kind: Literal["source", "destination"],
        name: str,
        workspace: str | None,
        wanted: Document,
        present: Document | None,
    ) -> tuple[str | None, bool]:
        """Make a source or a destination as wanted; return its id and whether it is new."""
        if present is None:
            self._note(kind, name, "create")
            body = {"name": name, "workspaceId": workspace, "configuration": wanted}
            created = self._send("POST", f"/{kind}s", body)
            if created is None:
                return None, False
            identity = str(created[f"{kind}Id"])
            try:
                self._verify(kind, name, wanted, created)
            except ConfigurationError:
                with suppress(FloeError):
                    self._client.request("DELETE", f"/{kind}s/{identity}")
                raise
            return identity, True
        self._refuse_other_type(kind, wanted, present)
        identity = str(present[f"{kind}Id"])
        details = differences(wanted, present.get("configuration") or {})
        if self._resend and has_secrets(wanted):
            details = (*details, "secrets: sent again")
        # One that was made by hand keeps its name.
        shown = str(present["name"])
        self._note(kind, shown, "update" if details else "none", details)
        if details:
            changed = self._send("PATCH", f"/{kind}s/{identity}", {"name": shown, "configuration": wanted})
            if changed:
                self._verify(kind, shown, wanted, changed)
        return identity, False

    def _connection(self, declaration: ConnectionDeclaration, present: Document | None, ends: Ends) -> None:
        name, wanted = declaration.source, connection_document(declaration)
        if present is None:
            self._note("connection", name, "create", note=described(declaration))
            body = {**wanted, "sourceId": ends[0], "destinationId": ends[1]}
            present = self._send("POST", "/connections", body)
            if present is not None:
                self._verify_new_connection(name, wanted, present)
        else:
            present = self._changed_connection(declaration, wanted, present)
        if present is not None:
            self._done.connection_ids[name] = str(present["connectionId"])

    def _verify_new_connection(self, name: str, wanted: Document, made: Document) -> None:
        try:
            self._verify("connection", name, wanted, made)
        except ConfigurationError:
            with suppress(FloeError):
                self._client.request("DELETE", f"/connections/{made['connectionId']}")
            raise

    def _changed_connection(
        self, declaration: ConnectionDeclaration, wanted: Document, present: Document
    ) -> Document:
        extra = undeclared_streams(wanted, present)
        details = differences(wanted, present)
        if self._prune:
            details += tuple(f"stream {stream['name']}: removed" for stream in extra)
        action: Action = "update" if details else "none"
        self._note("connection", declaration.source, action, details, described(declaration))
        if not self._prune:
            for stream in extra:
                self._note(
                    "stream",
                    f"{declaration.source} {stream['name']}",
                    "none",
                    note="not declared, left alone",
                )
        if details:
            body = wanted if self._prune else keep_undeclared(wanted, present)
            present = self._send("PATCH", f"/connections/{present['connectionId']}", body) or present
        if not self._dry:
            self._verify("connection", declaration.source, wanted, present)
        return present

    def _verify(self, kind: Kind, name: str, wanted: Document, answered: Document) -> None:
        """Refuse a server that took a property and dropped it."""
        shown = answered if kind == "connection" else answered.get("configuration") or {}
        dropped = differences(wanted, shown)
        if dropped:
            raise ConfigurationError(
                f"The Airbyte server does not honour what was asked of {kind} {name}: {'; '.join(dropped)}",
                state=f"a {kind} made for this was deleted again; one that was there has other properties "
                "than declared",
                next_command="upgrade the connector in Airbyte, or change the declaration",
            )

    def _refuse_other_type(self, kind: Kind, wanted: Document, present: Document) -> None:
        field = f"{kind}Type"
        if field in present and present[field] != wanted[field]:
            raise ConfigurationError(
                f"The server's {kind} {present['name']} is {present[field]}, not {wanted[field]}",
                state="it was not touched",
                next_command="rename or delete the connection that uses it in Airbyte",
            )

    def _named(self, kind: Kind, name: str, workspace: str | None) -> Document | None:
        if workspace is None:
            return None
        # Read once, not once for each name: a list is a page for every hundred connections. Names are looked
        # for before anything of theirs is made.
        if (kind, workspace) not in self._listed:
            self._listed[kind, workspace] = list(self._client.pages(f"/{kind}s", workspaceIds=workspace))
        found = [item for item in self._listed[kind, workspace] if item["name"] == name]
        if len(found) > 1:
            raise ConfigurationError(
                f"The server has {len(found)} {kind}s named {name}",
                next_command="rename or delete all but one in Airbyte",
            )
        return found[0] if found else None

    def _send(self, method: str, path: str, body: Document) -> Document | None:
        """Change something, unless this is only a plan."""
        if self._dry:
            return None
        answer: Document = self._client.request(method, path, body)
        return answer

    def _note(
        self, kind: Kind, name: str, action: Action, details: tuple[str, ...] = (), note: str = ""
    ) -> None:
        self._done.changes.append(Change(kind, name, action, details, note))


def _refuse_unknown_sources(declarations: Sequence[ConnectionDeclaration], settings: Settings) -> None:
    for declaration in declarations:
        if declaration.source not in settings.sources:
            raise ConfigurationError(
                f"The connection {declaration.source} is declared, but its database has no settings",
                next_command=f"set FLOE_SOURCES__{declaration.source.upper()}__HOST, __DATABASE, "
                "__USER and __PASSWORD",
            )
