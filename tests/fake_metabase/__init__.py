"""A fake Metabase. It is not Metabase: it was written from its documentation and its source's API.

It keeps state and is stricter than the real one: what a body does not declare is refused with 400, where
Metabase drops it in silence. Clients that others wrote check it (`tests/blocks/test_metabase_clients.py`).
"""

from tests.fake_metabase.server import FakeMetabase, running_metabase

__all__ = ["FakeMetabase", "running_metabase"]
