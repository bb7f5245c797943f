"""Reading dbt's events and results."""

from __future__ import annotations

import json

import pytest

from blocks.dbt import NodeEvent, parse_event, verdict
from blocks.errors import DbtFailed


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


def results(*pairs: tuple[str, str]) -> dict[str, object]:
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


def test_a_good_run_counts_by_kind_and_knows_the_schema() -> None:
    outcome = verdict(results(("model.floe.fct_sales", "success"), ("test.floe.t.1", "pass")), "build")
    assert (outcome.count("success", kinds=("model",)), outcome.count("success", kinds=("test",))) == (1, 1)
    assert [node.schema_name for node in outcome.nodes] == ["build", ""]
