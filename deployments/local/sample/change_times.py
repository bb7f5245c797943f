"""When each generated row was last changed: a deterministic time made from its business dates.

TPC-DS has no change time. A cursor sync reads the rows at its boundary again, so the times are
spread to the microsecond and hardly two rows share one.
"""

from __future__ import annotations

from deployments.local.sample.tables import CLOCK_START, PRIMARY_KEYS

# A prime that shares no factor with the 86,400 seconds of a day, so it visits all of them.
_STRIDE = 7919
_LAST_SECOND = f"timestamp '{CLOCK_START:%Y-%m-%d %H:%M:%S}' - interval 1 second"
_SPREAD_OVER_A_DAY = f"to_seconds(row * {_STRIDE} % 86400)"
_SPREAD_OVER_THE_YEARS = (
    f"timestamp '1998-01-01' + to_days((row * {_STRIDE} % 1826)::integer) + {_SPREAD_OVER_A_DAY}"
)


def select_with_change_time(table: str) -> str:
    """Return DuckDB SQL for all columns of dsdgen's `table` plus `updated_at`.

    Sales and returns carry the day and second in which they happened (of the order's other lines
    where a line has none), customers the day of their first purchase, items the day on which their
    version began or ended. Rows without any date, and addresses, are spread over 1998 to 2002.
    What TPC-DS dates at or after the clock's start is put into the last second before it.
    """
    keys = ", ".join(PRIMARY_KEYS[table])
    return f"""
        with numbered as (
            select *, row_number() over (order by {keys}) as row from {table}
        ),
        dated as (
            select numbered.* exclude (row), row, {_moment(table)} as moment from numbered
        )
        select
            dated.* exclude (row, moment),
            (least(coalesce(moment, {_SPREAD_OVER_THE_YEARS}), {_LAST_SECOND})
                + to_microseconds(row % 1000000))::timestamptz as updated_at
        from dated
    """


def _moment(table: str) -> str:
    if table == "customer_address":
        return "null::timestamp"
    if table == "customer":
        return f"{_day('c_first_sales_date_sk')} + {_SPREAD_OVER_A_DAY}"
    if table == "item":
        return f"coalesce(i_rec_end_date + 1, i_rec_start_date)::timestamp + {_SPREAD_OVER_A_DAY}"
    columns = {
        "catalog_sales": ("cs_sold_date_sk", "cs_sold_time_sk", "cs_order_number"),
        "web_sales": ("ws_sold_date_sk", "ws_sold_time_sk", "ws_order_number"),
        "catalog_returns": ("cr_returned_date_sk", "cr_returned_time_sk", "cr_order_number"),
        "web_returns": ("wr_returned_date_sk", "wr_returned_time_sk", "wr_order_number"),
    }
    day, second, order = columns[table]
    of_order = f"over (partition by {order})"
    return (
        f"{_day(f'coalesce({day}, max({day}) {of_order})')}"
        f" + to_seconds(coalesce({second}, max({second}) {of_order}, row * {_STRIDE} % 86400))"
    )


def _day(date_sk: str) -> str:
    # 1721425 days separate the Julian day number, which is the key, from the proleptic ordinal.
    return f"(date '0001-01-01' + ({date_sk} - 1721426)::integer)::timestamp"
