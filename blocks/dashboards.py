"""Where the dashboards are shown."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from blocks.errors import ConfigurationError
from blocks.metabase_settings import MetabaseTarget
from blocks.strict_block import StrictBlock


class Dashboards(StrictBlock):
    """The target of `publish`: a Metabase, a folder of pages that needs no server but for files, or both."""

    _block_type_name = "Floe Dashboards"
    _block_type_slug = "floe-dashboards"
    _description = "The Metabase or folder of pages that shows the dashboards, and where people open them."

    pages_folder: Path | None = Field(None, description="folder of the pages")
    url: str | None = Field(None, description="where people open them")
    metabase: MetabaseTarget | None = Field(None, description="a Metabase that Floe provisions")

    def folder(self) -> Path:
        """Return the folder of the pages.

        Raises:
            ConfigurationError: no folder is set.
        """
        if self.pages_folder is None:
            raise ConfigurationError(
                "The block `dashboards` names no folder for the pages and no Metabase",
                next_command="set FLOE_DASHBOARDS__PAGES, then `floe blocks register`",
            )
        return self.pages_folder

    def address(self) -> str:
        """Return the address of Metabase or of the index page, for people."""
        if self.url is None and self.metabase is not None:
            return self.metabase.url
        return self.url or (self.folder() / "index.html").as_uri()

    def page(self, key: str) -> str | None:
        """Return where people elsewhere find a dashboard: its page, or Metabase; None without either."""
        if self.pages_folder is not None and self.url is not None:
            return f"{self.url.rstrip('/')}/{key}.html"
        return self.url or (self.metabase.url if self.metabase else None)
