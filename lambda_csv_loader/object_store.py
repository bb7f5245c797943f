"""The bucket, as the loader needs it: read one version of an object, copy, write a verdict, list."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from lambda_csv_loader.errors import PermanentError, TransientError
from lambda_csv_loader.settings import ObjectStoreSettings

IN_MEMORY = 8 << 20
"""Objects up to this many bytes are read once and kept."""


class ObjectGone(PermanentError):
    """The object was deleted."""


class ObjectReplaced(PermanentError):
    """The key holds another version now."""


class ObjectUnreadable(PermanentError):
    """The object is archived or encrypted so that it cannot be read as it is."""


class StoreUnavailable(TransientError):
    """The object store does not answer, throttles, or refuses for now."""


@dataclass(frozen=True)
class ObjectRef:
    """One version of one object.

    Attributes:
        etag: without quotes; None when only the key is known.
        sequencer: of the event, when one came; orders events of one key.
        last_modified: when the object was put; None until it was looked at.
    """

    bucket: str
    key: str
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    last_modified: datetime | None = None
    size: int = 0

    @property
    def file_id(self) -> str:
        """Return the identity of this version: the same for every event, listing and process."""
        identity = "\0".join((self.bucket, self.key, self.version_id or self.etag or ""))
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


@dataclass
class ObjectSource:
    """An object's bytes, always of the one version (`IfMatch`)."""

    bucket: Bucket
    ref: ObjectRef
    _body: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return the key."""
        return self.ref.key

    def open(self) -> io.RawIOBase | io.BytesIO:
        """Open it at its first byte.

        Raises:
            ObjectReplaced: the key holds another version now.
        """
        if self.ref.size > IN_MEMORY:
            return self.bucket.open(self.ref)
        if self._body is None:
            with self.bucket.open(self.ref) as stream:
                self._body = stream.read()
        return io.BytesIO(self._body)


class Bucket:
    """One bucket, with its errors sorted into permanent and transient."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        self.name = settings.bucket
        self._client: Any = client(settings, "s3")

    def head(self, key: str) -> ObjectRef:
        """Return the current version of `key`.

        Raises:
            ObjectGone: there is none.
            StoreUnavailable: try again.
        """
        with _sorted_errors(key):
            answer = self._client.head_object(Bucket=self.name, Key=key)
        return self._ref(key, answer)

    def open(self, ref: ObjectRef) -> io.RawIOBase:
        """Open exactly the version `ref`.

        Raises:
            ObjectGone, ObjectReplaced, ObjectUnreadable, StoreUnavailable: as they say.
        """
        wanted = {"IfMatch": f'"{ref.etag}"'} if ref.etag else {}
        with _sorted_errors(ref.key):
            answer = self._client.get_object(Bucket=self.name, Key=ref.key, **wanted)
        return _Body(answer["Body"], ref.key)

    def copy(self, ref: ObjectRef, key: str) -> None:
        """Copy the version `ref` to `key` within the bucket, without moving bytes through here."""
        source = {"Bucket": self.name, "Key": ref.key}
        if ref.version_id:
            source["VersionId"] = ref.version_id
        with _sorted_errors(ref.key):
            # The managed copy, since a single CopyObject ends at 5 GB.
            self._client.copy(
                source, self.name, key, ExtraArgs={"CopySourceIfMatch": f'"{ref.etag}"'} if ref.etag else None
            )

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write an object."""
        with _sorted_errors(key):
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def get_json(self, key: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            ObjectGone: there is none.
        """
        with _sorted_errors(key):
            answer = self._client.get_object(Bucket=self.name, Key=key)
            content: dict[str, Any] = json.load(answer["Body"])
        return content

    def list(self, prefix: str) -> Iterator[ObjectRef]:
        """Yield every object under `prefix` in key order."""
        with _sorted_errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix
            ):
                for found in page.get("Contents", ()):
                    yield ObjectRef(
                        self.name,
                        found["Key"],
                        etag=found["ETag"].strip('"'),
                        last_modified=found["LastModified"].astimezone(UTC).replace(microsecond=0),
                        size=found["Size"],
                    )

    def _ref(self, key: str, answer: Mapping[str, Any]) -> ObjectRef:
        version = answer.get("VersionId")
        return ObjectRef(
            self.name,
            key,
            etag=answer["ETag"].strip('"'),
            version_id=None if version in (None, "null") else version,
            last_modified=answer["LastModified"].astimezone(UTC),
            size=answer["ContentLength"],
        )


def client(settings: ObjectStoreSettings, service: str, *, read_timeout: int = 60, attempts: int = 3) -> Any:
    """Return a boto3 client for `service` with bounded time-outs and retries.

    Args:
        settings: credentials, region, endpoint.
        service: as boto3 names it.
        read_timeout: seconds to wait for an answer.
        attempts: how often a request is sent at most.
    """
    secret = settings.secret_access_key
    return boto3.Session(region_name=settings.region).client(
        service,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            connect_timeout=5,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=16,
            tcp_keepalive=True,
        ),
    )


class _Body(io.RawIOBase):
    """A response body whose connection errors are ours."""

    def __init__(self, inner: Any, key: str) -> None:
        self._inner, self._key = inner, key

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _sorted_errors(self._key):
            data: bytes = self._inner.read(None if size < 0 else size)
        return data

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _sorted_errors:  # noqa: N801 - used like a keyword
    """Turn botocore's errors into ours; the text names the operation and key, never a secret."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClientError):
            raise _from_answer(error, self._key) from None
        if isinstance(error, (BotoCoreError, HTTPClientError, IncompleteReadError)):
            raise StoreUnavailable(
                f"The object store does not answer for {self._key!r}: {type(error).__name__}",
                state="the file is still in the bucket; it is tried again",
            ) from None


def _from_answer(error: ClientError, key: str) -> PermanentError | TransientError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in ("NoSuchKey", "404", "NoSuchVersion"):
        return ObjectGone(f"{key!r} is not in the bucket any more")
    if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
        return ObjectReplaced(f"{key!r} holds another version now")
    if code in ("InvalidObjectState", "ObjectNotInActiveTierError"):
        return ObjectUnreadable(
            f"{key!r} is archived (Glacier)", next_command="restore the object, then `floe files replay`"
        )
    # Rights are mended by people while the file waits: retried, then in the dead-letter queue.
    return StoreUnavailable(
        f"{error.operation_name} of {key!r} failed: {code or status}",
        state="the file is still in the bucket; it is tried again",
        next_command="floe files status",
    )
