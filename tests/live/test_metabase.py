"""The suite of `tests/metabase_suite.py` on a real Metabase, which nobody has run yet.

Set METABASE_URL, METABASE_API_KEY (of the group Administrators) and METABASE_DATABASE (the name of a
database in it whose schema METABASE_SCHEMA, by default "marts", holds the sample's marts; METABASE_UPPER=true
where it answers in upper case). It must be a scratch instance: Floe's dashboards in it are replaced and
archived.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.dashboard_definitions import Dashboard
from blocks.metabase import Provisioner
from blocks.metabase_client import MetabaseClient
from blocks.metabase_settings import MartNames
from tests import metabase_suite
from tests.metabase_instance import EVERY_MART

VARIABLE = "METABASE_URL"
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set"),
]


@pytest.fixture
def client() -> Iterator[MetabaseClient]:
    """The server that the variables name."""
    with MetabaseClient(os.environ[VARIABLE], SecretStr(os.environ["METABASE_API_KEY"])) as open_client:
        yield open_client


@pytest.fixture
def make(client: MetabaseClient) -> metabase_suite.Make:
    """Makes provisioners on it."""
    names = MartNames(
        os.environ.get("METABASE_SCHEMA", "marts"), os.environ.get("METABASE_UPPER", "").lower() == "true"
    )

    def provisioner(dashboards: Sequence[Dashboard], drift: Any) -> Provisioner:
        return Provisioner(
            client, os.environ["METABASE_DATABASE"], names, dashboards, EVERY_MART, drift=drift
        )

    return provisioner


def test_a_round_trip(make: metabase_suite.Make) -> None:
    metabase_suite.check_a_round_trip(make)


def test_changes_in_place(make: metabase_suite.Make, client: MetabaseClient) -> None:
    metabase_suite.check_changes_in_place(make, client)


def test_changes_by_hand(make: metabase_suite.Make, client: MetabaseClient) -> None:
    metabase_suite.check_changes_by_hand(make, client)


def test_archiving(make: metabase_suite.Make, client: MetabaseClient) -> None:
    metabase_suite.check_archiving(make, client)


def test_hand_made_objects(make: metabase_suite.Make, client: MetabaseClient) -> None:
    metabase_suite.check_hand_made_objects(make, client)


def test_rights(make: metabase_suite.Make) -> None:
    metabase_suite.check_rights(make)
