"""A stand-in for AWS's base image, where its registry cannot be reached: Debian with Python 3.12.

What the Dockerfile and the function see is alike: `/var/lang/bin` first in the path, `/var/task`,
`/var/runtime` with the runtime client, the entry point with the handler as its argument. What is
not: Debian instead of Amazon Linux, no runtime interface emulator, another 3.12.x.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from docker_engine import Engine, output
from file_stack import ROOT

TAG = "floe-lambda-stand-in:3.12"
_DEBIAN = "floe-lambda-debian:bookworm"
# What Python's own modules and the wheels link.
_LIBRARIES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libreadline8,libsqlite3-0,libssl3,libstdc++6,"
    "libuuid1,zlib1g"
)
_RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")
_DOCKERFILE = f"""
FROM {_DEBIAN}
COPY lang /var/lang
COPY runtime /var/runtime
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chown=root:root lambda-entrypoint.sh /lambda-entrypoint.sh
ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin LANG=C.UTF-8 \\
    LD_LIBRARY_PATH=/var/lang/lib:/var/task:/var/task/lib:/opt/lib \\
    LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN python3.12 -m ensurepip && ln -sf python3.12 /var/lang/bin/python && mkdir -p /var/task
WORKDIR /var/task
ENTRYPOINT ["/lambda-entrypoint.sh"]
"""
_ENTRY_POINT = '#!/bin/sh\nPYTHONPATH=$LAMBDA_RUNTIME_DIR exec python3.12 -m awslambdaric "$1"\n'


def build_stand_in(engine: Engine, folder: Path) -> str:
    """Build it and return its tag.

    Args:
        engine: gets the image.
        folder: an empty folder for what goes into it.
    """
    python, prefix = _python312()
    if shutil.which("mmdebstrap") is None:
        pytest.fail("AWS's base image cannot be pulled, and a stand-in takes mmdebstrap, which is missing")
    tar = folder / "debian.tar"
    output("mmdebstrap", "--variant=essential", f"--include={_LIBRARIES}", "bookworm", tar, timeout=600)
    engine.run("import", tar, _DEBIAN)
    tar.unlink()
    unwanted = shutil.ignore_patterns("__pycache__", "*.a", "site-packages", "test")
    for name in ("bin", "lib"):
        shutil.copytree(prefix / name, folder / "lang" / name, symlinks=True, ignore=unwanted)
    client = ["--no-deps", "--target", folder / "runtime", *_pinned(_RUNTIME)]
    output(python, "-m", "pip", "install", "--quiet", *client, timeout=300)
    shutil.copyfile(_certificates(), folder / "ca-certificates.crt")
    (folder / "lambda-entrypoint.sh").write_text(_ENTRY_POINT)
    (folder / "lambda-entrypoint.sh").chmod(0o755)
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    engine.run("build", "--quiet", "--tag", TAG, folder, timeout=300)
    return TAG


def remove_stand_in(engine: Engine) -> None:
    """Take it off an engine that outlives the test."""
    engine.run("rmi", "--force", TAG, _DEBIAN)


def _python312() -> tuple[Path, Path]:
    """Return a Python 3.12 that lies in a folder of its own, and that folder."""
    given = os.environ.get("FLOE_PYTHON312")
    places = [given] if given else [shutil.which("python3.12") or ""]
    places += [str(path) for path in Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12")]
    question = "import sys; print(sys.base_prefix, *sys.version_info[:2])"
    for place in filter(None, places):
        told = subprocess.run([place, "-c", question], capture_output=True, text=True)
        prefix, _, version = told.stdout.strip().partition(" ")
        if version == "3 12" and Path(prefix) != Path("/usr"):
            return Path(place), Path(prefix)
    pytest.fail(
        "AWS's base image cannot be pulled, and a stand-in takes a Python 3.12 in a folder of its own "
        "(pyenv, uv or a build). Next: FLOE_PYTHON312=<its python3.12> make test-image"
    )


def _pinned(names: tuple[str, ...]) -> list[str]:
    lock = (ROOT / "requirements.lock").read_text()
    return [match[0] for name in names if (match := re.search(rf"^{name}==\S+", lock, re.MULTILINE))]


def _certificates() -> Path:
    """Return the authorities this machine trusts: a proxy's own may be among them."""
    named = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    return Path(named or "/etc/ssl/certs/ca-certificates.crt")
