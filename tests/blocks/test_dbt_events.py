"""Reading dbt's events and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.dbt_events import NodeEvent, parse_event, verdict
from blocks.errors import DbtFailed
from blocks.warehouse import Warehouse
from lambda_csv_loader.settings import SnowflakeSettings


def log_line(name: str, status: str, level: str = "info", msg: str = "words", **data: object) -> str:
    """Return one line as dbt's JSON log has it."""
    node = {
        "unique_id": "model.floe.fct_sales",
        "node_name": "fct_sales",
        "resource_type": "model",
        "node_status": status,
    }
    return json.dumps(
        {"info": {"name": name, "level": level, "msg": msg}, "data": {"node_info": node, **data}}
    )


@pytest.mark.parametrize(
    ("line", "status"),
    [
        pytest.param(log_line("LogStartLine", "started"), "running", id="start"),
        pytest.param(log_line("LogModelResult", "success", execution_time=1.5), "success", id="built"),
        pytest.param(log_line("LogTestResult", "pass"), "success", id="test passed"),
        pytest.param(log_line("LogTestResult", "warn"), "warn", id="test warned"),
        pytest.param(log_line("LogTestResult", "fail", level="error"), "error", id="test failed"),
        pytest.param(log_line("LogModelResult", "error", level="error"), "error", id="model failed"),
        pytest.param(log_line("SkippingDetails", "skipped"), "skipped", id="skipped"),
    ],
)
def test_a_nodes_event_has_its_status(line: str, status: str) -> None:
    event = parse_event(line)
    assert isinstance(event, NodeEvent)
    assert (event.status, event.name, event.kind) == (status, "fct_sales", "model")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="empty"),
        pytest.param("plain text of a warning", id="not JSON"),
        pytest.param("[1]", id="other JSON"),
        pytest.param(json.dumps({"info": {"name": "MainReportVersion", "level": "info"}}), id="no node"),
    ],
)
def test_other_lines_are_no_events(line: str) -> None:
    assert parse_event(line) is None


def test_an_error_of_dbt_itself_keeps_its_text() -> None:
    line = json.dumps(
        {"info": {"name": "MainEncounteredError", "level": "error", "msg": "Compilation Error"}}
    )
    assert parse_event(line) == "Compilation Error"


def results(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return the parts of run_results.json that count."""
    return {
        "elapsed_time": 2.0,
        "results": [
            {
                "unique_id": unique_id,
                "status": status,
                "message": f"message of {unique_id}",
                "execution_time": 1.0,
                "relation_name": '"lake"."build"."fct_sales"' if unique_id.startswith("model") else None,
            }
            for unique_id, status in pairs
        ],
    }


def test_a_failure_names_every_failed_node_and_counts_the_skipped() -> None:
    run = results(
        ("model.floe.fct_sales", "success"),
        ("test.floe.unique_sale_key.abc", "fail"),
        ("model.floe.mart", "skipped"),
    )
    with pytest.raises(DbtFailed) as failure:
        verdict(run, "build")
    assert str(failure.value).startswith(
        "dbt build: 1 failed, 1 skipped. test unique_sale_key: message of test.floe.unique_sale_key.abc"
    )


def test_a_good_run_counts_by_kind() -> None:
    outcome = verdict(results(("model.floe.fct_sales", "success"), ("test.floe.t.1", "pass")), "build")
    assert (outcome.count("success", kinds=("model",)), outcome.count("success", kinds=("test",))) == (1, 1)


def test_a_failed_test_is_told_with_its_rows_and_a_failed_model_with_its_sql(tmp_path: Path) -> None:
    manifest = {"nodes": {"model.floe.broken": {"compiled_path": "/target/broken.sql"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    run = results(("test.floe.unique_sale_key.abc", "fail"), ("model.floe.broken", "error"))
    found, broken = run["results"]
    found |= {"failures": 3, "relation_name": '"lake"."test_failures"."unique_sale_key"'}
    broken |= {"failures": None, "compiled_code": "\nselect nothing_like_it"}
    with pytest.raises(DbtFailed) as failure:
        verdict(run, "build", tmp_path)
    assert failure.value.what == (
        "dbt build: 2 failed, 0 skipped. "
        "test unique_sale_key: message of test.floe.unique_sale_key.abc "
        '(3 failing rows: select * from "lake"."test_failures"."unique_sale_key"); '
        "model broken: message of model.floe.broken"
    )
    assert [(node.sql, node.compiled) for node in failure.value.failed] == [
        ("", ""),
        ("select nothing_like_it", "/target/broken.sql"),
    ]


def test_no_secret_of_the_warehouse_is_in_what_is_told() -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{'kE9y' * 16}\n{'sEc8' * 16}\n-----END PRIVATE KEY-----\n"
    snowflake = SnowflakeSettings(
        account="a",
        user="u",
        role="r",
        warehouse="w",
        database="d",
        private_key=SecretStr(key),
        private_key_passphrase=SecretStr("hush-hush"),
    )
    secrets = Warehouse(target=snowflake).secrets()
    told = f"cannot read {key}, nor {key!r} with hush-hush"
    run = results(("model.floe.broken", "error"))
    run["results"][0] |= {"message": told, "compiled_code": told}
    with pytest.raises(DbtFailed) as failure:
        verdict(run, "build", secrets=secrets)
    of_dbt = json.dumps({"info": {"name": "MainEncounteredError", "level": "error", "msg": told}})
    texts = [
        str(failure.value),
        failure.value.failed[0].sql,
        str(parse_event(log_line("LogModelResult", "error", msg=told), secrets)),
        str(parse_event(of_dbt, secrets)),
    ]
    for text in texts:
        assert "cannot read" in text
        assert not any(secret in text for secret in ("kE9y", "sEc8", "hush-hush"))


def test_a_node_that_dbt_does_not_run_is_left_out() -> None:
    outcome = verdict(results(("model.floe.dim_items", "success"), ("exposure.floe.sales", "no-op")), "build")
    assert [node.name for node in outcome.nodes] == ["dim_items"]
