"""Save every block that flows load, from the settings; show where the saved ones differ.

Registering twice changes nothing. Secrets go to the Prefect server alone, which encrypts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound

from blocks.alerts import RECEIVERS, alert_blocks
from blocks.dashboards import Dashboards
from blocks.dbt import DbtProject
from blocks.errors import ConfigurationError
from blocks.mail import MailServer
from blocks.object_store import LandingBucket
from blocks.settings import Settings
from blocks.strict_block import NoSuchBlock
from blocks.warehouse import Warehouse
from lambda_csv_loader.settings import ObjectStoreSettings

# As many as the server gives at once.
_PAGE = 200


@dataclass(frozen=True)
class Registration:
    """What happened to one block document."""

    name: str
    change: Literal["created", "updated", "unchanged", "deleted"]


def blocks_of(settings: Settings) -> dict[str, Block]:
    """Return the blocks that `settings` ask for, by document name.

    Airbyte's connections are not among them: their ids are known only after `connections apply`,
    which registers them.
    """
    warehouse = Warehouse(target=settings.warehouse, reader_role=settings.reader_role)
    return {
        "warehouse": warehouse,
        "dbt": DbtProject(warehouse=warehouse, output=settings.home / "dbt"),
        "landing": _landing(settings.object_store),
        **alert_blocks(settings.alerts, settings.mail),
        "dashboards": dashboards_of(settings),
        **({"mail": MailServer(**settings.mail.model_dump())} if settings.mail else {}),
    }


def dashboards_of(settings: Settings) -> Dashboards:
    """Return where `settings` show the dashboards."""
    shown = settings.dashboards
    metabase = shown.metabase.target(settings.home) if shown.metabase else None
    return Dashboards(pages_folder=shown.pages, url=shown.url, metabase=metabase)


def _landing(store: ObjectStoreSettings) -> LandingBucket:
    return LandingBucket(**store.model_dump())


def register(blocks: dict[str, Block], *, check: bool = False) -> list[Registration]:
    """Save each block under its name unless the saved one is equal.

    Args:
        blocks: document name to block.
        check: only compare; nothing is saved.
    """
    return [Registration(name, _register(name, block, check)) for name, block in blocks.items()]


def delete_others(blocks: dict[str, Block]) -> list[Registration]:
    """Delete the saved blocks that are of the same types as `blocks` and have other names.

    Args:
        blocks: document name to block: everything that is to stay.
    """
    kinds = {type(block).get_block_type_slug() for block in blocks.values()}
    with get_client(sync_client=True) as client:
        saved_ones = [saved for kind in sorted(kinds) for saved in _saved(client, kind)]
        others = [saved for saved in saved_ones if saved.name not in blocks]
        for saved in others:
            client.delete_block_document(saved.id)
    return [Registration(str(saved.name), "deleted") for saved in others]


def delete_undeclared(blocks: dict[str, Block], *, check: bool = False) -> list[Registration]:
    """Delete the blocks of receivers and mail servers that the settings no longer name: they hold secrets.

    Args:
        blocks: document name to block: everything that is declared.
        check: only tell; nothing is deleted.
    """
    optional: dict[str, type[Block]] = {**RECEIVERS, "mail": MailServer}
    gone = []
    with get_client(sync_client=True) as client:
        for name, kind in optional.items():
            if name in blocks:
                continue
            try:
                saved = client.read_block_document_by_name(name, kind.get_block_type_slug())
            except ObjectNotFound:
                continue
            if not check:
                client.delete_block_document(saved.id)
            gone.append(Registration(name, "deleted"))
    return gone


def _saved(client: SyncPrefectClient, kind: str) -> Iterator[BlockDocument]:
    for offset in itertools.count(0, _PAGE):
        page = client.read_block_documents_by_type(kind, offset, _PAGE, include_secrets=False)
        yield from (saved for saved in page if not saved.is_anonymous)
        if len(page) < _PAGE:
            return


def _register(name: str, block: Block, check: bool) -> Literal["created", "updated", "unchanged"]:
    try:
        saved = cast(Block, type(block).load(name))
    except (NoSuchBlock, ValueError):
        # Prefect's own blocks raise the latter.
        change: Literal["created", "updated"] = "created"
    except ConfigurationError:
        # An earlier Floe saved it, with other fields; saving over it would keep them.
        change = "updated"
        if not check:
            type(block).delete(name)
    else:
        if comparable(saved) == comparable(block):
            return "unchanged"
        change = "updated"
    if not check:
        block.save(name, overwrite=True)
    return change


def comparable(block: Block) -> Any:
    """Return a block's fields in a form that can be compared, secrets too; never print it.

    What Prefect adds to a saved block (`_block_document_id` and the like) is left out. Secrets stay wrapped:
    to unwrap them Prefect works out the block's JSON schema once for each field.
    """
    return _own_fields(block.model_dump())


def _own_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _own_fields(inner) for name, inner in value.items() if not name.startswith("_")}
    return value
