"""How Floe knows again, on a server, what it made: a mark at the end of the description, never a name.

`[floe:dashboard/customers 12 3f9a0c1be27d]` says which definition the object comes from, the object's own
number, and a digest of its content when Floe wrote it. A copy that somebody makes in Metabase takes the
description along but gets a number of its own, so it is theirs. A content whose digest is another one was
changed by hand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

_MARK = re.compile(
    r"\s*\[floe:(?P<key>[a-z]+/[^\s\]]+)(?: (?P<number>\d+))?(?: (?P<digest>[0-9a-f]{12}|archived))?\]"
)
_NAMESPACE = UUID("6f6a3f0e-6d8c-5a51-9a57-5d3f2d0b7c11")
# Of a nano id, which is what Metabase's entity ids are.
_ENTITY_ID_LENGTH = 21

ARCHIVED = "archived"
# The digest of no content: of an object that is known by its entity id alone.
LOST = "0" * 12


@dataclass(frozen=True)
class Marker:
    """What a mark says.

    Attributes:
        key: the definition, `dashboard/customers`.
        number: of the object on its server; None where Floe was interrupted before it knew it.
        digest: of the content when Floe last wrote it; "archived" where Floe archived it.
    """

    key: str
    number: int | None = None
    digest: str | None = None

    def __str__(self) -> str:
        parts = [f"floe:{self.key}", str(self.number or ""), self.digest or ""]
        return f"[{' '.join(part for part in parts if part)}]"


def marked(description: str, marker: Marker) -> str:
    """Return a description with a mark at its end."""
    return f"{description}\n\n{marker}" if description else str(marker)


def unmarked(description: str | None) -> tuple[str, Marker | None]:
    """Return a description without its mark, and the mark, if there is one."""
    text = description or ""
    found = _MARK.search(text)
    if not found:
        return text, None
    number = int(found["number"]) if found["number"] else None
    return text[: found.start()] + text[found.end() :], Marker(found["key"], number, found["digest"])


def digest(content: Mapping[str, Any]) -> str:
    """Return a short digest of a content, the same for the same content.

    Which column a template tag stands for is left out: when a mart loses a column, Metabase no longer
    says which one it was, and nobody has changed anything by hand.
    """
    tags = content.get("template_tags") or {}
    masked = {name: {**tag, "dimension": bool(tag.get("dimension"))} for name, tag in tags.items()}
    seen = {**content, "template_tags": masked}
    canonical = json.dumps(seen, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def entity_id(key: str) -> str:
    """Return the entity id that Floe gives to the card of a key; only cards may be given one."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).decode()[:_ENTITY_ID_LENGTH]


def stable_uuid(key: str) -> str:
    """Return the UUID of a part of a definition, always the same."""
    return str(uuid5(_NAMESPACE, key))
