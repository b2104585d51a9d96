"""Where a command's values leave the program: standard output, files, a progress line.

Standard output carries the answer alone, so that `--json` can be piped; what happens meanwhile
goes to standard error. Files are written whole or not at all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from llmops_cli.core.codec import to_plain
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import ExitCode, UnknownName
from llmops_cli.core.plan import Plan
from llmops_cli.core.prompt import Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import Report
from llmops_cli.render.console import console_report
from llmops_cli.render.diff import console_difference
from llmops_cli.render.formatting import plural
from llmops_cli.render.json import as_json, json_report, table_json
from llmops_cli.render.markdown import markdown_report
from llmops_cli.render.plan import console_plan
from llmops_cli.render.progress import RunProgress
from llmops_cli.render.report_schema import report_schema
from llmops_cli.render.safe_text import terminal, terminal_line
from llmops_cli.render.tables import SharedCounter, table
from llmops_cli.stores.atomic import write_text

if TYPE_CHECKING:
    from llmops_cli.core.plan import Probed
    from llmops_cli.core.report import Difference
    from llmops_cli.judges.calibrate import CalibrationResult
    from llmops_cli.judges.labels import Draft
    from llmops_cli.registry.fsck import RegistryGrowth
    from llmops_cli.registry.promote import Promotion
    from llmops_cli.registry.rollback import Rollback
    from llmops_cli.registry.verify import RegistryProblem, Verification


CI_WIDTH = 100
"""Columns where standard output is no terminal."""
NARROWEST = 20
"""Columns: with fewer, nothing can be read."""
WIDEST = 1000
"""Columns: with more, nothing is gained."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How one command was asked to say what it says."""

    as_json: bool = False
    junit: Path | None = None
    markdown: Path | None = None
    verbose: bool = False
    quiet: bool = False
    started: float = field(default_factory=time.monotonic)

    def progress(self) -> RunProgress:
        """A progress line on standard error."""
        return RunProgress(Console(stderr=True, highlight=False))

    def report(self, report: Report, *, timed: bool = True) -> None:
        """Print the report, `timed` with the time it took, and write the files asked for."""
        seconds = time.monotonic() - self.started if timed else None
        if self.as_json:
            self._text(json_report(report))
        else:
            self._render(
                console_report(report, verbose=self.verbose, quiet=self.quiet, seconds=seconds)
            )
        if self.markdown is not None:
            self._file(self.markdown, markdown_report(report))
        if self.junit is not None:
            from llmops_cli.render.junit import junit_report

            self._file(self.junit, junit_report(report))

    def plan(self, plan: Plan) -> None:
        """Prints what a run would do."""
        if self.as_json:
            self._text(table_json([as_json(plan)]))
        else:
            self._render(console_plan(plan))

    def rows(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[SharedCounter]],
        *,
        beside: Mapping[str, Sequence[object]] | None = None,
        empty: str = "",
    ) -> None:
        """Prints a table, or as JSON one object per row, with what is `beside` it for every row.

        Where there is no row, `empty` is said instead of a table.
        """
        rows = list(rows)
        if self.as_json:
            keys = [header.replace(" ", "_") for header in headers]
            objects = [dict[str, Json](zip(keys, row, strict=True)) for row in rows]
            for name, values in (beside or {}).items():
                for each, value in zip(objects, values, strict=True):
                    each[name] = to_plain(value)
            self._text(table_json(objects))
        elif rows:
            self._render(table(headers, rows))
        elif empty:
            self._text(f"{empty}\n")

    def probed(self, found: Probed) -> None:
        """Prints what works with each model, why not, and what asking took."""
        from llmops_cli.render.plan import probe_cost, probe_notes, probes_table

        if self.as_json:
            self._text(json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
            return
        self._render(probes_table(found))
        for note in probe_notes(found):
            self._text(f"note  {terminal_line(note)}\n")
        self._text(f"{probe_cost(found)}\n")

    def promotion(self, address: str, done: Promotion) -> None:
        """Says whether an environment was moved, and why or why not."""
        if self.as_json:
            self._text(table_json([as_json(done)]))
            return
        event = done.event
        if event is not None and done.exit_code == ExitCode.DONE:
            self._text(f"{event.environment} runs {address}  (event {event.seq})\n")
        else:
            self._text(f"not promoted: {address}\n")
        self._text(f"  {done.why}\n")
        if done.hint:
            self._text(f"next  {done.hint}\n")

    def rolled_back(self, done: Rollback) -> None:
        """Says where an environment stands now, and what is left to do."""
        if self.as_json:
            self._text(table_json([as_json(done)]))
            return
        event = done.event
        self._text(f"{event.environment} runs {done.now.address}  (event {event.seq})\n")
        self._text(f"  {done.left.address} is quarantined: {event.reason}\n")
        for change in done.breaking:
            self._text(f"note  {change}: callers of {done.left.address} must know\n")
        if done.still_in_working_copy:
            name = done.left.name
            self._text(
                f"next  the working copy still is {done.left.address}: revert or mend {name}\n"
            )

    def calibrated(self, done: CalibrationResult) -> None:
        """Prints what a calibration found."""
        from llmops_cli.render.calibration import console_calibration, spending

        assert done.calibration is not None
        if self.as_json:
            self._text(table_json([as_json(done)]))
            return
        spent = spending(done.calls, done.reused, done.cost)
        self._render(
            console_calibration(
                done.calibration, causes=done.causes, spent=spent, replaced=done.replaced
            )
        )

    def drafted(self, done: Draft) -> None:
        """Says what is to be labelled."""
        if self.as_json:
            self._text(table_json([as_json(done)]))
            return
        self._text(
            f"{done.path}: {done.answers:,} of {plural(done.stored, 'stored answer')} of "
            f"{terminal(' and '.join(done.sides))}\n"
            "  fill in `label` in every row: pass or fail, or a grade or class of the scorer\n"
            f"next  llmops calibrate {done.address} --labels {done.path}\n"
        )

    def difference(self, found: Difference) -> None:
        """Prints two versions' differences."""
        if self.as_json:
            self._text(table_json([as_json(found)]))
        else:
            self._render(console_difference(found))

    def verification(self, found: Verification, *, strict: bool) -> None:
        """Prints what was proven and what is not as it must be."""
        if self.as_json:
            self._text(table_json([as_json(found)]))
            return
        from llmops_cli.render.calibration import brief

        for prompt in found.prompts:
            version = "?" if prompt.version is None else f"v{prompt.version}"
            self._text(
                f"{prompt.prompt}@{version}  {plural(prompt.events, 'event')}, "
                f"{plural(prompt.verdicts, 'verdict')} computed again\n"
            )
            for judge in prompt.judges:
                self._text(f"  judge {judge.address}: {brief(judge)}\n")
            for name in prompt.uncalibrated:
                self._text(f"  judge {name}: not calibrated\n")
            self._problems(prompt.problems, strict=strict)
        self._problems(found.bundle, strict=strict)
        told = "holds" if found.passes(strict=strict) else "does NOT hold"
        self._text(f"{found.environment} {told}: {plural(len(found.prompts), 'prompt')}\n")

    def growth(self, found: RegistryGrowth, *, strict: bool) -> None:
        """Prints what came since a revision and what is not as it must be."""
        if self.as_json:
            self._text(table_json([as_json(found)]))
            return
        since = "in all" if found.base is None else f"since {found.base}"
        self._text(
            f"{since}: {plural(found.versions, 'version')}, "
            f"{plural(found.evidence, 'piece')} of evidence, {plural(len(found.events), 'event')}\n"
        )
        for event in found.events if found.base is not None else ():
            moved = f"{event.prompt}@v{event.to_version.number}" if event.to_version else ""
            why = f": {event.reason}" if event.reason else ""
            self._text(f"  {event.action}  {moved} in {event.environment}{why}\n")
        self._problems(found.problems, strict=strict)
        if found.base is None:
            holds = found.passes(strict=strict)
            self._text("the registry holds\n" if holds else "the registry does NOT hold\n")
            return
        if found.passes(strict=strict):
            self._text("the registry has only grown\n")
            return
        self._text("the registry has NOT only grown\n")
        self._text(
            f"next  if this branch only lags behind {found.base}: git merge {found.base}; "
            f"else git checkout {found.base} -- FILE\n"
        )

    def _problems(self, problems: Iterable[RegistryProblem], *, strict: bool) -> None:
        for problem in problems:
            word = "warning" if problem.warning and not strict else "BROKEN"
            self._text(f"  {word}  {problem.where}: {problem.message}\n")

    def agreed(self, question: str) -> bool:
        """Whether a person at a terminal says yes; nobody is asked elsewhere."""
        if self.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        return typer.confirm(question)

    def price(self, plan: Plan) -> str:
        """What a plan would call: `120 calls, about $0.03`."""
        cost = "at a price that is not known" if plan.cost is None else f"about ${plan.cost:.2f}"
        return f"{plan.calls} calls, {cost}"

    def unmeasured(self, report: Report) -> str:
        """Why a run measured too little."""
        return "; ".join(each.verdict.why for each in report.prompts)

    def request(self, request: Request) -> None:
        """Prints what is sent to a model."""
        if self.as_json:
            self._text(table_json([as_json(request)]))
            return
        parameters = " ".join(f"{name}={value}" for name, value in request.parameters.items())
        self._text(f"{request.provider}/{request.model}  {parameters}".rstrip() + "\n")
        if request.document is not None:
            text = json.dumps(as_json(request.document), indent=2, ensure_ascii=False)
            self._text(f"\n--- document\n{terminal(text)}\n")
        for message in request.messages:
            content = message.content
            text = content if isinstance(content, str) else json.dumps(as_json(content))
            self._text(f"\n--- {message.role}\n{terminal(text)}\n")
        self._text(f"\n{request.digest}\n")

    def schema(self, schemas: Mapping[str, Mapping[str, Any]], name: str | None) -> None:
        """Prints one schema, or the names there are."""
        every = {**schemas, "report": report_schema()}
        if name is None:
            self._text("".join(f"{each}\n" for each in every))
        elif name in every:
            self._text(json.dumps(every[name], indent=2, ensure_ascii=False) + "\n")
        else:
            raise UnknownName("schema", name, every)

    def objects(self, values: Iterable[Mapping[str, Json]]) -> None:
        """Prints values as JSON."""
        self._text(table_json(values))

    def say(self, line: str) -> None:
        """Prints one line of the answer; nothing where JSON is asked for."""
        if not self.as_json:
            self._text(line + "\n")

    def _render(self, renderable: RenderableType) -> None:
        console = Console(width=_width(), highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(renderable)
        self._text(capture.get())

    def _text(self, text: str) -> None:
        redact = Redactor.of(os.environ)
        sys.stdout.write(redact(text))

    def _file(self, path: Path, text: str) -> None:
        write_text(path, text, redact=Redactor.of(os.environ))


def _width() -> int | None:
    """Columns to write in; None: what the terminal has."""
    if sys.stdout.isatty():
        return None
    wanted = os.environ.get("COLUMNS", "")
    if not wanted.isdecimal() or not int(wanted[:9]):
        return CI_WIDTH
    return min(max(int(wanted[:9]), NARROWEST), WIDEST)
