"""A stand-in for Airbyte on a laptop: the same public API, really replicating PostgreSQL into DuckLake.

It is not Airbyte and shares no code with it. It speaks the part of Airbyte's API that Floe uses, so that
flows, blocks and `floe connections` meet one protocol everywhere; whatever it lacks answers 501.
"""

from __future__ import annotations

STAND_IN = "Floe's stand-in for Airbyte (not Airbyte itself)"
