"""From validated rows to a staging table on Snowflake: Parquet, PUT, COPY, counts compared.

Parquet rather than CSV: no quoting, escaping or null token to agree on, and compressed as it is
written, where the connector's gzip of a CSV takes most of a load's time. Written as the oldest readers
want it: format 1.0, plain and dictionary encodings, snappy. Times travel as text with their offset,
since what Snowflake makes of Parquet's own depends on options and on who wrote the file.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import sql_name
from lambda_csv_loader.errors import FloeError, TransientError
from lambda_csv_loader.snowflake_session import SnowflakeSession
from lambda_csv_loader.snowflake_tables import OWN_COLUMNS, STAGE, STAGING, columns_of, prepare_stage
from lambda_csv_loader.staging import Staged

_ROW_GROUP = 245_760
_KEPT_FOR = timedelta(days=1)
_LOAD_ID = re.compile(r"LOAD_\d{14}_[0-9A-F]{16}")

log = logging.getLogger("floe.loader")


class CountsDiffer(TransientError):
    """Rows were lost or doubled on the way into the warehouse; nothing of them was published."""


@contextlib.contextmanager
def staged_rows(
    session: SnowflakeSession, contract: Contract | None, staged: Sequence[Staged]
) -> Iterator[str | None]:
    """Copy rows into a table of their own, which is dropped afterwards; None when there are none.

    Args:
        session: not inside `run`.
        contract: of the dataset.
        staged: rows of the files that are published together.

    Raises:
        CountsDiffer: the staging table does not hold exactly these rows.
    """
    rows = sum(each.rows for each in staged)
    if contract is None or rows == 0:
        yield None
        return
    tidy(session)
    load_id = f"LOAD_{datetime.now(UTC):%Y%m%d%H%M%S}_{secrets.token_hex(8).upper()}"
    try:
        with tempfile.TemporaryDirectory(prefix="floe-") as folder:
            file = Path(folder) / "rows.parquet"
            written = write_parquet(file, contract, staged)
            copied, held = session.run(lambda: _copy(session, contract, file, load_id))
        if rows != copied or written != held:
            raise CountsDiffer(
                f"{contract.dataset}: the validator passed {rows} rows, COPY loaded {copied}; "
                f"values written per column: {written}, in the staging table: {held}",
                state="nothing was written; it is tried again",
                next_command=f"select * from snowflake.account_usage.copy_history -- {load_id}",
            )
        yield f"{STAGING}.{load_id}"
    finally:
        _quietly(session, f"drop table if exists {STAGING}.{load_id}")


def write_parquet(file: Path, contract: Contract, staged: Sequence[Staged]) -> list[int]:
    """Write rows as Snowflake reads them.

    Returns:
        The number of rows, then of values that are not null in each column.
    """
    names = _staged_columns(contract)
    counts = [0] * (len(names) + 1)
    with contextlib.ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for piece in _pieces(staged):
            table = pa.table([_plain(column) for column in piece.columns], names=list(names))
            writer = writer or opened.enter_context(_parquet_writer(file, table.schema))
            writer.write_table(table)
            values = [table.num_rows - column.null_count for column in table.columns]
            counts = [before + more for before, more in zip(counts, [table.num_rows, *values], strict=True)]
    return counts


def tidy(session: SnowflakeSession) -> None:
    """Drop what loads that died left behind, once per connection. A failure is only logged."""
    try:
        session.run(lambda: _tidy(session))
    except FloeError as error:
        log.warning("leftovers of earlier loads stay: %s", error.what)


def _tidy(session: SnowflakeSession) -> None:
    if "tidy" in session.prepared:
        return
    session.prepared.add("tidy")
    oldest = f"LOAD_{datetime.now(UTC) - _KEPT_FOR:%Y%m%d%H%M%S}"
    tables = session.rows(
        "select table_name from information_schema.tables where table_schema = ? and table_name < ?",
        STAGING,
        oldest,
    )
    for (name,) in tables:
        if _LOAD_ID.fullmatch(name):
            session.execute(f"drop table if exists {STAGING}.{name}")
    prepare_stage(session)
    for name, *_ in session.rows(f"list @{STAGING}.{STAGE}"):
        load_id = name.split("/")[1]
        if _LOAD_ID.fullmatch(load_id) and load_id < oldest:
            session.execute(f"remove @{STAGING}.{STAGE}/{load_id}/")


def _pieces(staged: Sequence[Staged]) -> Iterator[pa.Table]:
    """Yield the rows in pieces that fit into memory; those of small files together."""
    tables = [each.table for each in staged if each.table is not None]
    if tables:
        whole = pa.concat_tables(tables)
        for start in range(0, whole.num_rows, _ROW_GROUP):
            yield whole.slice(start, _ROW_GROUP)
    for each in staged:
        if each.parquet is not None:
            with pq.ParquetFile(each.parquet) as source:
                for batch in source.iter_batches(_ROW_GROUP):
                    yield pa.Table.from_batches([batch])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        # By way of numbers: a conversion between zones would need a zone database.
        text = column.cast(pa.int64()).cast(pa.timestamp("us")).cast(pa.string())
        return text if column.type.tz is None else pc.binary_join_element_wise(text, "+00:00", "")
    return column


def _parquet_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file, schema, version="1.0", data_page_version="1.0", compression="snappy", store_schema=False
    )


def _staged_columns(contract: Contract) -> dict[str, str]:
    return columns_of(contract) | {"_FILE_ID": OWN_COLUMNS["_file_id"], "_FILE_ROW": OWN_COLUMNS["_file_row"]}


def _copy(session: SnowflakeSession, contract: Contract, file: Path, load_id: str) -> tuple[int, list[int]]:
    """Load a file into a staging table; return what COPY says it loaded, and what the table holds."""
    prepare_stage(session)
    table, stage = f"{STAGING}.{load_id}", f"@{STAGING}.{STAGE}/{load_id}"
    columns = _staged_columns(contract)
    declared = ", ".join(f"{sql_name(name)} {kind}" for name, kind in columns.items())
    session.execute(f"create or replace transient table {table} ({declared})")
    path = str(file).replace("\\", "\\\\").replace("'", "\\'")
    session.execute(f"put 'file://{path}' {stage} auto_compress = false")
    # The path is this load's own and holds one file, so it names exactly that file, as FILES would
    # (the tests' emulator has no FILES on an internal stage). NULL_IF is emptied, since its default
    # makes a text `\\N` null.
    loaded = session.rows(
        f"copy into {table} from {stage}/{file.name} file_format = (type = parquet null_if = ()) "
        "match_by_column_name = case_sensitive on_error = abort_statement purge = true"
    )
    counts = ", ".join(["count(*)", *(f"count({sql_name(name)})" for name in columns)])
    ((*held,),) = session.rows(f"select {counts} from {table}")
    # Without a file COPY answers one sentence.
    return sum(int(row[3]) for row in loaded if len(row) > 3), [int(count) for count in held]


def _quietly(session: SnowflakeSession, statement: str) -> None:
    """Run a statement that only tidies up; what fails here is tidied up by a later load."""
    if not session.is_open:
        return
    try:
        session.run(lambda: session.execute(statement))
    except FloeError as error:
        log.warning("a leftover of this load stays: %s", error.what)
