"""Dashboards as files: what `deployments/dashboards/*.yaml` may say, and reading it.

One file is one dashboard. Names follow Metabase where it has one (`display`, `visualization_settings`,
`column_settings`, template tags, the 24-wide grid), so that Metabase can be provisioned from the same
files: https://www.metabase.com/docs/latest/questions/native-editor/sql-parameters. Three things are
ours: a query names marts as `{{ ref('fct_sales') }}`, as dbt does, never a physical schema; a field is
named `model.column`, never by a number; `column_settings` are keyed by the column's bare name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

GRID_WIDTH = 24

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
ModelColumn = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")]

Display = Literal["line", "bar", "row", "area", "pie", "scalar", "smartscalar", "table"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Owner(_Part):
    """Who answers for a dashboard; named in every error about it."""

    name: Text
    email: Text

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Filter(_Part):
    """A control above the cards. Cards take its value by a template tag of the same name."""

    key: Key
    title: Text
    type: Literal["date/all-options", "string/="]
    field: ModelColumn = Field(description="mart column that the choices come from")


class TemplateTag(_Part):
    """How a query uses a filter.

    `dimension` is a field filter: `{{tag}}` stands for a whole condition on a mart column, and the
    query must not give that mart an alias. `text` is a plain variable: `{{tag}}` stands for the value,
    and may only stand in an optional clause.
    """

    type: Literal["dimension", "text"] = "dimension"
    dimension: ModelColumn | None = None


class ColumnSettings(_Part):
    """How a column of the answer is shown."""

    column_title: Text | None = None
    number_style: Literal["decimal", "currency", "percent"] = "decimal"
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    decimals: int | None = Field(None, ge=0, le=6)
    suffix: str = ""
    temporal_unit: Literal["day", "week", "month", "quarter", "year"] = "day"


class VisualizationSettings(_Part):
    """What a card draws from which columns of its answer; keys as in Metabase."""

    dimensions: tuple[Key, ...] = Field((), alias="graph.dimensions", max_length=2)
    metrics: tuple[Key, ...] = Field((), alias="graph.metrics")
    x_axis_title: Text | None = Field(None, alias="graph.x_axis.title_text")
    y_axis_title: Text | None = Field(None, alias="graph.y_axis.title_text")
    stack_type: Literal["stacked", "normalized"] | None = Field(None, alias="stackable.stack_type")
    comparisons: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1,), alias="scalar.comparisons", description="smartscalar: compare with the value so many rows ago"
    )
    switch_positive_negative: bool = Field(
        False, alias="scalar.switch_positive_negative", description="a fall is good"
    )
    column_settings: dict[Key, ColumnSettings] = Field(default_factory=dict)


class Position(_Part):
    """Where a card stands on its tab: a grid 24 wide, rows of about 50 pixels."""

    row: int = Field(ge=0)
    col: int = Field(ge=0, lt=GRID_WIDTH)
    size_x: int = Field(ge=1, le=GRID_WIDTH)
    size_y: int = Field(ge=1)

    def overlaps(self, other: Position) -> bool:
        """Return whether the two cover a common cell."""
        return (
            self.col < other.col + other.size_x
            and other.col < self.col + self.size_x
            and self.row < other.row + other.size_y
            and other.row < self.row + self.size_y
        )


class TextCard(_Part):
    """Words between the charts, in Markdown."""

    display: Literal["text"]
    text: Text
    position: Position


class QuestionCard(_Part):
    """One query and the way its answer is drawn."""

    key: Key
    title: Text
    description: Text
    display: Display
    query: Text
    template_tags: dict[Key, TemplateTag] = Field(default_factory=dict, alias="template-tags")
    visualization_settings: VisualizationSettings = VisualizationSettings()
    position: Position

    def settings_of(self, column: str) -> ColumnSettings:
        """Return how `column` is shown."""
        return self.visualization_settings.column_settings.get(column, ColumnSettings())

    def title_of(self, column: str) -> str:
        """Return the heading of `column`: its own, else its name in words."""
        return self.settings_of(column).column_title or column.replace("_", " ").capitalize()


Card = Annotated[TextCard | QuestionCard, Field(discriminator="display")]


class Tab(_Part):
    """A page of cards."""

    key: Key
    title: Text
    cards: tuple[Card, ...] = Field(min_length=1)

    @property
    def questions(self) -> tuple[QuestionCard, ...]:
        """The cards that ask the warehouse something."""
        return tuple(card for card in self.cards if isinstance(card, QuestionCard))


class Dashboard(_Part):
    """One dashboard: what it is for, whose it is, its filters, and its tabs of cards."""

    key: Key
    title: Text
    description: Text
    owner: Owner
    collection: Text
    collection_position: int = Field(1, ge=1, description="order in the navigation")
    recipients: tuple[Address, ...] = Field((), description="of its report by mail; by default the owner")
    data_as_of: ModelColumn = Field(description="mart column whose latest value dates the data")
    filters: tuple[Filter, ...] = ()
    tabs: tuple[Tab, ...] = Field(min_length=1)

    @property
    def questions(self) -> tuple[QuestionCard, ...]:
        """Every card of every tab that asks the warehouse something."""
        return tuple(card for tab in self.tabs for card in tab.questions)
