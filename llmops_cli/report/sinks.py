"""Writes the run file, and every case as page or table, while the store is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, Report
from llmops_cli.report.case_stream import stream_run
from llmops_cli.report.run_file import entries_of, manifest_of
from llmops_cli.run.run_loop import Run
from llmops_cli.stores.run_file import write_run

TakeCases: TypeAlias = Callable[[Report, CaseStream, Redactor], None]
"""Takes the report, every case while the store is open, and what removes secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """What is to be written of a run beside its report."""

    out: Path | None = None
    """The run file."""
    cases_to: Sequence[TakeCases] = ()

    def write(self, run: Run, report: Report, redact: Redactor) -> None:
        """Write all of it. Raises `Unmeasured` where the disk refuses."""
        if self.out is not None:
            write_run(self.out, manifest_of(run, report), entries_of(run), redact=redact)
        for take in self.cases_to:
            take(report, stream_run(run), redact)
