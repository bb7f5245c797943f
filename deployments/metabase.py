"""`floe dashboards plan` and `apply`: from nothing to dashboards in a Metabase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from blocks.dashboard_definitions import Dashboard
from blocks.errors import ConfigurationError
from blocks.metabase import Provisioner
from blocks.metabase_client import MetabaseClient
from blocks.metabase_fields import Mart
from blocks.metabase_plan import Change
from blocks.metabase_rendering import managed_objects
from blocks.metabase_settings import Drift, MetabaseSettings
from blocks.metabase_setup import apply_database, is_fresh, make_key, plan_database
from blocks.settings import Settings

Show = Callable[[list[Change]], None]


def metabase_of(settings: Settings) -> MetabaseSettings:
    """Return the settings of the Metabase.

    Raises:
        ConfigurationError: there are none.
    """
    if settings.dashboards.metabase is None:
        raise ConfigurationError(
            "The settings name no Metabase",
            next_command="set FLOE_DASHBOARDS__METABASE__URL and FLOE_DASHBOARDS__METABASE__MARTS__..., "
            "or `floe dashboards preview` for pages that need none",
        )
    return settings.dashboards.metabase


@dataclass(frozen=True)
class Instance:
    """A Metabase as the command line provisions it.

    Attributes:
        settings: of the Metabase.
        home: where a key that is made is kept.
        dashboards: what is wanted.
        marts: what dbt says of the marts.
        drift: what becomes of what was changed by hand.
        poll_seconds: between two looks for columns.
    """

    settings: MetabaseSettings
    home: Path
    dashboards: tuple[Dashboard, ...]
    marts: list[Mart]
    drift: Drift = "refuse"
    poll_seconds: float = 2

    def plan(self) -> list[Change]:
        """Compare with what the server has; nothing is changed."""
        key = self.settings.key(self.home)
        if key is None:
            return self._plan_without_key()
        with MetabaseClient(self.settings.url, key) as client:
            return [plan_database(client, self.settings), *self._provisioner(client).plan()]

    def apply(self, show: Show, *, resend_secrets: bool = False) -> list[Change]:
        """Make everything as declared.

        Args:
            show: is given the plan before anything of it is written.
            resend_secrets: send the database's secrets again, after they were changed.

        Returns:
            What was done.
        """
        with MetabaseClient(self.settings.url, self._key(show)) as client:
            database = [plan_database(client, self.settings)]
            show(database)
            apply_database(client, self.settings, resend_secrets=resend_secrets)
            return [*database, *self._provisioner(client).apply(show)]

    def _key(self, show: Show) -> SecretStr:
        if key := self.settings.key(self.home):
            return key
        file = self.settings.key_file(self.home)
        show([Change("key", "key", str(file), "create", note="mode 0600; keep it, Metabase shows it once")])
        return make_key(self.settings, file)

    def _plan_without_key(self) -> list[Change]:
        """Say what would be made; what the server has can be read only with a key."""
        with MetabaseClient(self.settings.url) as anyone:
            fresh = is_fresh(anyone)
        first = [Change("instance", "instance", self.settings.url, "create")] if fresh else []
        return [
            *first,
            Change(
                "key",
                "key",
                str(self.settings.key_file(self.home)),
                "create",
                note="what Metabase has already can be read only with a key, so all is shown as new",
            ),
            Change("database", "database", self.settings.database, "create"),
            *(
                Change(each.kind, each.key, str(each.content["name"]), "create")
                for each in managed_objects(self.dashboards, self.settings.marts.names)
            ),
        ]

    def _provisioner(self, client: MetabaseClient) -> Provisioner:
        return Provisioner(
            client,
            self.settings.database,
            self.settings.marts.names,
            self.dashboards,
            self.marts,
            analysts=self.settings.analysts,
            drift=self.drift,
            sync_seconds=self.settings.sync_seconds,
            poll_seconds=self.poll_seconds,
        )
