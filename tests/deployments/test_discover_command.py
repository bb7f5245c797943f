"""`floe connections discover` as a person meets it: what it prints, what it refuses, what it never shows."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from blocks.errors import ConfigurationError, FloeError, ServiceUnavailable
from deployments.commands.connections import app
from deployments.connection import load_declaration
from deployments.discover import discover, write
from deployments.discovery.address import Address, reading
from deployments.discovery.catalog import find_tables
from tests.conftest import Cluster
from tests.postgres_server import free_port

SECRET = "s3cret-word"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> str:
    """A database with a role whose password is known, and one table of each kind of answer."""
    name = cluster.create_database("shop")
    with cluster.connect(name) as database:
        database.execute(f"create role clerk login password '{SECRET}'")
        database.execute("grant usage on schema public to clerk")
        database.execute(
            "create table orders (id int primary key, updated_at timestamptz not null);"
            "create table log (what text);"
            "create view recent as select * from orders;"
            "insert into orders select i, now() from generate_series(1, 1500) i;"
            "grant select on all tables in schema public to clerk"
        )
        database.execute("analyze")
    return name


def url(cluster: Cluster, database: str, password: str | None = SECRET, user: str = "clerk") -> str:
    secret = "" if password is None else f":{password}"
    return f"postgresql://{user}{secret}@127.0.0.1:{cluster.port}/{database}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["discover", *arguments])


def test_it_writes_the_file_and_prints_a_line_per_stream(
    cluster: Cluster, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    file = tmp_path / "new" / "shop.yaml"

    result = run(url(cluster, shop, None), "--name", "shop", "--output", str(file))

    assert result.exit_code == 0, result.output
    rows = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    assert rows[0] == ["stream", "rows", "mode", "key", "cursor", "why / warning"]
    assert rows[1][:4] == ["public.log", "0", "full_refresh_overwrite", rows[1][3]]
    assert rows[1][3].startswith("no primary key")
    assert rows[2][:5] == ["public.orders", "1,500", "incremental_deduped_history", "id", "updated_at"]
    assert rows[2][5] == "timestamptz, set by the application, no trigger, not indexed, never null"
    assert rows[3][:2] == ["public.recent", "left out"]
    assert rows[-2] == [f"Wrote {file}: 2 streams, 1 left out"]
    assert rows[-1][0].startswith("Next: read it, set FLOE_SOURCES__SHOP__HOST, __PORT, __DATABASE, __USER")
    assert load_declaration(file).source == "shop"
    assert [entry.name for entry in file.parent.iterdir()] == ["shop.yaml"]
    assert result.stderr == ""


def test_a_file_is_overwritten_only_when_told(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("mine")
    refused = run(url(cluster, shop), "--output", str(file))
    assert isinstance(refused.exception, ConfigurationError)
    assert f"{file} is there already" in str(refused.exception)
    assert file.read_text() == "mine"
    assert run(url(cluster, shop), "--output", str(file), "--force").exit_code == 0
    assert [stream.name for stream in load_declaration(file).streams] == ["log", "orders"]


def test_a_password_in_the_url_works_and_is_shown_nowhere(
    cluster: Cluster, shop: str, tmp_path: Path
) -> None:
    file = tmp_path / "shop.yaml"
    result = run(url(cluster, shop), "--output", str(file))
    assert result.exit_code == 0
    assert "The URL holds a password, and your shell remembers it" in result.stderr
    assert SECRET not in result.output + result.stderr + file.read_text()
    address = Address.parse(url(cluster, shop))
    assert SECRET not in repr(address)
    assert address.without_secrets(f"libpq: {SECRET}!") == "libpq: ***!"


@pytest.mark.parametrize(
    "wrong",
    [
        f"mysql://clerk:{SECRET}@host/shop",
        f"host=host password={SECRET}",
        f"postgresql://clerk:a@{SECRET}@host/shop",
        f"postgresql://clerk:a/{SECRET}@host/shop",
        f"postgresql://clerk:12/{SECRET}@host/shop",
        f"postgresql://clerk:%zz{SECRET}@host/shop",
        f"postgresql://clerk:{SECRET}@host/shop?colour=blue",
        f"postgresql://clerk:{SECRET}@host:port/shop",
        "",
    ],
    ids=["mysql", "keywords", "@", "/", "/ after digits", "percent", "unknown option", "port", "empty"],
)
def test_what_is_no_url_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="This is no URL of a PostgreSQL database") as raised:
        Address.parse(wrong)
    assert raised.value.next_command == "floe connections discover postgresql://user@host:5432/database"
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "kind", "words", "command"),
    [
        (
            {"password": "wr0ng-word"},
            ConfigurationError,
            "does not let this user in",
            "PGPASSWORD or ~/.pgpass",
        ),
        ({"password": None}, ConfigurationError, "asks for a password and none was given", "set PGPASSWORD"),
        ({"user": "nobody_here"}, ConfigurationError, "does not let this user in", "correct the user"),
        ({"database": "no_such"}, ConfigurationError, "there is no such database", "psql .*/postgres --list"),
    ],
    ids=["wrong password", "no password", "unknown user", "unknown database"],
)
def test_a_refusal_says_which_and_what_next(
    cluster: Cluster,
    shop: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    kind: type[FloeError],
    words: str,
    command: str,
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    target = url(cluster, **{"database": shop, **change})
    refusal = run(target, "--output", str(tmp_path / "shop.yaml")).exception
    assert type(refusal) is kind
    assert words in str(refusal)
    assert re.search(command, str(refusal.next_command))
    assert refusal.state == "nothing was written"
    assert not any(secret in str(refusal) for secret in (SECRET, "wr0ng-word"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_does_not_answer_is_transient(host: str) -> None:
    address = Address.parse(f"postgresql://clerk:{SECRET}@{host}:{free_port()}/shop")
    with pytest.raises(ServiceUnavailable, match="cannot be reached") as raised:
        discover(address)
    assert f"postgresql://clerk@{host}:" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_an_error_is_printed_as_it_is_whatever_brackets_it_holds() -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/[bold]"
    command = [sys.executable, "-m", "deployments.cli", "connections", "discover", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/[bold] cannot be reached" in done.stderr


def test_a_schema_that_is_not_there_is_named_beside_those_that_are(cluster: Cluster, shop: str) -> None:
    refusal = run(url(cluster, shop), "--schema", "public", "--schema", "hr").exception
    assert "has no schema hr; it has public" in str(refusal)


def test_a_database_without_tables_is_refused(cluster: Cluster) -> None:
    address = Address.parse(url(cluster, cluster.create_database("bare"), cluster.password, "floe"))
    with pytest.raises(ConfigurationError, match="has no table to replicate"):
        discover(address)


def test_a_name_that_no_setting_can_have_is_refused(cluster: Cluster, shop: str) -> None:
    refusal = run(url(cluster, shop), "--name", "my_shop").exception
    assert "is no name for a connection" in str(refusal)
    assert str(refusal).endswith("--name myshop")


def test_nothing_can_be_written_and_nothing_runs_for_long(cluster: Cluster, shop: str) -> None:
    address = Address.parse(url(cluster, shop, cluster.password, "floe"))
    with reading(address) as connection:
        row = connection.execute("select current_setting('statement_timeout')").fetchone()
        assert row == ("1min",)
    with (
        pytest.raises(FloeError, match="cannot execute CREATE TABLE in a read-only transaction"),
        reading(address) as connection,
    ):
        connection.execute("create table public.left_behind (id int)")
    with pytest.raises(ServiceUnavailable, match="within 60 s"), reading(address):
        raise psycopg.errors.QueryCanceled


@pytest.mark.parametrize("change", [("orders", "order"), ("source: shop", "source: 1")])
def test_a_text_that_says_something_else_is_not_written(
    cluster: Cluster, shop: str, tmp_path: Path, change: tuple[str, str]
) -> None:
    found = discover(Address.parse(url(cluster, shop)), name="shop")
    with pytest.raises(FloeError, match=r"The file that was made .* is a fault of Floe"):
        write(replace(found, text=found.text.replace(*change)), tmp_path / "shop.yaml")
    assert not list(tmp_path.iterdir())


class Counting:
    """A connection that counts its queries."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.queries = 0

    def execute(self, query: bytes) -> psycopg.Cursor:
        self.queries += 1
        return self.connection.execute(query)


