"""Start the stand-in: `python -m deployments.local.airbyte --port P --home DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from deployments.local.airbyte import STAND_IN
from deployments.local.airbyte.job_runner import RunnerSettings
from deployments.local.airbyte.service import ServiceSettings, create_app


def main() -> int:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local.airbyte", description=STAND_IN)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="folder for records, logs, scratch files")
    parser.add_argument("--token-seconds", type=float, default=180.0, help="life of an access token")
    parser.add_argument("--retry-seconds", type=float, default=2.0, help="pause before the second attempt")
    parser.add_argument("--attempts", type=int, default=5, help="how often a job is tried")
    parser.add_argument("--workers", type=int, default=2, help="jobs at once")
    options = parser.parse_args()
    try:
        client_id = os.environ.pop("FLOE_AIRBYTE__CLIENT_ID")
        client_secret = os.environ.pop("FLOE_AIRBYTE__CLIENT_SECRET")
    except KeyError as missing:
        parser.error(f"set {missing.args[0]} in the environment")
    settings = ServiceSettings(
        home=options.home.resolve(),
        client_id=client_id,
        client_secret=client_secret,
        token_seconds=options.token_seconds,
        runner=RunnerSettings(options.workers, options.attempts, options.retry_seconds),
    )
    uvicorn.run(create_app(settings), host="127.0.0.1", port=options.port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
