"""What a run of `ingest_csv` shows of its files in the Prefect UI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from blocks.object_store import LandingBucket
from flows.dataset_files import DatasetFiles, IngestResult

LINKED = 10
"""Verdicts with a link of their own."""


@dataclass
class FilesBar:
    """The progress artifact `ingest-<dataset>`, sent only when it has moved."""

    dataset: str
    total: int
    artifact: UUID | None = None
    shown: float = -1.0

    def show(self, settled: int) -> None:
        """Show how many files are settled."""
        share = float(settled * 100 // self.total) if self.total else 100.0
        if share == self.shown:
            return
        self.shown = share
        words = f"{self.dataset}: {settled} of {self.total} files"
        if self.artifact is None:
            key = f"ingest-{self.dataset.replace('_', '-')}"
            self.artifact = cast(UUID, create_progress_artifact(share, key=key, description=words))
        else:
            update_progress_artifact(self.artifact, progress=share, description=words)


def publish_files(landing: LandingBucket, files: DatasetFiles, result: IngestResult) -> None:
    """Show what became of the files as tables, with links to the verdicts on those that were refused.

    Args:
        landing: the bucket that has the verdicts.
        files: what is there.
        result: of the run.
    """
    key = f"ingest-{result.dataset.replace('_', '-')}"
    counts = {
        "loaded": result.loaded,
        "skipped": result.skipped,
        "superseded": result.superseded,
        "quarantined": len(result.quarantined),
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == "loaded")
    shown = files.shown()
    more = f"; the {len(shown)} of most interest" if len(shown) < result.files else ""
    create_table_artifact(
        key=f"{key}-files",
        description=f"{result.files} files of {result.dataset}: {said}, {result.rows} rows, "
        f"{result.newly_loaded} loaded since the flow began{more}",
        table=shown,
    )
    if not result.quarantined:
        return
    get_run_logger().warning("%d files are quarantined", len(result.quarantined))
    create_table_artifact(
        key=f"{key}-quarantined",
        description=f"Quarantined files of {result.dataset}",
        table=[
            {"file": file.key, "reason": file.reason, "verdict": file.verdict_key}
            for file in result.quarantined
        ],
    )
    for file in result.quarantined[:LINKED]:
        if file.verdict_key is not None:
            create_link_artifact(
                landing.url(file.verdict_key),
                link_text=f"Verdict on {file.key}",
                key=f"{key}-verdict-{file.file_id[:12]}",
                description=file.reason,
            )
