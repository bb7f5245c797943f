"""The image, built by `make image` from a copy of the clone, and the function that runs in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import Engine, output, running_engine
from file_stack import ROOT, Cluster, new_stack, running_store
from image_function import TAG, Function, Image, start_function
from runtime_api import RuntimeApi
from stand_in import build_stand_in, remove_stand_in

AWS_BASE = "public.ecr.aws/lambda/python:3.12"
# Where people keep secrets: none of it may come along.
PLACES = (
    ".env",
    "lambda_csv_loader/.env",
    "lambda_csv_loader/rsa_key.p8",
    "deployments/datasets/.env",
    "deployments/local/passfile",
)
VARIABLES_WITH_SECRETS = ("AWS_SECRET_ACCESS_KEY", "FLOE_WAREHOUSE__PRIVATE_KEY", "PIP_PASSWORD")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="session")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base that BASE names, else AWS's where its registry answers, else a stand-in."""
    if given := os.environ.get("BASE"):
        yield given
        return
    environment = {**os.environ, **engine.variables}
    pulled = subprocess.run(["docker", "pull", AWS_BASE], env=environment, capture_output=True, timeout=600)
    if pulled.returncode == 0:
        yield AWS_BASE
        return
    yield build_stand_in(engine, tmp_path_factory.mktemp("stand-in"))
    if not engine.private:
        remove_stand_in(engine)


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, made of what a person's clone may hold: sources, caches, secrets."""
    clone, secret = tmp_path_factory.mktemp("clone"), secrets.token_hex(16)
    for name in ("lambda_csv_loader", "deployments"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("Makefile", ".dockerignore"):
        shutil.copyfile(ROOT / name, clone / name)
    for place in PLACES:
        (clone / place).write_text(secret)
    for path in clone.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # as after `umask 077; git clone`
    variables = engine.variables | dict.fromkeys(VARIABLES_WITH_SECRETS, secret)
    command = ["make", "-C", clone, "image", f"BASE={base}", f"IMAGE={TAG}", "ARGS=--network host"]
    output(*command, timeout=900, variables=variables)
    yield Image(engine, base, secret)
    if not engine.private:
        engine.run("rmi", "--force", TAG)


@pytest.fixture(scope="module")
def function(
    image: Image, cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """The image as Lambda runs it, with a lake in the place of Snowflake."""
    folder = tmp_path_factory.mktemp("function")
    with contextlib.ExitStack() as closing:
        store = closing.enter_context(running_store(folder / "store"))
        stack = new_stack(store, cluster, extension_directory, folder)
        api = closing.enter_context(RuntimeApi())
        container = start_function(image.engine, stack, folder / "passfile", api)
        made = Function(api, stack, image.engine, container)
        try:
            made.work_off()  # the event that tells of the new notification
            yield made
        finally:
            image.engine.run("rm", "--force", container)
