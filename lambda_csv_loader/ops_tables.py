"""The loader's own tables in schema `ops`, in types that both warehouses know."""

from __future__ import annotations

LEDGER = {
    "file_id": "varchar not null",
    "dataset": "varchar not null",
    "bucket": "varchar not null",
    "key": "varchar not null",
    "version_id": "varchar",
    "etag": "varchar",
    "sequencer": "varchar",
    "last_modified": "timestamptz",
    "size_bytes": "bigint",
    "sha256": "varchar",
    "compression": "varchar",
    "header": "varchar",
    "partition_value": "varchar",
    "status": "varchar not null",
    "reason": "varchar",
    "verdict_key": "varchar",
    "rows_read": "bigint",
    "rows_loaded": "bigint",
    "rows_rejected": "bigint",
    "blank_lines": "bigint",
    "attempts": "bigint",
    "request_id": "varchar",
    "recorded_at": "timestamptz",
    "emitted_at": "timestamptz",
}
REJECTS = {
    "file_id": "varchar not null",
    "dataset": "varchar not null",
    "line": "bigint",
    "file_row": "bigint",
    "column_name": "varchar",
    "rule": "varchar",
    "message": "varchar",
    "raw_line": "varchar",
    "recorded_at": "timestamptz",
}
DATASETS = {"dataset": "varchar not null", "publishes": "bigint", "published_at": "timestamptz"}
OPS_TABLES = {
    "csv_files": LEDGER,
    "csv_file_history": LEDGER,
    "csv_rejects": REJECTS,
    "datasets": DATASETS,
}


def declared(columns: dict[str, str]) -> str:
    """Return the columns as a `create table` lists them."""
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())
