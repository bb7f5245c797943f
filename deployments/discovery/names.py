"""What a column's name says about it. A name is only believed when every word of it fits.

`updated_at` of a customer is the customer's; `password_updated_at` is not, it stands still while the
e-mail changes. So a name is a change time only if nothing is left of it but words for "changed", words for
"time", and the table's own name.
"""

from __future__ import annotations

import re

_CHANGED = (
    "upd|updt|update|updated|modif|modify|modified|modification|change|changed|chg|touched|lastmod|mtime"
    "|modstamp"
    "|aktualisiert|aktualisierung|ge(?:ae|ä)ndert|(?:ae|ä)nderungs?|modifi[eé]e?|maj|mis(?:e)?(?:a|à)jour"
    "|actualizad[oa]|actualizaci[oó]n|modificad[oa]|modificaci[oó]n|atualizad[oa]|alterad[oa]|altera[cç][aã]o"
    "|aggiornat[oa]|modificat[oa]|gewijzigd|bijgewerkt"
)
_CREATED = (
    "create|created|creation|crt|insert|inserted|added|registered|registration|born|signup|entered|imported"
    "|erstellt|erstellung|angelegt|erfasst|cr[eé]{1,2}e?|cread[oa]|criad[oa]|creat[oa]|aangemaakt"
)
_TIME = (
    "at|on|date|time|ts|tstamp|timestamp|stamp|dt|dttm|datetime|utc|gmt|tz|when|last|row|record|rec|sys|system|db"
    "|am|um|datum|zeit|zeitpunkt|le|el|fecha|hora|data|dth|em|il|de|du|da|do|di|del|der|ms|epoch|unix"
)
_IS_CHANGED = re.compile(rf"(?:{_TIME})*(?:{_CHANGED})(?:{_TIME}|{_CHANGED})*")
_IS_CREATED = re.compile(rf"(?:{_TIME})*(?:{_CREATED})(?:{_TIME})*")
_IS_TIME = re.compile(rf"(?:{_TIME})+|\d+")
_ENDS_IN_TIME = re.compile(rf".*(?:{_TIME})")
# Columns of one table often share a prefix of a letter or two, as in TPC-DS.
_PREFIX = 2
# Names of Odoo and WordPress that the rule would not know.
_KNOWN = ("write_date", "post_modified_gmt")


def is_change_time(column: str, table: str) -> bool:
    """Tell whether a column's name says that it is the time of the row's last change."""
    if column.lower() in _KNOWN:
        return True
    said = words(column)
    if not any(_IS_CHANGED.fullmatch(word) for word in said):
        return False
    rest = [word for word in said if not (_IS_CHANGED.fullmatch(word) or _IS_TIME.fullmatch(word))]
    if rest and rest[0] == said[0] and len(rest[0]) <= _PREFIX:
        rest.pop(0)
    return not rest or _names_the_table(rest, words(table))


def says_time(column: str) -> bool:
    """Tell whether a name speaks of a time at all: `updated_at` does, `modified` may be a flag or a count."""
    return any(_ENDS_IN_TIME.fullmatch(word) for word in words(column))


def is_creation_time(column: str) -> bool:
    """Tell whether a column's name says that it is the time at which the row was made."""
    return any(_IS_CREATED.fullmatch(word) for word in words(column))


def words(name: str) -> list[str]:
    """Split a name at underscores, spaces, capitals and digits; lower case."""
    spaced = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.split(r"[\W_]+", spaced) if word]


def _names_the_table(said: list[str], table: list[str]) -> bool:
    """Whether words stand for the rows of a table: `post` for wp_posts, but not `price` for price_list."""

    def alike(one: str, other: str) -> bool:
        return min(len(one), len(other)) > _PREFIX and (one.startswith(other) or other.startswith(one))

    return all(any(alike(word, own) for own in table) for word in said) and alike(said[-1], table[-1])
