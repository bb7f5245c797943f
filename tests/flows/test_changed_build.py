"""`transform` builds only what has changed since the last publication, with the real dbt over a real lake."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from tests.conftest import Cluster
from tests.shop import BROKEN, MENDED, ORDERED, Shop, open_shop

pytestmark = pytest.mark.thorough

# A model of another source, a view that reads a source, and one that reads a view.
ITEMS = "select id, now() as built_at from {{ source('shop', 'items') }}"
STAGED = (
    "{{ config(materialized='view', schema='staging') }}"
    " select id from {{ read_source('shop', 'items', key=['id']) }}"
)
SEEN = "{{ config(materialized='view', schema='intermediate') }} select id from {{ ref('staged') }}"
TABLES = "sources: [{name: shop, schema: raw_shop, tables: [{name: orders}, {name: items}]}]\n"
FEW_ITEMS = "{{ config(severity='warn') }} select * from {{ ref('seen') }} where id > 1"
# Keeps the query that dbt is given for the changed rows of a source.
ASKED = (
    "select '{{ changed_values(ref('staged'), 'id') | replace(\"'\", \"''\") }}' as query"
    " from (select count(*) from {{ ref('staged') }})"
)
CLOCK = "{{ config(tags=['clock']) }} select now() where false"
ALL = {
    *("model builds", "model items", "model lines", "model orders", "model seen", "model staged"),
    *("model totals", "snapshot snp_orders", "test few_items", "test on_the_clock"),
}
OF_ORDERS = {"model orders", "model lines", "model totals", "snapshot snp_orders", "test on_the_clock"}


@pytest.fixture
def shop(prefect_server: None, cluster: Cluster, extension_directory: Path, tmp_path: Path) -> Iterator[Shop]:
    """The shop with items, too, all of it published."""
    made = open_shop(tmp_path, cluster, extension_directory)
    with made.warehouse.connect() as cursor:
        cursor.execute(
            "create table raw_shop.items (id int, _airbyte_raw_id varchar, _airbyte_extracted_at timestamptz)"
        )
        cursor.execute("insert into raw_shop.items values (1, 'a', now())")
    (made.folder / "models" / "shop.yml").write_text(TABLES)
    made.write(items=ITEMS, staged=STAGED, seen=SEEN)
    (made.folder / "tests").mkdir()
    (made.folder / "tests" / "few_items.sql").write_text(FEW_ITEMS)
    (made.folder / "tests" / "on_the_clock.sql").write_text(CLOCK)
    assert made.new_run().is_completed()
    yield made


def run(shop: Shop, statement: str | None = None, **parameters: Any) -> set[str]:
    """Change the raw data, run a build that succeeds, and return the nodes that it ran."""
    if statement:
        with shop.warehouse.connect() as cursor:
            cursor.execute(statement)
    ended: State[Any] = shop.new_run(**parameters)
    result = ended.result()
    ran = len(ALL) - result.unchanged
    return set(shop.nodes(1, ran))


def test_a_build_runs_what_has_changed_and_what_depends_on_it(shop: Shop) -> None:
    assert run(shop) == {"test on_the_clock"}
    assert run(shop, f"insert into raw_shop.orders {ORDERED.format(3, 4)}") == OF_ORDERS
    assert shop.rows("select orders from marts.totals") == [(4,)]
    assert shop.rows("select count(*) from marts.items") == [(1,)]

    shop.write(lines=MENDED + " where id < 3")
    assert run(shop) == {"model lines", "model totals", "test on_the_clock"}
    assert shop.rows("select orders from marts.totals") == [(3,)]

    # A view that reads no source shows the rows as it is; the warning is told until it is none.
    warned = {"test few_items", "test on_the_clock"}
    of_items = {"model items", "model staged", *warned}
    assert run(shop, "insert into raw_shop.items values (2, 'b', now())") == of_items
    assert run(shop) == warned
    assert run(shop) == warned

    # Repairs are written into the view.
    assert (
        run(
            shop,
            "create table raw_shop.__floe_repairs_items as select 2 as id, now() as _airbyte_extracted_at,"
            " 'delete' as _floe_repair_action, now() as _floe_repaired_at",
        )
        == of_items
    )
    assert shop.rows("select id from intermediate.seen") == [(1,)]
    assert run(shop) == {"test on_the_clock"}


def test_a_table_that_is_not_as_it_was_published_is_built_again(shop: Shop) -> None:
    with shop.warehouse.connect() as cursor:
        cursor.execute("delete from build.lines; drop view intermediate.seen")
    assert run(shop) == {"model lines", "model totals", "model seen", "test few_items", "test on_the_clock"}
    assert shop.rows("select orders from marts.totals") == [(3,)]


def test_everything_is_built_after_a_failure_on_request_and_on_another_host(shop: Shop) -> None:
    shop.write(lines=BROKEN)
    assert shop.new_run().is_failed()
    shop.write(lines=MENDED)
    # What is restored is written anew, but for the views.
    assert run(shop) >= ALL - {"model staged", "model seen", "test few_items"}
    assert run(shop, everything=True) == ALL
    project = shop.folder / "dbt_project.yml"
    project.write_text(project.read_text() + "vars: {any: 1}\n")
    assert run(shop) == ALL
    assert shop.log("Everything is built") == (
        "Everything is built: other than when it was published: dbt_project.yml"
    )
    # dbt calls it by itself, so that no model is known to use it.
    schema = shop.folder / "macros" / "generate_schema_name.sql"
    schema.write_text(schema.read_text() + "{# Another text. #}\n")
    assert run(shop) == ALL
    assert shop.log("Everything is built").endswith("other than when it was published: macros")
    # The marts are published all the same when this host cannot keep what dbt said of them.
    shutil.rmtree(shop.output / "published")
    (shop.output / "published").write_text("in the way")
    assert run(shop) == ALL
    assert shop.log("The next build will build everything")
    shop.output = shop.output.with_name("other-host")
    shop.save()
    assert run(shop) == ALL
    assert shop.log("Everything is built").endswith("no publication was built on this host")


def test_a_retry_of_a_build_of_what_has_changed_runs_what_is_left_of_it(shop: Shop) -> None:
    shop.write(lines=BROKEN)
    with shop.warehouse.connect() as cursor:
        cursor.execute(f"insert into raw_shop.orders {ORDERED.format(3, 5)}")
    assert shop.new_run().is_failed()
    shop.write(lines=MENDED)
    result = shop.retry().result()
    assert (result.models, result.done_before, result.unchanged) == (3, 3, len(ALL) - len(OF_ORDERS))
    assert set(shop.nodes(2, 2)) == {"model lines", "model totals"}
    assert shop.rows("select orders from marts.totals") == [(5,)]
    assert shop.rows("select count(*) from marts.items") == [(1,)]


def test_rows_count_as_changed_since_the_publication_and_all_rows_where_that_is_not_enough(
    shop: Shop,
) -> None:
    def asked(statement: str) -> set[int] | None:
        with shop.warehouse.connect() as cursor:
            cursor.execute(statement)
        assert shop.new_run().is_completed()
        ((query,),) = shop.rows("select query from marts.asked")
        return {row[0] for row in shop.rows(query)} if query else None

    add = "insert into raw_shop.items values ({}, 'b', now())"
    repairs = (
        "create table raw_shop.__floe_repairs_items as select {} as id, now() as _airbyte_extracted_at,"
        " 'delete' as _floe_repair_action, now() as _floe_repaired_at"
    )
    shop.write(asked=ASKED)
    assert asked(add.format(2)) is None  # the code is another
    assert asked(add.format(3)) == {3}
    assert asked(add.format(4)) == {4}
    assert asked(repairs.format(4)) is None  # they may be of any row
    assert asked(add.format(5)) == {5}
    assert asked("update raw_shop.__floe_repairs_items set id = 3") == {3, 4}
    assert asked("drop table raw_shop.__floe_repairs_items") is None  # the rows they replaced are back
    assert asked(f"delete from raw_shop.items where id = 2; {add.format(6)}") == {2, 6}
    assert asked(f"delete from build.lines; {add.format(7)}") is None  # a mart was changed by hand
    assert asked("alter table raw_shop.items add column note varchar; delete from raw_shop.items") is None
