"""The bucket on disk: one file per object, whole or absent, written before the client hears of it.

`<folder>/<bucket>/<key>` holds the object's bytes as they are, its time of change is the object's. A
key that could name another place, or that some file system would confuse with another key, goes to
`.keys/` under a name made from it. What a file cannot say (a multipart ETag, headers, an odd key)
stands in `.about/`, written first and believed only where it describes the bytes that are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

_ODD_KEYS, _ABOUT, _PARTIAL = ".keys", ".about", ".partial-"
# Folders without a dot, the file with one: then no key is a folder of another. Lower case: then no
# file system takes two keys for one.
_PLAIN = re.compile(
    r"(?:[a-z0-9][a-z0-9_=-]{0,99}/){0,15}[a-z0-9][a-z0-9_=-]{0,99}(?:\.[a-z0-9_=-]{1,20}){1,5}"
)
_DEFAULT_HEADERS = {"content-type": "binary/octet-stream"}


@dataclass(frozen=True)
class StoredObject:
    """An object as it is kept. `etag` has no quotes; `last_modified` is aware."""

    key: str
    body: bytes = field(repr=False)
    etag: str
    last_modified: datetime
    headers: dict[str, str]


class Mirror:
    """A folder with a sub-folder per bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def buckets(self) -> list[str]:
        """Return the buckets that have a sub-folder."""
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    def write(self, bucket: str, stored: StoredObject) -> None:
        """Put an object on disk: when this returns, it survives the machine's power.

        Raises:
            OSError: it could not be written; what was there before still is.
        """
        digest = _md5(stored.body)
        about = self._about(bucket, stored.key)
        if stored.etag != digest or stored.headers != _DEFAULT_HEADERS or not _PLAIN.fullmatch(stored.key):
            described = {"key": stored.key, "md5": digest, "etag": stored.etag, "headers": stored.headers}
            _write_whole(about, json.dumps(described).encode(), None)
        else:
            about.unlink(missing_ok=True)
        _write_whole(self._path(bucket, stored.key), stored.body, stored.last_modified)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object from disk, if it is there."""
        path = self._path(bucket, key)
        if path.exists():
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)
        self._about(bucket, key).unlink(missing_ok=True)

    def read(self, bucket: str) -> Iterator[StoredObject]:
        """Yield every object of a bucket; what a crash left half-written is removed."""
        root = self._folder / bucket
        odd = {path.name: path for path in (root / _ABOUT).glob("*") if not path.name.startswith(_PARTIAL)}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if path.name.startswith(_PARTIAL):
                path.unlink(missing_ok=True)
            elif path.parent.name != _ABOUT:
                yield _read(path, root, odd)

    def _path(self, bucket: str, key: str) -> Path:
        root = self._folder / bucket
        return root / key if _PLAIN.fullmatch(key) else root / _ODD_KEYS / _odd_name(key)

    def _about(self, bucket: str, key: str) -> Path:
        return self._folder / bucket / _ABOUT / _odd_name(key)


def _read(path: Path, root: Path, described: dict[str, Path]) -> StoredObject:
    body = path.read_bytes()
    name = path.name if path.parent.name == _ODD_KEYS else _odd_name(path.relative_to(root).as_posix())
    about = json.loads(described[name].read_bytes()) if name in described else {}
    key = about["key"] if path.parent.name == _ODD_KEYS else path.relative_to(root).as_posix()
    digest = _md5(body)
    fits = about.get("md5") == digest
    return StoredObject(
        key,
        body,
        etag=about["etag"] if fits else digest,
        last_modified=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        headers=about["headers"] if fits else dict(_DEFAULT_HEADERS),
    )


def _odd_name(key: str) -> str:
    """Return a file name for any key: readable at its start, unique by its hash."""
    return f"{quote(key, safe=' ')[:120]}.{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _write_whole(path: Path, body: bytes, modified: datetime | None) -> None:
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if modified is not None:
            os.utime(partial, (modified.timestamp(), modified.timestamp()))
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    for folder in {path.parent, *(made.parent for made in created)}:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
