"""Load refused files again, after the file or its contract was mended."""

from __future__ import annotations

from lambda_csv_loader.errors import PermanentError
from lambda_csv_loader.ledger import LedgerRow
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import ObjectGone, ObjectRef
from lambda_csv_loader.outcome import Outcomes
from lambda_csv_loader.quarantine import copy_key


class NothingToReplay(PermanentError):
    """The name is neither a dataset's nor a file's."""


def replay(loader: Loader, target: str) -> Outcomes:
    """Load one version again, or every quarantined file of a dataset.

    The key's current version is loaded. Where the key is empty by now, the quarantined copy is put
    back first.

    Args:
        loader: does it.
        target: a file id or a dataset.

    Raises:
        NothingToReplay: `target` is neither.
    """
    if target in loader.contracts.names():
        rows = [row for row in loader.writer.ledger(target) if row.status == "quarantined"]
    else:
        found = loader.writer.find(target)
        if found is None:
            raise NothingToReplay(
                f"{target!r} is neither a dataset nor a file id", next_command="floe files status"
            )
        rows = [found]
    for row in rows:
        _put_back(loader, row)
    return loader.load_many([ObjectRef(row.bucket, row.key) for row in rows], force=True)


def _put_back(loader: Loader, row: LedgerRow) -> None:
    try:
        loader.bucket.head(row.key)
    except ObjectGone:
        if row.verdict_key is not None:
            was = ObjectRef(row.bucket, row.key, row.etag, row.version_id)
            try:
                loader.bucket.copy(ObjectRef(row.bucket, copy_key(row.dataset, was)), row.key)
            except ObjectGone:
                return
