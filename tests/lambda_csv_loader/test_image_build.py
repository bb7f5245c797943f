"""What the image is made of, as far as no engine is needed; the rest is in `tests/image`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from file_stack import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOADER = ROOT / "lambda_csv_loader"
# The image's Python and system, for which markers are decided.
IMAGE = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def declared() -> set[str]:
    lines = (LOADER / "requirements.in").read_text().splitlines()
    return {canonicalize_name(line) for line in lines if line and not line.startswith("#")}


def imported() -> dict[str, set[str]]:
    """Return what the loader's files import, at the top or inside a function: module → its distributions."""
    modules: set[str] = set()
    for file in LOADER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    foreign = modules - set(sys.stdlib_module_names) - {LOADER.name}
    return {module: {canonicalize_name(name) for name in known.get(module, ())} for module in foreign}


def needs(name: str) -> set[str]:
    """Return what a distribution needs in the image, without extras, since none is declared."""
    lines = [Requirement(line) for line in distribution(name).requires or ()]
    return {
        canonicalize_name(line.name)
        for line in lines
        if line.marker is None or line.marker.evaluate({**IMAGE, "extra": ""})
    }


def test_everything_imported_is_declared() -> None:
    assert [module for module, names in imported().items() if not names & declared()] == []


def test_nothing_else_is_declared() -> None:
    assert declared() - set().union(*imported().values()) == set()


def test_pins_are_those_of_the_product() -> None:
    product = pins(ROOT / "requirements.lock")
    image = pins(LOADER / "requirements.txt")
    assert {name: product.get(name) for name in image} == image


def test_pins_are_exactly_what_the_declared_packages_need() -> None:
    reached: set[str] = set()
    waiting = declared()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= needs(name) - reached
    assert set(pins(LOADER / "requirements.txt")) == reached


def test_every_pin_has_hashes_and_no_address() -> None:
    text = (LOADER / "requirements.txt").read_text()
    for line in text.replace("\\\n", "").splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+", line), line[:80]


def test_without_an_engine_make_image_says_so_and_fails() -> None:
    command = ["make", "--no-print-directory", "image", "DOCKER_HOST=unix:///nonexistent/docker.sock"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stdout.startswith("The image needs a Docker engine, and `docker info` gets no answer. Next: ")
