"""The flow `publish` on a fake Metabase."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import duckdb
import pytest
from dashboard_marts import create_marts
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from pydantic import SecretStr

from blocks.dashboard_pages import CardFailed
from blocks.dashboards import Dashboards
from blocks.metabase_errors import MetabaseCardsFail, MetabaseSyncLate
from blocks.metabase_settings import MetabaseTarget
from blocks.warehouse import Warehouse
from flows.metabase_publication import publish_to_metabase
from flows.publish import publish
from flows.retries import Steps
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import KEY, SAMPLE, WAREHOUSE, by_hand, ready, small

in_a_run = flow(name="metabase", validate_parameters=False)(publish_to_metabase)
SMALL = [small(each) for each in SAMPLE[:1]]


@pytest.fixture
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE) as server:
        ready(server)
        yield server


def target_of(fake: FakeMetabase, **more: object) -> MetabaseTarget:
    fields = {"url": fake.url, "api_key": SecretStr(KEY), "schema_name": "marts", "upper_case": False}
    return MetabaseTarget.model_validate(fields | more)


@pytest.fixture
def marts(
    prefect_server: None,
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    fake: FakeMetabase,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty marts, and saved blocks that name them and a Metabase."""
    create_marts(lake_connection)
    Warehouse(target=lake).save("warehouse", overwrite=True)
    Dashboards(metabase=target_of(fake)).save("dashboards", overwrite=True)
    yield lake_connection
    Dashboards.delete("dashboards")
    Warehouse.delete("warehouse")


def artifacts() -> str:
    """Return every artifact of Metabase's, as the server has them."""
    keys = ArtifactFilterKey(any_=["metabase", "metabase-changes", "metabase-cards"])
    with get_client(sync_client=True) as client:
        return "".join(
            str(each.data) for each in client.read_artifacts(artifact_filter=ArtifactFilter(key=keys))
        )


def test_publish_brings_the_dashboards_into_metabase_and_runs_every_card(
    marts: duckdb.DuckDBPyConnection, fake: FakeMetabase, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand(fake, "POST", "/dashboard", {"name": "Somebody's"})
    fake.state.slow["Gross sales by month and channel"] = 11_000
    result = publish()
    assert result.url == fake.url
    assert (result.index, result.cards) == (None, [])
    assert result.metabase is not None
    assert result.metabase.cards == 34
    assert result.metabase.slow == ["card/executive_overview/gross_sales_by_month"]
    assert [each["name"] for each in fake.state.dashboards.values()] == [
        "Somebody's",
        *(each.title for each in SAMPLE),
    ]
    said = artifacts()
    assert '"verdict": "slow"' in said
    assert "dashboard/executive_overview" in said
    logged = caplog.text
    assert "publish dashboards" in logged
    assert KEY not in said + logged
    with get_client(sync_client=True) as client:
        saved = client.read_block_document_by_name("dashboards", "floe-dashboards", include_secrets=False)
    assert fake.url in str(saved.data)
    assert KEY not in str(saved.data)


@pytest.mark.thorough
def test_a_card_that_does_not_fit_the_marts_leaves_metabase_alone(
    marts: duckdb.DuckDBPyConnection, fake: FakeMetabase
) -> None:
    marts.execute("alter table marts.dim_customers drop column credit_rating")
    fake.calls.clear()
    state = publish(return_state=True)
    with pytest.raises(CardFailed, match="owner Customer Operations"):
        state.result()
    assert fake.calls == []


@pytest.mark.thorough
def test_a_late_sync_fails_the_run_and_leaves_the_dashboards(
    prefect_server: None, fake: FakeMetabase
) -> None:
    in_a_run(target_of(fake), SMALL)
    before = copy.deepcopy((fake.state.cards, fake.state.dashboards))
    fake.state.warehouse = {key: columns for key, columns in WAREHOUSE.items() if key[1] != "dim_promotions"}
    fake.state.tables.clear()
    late = target_of(fake, sync_seconds=0.01)
    with pytest.raises(MetabaseSyncLate, match="dim_promotions"):
        in_a_run(late, SMALL, Steps(first_pause_seconds=0.01))
    assert (fake.state.cards, fake.state.dashboards) == before


@pytest.mark.thorough
def test_a_card_that_metabase_cannot_run_fails_the_run_with_its_owner(
    prefect_server: None, fake: FakeMetabase
) -> None:
    fake.state.broken["Gross sales, last full month"] = "permission denied"
    with pytest.raises(MetabaseCardsFail, match="permission denied") as caught:
        in_a_run(target_of(fake), SMALL)
    assert "owner Finance Analytics" in str(caught.value)
    assert len(fake.state.dashboards) == 1


@pytest.mark.thorough
def test_what_somebody_changed_is_kept_and_reported(prefect_server: None, fake: FakeMetabase) -> None:
    in_a_run(target_of(fake), SMALL)
    number = next(iter(fake.state.dashboards))
    by_hand(fake, "PUT", f"/dashboard/{number}", {"name": "Ours"})
    result = in_a_run(target_of(fake), SMALL)
    assert result.kept == ["dashboard/executive_overview"]
    assert fake.state.dashboards[number]["name"] == "Ours"
