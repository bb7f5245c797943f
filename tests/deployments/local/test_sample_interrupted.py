"""However the days are played, cut off and taken up again: the same company in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from blocks.errors import ConfigurationError
from deployments.local.sample.company import Company, SampleBusy
from deployments.local.sample.simulate import DayInterrupted, simulate
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import SampleDatabases, generated
from tests.deployments.local.sample_days import DAYS, FIRST_FILE, SEED, Played, three_days

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def initial(cluster: Cluster, extension_directory: Path) -> SampleDatabases:
    return generated(cluster, extension_directory)[0]


@pytest.fixture(scope="module")
def played(initial: SampleDatabases, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return three_days(initial, tmp_path_factory.mktemp("played"))


@pytest.fixture
def copy(initial: SampleDatabases) -> Iterator[SampleDatabases]:
    databases = initial.copy()
    yield databases
    databases.drop()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def assert_same_as(played: Played, databases: SampleDatabases, log: Path) -> None:
    assert log.read_bytes() == played.log.read_bytes()
    assert databases.checksums() == played.databases.checksums()
    assert databases.files == played.databases.files
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_three_days_at_once_are_three_times_one_day(played: Played, copy: SampleDatabases, log: Path) -> None:
    for day in DAYS:
        assert simulate(copy.sources, copy.land, 1, SEED, log).days == (day,)
    assert_same_as(played, copy, log)


def break_accounting(databases: SampleDatabases) -> Callable[[], None]:
    """Let accounting fail at its commit, when crm and erp have committed; return the mending."""
    with databases.connect("accounting") as connection:
        connection.execute(
            "create function fail() returns trigger language plpgsql as"
            " $$ begin raise exception 'disk full'; end $$"
        )
        connection.execute(
            "create constraint trigger fail after insert on web_returns"
            " deferrable initially deferred for each row execute function fail()"
        )

    def mend() -> None:
        with databases.connect("accounting") as connection:
            connection.execute("drop function fail cascade")

    return mend


def test_a_crash_between_two_databases_is_completed_by_the_same_call(
    played: Played, copy: SampleDatabases, log: Path
) -> None:
    untouched = copy.checksums()
    mend = break_accounting(copy)
    with pytest.raises(DayInterrupted, match="disk full") as interrupted:
        simulate(copy.sources, copy.land, 3, SEED, log)
    half = copy.checksums()
    assert half["erp.public.web_sales"] != untouched["erp.public.web_sales"]
    assert half["accounting.public.web_returns"] == untouched["accounting.public.web_returns"]
    assert FIRST_FILE not in copy.files
    assert interrupted.value.next_command == "floe simulate --days 1"
    mend()
    summary = simulate(copy.sources, copy.land, 3, SEED, log)
    assert (summary.completed, summary.days) == (DAYS[0], DAYS)
    assert_same_as(played, copy, log)


def test_a_bucket_that_does_not_answer_gets_its_file_with_the_next_call(
    played: Played, copy: SampleDatabases, log: Path
) -> None:
    def fail(key: str, content: bytes) -> None:
        raise RuntimeError("the bucket does not answer")

    with pytest.raises(RuntimeError, match="the bucket does not answer"):
        simulate(copy.sources, fail, 1, SEED, log)
    assert simulate(copy.sources, copy.land, 0, SEED, log).completed == DAYS[0]
    assert simulate(copy.sources, copy.land, 2, SEED, log).completed is None
    assert_same_as(played, copy, log)


def test_a_day_cut_off_while_it_was_being_logged_is_played_anew(
    played: Played, copy: SampleDatabases, log: Path
) -> None:
    whole = played.log.read_bytes()
    log.write_bytes(whole[: whole.index(b'{"operation":"end_of_day"') - 100])
    simulate(copy.sources, copy.land, 3, SEED, log)
    assert_same_as(played, copy, log)


def test_a_day_that_was_logged_but_nowhere_committed_is_completed(
    played: Played, copy: SampleDatabases, log: Path
) -> None:
    whole = played.log.read_bytes()
    log.write_bytes(whole[: whole.index(b"\n", whole.index(b'{"operation":"end_of_day"')) + 1])
    log.with_name("events.jsonl.waiting-file").write_bytes(played.databases.files[FIRST_FILE])
    assert simulate(copy.sources, copy.land, 3, SEED, log).completed == DAYS[0]
    assert_same_as(played, copy, log)


def test_a_log_that_was_lost_is_not_begun_anew(played: Played, log: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not belong to this sample: it ends with nothing"):
        simulate(played.databases.sources, played.databases.land, 1, SEED, log)
    assert played.databases.clock("erp") == datetime(2003, 1, 5, tzinfo=UTC)
    assert not log.exists()


def test_the_log_of_another_company_is_refused(played: Played, initial: SampleDatabases) -> None:
    before = played.log.read_bytes()
    with pytest.raises(ConfigurationError, match="it ends with 2003-01-04, the databases stand after"):
        simulate(initial.sources, initial.land, 1, SEED, played.log)
    assert played.log.read_bytes() == before


def test_two_simulations_do_not_play_at_once(initial: SampleDatabases, log: Path) -> None:
    with Company(initial.sources), pytest.raises(SampleBusy, match="Another simulation is running"):
        simulate(initial.sources, initial.land, 1, SEED, log)
    assert not log.exists()


def test_databases_without_a_sample_are_refused(cluster: Cluster, log: Path) -> None:
    empty = SampleDatabases.empty(cluster)
    with pytest.raises(ConfigurationError, match="Database crm holds no finished sample"):
        simulate(empty.sources, empty.land, 1, SEED, log)


def test_other_writers_wait_for_a_day_and_readers_do_not(initial: SampleDatabases) -> None:
    with Company(initial.sources) as company:
        company.begin_day()
        assert initial.value("erp", "select count(*) from item") == 180
        with initial.connect("erp") as connection, pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("set lock_timeout = '50ms'")
            connection.execute("update item set i_color = 'x' where i_item_sk = 1")
