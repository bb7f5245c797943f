"""A dashboard as a report that is sent or printed: HTML for mail programs, a picture, pages of A4.

A report is the dashboard at one moment, without a filter. No browser is needed for any of the three.
"""

from __future__ import annotations

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_formats import Format
from blocks.dashboard_reports.content import Report, figure_words, report_of
from blocks.errors import ConfigurationError

__all__ = ["Format", "Report", "dashboard_named", "figure_words", "rendered", "report_of"]


def rendered(report: Report, form: Format) -> bytes:
    """Return the report as one file that needs nothing beside it."""
    if form is Format.HTML:
        from blocks.dashboard_reports.markup import html

        return html(report).encode()
    from blocks.dashboard_reports.paper import pdf, png

    return pdf(report) if form is Format.PDF else png(report)


def dashboard_named(dashboards: tuple[Dashboard, ...], key: str) -> Dashboard:
    """Return the dashboard of a name.

    Raises:
        ConfigurationError: there is none; the message has the names.
    """
    for dashboard in dashboards:
        if dashboard.key == key:
            return dashboard
    names = ", ".join(each.key for each in dashboards)
    raise ConfigurationError(f"There is no dashboard {key!r}", next_command=f"name one of: {names}")
