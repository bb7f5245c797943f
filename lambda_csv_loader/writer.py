"""What a warehouse must be able to do for the loader."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.errors import PermanentError, TransientError

if TYPE_CHECKING:
    # Everyone who opens the warehouse has the errors from here; with pyarrow and boto3, which contract and
    # ledger need, each such process would start half a second later and be 80 MB larger.
    from lambda_csv_loader.contract import Contract
    from lambda_csv_loader.ledger import Candidate, Decision, LedgerRow, StillCurrent
    from lambda_csv_loader.settings import LoaderSettings
    from lambda_csv_loader.verdict import Reject


class WarehouseUnavailable(TransientError):
    """The warehouse does not answer, or another publisher came first."""


class TableMismatch(PermanentError):
    """The table in the warehouse does not fit the contract."""


class WarehouseRefused(PermanentError):
    """The warehouse does not let the loader in, or does not let it do this."""


class Writer(Protocol):
    """Publishes files of one dataset, together or not at all."""

    def known(self, dataset: str, file_ids: Sequence[str]) -> dict[str, LedgerRow]:
        """Return the ledger rows of these versions."""

    def publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
    ) -> list[Decision]:
        """Record the candidates and write their rows in one transaction.

        The transaction updates the dataset's row of `ops.datasets` before it reads the ledger, so
        that publishers of a dataset follow one another although nothing enforces uniqueness.

        Returns:
            A decision for each candidate, in their order.

        Raises:
            WarehouseUnavailable: nothing was written; try again.
            TableMismatch: nothing was written; the table has to be mended first.
            WarehouseRefused: nothing was written; the login or the grants have to be mended first.
        """

    def same_content(self, dataset: str, contents: Collection[str]) -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose content (sha256) is one of these."""

    def ledger(self, dataset: str, prefix: str = "") -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose keys begin with `prefix`."""

    def find(self, file_id: str) -> LedgerRow | None:
        """Return the ledger row of one version, of whatever dataset."""

    def rejects(self, file_id: str) -> list[Reject]:
        """Return the rows that one file lost."""

    def close(self) -> None:
        """Give the connection back."""


def open_writer(settings: LoaderSettings) -> Writer:
    """Return the writer of the configured warehouse; nothing is opened yet."""
    if isinstance(settings.warehouse, DuckLakeSettings):
        from lambda_csv_loader.ducklake_writer import DuckLakeWriter

        return DuckLakeWriter(settings.warehouse)
    from lambda_csv_loader.snowflake_writer import SnowflakeWriter

    return SnowflakeWriter(settings.warehouse)
