"""`floe connections discover`: a connection file for a database that is only known by its URL."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from blocks.errors import ConfigurationError, FloeError
from deployments.connection import load_declaration
from deployments.discovery.address import Address, reading
from deployments.discovery.catalog import find_tables
from deployments.discovery.declaration_text import declaration_text, printable
from deployments.discovery.streams import Proposal, propose

_SOURCE = re.compile(r"[a-z][a-z0-9]*")
_SHOWN_REASONS = 3


@dataclass(frozen=True)
class Discovery:
    """What was found, and the file that declares it.

    Attributes:
        source: the connection's name.
        proposal: the streams and what is left out.
        text: the content of the connection file.
    """

    source: str
    proposal: Proposal
    text: str


def discover(address: Address, *, name: str | None = None, schemas: list[str] | None = None) -> Discovery:
    """Propose how to replicate a database; nothing is written anywhere.

    Args:
        address: of the database.
        name: of the connection; made from the database's when None.
        schemas: where to look; everywhere but in PostgreSQL's own schemas when empty.

    Raises:
        FloeError: the database cannot be read, or has nothing to replicate.
    """
    if name is not None and not _SOURCE.fullmatch(name):
        raise ConfigurationError(
            f"{printable(name)!r} is no name for a connection: it takes a-z and 0-9, a letter first",
            state="nothing was written",
            next_command=f"the same command with --name {source_name(name)}",
        )
    with reading(address) as connection:
        database, user = connection.info.dbname, connection.info.user
        tables = find_tables(connection, schemas or [])
    proposal = propose(tables, user)
    if not proposal.streams:
        reasons = [f"{one.namespace}.{one.name}: {one.reason}" for one in proposal.left_out]
        shown = reasons[:_SHOWN_REASONS] + (["..."] if len(reasons) > _SHOWN_REASONS else [])
        raise ConfigurationError(
            f"{address.shown} has no table to replicate" + "".join(f"; {printable(one)}" for one in shown),
            state="nothing was written",
            next_command="the same command with another --schema, or as a user who may read its tables",
        )
    source = name or source_name(database)
    return Discovery(source, proposal, declaration_text(proposal, source, database))


def source_name(database: str) -> str:
    """Return the name of a connection made from the name of a database.

    Letters and digits only: two underscores part the names of settings (`FLOE_SOURCES__<SOURCE>__HOST`),
    and Prefect allows none in the name of a block.
    """
    name = re.sub(r"[^a-z0-9]+", "", database.lower())
    return name if _SOURCE.fullmatch(name) else f"db{name}"


def write(discovery: Discovery, file: Path, *, force: bool = False) -> None:
    """Write the connection file.

    Raises:
        ConfigurationError: there is such a file, and `force` is not given.
        FloeError: the text does not say what was proposed.
    """
    _verify(discovery)
    if file.exists() and not force:
        raise ConfigurationError(
            f"{file} is there already",
            state="it was not touched",
            next_command="the same command with --output and another file, or with --force",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(discovery.text, encoding="utf-8")
    partial.replace(file)


def _verify(discovery: Discovery) -> None:
    """Refuse a text that `floe connections plan` would refuse, or understand otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{discovery.source}.yaml"
        file.write_text(discovery.text, encoding="utf-8")
        try:
            declared = load_declaration(file).streams
        except ConfigurationError as error:
            raise FloeError(
                f"The file that was made would be refused, which is a fault of Floe: {error.what}",
                state="nothing was written",
                next_command="write the file by hand, as deployments/connections/crm.yaml shows",
            ) from None
    proposed = [(s.namespace, s.name, s.cursor, list(s.primary_key)) for s in discovery.proposal.streams]
    if proposed != [(s.namespace, s.name, s.cursor, s.primary_key) for s in declared]:
        raise FloeError(
            "The file that was made says other names than the database, which is a fault of Floe",
            state="nothing was written",
            next_command="write the file by hand, as deployments/connections/crm.yaml shows",
        )
