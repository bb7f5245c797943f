"""Transactions of the laptop's Prefect server wait for one another instead of failing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa

from deployments.local.prefect_server import WritersTakeTurns


def test_a_transaction_that_reads_first_can_write_after_another_has_written(tmp_path: Path) -> None:
    async def both() -> list[int]:
        database = WritersTakeTurns(connection_url=f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
        engine = await database.engine()
        async with engine.begin() as connection:
            await connection.execute(sa.text("create table runs (number integer)"))
        has_read = asyncio.Event()

        async def write(number: int, *, wait: bool) -> None:
            async with await database.session(engine) as session, database.begin_transaction(session):
                await session.execute(sa.text("select count(*) from runs"))
                has_read.set()
                if wait:
                    # Long enough for the other one to write, if nothing keeps it from that.
                    await asyncio.sleep(0.5)
                await session.execute(sa.text("insert into runs values (:number)"), {"number": number})

        first = asyncio.create_task(write(1, wait=True))
        await has_read.wait()
        await write(2, wait=False)
        await first
        async with await database.session(engine) as session:
            rows = await session.execute(sa.text("select number from runs order by rowid"))
            return list(rows.scalars())

    assert asyncio.run(both()) == [1, 2]
