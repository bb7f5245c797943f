"""An Airbyte server as Floe calls it: the official SDK for jobs and connections, tokens of our own.

The SDK's client-credentials hook sends a form, which Airbyte refuses (airbyte-api-python-sdk#126), and
shares tokens between servers that have the same client id. So tokens are fetched here, as JSON, and given
to the SDK as a bearer. The SDK's models also refuse a status they do not know, so answers are read as the
JSON they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from blocks import airbyte_answers as answers
from blocks.airbyte_answers import Document, checked, refusal
from blocks.airbyte_errors import AirbyteRequestRefused, AirbyteUnreachable

if TYPE_CHECKING:
    from airbyte_api import AirbyteAPI, models

_LOCAL = ("127.0.0.1", "localhost", "::1")
# A token is renewed this long before its end, or at 80 % of its life if that is short.
_MARGIN_SECONDS = 30.0
# What a self-managed server gives, for those that do not say it.
_UNKNOWN_LIFE_SECONDS = 180.0
_PAGE = 100


@dataclass(frozen=True)
class Credentials:
    """How to prove who we are: one of client credentials, a bearer token, basic authentication.

    Attributes:
        client_id: of an OAuth application.
        client_secret: of that application.
        bearer: a token made elsewhere.
        username: for servers older than 1.0.
        password: of that user.
    """

    client_id: str | None = None
    client_secret: str | None = None
    bearer: str | None = None
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


class AirbyteClient:
    """Calls one Airbyte server; safe to use from several threads."""

    def __init__(
        self,
        server_url: str,
        credentials: Credentials,
        *,
        timeout_seconds: float = 30.0,
        public_path: str = "/api/public/v1",
        config_path: str | None = "/api/v1",
    ) -> None:
        """Prepare the client; nothing is sent yet.

        Args:
            server_url: root of the server.
            credentials: see `Credentials`.
            timeout_seconds: for one answer; connecting gets 5 seconds.
            public_path: of the public API, below the root.
            config_path: of the Config API, below the root; None for a server that has none.
        """
        self.server_url = server_url.rstrip("/")
        self._public = self.server_url + public_path
        self._config = None if config_path is None else self.server_url + config_path
        self._credentials = credentials
        self._token: str | None = None
        self._token_ends = 0.0
        self._lock = threading.Lock()
        self._sdk: AirbyteAPI | None = None
        # A proxy of the environment must not get between us and our own machine.
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            trust_env=urlsplit(server_url).hostname not in _LOCAL,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> bool:
        """Tell whether the server answers that it is well."""
        try:
            return self._http.get(f"{self._public}/health").is_success
        except httpx.HTTPError:
            return False

    # -- jobs and connections, through the SDK

    def create_job(self, connection_id: str, job_type: str = "sync") -> Document:
        """Start a job; one try, since a second could start a second sync."""
        from airbyte_api import models

        request = models.JobCreateRequest(connection_id=connection_id, job_type=models.JobTypeEnum(job_type))
        return self._sdk_call("POST /jobs", answers.Job, lambda sdk: sdk.jobs.create_job(request=request))

    def refresh(self, connection_id: str, streams: Sequence[tuple[str, str]]) -> None:
        """Start a job that reads streams anew as a whole and then replaces their rows; one try.

        The public API refreshes whole connections only.

        Args:
            connection_id: of the connection.
            streams: their namespaces and names; all of the connection's when empty.
        """
        if not streams:
            self.create_job(connection_id, "refresh")
            return
        named = [{"streamNamespace": namespace, "streamName": name} for namespace, name in streams]
        body = {"connectionId": connection_id, "refreshMode": "Truncate", "streams": named}
        self.config("/connections/refresh", body)

    def job(self, job_id: int) -> Document:
        """Return a job as `JobResponse`."""
        from airbyte_api import api

        request = api.GetJobRequest(job_id=job_id)
        return self._sdk_call(
            f"GET /jobs/{job_id}", answers.Job, lambda sdk: sdk.jobs.get_job(request=request)
        )

    def cancel_job(self, job_id: int) -> Document:
        """Cancel a job."""
        from airbyte_api import api

        request = api.CancelJobRequest(job_id=job_id)
        return self._sdk_call(
            f"DELETE /jobs/{job_id}", answers.Job, lambda sdk: sdk.jobs.cancel_job(request=request)
        )

    def jobs(self, connection_id: str, limit: int = 10) -> list[Document]:
        """Return a connection's latest jobs, newest first."""
        from airbyte_api import api

        request = api.ListJobsRequest(connection_id=connection_id, limit=limit, order_by="createdAt|DESC")
        answer = self._sdk_call("GET /jobs", answers.Jobs, lambda sdk: sdk.jobs.list_jobs(request=request))
        return sorted(answer["data"], key=lambda job: int(job["jobId"]), reverse=True)

    def connection(self, connection_id: str) -> Document:
        """Return a connection as `ConnectionResponse`."""
        from airbyte_api import api

        request = api.GetConnectionRequest(connection_id=connection_id)
        return self._sdk_call(
            f"GET /connections/{connection_id}",
            answers.Connection,
            lambda sdk: sdk.connections.get_connection(request=request),
        )

    # -- everything else, as plain JSON

    def job_details(self, job_id: int) -> Document:
        """Return a job as `JobInfoRead` of the Config API: attempts, statistics per stream, failures."""
        return checked(
            f"job {job_id}", self.config("/jobs/get_without_logs", {"id": job_id}), answers.JobInfo
        )

    def config(self, path: str, body: Document) -> Any:
        """Call the Config API, which is all POST.

        Raises:
            AirbyteRequestRefused: this server is said to have none.
        """
        if self._config is None:
            raise AirbyteRequestRefused(f"{self.server_url} serves no Config API")
        url = f"{self._config}{path}"
        return self._json(f"POST {path}", lambda: self._http.post(url, json=body, auth=self._auth))

    def pages(self, path: str, **query: Any) -> Iterator[Document]:
        """Yield everything that a list of the public API has.

        Args:
            path: below the public API's root, "/sources".
            query: query parameters; None is left out.
        """
        offset = 0
        while True:
            answer = self.request("GET", path, limit=_PAGE, offset=offset, **query)
            page = checked(f"GET {path}", answer, answers.Page)["data"]
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE

    def request(self, method: str, path: str, body: Document | None = None, **query: Any) -> Any:
        """Call the public API with JSON, for what the SDK's closed unions of connectors cannot say.

        Args:
            method: of HTTP.
            path: below the public API's root, "/sources".
            body: JSON to send.
            query: query parameters; None is left out.
        """
        parameters = {name: value for name, value in query.items() if value is not None}
        return self._json(
            f"{method} {path}",
            lambda: self._http.request(
                method, self._public + path, json=body, params=parameters, auth=self._auth
            ),
        )

    def _sdk_call(self, what: str, shape: type[BaseModel], call: Callable[[AirbyteAPI], Any]) -> Document:
        from airbyte_api import errors

        def send() -> httpx.Response:
            try:
                response: httpx.Response = call(self._api()).raw_response
            except (errors.SDKError, errors.ResponseValidationError) as error:
                # Both carry the answer as it came: an error status, or a body the SDK's models refuse.
                return error.raw_response
            return response

        return checked(what, self._json(what, send), shape)

    def _api(self) -> AirbyteAPI:
        with self._lock:
            if self._sdk is None:
                from airbyte_api import AirbyteAPI

                self._sdk = AirbyteAPI(server_url=self._public, client=self._http, security=self._security)
        return self._sdk

    def _security(self) -> models.Security:
        from airbyte_api import models

        if self._credentials.username is not None:
            basic = models.SchemeBasicAuth(
                username=self._credentials.username, password=self._credentials.password or ""
            )
            return models.Security(basic_auth=basic)
        return models.Security(bearer_auth=self._bearer())

    def _auth(self, request: httpx.Request) -> httpx.Request:
        if self._credentials.username is not None:
            basic = httpx.BasicAuth(self._credentials.username, self._credentials.password or "")
            return next(basic.auth_flow(request))
        request.headers["Authorization"] = f"Bearer {self._bearer()}"
        return request

    def _json(self, what: str, send: Callable[[], httpx.Response]) -> Any:
        """Send a request, again with a new token after a 401, and read the answer."""
        response = self._sent(what, send)
        if response.status_code == 401 and self._credentials.client_id is not None:
            with self._lock:
                self._token = None
            response = self._sent(what, send)
        if not response.is_success:
            raise refusal(what, response)
        if response.status_code == 204 or not response.content:
            return {}
        try:
            return response.json()
        except ValueError:
            raise AirbyteUnreachable(
                f"Airbyte answered {what} with something that is not JSON: {response.text[:80]!r}"
            ) from None

    def _sent(self, what: str, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            return send()
        except httpx.TimeoutException as error:
            raise AirbyteUnreachable(
                f"Airbyte at {self.server_url} did not answer {what} in time ({type(error).__name__})"
            ) from None
        except httpx.HTTPError as error:
            raise AirbyteUnreachable(
                f"Airbyte at {self.server_url} cannot be reached for {what}: {error or type(error).__name__}"
            ) from None

    def _bearer(self) -> str:
        if self._credentials.bearer is not None:
            return self._credentials.bearer
        with self._lock:
            if self._token is None or time.monotonic() >= self._token_ends:
                self._token, lifetime = self._new_token()
                margin = min(_MARGIN_SECONDS, lifetime * 0.2)
                self._token_ends = time.monotonic() + lifetime - margin
            return self._token

    def _new_token(self) -> tuple[str, float]:
        what = "the token request"
        body = {
            "client_id": self._credentials.client_id,
            "client_secret": self._credentials.client_secret,
            "grant_type": "client_credentials",
        }
        url = f"{self._public}/applications/token"
        response = self._sent(what, lambda: self._http.post(url, json=body))
        if not response.is_success:
            raise refusal(what, response)
        try:
            answer = answers.Token.model_validate_json(response.content)
        except ValidationError:
            raise AirbyteUnreachable("Airbyte answered the token request without a token") from None
        lifetime = _UNKNOWN_LIFE_SECONDS if answer.expires_in is None else answer.expires_in
        return answer.access_token, lifetime
