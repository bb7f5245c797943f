"""What a report can be written as."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A kind of file."""

    HTML = "html"
    PNG = "png"
    PDF = "pdf"

    @property
    def content_type(self) -> str:
        """The MIME type of such a file."""
        return {"html": "text/html; charset=utf-8", "png": "image/png", "pdf": "application/pdf"}[self]