def test_five_hundred_tables_take_four_queries(cluster: Cluster) -> None:
    name = cluster.create_database("wide")
    with cluster.connect(name) as database:
        database.execute("""
            create function stamp() returns trigger language plpgsql as $$
                begin new.updated_at := now(); return new; end $$;
            do $$ begin
                for i in 1..500 loop
                    execute format('create table t%s (id int primary key, a text, b numeric, c date,
                        updated_at timestamptz not null default now())', i);
                    execute format('create index on t%s (updated_at)', i);
                    execute format('create trigger stamp before insert or update on t%s
                        for each row execute function stamp()', i);
                end loop;
            end $$""")
    address = Address.parse(url(cluster, name, cluster.password, "floe"))
    with reading(address) as connection:
        counting = Counting(connection)
        assert len(find_tables(counting, [])) == 500  # type: ignore[arg-type]
        assert counting.queries == 4
    streams = discover(address, name="wide").proposal.streams
    with cluster.connect("postgres") as database:
        database.execute(f"drop database {name} with (force)".encode())
    assert [stream.cursor for stream in streams] == ["updated_at"] * 500
    assert {stream.notes[0] for stream in streams} == {"Rows unknown: never analysed, or empty"}
    assert all(stream.notes[1].endswith("set by trigger stamp, indexed, never null") for stream in streams)
