"""Put a refused file aside: a copy and a machine-readable verdict, under one folder per version."""

from __future__ import annotations

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.object_store import Bucket, ObjectGone, ObjectRef, ObjectUnreadable
from lambda_csv_loader.verdict import Verdict

PREFIX = "quarantine"
VERDICT = "verdict.json"


def folder(dataset: str, file_id: str) -> str:
    """Return the prefix of one quarantined version."""
    return f"{PREFIX}/{dataset}/{file_id}/"


def verdict_key(dataset: str, file_id: str) -> str:
    """Return the key of the verdict."""
    return f"{folder(dataset, file_id)}{VERDICT}"


def copy_key(dataset: str, ref: ObjectRef) -> str:
    """Return the key of the copy; it keeps the file's own name, unless the verdict has it."""
    name = ref.key.rsplit("/", 1)[-1]
    # A key has at most 1,024 bytes, and the folder's is longer than the one the file came from.
    name = name.encode()[-900:].decode(errors="ignore")
    return f"{folder(dataset, ref.file_id)}{f'file-{name}' if name == VERDICT else name}"


def quarantine(
    bucket: Bucket, ref: ObjectRef, dataset: str, contract: Contract | None, verdict: Verdict
) -> str:
    """Copy the file and write its verdict; doing it again overwrites with the same.

    Returns:
        The key of the verdict.

    Raises:
        ObjectReplaced: the file was overwritten meanwhile.
        StoreUnavailable: try again.
    """
    copy: str | None = copy_key(dataset, ref)
    try:
        bucket.copy(ref, str(copy))
    except (ObjectUnreadable, ObjectGone):
        copy = None
    described = verdict.model_copy(
        update={
            "file": {
                "file_id": ref.file_id,
                "dataset": dataset,
                "owner": contract.owner if contract else None,
                "bucket": ref.bucket,
                "key": ref.key,
                "copy": copy,
                "etag": ref.etag,
                "version_id": ref.version_id,
                "last_modified": ref.last_modified.isoformat() if ref.last_modified else None,
                "size_bytes": ref.size,
                "replay": f"floe files replay {ref.file_id}",
            }
        }
    )
    key = verdict_key(dataset, ref.file_id)
    bucket.put(key, described.model_dump_json(indent=2).encode(), "application/json")
    return key
