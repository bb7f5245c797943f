"""A Metabase server as Floe calls it: JSON over HTTP, an API key, typed errors, retries where they are safe.

The API is that of v58 to v65 (https://www.metabase.com/docs/latest/api). It drops unknown keys of a body in
silence, so whoever writes here reads back (`blocks/metabase_apply.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from blocks.metabase_errors import (
    MetabaseBusy,
    MetabaseNotFound,
    MetabaseRequestRefused,
    MetabaseUnauthorized,
    MetabaseUnreachable,
)
from blocks.retry_after import retry_after

Document = dict[str, Any]
Method = Literal["GET", "POST", "PUT"]

# Seconds before each new try of a call that does no harm twice.
PAUSES = (0.5, 1.0, 2.0)

_LOCAL = ("127.0.0.1", "localhost", "::1")
_PAGE = 100
_LONGEST_PAUSE = 60.0
_SHOWN = 300


class MetabaseClient:
    """Calls one Metabase server; the key stands in a header and in nothing that is shown."""

    def __init__(
        self,
        url: str,
        api_key: SecretStr | None = None,
        *,
        session: SecretStr | None = None,
        timeout_seconds: float = 60.0,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Prepare the client; nothing is sent yet.

        Args:
            url: root of the server.
            api_key: of a group that may do what is asked.
            session: of a user who logged in, in place of a key.
            timeout_seconds: for one answer; connecting gets 5 seconds.
            pauses: seconds before each new try of a call that does no harm twice.
        """
        self.url = url.rstrip("/")
        self._secrets: list[str] = []
        self._pauses = tuple(pauses)
        headers = {}
        for header, secret in (("x-api-key", api_key), ("x-metabase-session", session)):
            if secret is not None:
                headers[header] = secret.get_secret_value()
                self.hide(secret)
        # A proxy of the environment must not get between us and our own machine.
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            trust_env=urlsplit(url).hostname not in _LOCAL,
        )

    def __repr__(self) -> str:
        return f"MetabaseClient({self.url!r})"

    def __enter__(self) -> MetabaseClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def hide(self, *secrets: SecretStr) -> None:
        """Keep `secrets` out of every error text, should the server repeat them."""
        texts = [text for each in secrets if (text := each.get_secret_value())]
        # Servers quote what they repeat.
        self._secrets += [*texts, *(json.dumps(text)[1:-1] for text in texts)]

    def get(self, path: str, **query: Any) -> Any:
        """Read; tried again when the server does not answer.

        Args:
            path: below `/api`, "/card/1".
            query: query parameters; a list is repeated.
        """
        return self._call("GET", path, query=query, again=True)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Replace; twice is the same as once, so it is tried again like a read."""
        return self._call("PUT", path, body=body, again=True)

    def post(self, path: str, body: Mapping[str, Any], *, again: bool = False) -> Any:
        """Create or start something, once.

        Args:
            path: below `/api`.
            body: JSON to send.
            again: whether twice does no harm, so that it may be tried again.
        """
        return self._call("POST", path, body=body, again=again)

    def items(self, path: str, **query: Any) -> Iterator[Document]:
        """Yield everything that a paged list has, a page at a time."""
        offset = 0
        while True:
            answer = self.get(path, limit=_PAGE, offset=offset, **query)
            page: list[Document] = answer["data"]
            yield from page
            offset += len(page)
            if not page or offset >= int(answer.get("total") or 0):
                return

    def _call(
        self,
        method: Method,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        again: bool,
    ) -> Any:
        for pause in self._pauses if again else ():
            try:
                return self._once(method, path, body, query)
            except MetabaseUnreachable as error:
                time.sleep(min(error.retry_after or pause, _LONGEST_PAUSE))
        return self._once(method, path, body, query)

    def _once(
        self, method: Method, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> Any:
        what = f"{method} {path}"
        try:
            response = self._http.request(method, f"{self.url}/api{path}", json=body, params=query)
        except httpx.HTTPError as error:
            reason = self._shown(str(error)) or type(error).__name__
            raise MetabaseUnreachable(
                f"Metabase at {self.url} does not answer {what}: {reason}",
                next_command="look at the Metabase host, then the same again",
            ) from None
        if not response.is_success:
            raise self._refusal(what, response)
        if not response.content:
            return {}
        try:
            return response.json()
        except ValueError:
            raise MetabaseUnreachable(
                f"Metabase at {self.url} answered {what} with something that is not JSON: "
                f"{self._shown(response.text)!r}"
            ) from None

    def _refusal(self, what: str, response: httpx.Response) -> Exception:
        status, says = response.status_code, self._shown(_message(response))
        text = f"Metabase at {self.url} answered {what} with {status}: {says}"
        if status in (401, 403):
            return MetabaseUnauthorized(text, next_command="look at FLOE_DASHBOARDS__METABASE__API_KEY")
        if status == 404:
            return MetabaseNotFound(text)
        if status == 409:
            return MetabaseBusy(text, next_command="the same again")
        if status == 429 or status >= 500 or 300 <= status < 400:
            return MetabaseUnreachable(text, retry_after=retry_after(response.headers))
        return MetabaseRequestRefused(text)

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:_SHOWN]


def _message(response: httpx.Response) -> str:
    """Return what the server says is wrong; its answers have no one shape."""
    try:
        body = response.json()
    except ValueError:
        return response.text
    if isinstance(body, dict):
        parts = (body.get(name) for name in ("message", "error", "specific-errors", "errors"))
        return "; ".join(str(part) for part in parts if part) or str(body)
    return str(body)
