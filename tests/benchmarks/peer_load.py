"""Load a table with a peer, in the peers' own environment: `peer_load.py PEER URL TABLE FOLDER`.

Prints the seconds it took, imports left out, and the rows that arrived.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

CHUNK = 100_000


def main() -> None:
    peer, url, table, folder = sys.argv[1:]
    database = Path(folder) / "peer.duckdb"
    seconds = with_pandas(url, table, database) if peer == "pandas" else with_dlt(peer, url, table, database)

    import duckdb

    with duckdb.connect(str(database), read_only=True) as target:
        (rows,) = target.execute(f"select count(*) from raw.{table}").fetchone()  # type: ignore[misc]
    json.dump({"seconds": seconds, "rows": rows}, sys.stdout)


def with_dlt(backend: str, url: str, table: str, database: Path) -> float:
    """Load as dlt's documentation advises for speed."""
    import dlt
    from dlt.sources.sql_database import sql_table

    options = {"return_type": "arrow"} if backend == "connectorx" else {}
    source = sql_table(
        credentials=url,
        table=table,
        schema="public",
        backend=backend,  # type: ignore[arg-type]
        backend_kwargs=options,
        chunk_size=CHUNK,
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(database.parent / "dlt"),
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="raw",
    )
    start = time.monotonic()
    pipeline.run(source, write_disposition="replace").raise_on_failed_jobs()
    return time.monotonic() - start


def with_pandas(url: str, table: str, database: Path) -> float:
    """Load in chunks through data frames, as PyAirbyte hands rows to its caches."""
    import duckdb
    import pandas as pd
    import sqlalchemy

    start = time.monotonic()
    engine = sqlalchemy.create_engine(url, execution_options={"stream_results": True})
    with engine.connect() as source, duckdb.connect(str(database)) as target:
        target.execute("create schema raw")
        for number, frame in enumerate(pd.read_sql(f"select * from {table}", source, chunksize=CHUNK)):
            how = f"insert into raw.{table}" if number else f"create table raw.{table} as"
            target.register("frame", frame)
            target.execute(f"{how} select * from frame")
    return time.monotonic() - start


if __name__ == "__main__":
    main()
