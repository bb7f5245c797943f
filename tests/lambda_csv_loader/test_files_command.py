"""`floe files`: what a person sees, and loading again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_stack import FileStack
from typer.testing import CliRunner, Result

from blocks.settings import load_settings
from deployments.commands.files import app

HEAD = "day_id,item,quantity\n"


@pytest.fixture(autouse=True)
def configured(stack: FileStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings of a whole stack, of which the commands use the file part."""
    monkeypatch.setenv("FLOE_HOME", str(tmp_path))
    for name in ("SERVER_URL", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"FLOE_AIRBYTE__{name}", "unused")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, list(arguments), catch_exceptions=False)


def test_infer_prints_a_contract(tmp_path: Path) -> None:
    sample = tmp_path / "stock.csv"
    sample.write_text(HEAD + "1,2,3\n")
    assert "dataset: goods\n" in run("infer", str(sample), "--dataset", "goods").stdout


def test_status_and_replay(stack: FileStack) -> None:
    stack.put("landing/stock/good.csv", HEAD + "1,1,1\n1,2,1\n")
    bad = stack.put("landing/stock/bad.csv", HEAD + "1,one,1\n")
    stack.drain()
    stack.put("landing/stock/new.csv", HEAD + "2,1,1\n")
    stack.lose_events()
    said = run("status").stdout
    assert "stock: 1 files loaded, 2 rows; 1 waiting" in said
    assert "not of type bigint" in said
    assert "good.csv" not in said
    assert "good.csv" in run("status", "stock", "--all").stdout
    assert "Queue: 0 waiting, 0 in work, 0 dead letters" in said

    refused = run("replay", "stock")
    assert (refused.exit_code, f"{bad}: quarantined: type:" in refused.stdout) == (1, True)
    stack.put(bad, HEAD + "3,1,1\n")
    ((file_id,),) = stack.query(f"select file_id from ops.csv_files where key = '{bad}'")
    mended = run("replay", file_id)
    assert (mended.exit_code, mended.stdout) == (0, f"{bad}: loaded, 1 rows\n")


def test_dead_letters_are_delivered_again(stack: FileStack) -> None:
    stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody="{}")
    assert "0 in work, 1 dead letters\nDead letters: 1 of no declared dataset\n" in run("status").stdout
    assert run("replay", "--dead-letters").stdout == "1 messages moved back to the queue\n"
    stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody="{}")
    stack.sqs.receive_message(QueueUrl=stack.store.dead_letter_queue_url, VisibilityTimeout=30)
    assert "SQS counts 1 more, which others may have in hand" in run("replay", "--dead-letters").stdout
    stack.lose_events()
