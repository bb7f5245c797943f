"""Drawing a card: its definition becomes a Vega-Lite specification, by way of Altair.

The specification has no data and no colours of its own: the page hands in the rows of the choice
and the colours of the theme. Everything else (titles, formats, order) is in it, so the same
specification also draws without a browser.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from blocks.dashboard_definitions import ColumnSettings, QuestionCard
from blocks.dashboard_pages.answers import Kind

CHART_DISPLAYS = ("line", "area", "bar", "row", "pie")
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_TIME_UNITS = {
    "day": ("utcyearmonthdate", "%e %b %Y"),
    "week": ("utcyearmonthdate", "%e %b %Y"),
    "month": ("utcyearmonth", "%B %Y"),
    "quarter": ("utcyearquarter", "Q%q %Y"),
    "year": ("utcyear", "%Y"),
}
# Ticks on first days of weeks, as many as have room for their labels.
_WEEK = 7 * 86_400_000
_WEEKS = (
    f"sequence(+domain('{{scale}}')[0], +domain('{{scale}}')[1] + 1, {_WEEK} *"
    f" ceil((domain('{{scale}}')[1] - domain('{{scale}}')[0]) / {_WEEK} / ({{length}} / 100)))"
)


def number_format(settings: ColumnSettings) -> str:
    """Return the d3 format of an exact number (tooltips, tables)."""
    if settings.number_style == "percent":
        return f".{1 if settings.decimals is None else settings.decimals}%"
    if settings.number_style == "currency":
        return f"$,.{2 if settings.decimals is None else settings.decimals}f"
    return ",.2~f" if settings.decimals is None else f",.{settings.decimals}f"


def short_number(settings: ColumnSettings, value: str) -> str:
    """Return a Vega expression that writes a number short: $1.2M, 340K, 4.5%."""
    if settings.number_style == "percent":
        return f"format({value}, '.1~%')"
    money = "$" if settings.number_style == "currency" else ""
    # d3 writes giga and kilo; readers of money expect B and K.
    large = f"replace(replace(format({value}, '{money}.3~s'), 'G', 'B'), 'k', 'K')"
    return f"abs({value}) < 1 ? format({value}, '{money},.2~f') : {large}"


def chart(
    card: QuestionCard, columns: Sequence[tuple[str, Kind]], series: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the Vega-Lite specification of a card that is a chart.

    Args:
        card: one whose display is line, area, bar, row or pie.
        columns: name and kind of each column of the answer.
        series: what has a colour of its own (values of the last dimension), so that the colours stay the
            same when a filter leaves some of it out.
    """
    import altair as alt

    kinds = dict(columns)
    drawing = _Drawing(alt, card, kinds, series)
    spec: dict[str, Any] = (drawing.pie() if card.display == "pie" else drawing.axes()).to_dict(validate=True)
    spec.pop("$schema")
    spec.pop("config", None)
    spec["data"] = {"name": "rows"}
    spec |= {"width": "container", "height": "container", "autosize": {"type": "fit", "contains": "padding"}}
    if card.display == "row":
        # Room for the figure beside the longest bar; the automatic size does not count it.
        spec["padding"] = {"left": 5, "top": 5, "bottom": 5, "right": 44}
    spec["description"] = f"{card.title}. {card.description}"
    metric = card.settings_of(card.visualization_settings.metrics[0])
    symbol = _SYMBOLS.get(metric.currency, f"{metric.currency} ")
    spec["config"] = {
        "locale": {"number": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": [symbol, ""]}}
    }
    return spec


class _Drawing:
    """One card being drawn; `alt` is handed in because importing it takes half a second."""

    def __init__(self, alt: Any, card: QuestionCard, kinds: dict[str, Kind], series: Sequence[str]) -> None:
        self.alt = alt
        self.card = card
        self.kinds = kinds
        self.series = alt.Scale(domain=list(series)) if series else alt.Undefined
        self.settings = card.visualization_settings
        self.base = alt.Chart(alt.NamedData("rows"))

    def pie(self) -> Any:
        """A ring with the share of each part in it; the legend names the parts."""
        alt = self.alt
        [dimension], [metric] = self.settings.dimensions, self.settings.metrics
        base = (
            self.base.transform_joinaggregate(floe_total=f"sum({metric})")
            .transform_calculate(floe_share=f"datum['{metric}'] / datum.floe_total")
            .encode(
                theta=alt.Theta(f"{metric}:Q", stack=True, title=self.card.title_of(metric)),
                order=alt.Order(f"{metric}:Q", sort="descending"),
                tooltip=[
                    *self._tooltip([dimension, metric]),
                    alt.Tooltip("floe_share:Q", title="Share", format=".1%"),
                ],
            )
        )
        ring = base.mark_arc(innerRadius={"expr": "min(width, height) * 0.24"}, padAngle=0.01).encode(
            color=alt.Color(
                f"{dimension}:N", title=self.card.title_of(dimension), sort=None, scale=self.series
            )
        )
        share = base.mark_text(
            radius={"expr": "min(width, height) * 0.36"}, style="on-mark", aria=False
        ).encode(text=alt.Text("floe_share:Q", format=".0%"))
        return ring + share

    def axes(self) -> Any:
        """Lines, areas, columns or rows on two axes."""
        alt, metrics = self.alt, self.settings.metrics
        metric = metrics[0]
        base = self.base
        colour: Any = alt.Undefined
        if len(metrics) > 1:
            titles = {name: self.card.title_of(name) for name in metrics}
            base = base.transform_fold(list(metrics), as_=["floe_metric", "floe_value"])
            words = " : ".join(f"datum.floe_metric === '{k}' ? {json.dumps(v)}" for k, v in titles.items())
            base = base.transform_calculate(floe_metric=f"{words} : ''")
            colour = alt.Color("floe_metric:N", title=None, sort=list(titles.values()))
            metric = "floe_value"
        elif len(self.settings.dimensions) == 2:
            second = self.settings.dimensions[1]
            colour = alt.Color(f"{second}:N", title=self.card.title_of(second), sort=None, scale=self.series)
        across, up = self._dimension(), self._metric(metric)
        row = self.card.display == "row"
        encoded: dict[str, Any] = {"x": up, "y": across} if row else {"x": across, "y": up}
        if self._is_weekly_bar():
            # Vega's weeks begin on Sundays; these begin on the day that the mart says.
            first = self.settings.dimensions[0]
            base = base.transform_calculate(floe_end=f"toDate(datum['{first}']) + {_WEEK}")
            encoded["y2" if row else "x2"] = alt.Y2("floe_end:T") if row else alt.X2("floe_end:T")
        if colour is not alt.Undefined:
            encoded["color"] = colour
            if self._has_offset():
                offset = alt.YOffset if row else alt.XOffset
                encoded["yOffset" if row else "xOffset"] = offset(colour.shorthand, sort=None)
        marks = self._mark(base.encode(**encoded, tooltip=self._tooltip(self._shown(metric))))
        if row and colour is alt.Undefined:
            # The scale stands in one layer only: Vega warns when two layers extend a domain alike.
            placed = encoded | {"x": up.copy()}
            placed["x"].scale = alt.Undefined
            marks = marks + base.encode(**placed).transform_calculate(
                floe_label=short_number(self.card.settings_of(metric), f"datum['{metric}']")
            ).mark_text(align="left", dx=4, style="beside-mark", aria=False).encode(text="floe_label:N")
        return marks

    def _is_dated(self, column: str) -> bool:
        return self.kinds[column] in ("date", "datetime")

    def _is_weekly_bar(self) -> bool:
        first = self.settings.dimensions[0]
        weekly = self.card.settings_of(first).temporal_unit == "week"
        return self._is_dated(first) and weekly and self.card.display in ("bar", "row")

    def _has_offset(self) -> bool:
        several = len(self.settings.metrics) > 1 or len(self.settings.dimensions) == 2
        return several and self.card.display in ("bar", "row") and self.settings.stack_type is None

    def _mark(self, base: Any) -> Any:
        display = self.card.display
        if display == "line":
            return base.mark_line(
                # Many points hide the line; they stay there, unseen, for the pointer to find.
                point={"size": 32, "filled": True, "opacity": {"expr": "length(data('rows')) > 90 ? 0 : 1"}},
                strokeWidth=2,
            )
        if display == "area":
            return base.mark_area(line=True, opacity=0.75)
        # One bar alone must not fill the card.
        scale = "y" if display == "row" else "x"
        offset = "Offset" if self._has_offset() else ""
        if self._is_dated(self.settings.dimensions[0]):
            return base.mark_bar()
        thickness = {"expr": f"min(56, bandwidth('{scale}{offset}') * 0.94)"}
        return base.mark_bar(**{"height" if display == "row" else "width": thickness})

    def _shown(self, metric: str) -> list[str]:
        names = [*self.settings.dimensions, metric]
        return [*names[:-1], "floe_metric", metric] if metric == "floe_value" else names

    def _dimension(self) -> Any:
        alt, name = self.alt, self.settings.dimensions[0]
        row = self.card.display == "row"
        channel = alt.Y if row else alt.X
        title = self.settings.x_axis_title
        if not self._is_dated(name):
            axis = alt.Axis(labelAngle=0, labelLimit=160 if row else 90, ticks=False)
            return channel(f"{name}:N", title=title, sort=None, axis=axis)
        unit, _ = _TIME_UNITS[self.card.settings_of(name).temporal_unit]
        weekly = self._is_weekly_bar()
        return channel(
            f"{name}:T",
            title=title,
            timeUnit=alt.Undefined if weekly else unit,
            bin="binned" if weekly else alt.Undefined,
            scale=alt.Scale(type="utc") if weekly else alt.Undefined,
            axis=alt.Axis(
                values={"expr": _WEEKS.format(length="height" if row else "width", scale="y" if row else "x")}
                if weekly
                else alt.Undefined,
                labelOverlap=True,
                labelSeparation=12,
                labelFlush=True,
                grid=False,
                format="%Y" if unit == "utcyear" else alt.Undefined,
                tickCount={"expr": f"ceil({'height' if row else 'width'} / 90)"},
                labelExpr="utcmonth(datum.value) === 0 && utcdate(datum.value) === 1"
                " ? utcFormat(datum.value, '%Y')"
                " : utcdate(datum.value) === 1 ? utcFormat(datum.value, '%b %Y')"
                " : utcFormat(datum.value, '%e %b %Y')",
            ),
        )

    def _metric(self, metric: str) -> Any:
        alt = self.alt
        settings = self.card.settings_of(self.settings.metrics[0])
        channel = alt.X if self.card.display == "row" else alt.Y
        normalized = self.settings.stack_type == "normalized" and self.card.display != "line"
        short = "format(datum.value, '.0%')" if normalized else short_number(settings, "datum.value")
        whole = settings.decimals == 0 and settings.number_style == "decimal" and not normalized
        stack: Any = {"stacked": "zero", "normalized": "normalize"}.get(self.settings.stack_type or "")
        return channel(
            f"{metric}:Q",
            title=self.settings.y_axis_title,
            # Counts that are all zero still begin at the foot of the axis.
            scale=alt.Scale(domain={"unionWith": [0, 1]})
            if whole and self.card.display in ("bar", "row")
            else alt.Undefined,
            stack=stack if self.card.display in ("bar", "row", "area") else alt.Undefined,
            axis=alt.Axis(
                # Half a customer must not have a grid line: tickMinStep alone does not keep Vega from it.
                labelExpr=f"datum.value % 1 ? '' : {short}" if whole else short,
                gridOpacity=alt.condition("datum.value % 1 !== 0", alt.value(0), alt.value(1))
                if whole
                else alt.Undefined,
                tickCount=5,
                domain=False,
                ticks=False,
            ),
        )

    def _tooltip(self, names: Sequence[str]) -> list[Any]:
        alt, tips = self.alt, []
        for name in names:
            if name == "floe_metric":
                tips.append(alt.Tooltip("floe_metric:N", title="Figure"))
            elif name == "floe_value":
                first = self.card.settings_of(self.settings.metrics[0])
                tips.append(alt.Tooltip("floe_value:Q", title="Value", format=number_format(first)))
            elif self._is_dated(name):
                unit, style = _TIME_UNITS[self.card.settings_of(name).temporal_unit]
                tips.append(
                    alt.Tooltip(f"{name}:T", title=self.card.title_of(name), timeUnit=unit, format=style)
                )
            elif self.kinds[name] == "number":
                style = number_format(self.card.settings_of(name))
                tips.append(alt.Tooltip(f"{name}:Q", title=self.card.title_of(name), format=style))
            else:
                tips.append(alt.Tooltip(f"{name}:N", title=self.card.title_of(name)))
        return tips
