"""How the client takes faults of a server, on a scripted one."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from blocks.errors import FloeError, PermanentError, TransientError
from blocks.metabase_client import MetabaseClient
from blocks.metabase_errors import (
    MetabaseBusy,
    MetabaseNotFound,
    MetabaseRequestRefused,
    MetabaseUnauthorized,
    MetabaseUnreachable,
)
from tests.scripted_server import Answer, Script, scripted

KEY = SecretStr("mb_secret-key")


def test_reads_are_tried_again_and_what_creates_is_not() -> None:
    unwell = [Answer(503), Answer(fault="reset"), Answer(body={"id": 1})]
    with scripted({"GET /api/card/1": unwell, "POST /api/card": [Answer(503)]}) as server:
        client = MetabaseClient(server.url, KEY, pauses=(0, 0, 0))
        assert client.get("/card/1") == {"id": 1}
        with pytest.raises(MetabaseUnreachable):
            client.post("/card", {})
        assert server.times("GET /api/card/1") == 3
        assert server.times("POST /api/card") == 1


@pytest.mark.parametrize(
    ("status", "kind", "root"),
    [
        (400, MetabaseRequestRefused, PermanentError),
        (401, MetabaseUnauthorized, PermanentError),
        (403, MetabaseUnauthorized, PermanentError),
        (404, MetabaseNotFound, PermanentError),
        (409, MetabaseBusy, TransientError),
        (429, MetabaseUnreachable, TransientError),
        (302, MetabaseUnreachable, TransientError),
        (500, MetabaseUnreachable, TransientError),
    ],
)
def test_each_refusal_is_permanent_or_transient(status: int, kind: type[FloeError], root: type) -> None:
    says = {"specific-errors": {"display": ["missing"]}, "message": "mb_secret-key is not welcome"}
    script: Script = {"POST /api/card": [Answer(status, says)]}
    with scripted(script) as server, pytest.raises(kind, match=str(status)) as caught:
        MetabaseClient(server.url, KEY).post("/card", {})
    assert isinstance(caught.value, root)
    assert "missing" in str(caught.value)
    assert "mb_secret-key" not in str(caught.value)


def test_a_page_of_a_proxy_is_no_answer() -> None:
    script: Script = {"GET /api/card/1": [Answer(raw="<html>come back later</html>")]}
    with scripted(script) as server, pytest.raises(MetabaseUnreachable, match="not JSON"):
        MetabaseClient(server.url, KEY, pauses=()).get("/card/1")


def test_all_pages_of_a_list_are_read() -> None:
    pages = [Answer(body={"data": [{"id": n}], "total": 3}) for n in range(3)]
    with scripted({"GET /api/collection/1/items": pages}) as server:
        client = MetabaseClient(server.url, KEY)
        assert [each["id"] for each in client.items("/collection/1/items")] == [0, 1, 2]
