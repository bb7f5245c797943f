from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts
from mail_receiver import Inbox, receiving
from moto.server import ThreadedMotoServer
from prefect.blocks.core import Block

from blocks.dashboards import Dashboards
from blocks.errors import ConfigurationError
from blocks.mail import MailRefused, MailServer
from blocks.object_store import LandingBucket
from blocks.warehouse import Warehouse
from flows.report import report
from lambda_csv_loader.ducklake import DuckLakeSettings

REGION = "eu-central-1"


@pytest.fixture
def marts(
    prefect_server: None, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> duckdb.DuckDBPyConnection:
    """A lake with the made-up company's marts in it, and blocks that name it."""
    create_marts(lake_connection)
    fill_marts(lake_connection)
    Warehouse(target=lake).save("warehouse", overwrite=True)
    Dashboards(pages_folder=tmp_path, url="http://127.0.0.1:8090").save("dashboards", overwrite=True)
    return lake_connection


@pytest.fixture
def inbox(prefect_server: None) -> Iterator[Inbox]:
    """A mail server, and the block that names it."""
    with receiving() as found:
        server = MailServer(host="127.0.0.1", port=found.port, sender="floe@example.com", security="none")
        server.save("mail", overwrite=True)
        yield found
    Block.delete("floe-mail-server/mail")


def test_a_report_goes_into_the_bucket(marts: duckdb.DuckDBPyConnection) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        access = {"region": REGION, "access_key_id": "x", "secret_access_key": "x"}
        bucket = LandingBucket(
            bucket="floe",
            queue_url="q",
            dead_letter_queue_url="d",
            endpoint_url=f"http://{host}:{port}",
            **access,
        )
        bucket.save("landing", overwrite=True)
        store = boto3.client(
            "s3",
            endpoint_url=bucket.endpoint_url,
            region_name=REGION,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        store.create_bucket(Bucket="floe", CreateBucketConfiguration={"LocationConstraint": REGION})
        result = report("customers", format="html")
        [key] = result.sent_to
        assert key == f"reports/customers/{datetime.now(UTC):%Y-%m-%d}.html"
        found = store.get_object(Bucket="floe", Key=key)
        assert found["ContentType"] == "text/html; charset=utf-8"
        html = found["Body"].read().decode()
        assert "Most valuable customers" in html
        assert "http://127.0.0.1:8090/customers.html" in html
    finally:
        server.stop()


@pytest.mark.thorough
def test_a_report_is_mailed_to_the_owner_where_no_recipients_are_named(
    marts: duckdb.DuckDBPyConnection, inbox: Inbox
) -> None:
    result = report("executive_overview", format="pdf", send_by="mail")
    assert result.sent_to == ["finance-analytics@example.com"]
    assert inbox.recipients == [["finance-analytics@example.com"]]
    [attached] = inbox.mails[0].iter_attachments()
    assert attached.get_content_type() == "application/pdf"


@pytest.mark.thorough
def test_a_mail_that_is_put_off_is_sent_once_and_one_that_is_refused_fails(
    marts: duckdb.DuckDBPyConnection, inbox: Inbox
) -> None:
    inbox.answers.append("451 come again later")
    report("customers", format="html", send_by="mail", first_pause_seconds=0.01)
    assert len(inbox.mails) == 1
    inbox.answers.append("554 not from you")
    with pytest.raises(MailRefused, match="554 not from you"):
        report("customers", format="html", send_by="mail", first_pause_seconds=0.01)
    assert len(inbox.mails) == 1


def test_a_report_leads_to_its_page_or_where_there_are_no_pages_to_all_dashboards(tmp_path: Path) -> None:
    pages = Dashboards(pages_folder=tmp_path, url="https://pages.example.com/")
    assert pages.page("customers") == "https://pages.example.com/customers.html"
    assert Dashboards(url="https://metabase.example.com").page("customers") == "https://metabase.example.com"
    assert Dashboards(pages_folder=tmp_path).page("customers") is None


def test_without_a_mail_server_the_run_says_what_to_set(prefect_server: None) -> None:
    with pytest.raises(ConfigurationError, match="no block `mail`") as caught:
        report("customers", send_by="mail")
    assert "FLOE_MAIL__HOST" in str(caught.value)
