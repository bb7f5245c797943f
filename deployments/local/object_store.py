"""S3 and SQS for the laptop: moto's server on 127.0.0.1, with its buckets mirrored to a folder.

`python -m deployments.local.object_store --port 9000 --mirror DIR --bucket NAME`

moto keeps everything in memory. Here a write is on disk before its 200 is sent, and everything on
disk is back in memory before the port accepts a request. The queue is not kept: the sweep finds
what its events would have told.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from werkzeug.serving import make_server

from deployments.local.long_queue import look_at_the_clock_once
from deployments.local.mirror import Mirror, StoredObject

HOST = "127.0.0.1"
REGION = "eu-central-1"
ACCOUNT = DEFAULT_ACCOUNT_ID
MAX_RECEIVES = 5
VISIBILITY_SECONDS = 60

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def queue_name(bucket: str) -> str:
    """Return the name of the queue that gets a bucket's events."""
    return f"{bucket}-events"


def dead_letter_queue_name(bucket: str) -> str:
    """Return the name of the queue for messages that failed too often."""
    return f"{queue_name(bucket)}-dlq"


class MirroredStore:
    """A WSGI application: moto, with what a request changed written to disk before it is answered."""

    def __init__(self, application: Application, mirror: Mirror) -> None:
        self._application = application
        self._mirror = mirror
        # Writers of one key must leave the disk as they leave the memory.
        self._locks = [threading.Lock() for _ in range(64)]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if path.startswith("/moto-api") and method != "GET":
            # moto's own control interface could empty the store behind the mirror's back.
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        if method in ("GET", "HEAD", "OPTIONS"):
            return self._application(environ, start_response)
        body = _replayed_body(environ) if _is_multi_delete(environ) else None
        answer: list[Any] = []

        def hold(status: str, headers: list[Any], *more: Any) -> Callable[[bytes], None]:
            answer[:] = [status, headers, *more]
            return lambda data: None

        chunks = list(self._application(environ, hold))
        if answer[0].startswith("2"):
            try:
                for bucket, key in _touched(environ, body):
                    self._keep(bucket, key)
            except OSError as error:
                logging.getLogger("floe.object_store").exception("the mirror could not be written")
                return _unavailable(start_response, error)
        start_response(*answer)
        return chunks

    def restore(self) -> int:
        """Bring every mirrored object back into memory; return how many."""
        backend = s3_backends[ACCOUNT]["aws"]
        count = 0
        for name in self._mirror.buckets():
            _ensure_bucket(name)
            for stored in self._mirror.read(name):
                key = backend.put_object(
                    name, stored.key, stored.body, etag=stored.etag, disable_notification=True
                )
                key.last_modified = stored.last_modified.replace(tzinfo=None)
                key.set_metadata(dict(stored.headers))
                count += 1
        return count

    def _keep(self, bucket: str, key: str) -> None:
        with self._locks[hash((bucket, key)) % len(self._locks)]:
            found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
            stored = found.keys.get(key) if found is not None else None
            if stored is None or not hasattr(stored, "value"):
                self._mirror.delete(bucket, key)
                return
            self._mirror.write(
                bucket,
                StoredObject(
                    key,
                    stored.value,
                    etag=stored.etag.strip('"'),
                    last_modified=stored.last_modified.replace(tzinfo=UTC),
                    headers={name.lower(): str(value) for name, value in stored.metadata.items()},
                ),
            )


def provision(bucket: str) -> None:
    """Create the bucket, its queue and dead-letter queue, and the notification between them."""
    _ensure_bucket(bucket)
    queues = sqs_backends[ACCOUNT][REGION]
    dead = queues.create_queue(dead_letter_queue_name(bucket), {})
    redrive = {"deadLetterTargetArn": dead.queue_arn, "maxReceiveCount": MAX_RECEIVES}
    queue = queues.create_queue(
        queue_name(bucket),
        {},
        VisibilityTimeout=str(VISIBILITY_SECONDS),
        RedrivePolicy=json.dumps(redrive),
    )
    s3_backends[ACCOUNT]["aws"].put_bucket_notification_configuration(
        bucket,
        {
            "QueueConfiguration": [
                {
                    "Queue": queue.queue_arn,
                    "Event": ["s3:ObjectCreated:*"],
                    "Filter": {"S3Key": {"FilterRule": [{"Name": "prefix", "Value": "landing/"}]}},
                }
            ]
        },
    )


def serve(port: int, mirror: Path, buckets: list[str]) -> None:
    """Restore, provision, then serve until SIGTERM or SIGINT."""
    look_at_the_clock_once()
    store = MirroredStore(DomainDispatcherApplication(create_backend_app), Mirror(mirror))
    restored = store.restore()
    for bucket in buckets:
        provision(bucket)
    server = make_server(HOST, port, store, threaded=True, request_handler=_RequestHandler)

    def stop(signum: int, frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"object store on http://{HOST}:{port}, {restored} objects restored", flush=True)  # noqa: T201
    server.serve_forever()


class _RequestHandler(MotoRequestHandler):  # type: ignore[misc]
    # Connections are kept: a new one per request costs more than the request.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing about requests that went well."""
        if str(code).startswith("5"):
            super().log_request(code, size)


def _ensure_bucket(name: str) -> None:
    backend = s3_backends[ACCOUNT]["aws"]
    if name not in backend.buckets:
        backend.create_bucket(name, REGION)


def _touched(environ: dict[str, Any], body: bytes | None) -> list[tuple[str, str]]:
    """Return the (bucket, key) pairs that a successful request may have changed."""
    # WSGI hands the path over as latin-1 text of its bytes (PEP 3333).
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    bucket, _, key = path.removeprefix("/").partition("/")
    if bucket not in s3_backends[ACCOUNT]["aws"].buckets:
        return []
    if body is not None:
        root = ElementTree.fromstring(body)  # noqa: S314 - our own user's request on loopback
        return [
            (bucket, element.text or "") for element in root.iter() if element.tag.rsplit("}", 1)[-1] == "Key"
        ]
    return [(bucket, key)] if key else []


def _is_multi_delete(environ: dict[str, Any]) -> bool:
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return environ["REQUEST_METHOD"] == "POST" and "delete" in query


def _replayed_body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _unavailable(start_response: Callable[..., Any], error: OSError) -> list[bytes]:
    text = f"<Error><Code>InternalError</Code><Message>the mirror failed: {error.strerror}</Message></Error>"
    start_response("500 Internal Server Error", [("Content-Length", str(len(text.encode())))])
    return [text.encode()]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local.object_store")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mirror", type=Path, required=True, help="folder that holds the buckets")
    parser.add_argument("--bucket", action="append", default=[], help="created when missing; repeatable")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        serve(chosen.port, chosen.mirror, chosen.bucket)


if __name__ == "__main__":
    main()
