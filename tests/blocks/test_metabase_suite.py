"""The suite for any Metabase, on the fake: so the live lane's own code is known to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from blocks.dashboard_definitions import Dashboard
from blocks.metabase import Provisioner
from tests import metabase_suite
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import WAREHOUSE, client_of, provisioner, ready

pytestmark = pytest.mark.thorough


@pytest.fixture
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE, late=1) as server:
        ready(server)
        yield server


@pytest.fixture
def make(fake: FakeMetabase) -> metabase_suite.Make:
    def made(dashboards: Sequence[Dashboard], drift: Any) -> Provisioner:
        return provisioner(fake, dashboards, drift=drift)

    return made


def test_a_round_trip(make: metabase_suite.Make) -> None:
    metabase_suite.check_a_round_trip(make)


def test_changes_in_place(make: metabase_suite.Make, fake: FakeMetabase) -> None:
    metabase_suite.check_changes_in_place(make, client_of(fake))


def test_changes_by_hand(make: metabase_suite.Make, fake: FakeMetabase) -> None:
    metabase_suite.check_changes_by_hand(make, client_of(fake))


def test_archiving(make: metabase_suite.Make, fake: FakeMetabase) -> None:
    metabase_suite.check_archiving(make, client_of(fake))


def test_hand_made_objects(make: metabase_suite.Make, fake: FakeMetabase) -> None:
    metabase_suite.check_hand_made_objects(make, client_of(fake))


def test_rights(make: metabase_suite.Make) -> None:
    metabase_suite.check_rights(make)
