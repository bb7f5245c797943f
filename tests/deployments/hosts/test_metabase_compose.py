"""The compose file of the Metabase host, as far as it can be checked where no Docker registry is reached."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from blocks.settings import ROOT

HOST = ROOT / "deployments" / "hosts" / "metabase"
HOST_MEGABYTES = 2000
LEFT_FOR_THE_HOST = 250
COMPOSE: dict[str, Any] = yaml.safe_load((HOST / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = [pytest.param(service, id=name) for name, service in COMPOSE["services"].items()]


def megabytes(limit: str) -> int:
    [number, unit] = re.fullmatch(r"(\d+)([mg])", limit).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 1, "g": 1024}[unit]


def test_both_fit_into_the_host_beside_its_worker() -> None:
    total = sum(megabytes(each["mem_limit"]) for each in COMPOSE["services"].values())
    assert total <= HOST_MEGABYTES - LEFT_FOR_THE_HOST


def test_java_has_its_heap_and_room_beside_it() -> None:
    metabase = COMPOSE["services"]["metabase"]
    [number, unit] = re.findall(r"-Xmx(\d+)([mg])", metabase["environment"]["JAVA_OPTS"])[0]
    heap = megabytes(number + unit)
    assert heap >= 1024
    assert heap + 400 <= megabytes(metabase["mem_limit"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_pinned_watched_and_contained(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?(@sha256:[0-9a-f]{64})?", service["image"])
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == "unless-stopped"
    assert service.get("privileges", service.get("privileged", False)) is False


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_listens_beyond_this_machine(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert str(port).startswith("127.0.0.1:")
    assert service.get("network_mode") is None


def test_the_database_is_reached_by_metabase_only() -> None:
    database = COMPOSE["services"]["database"]
    assert "ports" not in database
    assert database["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert (database["read_only"], database["cap_drop"]) == (True, ["ALL"])


def test_no_secret_is_in_the_file_and_none_may_be_missing() -> None:
    secret = re.compile(r"PASS|PASSWORD$|SECRET|TOKEN")
    names = ["MB_PASSWORD_COMPLEXITY"]
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if secret.search(name) and name not in names:
                assert re.fullmatch(r"\$\{METABASE_[A-Z_]+:\?[^}]+\}", value), name
                names.append(name)
    assert {"MB_DB_PASS", "MB_ENCRYPTION_SECRET_KEY", "MB_SETUP_TOKEN", "POSTGRES_PASSWORD"} <= set(names)


def test_nobody_is_told_of_this_metabase() -> None:
    environment = COMPOSE["services"]["metabase"]["environment"]
    assert environment["MB_ANON_TRACKING_ENABLED"] == "false"
    assert environment["MB_CHECK_FOR_UPDATES"] == "false"


def test_the_example_sets_what_the_file_asks_for_and_git_never_sees_the_real_one() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (HOST / "compose.yaml").read_text(encoding="utf-8")))
    lines = (HOST / ".env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert asked <= set(given)
    assert all(given[name] == "" for name in asked)
    ignored = subprocess.run(["git", "check-ignore", "--quiet", HOST / ".env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def compose_plugin() -> bool:
    """Tell whether `docker compose` is there; it needs no engine to read a file."""
    docker = shutil.which("docker")
    return (
        bool(docker)
        and subprocess.run([str(docker), "compose", "version"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.skipif(not compose_plugin(), reason="no `docker compose` on this machine: file not read by it")
def test_docker_compose_takes_the_file_and_refuses_one_without_secrets() -> None:
    command = ["docker", "compose", "--project-directory", str(HOST), "config", "--quiet"]
    names = ("DB_PASSWORD", "SECRET_KEY", "SETUP_TOKEN")
    secrets = {f"METABASE_{name}": "x" for name in names}
    assert subprocess.run(command, env=os.environ | secrets, check=False).returncode == 0
    without = subprocess.run(command, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "set it in .env" in without.stderr
