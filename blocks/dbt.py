"""dbt as flows see it: one subprocess, its events while it runs, and a verdict at its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from blocks.changed_nodes import CODE, EVERYTHING, PublishedBuild, Selection
from blocks.dbt_events import DbtResult, NodeEvent, listed, parse_event, verdict
from blocks.dbt_failures import without
from blocks.dbt_retry import KINDS, MANIFEST, RESULTS, KeptResults, Remaining, asked_of, digest_of, forget
from blocks.errors import ConfigurationError
from blocks.settings import ROOT
from blocks.strict_block import StrictBlock
from blocks.warehouse import Warehouse

PROJECT = ROOT / "dbt"


class DbtProject(StrictBlock):
    """Floe's dbt project with the warehouse it builds in."""

    _block_type_name = "Floe dbt Project"
    _block_type_slug = "floe-dbt-project"
    _description = "Runs the dbt project in a subprocess and reports each node."

    warehouse: Warehouse
    output: Path = Field(description="folder for dbt's target and log folders")
    threads: int | None = Field(None, ge=1, description="nodes built at once; empty for the profile's")
    schema_prefix: str = Field("", description="put before each schema's name; empty in production")
    project: Path | None = Field(None, description="folder of the dbt project; empty for Floe's own")

    def run(
        self,
        arguments: list[str],
        on_event: Callable[[NodeEvent], None],
        remaining: Remaining | None = None,
        selection: Selection = EVERYTHING,
    ) -> DbtResult:
        """Run dbt and report each node as it starts and ends.

        Args:
            arguments: the dbt command and its options, e.g. `["build", "--full-refresh"]`.
            on_event: called for each event, in this thread.
            remaining: of a failed build with these arguments; only that is run.
            selection: what is to be built; a retry goes by what the failed build had, and looks at all rows.

        Returns:
            Every node's end, when none failed; of what was done before, too.

        Raises:
            DbtFailed: a node failed; the message names each with dbt's words, and of a test how many rows
                failed and the query that shows them.
            ConfigurationError: dbt could not start, parse or compile the project.
        """
        results, secrets = self._target / RESULTS, self.warehouse.secrets()

        def on_line(line: str) -> str | None:
            event = parse_event(line, secrets)
            if isinstance(event, NodeEvent):
                on_event(event)
                return None
            return event

        if remaining is None:
            self._dbt([*arguments, *selection.options], on_line, [results], selection.environment)
            return verdict(json.loads(results.read_text()), arguments[0], self._target, secrets)
        found = remaining.done
        if remaining.nodes:
            self._dbt(["retry", "--state", str(remaining.state)], on_line, [results])
            found = remaining.with_results(json.loads(results.read_text()))
        # Also for a retry of this retry.
        results.write_text(json.dumps(found))
        return verdict(found, arguments[0], self._target, secrets)

    def document(self, page: Path) -> None:
        """Write dbt's documentation of every source, model, column and test, with their lineage, as one page.

        Args:
            page: the file, replaced in one go. It needs no server and asks no other host for anything.

        Raises:
            ConfigurationError: dbt could not start, parse or compile the project.
        """
        static = self._target / "static_index.html"
        self._dbt(["docs", "generate", "--static"], self._error, [static])
        page.parent.mkdir(parents=True, exist_ok=True)
        partial = page.with_suffix(".partial")
        shutil.copyfile(static, partial)
        partial.replace(page)

    def keep(self, run: str, arguments: list[str]) -> None:
        """Keep on this host what dbt said of the build that failed just now, and nothing of others.

        Args:
            run: of the build.
            arguments: of the build.
        """
        self.kept(run).keep(self._target, self._asked(arguments))

    def kept(self, run: str) -> KeptResults:
        """Return what this host has of a failed build."""
        return KeptResults(self._kept / run)

    def remaining(self, kept: KeptResults, arguments: list[str]) -> Remaining:
        """Compare the project with what it was in a failed build; return what of the build is left to do.

        Args:
            kept: of the build.
            arguments: with which it is to go on.

        Raises:
            WholeBuildNeeded: the project or the arguments differ so that everything has to be built.
            ConfigurationError: dbt cannot parse the project.
        """
        kept.check(self._asked(arguments), undoes_failed_nodes=self.warehouse.undoes_failed_nodes())
        modified: list[str] = []

        def on_line(line: str) -> str | None:
            name = listed(line)
            if name is None:
                return self._error(line)
            modified.append(name)
            return None

        state = ["--select", "state:modified", "--state", str(kept.state)]
        manifest = self._target / MANIFEST
        self._dbt(["list", *state, "--output", "json", "--output-keys", "unique_id"], on_line, [manifest])
        return kept.remaining(self._target, modified)

    @property
    def published(self) -> PublishedBuild:
        """What this host has of the build that was published last."""
        return PublishedBuild(self.output / "published")

    def keep_published(self, publication_id: str, asked: Mapping[str, Any]) -> None:
        """Keep what dbt said of the build that was published just now, and forget the failed ones.

        Args:
            publication_id: of the set.
            asked: what `asked_of_published` said before the build began.

        Raises:
            OSError: it cannot be written; the next build then builds everything.
        """
        forget(self._kept)
        self.published.keep(self._target, asked, publication_id)

    def asked_of_published(self) -> dict[str, Any]:
        """Return what decides about every node of a build of what has changed, by what it is called.

        Ask before dbt reads the project: files that change while it builds are others for the next build.
        The macros are part of it: dbt's comparison of states does not see those that dbt itself calls, such
        as materializations.
        """
        project = self.project or PROJECT
        code = [digest_of(project / folder) for folder in ("models", "snapshots", "tests")]
        return self._asked([]) | {"macros": digest_of(project / "macros"), CODE: code}

    def built(self) -> dict[str, str]:
        """Return what a build of everything would run, of the project as dbt has parsed it last.

        Returns:
            By dbt's id, the schema of its relation in lower case; of a test that of its failures.
        """
        nodes = json.loads((self._target / MANIFEST).read_text())["nodes"]
        return {
            name: node["schema"].lower()
            for name, node in nodes.items()
            if name.startswith(KINDS) and node["config"]["materialized"] != "ephemeral"
        }

    def _asked(self, arguments: list[str]) -> dict[str, Any]:
        asked = {
            "options of the build": arguments,
            "target": self.warehouse.dbt_target(),
            "schema prefix": self.schema_prefix,
        }
        return asked_of(self.project or PROJECT, asked)

    def _error(self, line: str) -> str | None:
        """Return the error of dbt itself that a line of its log tells of."""
        event = parse_event(line, self.warehouse.secrets())
        return event if isinstance(event, str) else None

    @property
    def _target(self) -> Path:
        return self.output / "target"

    @property
    def _kept(self) -> Path:
        return self.output / "failed"

    def _dbt(
        self,
        arguments: list[str],
        on_line: Callable[[str], str | None],
        writes: list[Path],
        environment: Mapping[str, str] = EVERYTHING.environment,
    ) -> None:
        """Run a dbt command; nodes may fail in it, dbt itself may not.

        Args:
            arguments: the command and its options.
            on_line: called for each line of its log; returns an error of dbt itself.
            writes: files that it writes unless it fails; deleted before.
            environment: more variables for the project.
        """
        for file in writes:
            file.unlink(missing_ok=True)
        errors: list[str] = []
        with (
            tempfile.TemporaryFile("w+") as stderr,
            _dbt(self._command(arguments), {**self._env(), **environment}, stderr) as process,
        ):
            assert process.stdout is not None  # noqa: S101 - stdout=PIPE was asked for
            errors += filter(None, map(on_line, process.stdout))
            code = process.wait()
            stderr.seek(0)
            errors += without(self.warehouse.secrets(), stderr.read()).splitlines()[-5:]
        if code not in (0, 1) or not all(file.exists() for file in writes):
            raise ConfigurationError(
                f"dbt {arguments[0]} ended with code {code}: {' | '.join(errors[-5:]) or 'no message'}",
                state="nothing was published",
                next_command=f"read {self.output / 'logs' / 'dbt.log'}",
            )

    def _command(self, arguments: list[str]) -> list[str]:
        options = ["--target", self.warehouse.dbt_target()]
        if self.threads is not None:
            options += ["--threads", str(self.threads)]
        project = str(self.project or PROJECT)
        folders = ["--project-dir", project, "--profiles-dir", project]
        log = ["--log-format", "json", "--log-level", "info", "--no-use-colors"]
        module = [sys.executable, "-m", "blocks.dbt_process"]
        return [*module, *arguments, *options, *folders, *log]

    def _env(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.warehouse.dbt_environment(),
            "DBT_TARGET_PATH": str(self._target),
            "DBT_LOG_PATH": str(self.output / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "FLOE_DBT_SCHEMA_PREFIX": self.schema_prefix,
        }


@contextmanager
def _dbt(command: list[str], env: dict[str, str], stderr: Any) -> Iterator[subprocess.Popen[str]]:
    """Run dbt in a process group of its own and end the whole group however the block is left."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=env,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
