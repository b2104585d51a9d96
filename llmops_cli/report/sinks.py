"""Write a finished run in every requested report format."""

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
    """The input of every report format."""

    report: Report
    redact: Redactor
    cases: Callable[[], AbstractContextManager[CaseStream]]
    """Opens every case, worst first; of an earlier run without a file, those that were shown."""
    run: Run | None = None
    """None: the run was read from a file."""


Sink: TypeAlias = Callable[[FinishedRun], None]
"""Writes one report format. Raises `Unmeasured` if the disk refuses."""


def write_reports(sinks: Iterable[Sink], run: Run, report: Report, redact: Redactor) -> None:
    """Write every format of a finished run. The store must be open: texts are read from it."""
    finished = FinishedRun(
        report=report, redact=redact, cases=lambda: nullcontext(stream_run(run)), run=run
    )
    for write in sinks:
        write(finished)


def write_earlier_reports(
    sinks: Iterable[Sink], report: Report, file: Path | None, redact: Redactor
) -> None:
    """Write every format of an earlier run: every case of a run file, else those in `report`."""
    finished = FinishedRun(report=report, redact=redact, cases=lambda: stream_stored(report, file))
    for write in sinks:
        write(finished)
