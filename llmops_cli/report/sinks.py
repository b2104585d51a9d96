"""Takes a finished run to every form of report that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, Report
from llmops_cli.report.case_stream import stream_run, stream_stored
from llmops_cli.run.run_loop import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """All that a form of report may be made of."""

    report: Report
    redact: Redactor
    cases: Callable[[], AbstractContextManager[CaseStream]]
    """Opens every case, worst first; of an earlier run without a file, those that were shown."""
    run: Run | None = None
    """None: the run was read from a file."""


Sink: TypeAlias = Callable[[FinishedRun], None]
"""Writes one form of report to its place. Raises `Unmeasured` where the disk refuses."""


def write_reports(sinks: Iterable[Sink], run: Run, report: Report, redact: Redactor) -> None:
    """Write every form of a run that is over. The store must be open: texts are read from it."""
    finished = FinishedRun(
        report=report, redact=redact, cases=lambda: nullcontext(stream_run(run)), run=run
    )
    for write in sinks:
        write(finished)


def write_earlier_reports(
    sinks: Iterable[Sink], report: Report, file: Path | None, redact: Redactor
) -> None:
    """Write every form of an earlier run: of a run file every case, else what `report` shows."""
    finished = FinishedRun(report=report, redact=redact, cases=lambda: stream_stored(report, file))
    for write in sinks:
        write(finished)
