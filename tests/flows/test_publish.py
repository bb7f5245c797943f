from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from blocks.dashboard_pages import CardFailed
from blocks.dashboard_pages.answers import CardUnanswered
from blocks.dashboards import Dashboards
from blocks.errors import ConfigurationError
from blocks.warehouse import Warehouse, unchanging
from flows.publish import publish
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.flaky_port import flaky_port
from tests.step_runs import tries


@pytest.fixture
def marts(lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A lake with the made-up company's marts in it."""
    create_marts(lake_connection)
    fill_marts(lake_connection)
    return lake_connection


@pytest.fixture
def pages(prefect_server: None, lake: DuckLakeSettings, tmp_path: Path) -> Path:
    """The folder that the saved blocks name."""
    folder = tmp_path / "pages"
    Warehouse(target=lake).save("warehouse", overwrite=True)
    Dashboards(pages_folder=folder, url="http://127.0.0.1:8090").save("dashboards", overwrite=True)
    return folder


def artifact(key: str) -> str:
    """Return the newest artifact of a key, as the server has it."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return str(max(found, key=lambda each: str(each.created)).data)


def test_publish_draws_the_dashboards_and_says_where_they_are(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    result = publish()
    assert result.url == "http://127.0.0.1:8090"
    assert result.index == pages / "index.html"
    assert sorted(file.name for file in pages.glob("*.html")) == [
        "customers.html",
        "executive_overview.html",
        "index.html",
        "inventory.html",
    ]
    assert {card.dashboard for card in result.cards} == {"executive_overview", "inventory", "customers"}
    customers = next(card for card in result.cards if card.card == "customers_by_state")
    assert (customers.rows, customers.choices) == (4, 15)
    assert "(http://127.0.0.1:8090)" in artifact("dashboards")
    assert '"card": "customers_by_state", "rows": 4' in artifact("dashboard-cards")


@pytest.mark.thorough
def test_a_warehouse_that_does_not_answer_at_first_is_asked_again(
    marts: duckdb.DuckDBPyConnection, pages: Path, lake: DuckLakeSettings
) -> None:
    with flaky_port(lake.port) as flaky:
        flaky.hang_ups[b""] = 1
        Warehouse(target=lake.model_copy(update={"port": flaky.port})).save("warehouse", overwrite=True)
        state = publish(first_pause_seconds=0.01, return_state=True)
        assert state.is_completed()
    assert tries(state, "ask the marts") == {"ask the marts": 2}
    assert (pages / "index.html").exists()


class Gone:
    """A cursor whose connection is lost after its first statement."""

    description = None

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> None:
        self.statements.append(query)
        if len(self.statements) > 1:
            raise ConnectionError("the connection is closed")

    def fetchall(self) -> list[object]:
        return []

    def fetchmany(self, size: int, /) -> list[object]:
        return []


def test_that_a_warehouse_is_gone_is_not_hidden_by_what_fails_after_it() -> None:
    cursor = Gone()
    with pytest.raises(CardUnanswered, match="no answer"), unchanging(cursor):
        raise CardUnanswered("no answer")
    assert cursor.statements == ["begin transaction", "rollback"]


def test_a_card_that_fails_fails_the_run_and_leaves_the_pages(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    publish()
    before = {file.name: file.read_bytes() for file in pages.iterdir()}
    marts.execute("alter table marts.dim_customers drop column credit_rating")
    state = publish(return_state=True)
    assert state.is_failed()
    with pytest.raises(CardFailed, match="credit_rating") as caught:
        state.result()
    assert "Dashboard 'customers'" in str(caught.value)
    assert "owner Customer Operations" in str(caught.value)
    assert {file.name: file.read_bytes() for file in pages.iterdir()} == before


def test_without_a_folder_the_run_says_what_to_set(pages: Path) -> None:
    Dashboards().save("dashboards", overwrite=True)
    with pytest.raises(ConfigurationError, match="FLOE_DASHBOARDS__PAGES"):
        publish()


def test_the_address_is_the_file_where_no_other_is_set(tmp_path: Path) -> None:
    assert Dashboards(pages_folder=tmp_path).address() == (tmp_path / "index.html").as_uri()
