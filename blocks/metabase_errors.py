"""What can go wrong between Floe and Metabase.

PermanentError
├── MetabaseUnauthorized    401, 403: the API key is wrong, or may not do this
├── MetabaseNotFound        404: the object or the address does not exist
├── MetabaseRequestRefused  any other 4xx: the request itself is wrong
├── MetabaseIncompatible    what was written is not what can be read back
├── MetabaseChangedByHand   what Floe provisioned was changed in Metabase, and that stops it
└── MetabaseCardsFail       cards cannot be run
TransientError
├── MetabaseUnreachable     no connection, time-out, 5xx, 429, an answer that is not JSON
├── MetabaseBusy            somebody else changes the same thing at the same time
└── MetabaseSyncLate        Metabase does not know the marts' columns yet
"""

from __future__ import annotations

from blocks.errors import PermanentError, ServiceUnavailable, TransientError


class MetabaseUnauthorized(PermanentError):
    """The server refuses the key, or the key may not do this."""


class MetabaseNotFound(PermanentError):
    """The server knows no such object or address."""


class MetabaseRequestRefused(PermanentError):
    """The server says that the request is wrong."""


class MetabaseIncompatible(PermanentError):
    """The server kept something else than it was sent, in silence."""


class MetabaseChangedByHand(PermanentError):
    """Somebody changed in Metabase what Floe provisions from files."""


class MetabaseCardsFail(PermanentError):
    """One or more cards that were provisioned cannot be run."""


class MetabaseUnreachable(ServiceUnavailable):
    """The server does not answer, or cannot serve now."""


class MetabaseBusy(TransientError):
    """Another writer was faster, again and again."""


class MetabaseSyncLate(TransientError):
    """The marts' columns did not appear in Metabase before the deadline."""
