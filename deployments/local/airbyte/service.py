"""The stand-in's HTTP service: routes, authorisation, life cycle."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from deployments.local.airbyte import STAND_IN, config_api, problems, public_api
from deployments.local.airbyte.job_runner import JobRunner, RunnerSettings
from deployments.local.airbyte.store import Store
from deployments.local.airbyte.tokens import TokenIssuer

log = logging.getLogger("deployments.local.airbyte")
PUBLIC, CONFIG = "/api/public/v1", "/api/v1"
_OPEN = (
    f"{PUBLIC}/health",
    f"{PUBLIC}/applications/token",
    f"{CONFIG}/health",
    f"{CONFIG}/applications/token",
)


@dataclass(frozen=True)
class ServiceSettings:
    """What the service is started with.

    Attributes:
        home: folder for its records, logs and workers' scratch files.
        client_id: of the one OAuth application it knows.
        client_secret: of that application.
        token_seconds: life of an access token.
        runner: how jobs are run.
    """

    home: Path
    client_id: str
    client_secret: str
    token_seconds: float = 180.0
    runner: RunnerSettings = field(default_factory=RunnerSettings)


def create_app(settings: ServiceSettings) -> FastAPI:
    """Build the service on the records in `settings.home`."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.home / "airbyte.db")
    runner = JobRunner(store, settings.home, settings.runner)
    tokens = TokenIssuer(settings.client_id, settings.client_secret, settings.token_seconds)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        log.warning("This is %s", STAND_IN)
        runner.start()
        yield
        runner.stop()

    app = FastAPI(title=STAND_IN, description=__doc__ or "", lifespan=life, redirect_slashes=False)
    app.add_exception_handler(problems.Problem, problems.answer)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    _guard(app, tokens)
    _add_open_routes(app, tokens)
    app.include_router(public_api.router(store, runner), prefix=PUBLIC)
    app.include_router(config_api.router(store, runner), prefix=CONFIG)

    @app.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def lacking(request: Request) -> Response:
        raise problems.lacking(f"the call {request.method} {request.url.path}")

    return app


def _guard(app: FastAPI, tokens: TokenIssuer) -> None:
    @app.middleware("http")
    async def authorise(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        # Older clients end their paths with a slash; both forms mean the same call.
        path = request.scope["path"] = request.scope["path"].rstrip("/") or "/"
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if path not in _OPEN and not (kind.lower() == "bearer" and tokens.accepts(token)):
            response: Response = JSONResponse(
                problems.body(401, "The access token is missing or expired"), 401
            )
        else:
            response = await go_on(request)
        response.headers["X-Stand-In"] = STAND_IN
        return response


def _add_open_routes(app: FastAPI, tokens: TokenIssuer) -> None:
    @app.get(f"{PUBLIC}/health")
    def health() -> PlainTextResponse:
        return PlainTextResponse(f"Successful operation: {STAND_IN}")

    @app.get(f"{CONFIG}/health")
    def available() -> dict[str, bool | str]:
        return {"available": True, "standIn": STAND_IN}

    async def token(request: Request) -> dict[str, object]:
        # Airbyte reads JSON here and refuses a form (airbytehq/airbyte-api-python-sdk#126).
        try:
            asked = json.loads(await request.body())
        except ValueError:
            raise problems.Problem(401, "The token request is not JSON") from None
        if not isinstance(asked, dict):
            raise problems.Problem(422, "body: must be an object with client_id and client_secret")
        issued = tokens.issue(asked.get("client_id"), asked.get("client_secret"))
        if issued is None:
            raise problems.Problem(401, "The client id or the client secret is wrong")
        return {"access_token": issued, "token_type": "Bearer", "expires_in": int(tokens.lifetime)}

    for prefix in (PUBLIC, CONFIG):
        app.add_api_route(f"{prefix}/applications/token", token, methods=["POST"])


async def _unprocessable(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    # Without the input: it may hold a password.
    what = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    return JSONResponse(problems.body(422, what), 422)
