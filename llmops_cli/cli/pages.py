"""The report as a page for a browser: written where it was asked for, and opened there.

What makes the page is imported where one is asked for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from llmops_cli.core.record import CaseRecords
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import Report
from llmops_cli.flows.report.forms import TakeCases
from llmops_cli.stores.atomic import write_stream

OPENED = Path(".llmops") / "store" / "report.html"
"""Where the page goes that is opened and that nobody gave a name: git does not see it."""


def page_at(path: Path | None) -> list[TakeCases]:
    """What writes the page to `path`; nothing where none is asked for."""
    if path is None:
        return []

    def write(report: Report, records: CaseRecords, redact: Redactor) -> None:
        write_page(path, report, records, redact)

    return [write]


def write_page(path: Path, report: Report, records: CaseRecords, redact: Redactor) -> None:
    """Writes the page piece by piece, wholly or not at all."""
    from llmops_cli.render.html.page import html_report

    def fill(file: BinaryIO) -> None:
        for piece in html_report(report, records, redact=redact):
            file.write(piece.encode())

    write_stream(path, fill)


def write_kept_page(path: Path, report: Report, file: Path | None) -> None:
    """Writes the page of a run that is over: of a run file every case, else what is shown."""
    from llmops_cli.flows.report.filed import kept

    redact = Redactor.of(os.environ)
    with kept(report, file) as records:
        write_page(path, report, records, redact)


def open_page(path: Path) -> bool:
    """Opens a browser on the page; False where there is none, or nobody to look at it."""
    import webbrowser

    environ = os.environ
    screen = sys.platform != "linux" or "DISPLAY" in environ or "WAYLAND_DISPLAY" in environ
    if environ.get("CI") or not (screen or environ.get("BROWSER")):
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        return False
