"""Where the dashboards are shown."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from blocks.errors import ConfigurationError
from blocks.strict_block import StrictBlock


class Dashboards(StrictBlock):
    """The target of `publish`: a folder of pages that needs no server but one for files."""

    _block_type_name = "Floe Dashboards"
    _block_type_slug = "floe-dashboards"
    _description = "The folder that the dashboards' pages are written to, and where people open them."

    pages_folder: Path | None = Field(None, description="folder of the pages")
    url: str | None = Field(None, description="where people open them")

    def folder(self) -> Path:
        """Return the folder of the pages.

        Raises:
            ConfigurationError: no folder is set.
        """
        if self.pages_folder is None:
            raise ConfigurationError(
                "The block `dashboards` names no folder for the pages",
                next_command="set FLOE_DASHBOARDS__PAGES, then `floe blocks register`",
            )
        return self.pages_folder

    def address(self) -> str:
        """Return the address of the index page, for people."""
        return self.url or (self.folder() / "index.html").as_uri()
