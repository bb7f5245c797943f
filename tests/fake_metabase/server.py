"""The fake over HTTP on loopback: addresses, authentication, faults."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fake_metabase.bodies import BODIES, Document, Refused, check_body
from tests.fake_metabase.databases import NOT_FOUND, Columns
from tests.fake_metabase.state import ADMINISTRATORS, State

Fault = Literal["before", "after", "busy"]
Query = Mapping[str, list[str]]
Handle = Callable[[State, str, Document, Query], Any]

_OPEN = ("GET /health", "GET /session/properties", "POST /setup", "POST /session")
ROUTES: dict[str, Handle] = {
    "GET /health": lambda *_: {"status": "ok"},
    "GET /session/properties": lambda state, *_: state.properties(),
    "POST /setup": lambda state, _, body, __: state.setup(body),
    "POST /session": lambda state, _, body, __: state.log_in(body),
    "GET /api-key": lambda state, *_: list(state.keys.values()),
    "POST /api-key": lambda state, _, body, __: state.new_key(body),
    "GET /user/current": lambda state, *_: {**state.users[0], "first_name": None, "last_name": None},
    "GET /user/:id": lambda state, *_: {**state.users[0], "first_name": None, "last_name": None},
    "GET /database": lambda state, *_: {
        "data": [state.database(number) for number in state.databases],
        "total": len(state.databases),
    },
    "POST /database": lambda state, _, body, __: state.new_database(body),
    "GET /database/:id": lambda state, number, *_: state.database(int(number)),
    "PUT /database/:id": lambda state, number, body, _: state.change_database(int(number), body),
    "POST /database/:id/sync_schema": lambda state, number, *_: state.sync(int(number)),
    "POST /database/:id/rescan_values": lambda *_: {"status": "ok"},
    "GET /database/:id/metadata": lambda state, number, *_: state.metadata(int(number)),
    "GET /table": lambda state, *_: [
        {**table, "db": state.database(number)}
        for number in state.databases
        for table in state.tables_of(number)
    ],
    "PUT /table/:id": lambda state, number, body, _: _changed(state.tables, number, body),
    "GET /field/:id": lambda state, number, *_: state.field(int(number)),
    "PUT /field/:id": lambda state, number, body, _: _updated(state.field(int(number)), body),
    "GET /collection": lambda state, _, __, query: state.collections_listed(query),
    "POST /collection": lambda state, _, body, __: state.new_collection(body),
    "GET /collection/trash": lambda state, *_: state.collections[state.trash],
    "GET /collection/:id": lambda state, number, *_: _one(state.collections, number),
    "PUT /collection/:id": lambda state, number, body, _: state.change_collection(int(number), body),
    "GET /collection/:id/items": lambda state, number, _, query: state.items(number, query),
    "GET /card": lambda state, *_: [each for each in state.cards.values() if not each["archived"]],
    "POST /card": lambda state, _, body, __: state.new_card(body),
    "GET /card/:id": lambda state, number, *_: _one(state.cards, number),
    "PUT /card/:id": lambda state, number, body, _: state.change_card(int(number), body),
    "POST /card/:id/query": lambda state, number, *_: state.run_card(int(number)),
    "GET /dashboard": lambda state, *_: [each for each in state.dashboards.values() if not each["archived"]],
    "POST /dashboard": lambda state, _, body, __: state.new_dashboard(body),
    "GET /dashboard/:id": lambda state, number, *_: state.dashboard(int(number)),
    "PUT /dashboard/:id": lambda state, number, body, _: state.change_dashboard(int(number), body),
    "GET /permissions/graph": lambda state, *_: state.graph("permissions"),
    "PUT /permissions/graph": lambda state, _, body, __: state.change_graph("permissions", body),
    "GET /collection/graph": lambda state, *_: state.graph("collection"),
    "PUT /collection/graph": lambda state, _, body, __: state.change_graph("collection", body),
    "GET /permissions/group": lambda state, *_: [
        {"id": number, "name": name, "member_count": 0} for number, name in state.groups.items()
    ],
    "POST /permissions/group": lambda state, _, body, __: state.new_group(body),
    "POST /permissions/membership": lambda *_: {},
    "PUT /setting/:id": lambda state, name, body, _: _updated(state.settings, {name: body["value"]}),
    "POST /eid-translation/translate": lambda state, _, body, __: state.translate(body),
}


def _one(objects: Mapping[int, Document], number: str) -> Document:
    found = objects.get(int(number)) if number.isdigit() else None
    if found is None:
        raise NOT_FOUND
    return found


def _updated(document: Document, body: Document) -> Document:
    document.update(body)
    return document


def _changed(objects: Mapping[int, Document], number: str, body: Document) -> Document:
    return _updated(_one(objects, number), body)


class FakeMetabase:
    """A running fake; tests look at `state`, and arm faults."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.calls: list[str] = []
        self.lock = threading.RLock()
        self.meanwhile: Callable[[str], None] | None = None
        self._fault: tuple[int, Fault] | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def handle_one(self) -> None:
                owner.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, call: int, how: Fault) -> None:
        """Let the call of a number from now on (1 is the next), and all after it, fail.

        "before": the connection ends and nothing was done; "after": it was done, and the answer is lost;
        "busy": 503. Those after it are never done, as after a kill.
        """
        self.calls.clear()
        self._fault = (call, how)

    def mend(self) -> None:
        self._fault = None

    def writes(self) -> list[str]:
        """Return the calls that change something."""
        return [
            call
            for call in self.calls
            if not call.startswith("GET") and not call.endswith(("/query", "/translate", "/sync_schema"))
        ]

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers.get("content-length") or 0))
        address = urlsplit(request.path)
        path = address.path.removeprefix("/api")
        with self.lock:
            self.calls.append(f"{request.command} {path}")
            at, how = self._fault or (0, "before")
            if self._fault and len(self.calls) >= at and (how == "before" or len(self.calls) > at):
                self._hang_up(request)
                return
            if self._fault and how == "busy":
                self._answer(request, 503, "unavailable")
                return
            try:
                status, answer = 200, self._handled(request, path, parse_qs(address.query), content)
            except Refused as refused:
                status, answer = refused.status, refused.body
            text = json.dumps(answer)
            if self._fault and len(self.calls) >= at:
                self._hang_up(request)
                return
        self._answer(request, status, text)
        if self.meanwhile:
            self.meanwhile(f"{request.command} {path}")

    def _handled(self, request: BaseHTTPRequestHandler, path: str, query: Query, content: bytes) -> Any:
        call, subject = _route(request.command, path)
        if call not in ROUTES:
            raise Refused(404, f"the fake has no {request.command} {path}")
        if call not in _OPEN:
            self._authenticate(request)
        body = json.loads(content) if content else {}
        if call in BODIES:
            check_body(call, body)
        return ROUTES[call](self.state, subject, body, query)

    def _authenticate(self, request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("x-metabase-session") in self.state.sessions:
            return
        key = self.state.keys.get(request.headers.get("x-api-key") or "")
        if key is None:
            raise Refused(401, "Unauthenticated")
        if key["group"]["id"] != ADMINISTRATORS and request.command != "GET":
            raise Refused(403, "You don't have permissions to do that.")

    @staticmethod
    def _hang_up(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.close()

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, text: str) -> None:
        payload = text.encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(payload)))
        request.end_headers()
        request.wfile.write(payload)


def _route(method: str, path: str) -> tuple[str, str]:
    """Return the call with `:id` for what stands in its place, and that."""
    if f"{method} {path}" in ROUTES:
        return f"{method} {path}", ""
    found = re.fullmatch(r"(/[a-z-]+)/([^/]+)(/[a-z_]+)?", path)
    if not found:
        return f"{method} {path}", ""
    return f"{method} {found[1]}/:id{found[3] or ''}", unquote(found[2])


@contextmanager
def running_metabase(warehouse: Columns, **how: Any) -> Iterator[FakeMetabase]:
    """Run a fake on a free port of loopback.

    Args:
        warehouse: columns of (schema, table).
        how: other attributes of `State`.
    """
    server = FakeMetabase(State(warehouse, **how))
    server.start()
    try:
        yield server
    finally:
        server.stop()
