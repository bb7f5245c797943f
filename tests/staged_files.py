"""Files of one dataset that are staged in Parquet however small, and published into a lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.ducklake_writer import DuckLakeWriter
from lambda_csv_loader.ledger import Candidate, Decision, ledger_row
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.validate import validate

TABLE = "lake.raw_files.stock"
BODY = "n,note\n1,one\n2,two\n3,three\n"
ROWS = [(1, "one"), (2, "two"), (3, "three")]


def stock(**more: Any) -> Contract:
    columns = [{"name": "n", "type": "integer", "nullable": False}, {"name": "note", "type": "varchar"}]
    declared = {"dataset": "stock", "owner": "tests", "mode": "append", "columns": columns}
    return Contract.model_validate(declared | more)


class Body:
    name = "f.csv"

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self) -> BytesIO:
        return BytesIO(self._text.encode())


class Publisher:
    """Stages every file in Parquet and publishes it."""

    def __init__(
        self, lake: DuckLakeSettings, folder: Path, open_connection: Callable[[], Any] | None = None
    ) -> None:
        self.lake, self.folder = lake, folder
        self.writer = DuckLakeWriter(lake, open_connection=open_connection)

    def candidate(self, text: str = BODY, key: str = "f.csv", contract: Contract | None = None) -> Candidate:
        ref = ObjectRef("b", key, etag=key, last_modified=datetime(2026, 1, 1, tzinfo=UTC))
        report = validate(
            Body(text), contract or stock(), ref.file_id, folder=self.folder, in_memory=0, block=1 << 15
        )
        assert report.staged is not None and report.staged.parquet is not None, report.verdict
        return Candidate(ledger_row(ref, "stock", "loaded", report=report), report.staged)

    def publish(self, *candidates: Candidate, contract: Contract | None = None) -> list[Decision]:
        return self.writer.publish("stock", contract or stock(), candidates, lambda rows: [None] * len(rows))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with connect(self.lake, read_only=True, threads=1) as reader:
            return reader.execute(statement).fetchall()

    def rows(self) -> list[tuple[Any, ...]]:
        return self.query(f"select n, note from {TABLE} order by all")

    def added(self) -> list[Path]:
        return sorted(self.lake.data_path.rglob("_loaded_at=*/*"))
