"""Write the job summary, annotations and outputs of GitHub Actions (`--github`).

Annotations are workflow commands on standard error, so that standard output stays the answer;
the runner reads both. Summary and outputs go where `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT`
point; without them nothing is written. None of it changes a verdict: a file that cannot be
written is reported, and the exit code stays.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_cli.core.errors import InvalidFiles, LlmopsError, Location, Refused
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import SourceLocations
from llmops_cli.project.project import find_root
from llmops_cli.render.github import Annotation, problems, remarks, workflow_commands
from llmops_cli.render.json import output_lines, outputs
from llmops_cli.render.markdown import markdown_report
from llmops_cli.render.safe_text import clip, fenced, terminal

if TYPE_CHECKING:
    from llmops_cli.core.report import Report
    from llmops_cli.registry.fsck import RegistryGrowth

SUMMARY_BYTES = 900_000
"""GitHub drops a step's summary over 1 MiB whole."""
PROBLEM = 6_000
"""Characters of what stopped a command."""


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The runner of GitHub Actions."""

    start: Path
    """Where the command was started: in the project."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def report(self, report: Report, places: SourceLocations) -> None:
        """Show a finished run: annotations, summary and outputs."""
        self._annotate(remarks(report, self._in_repository(places)))
        self._append("GITHUB_STEP_SUMMARY", markdown_report(report, limit_bytes=SUMMARY_BYTES))
        self._append("GITHUB_OUTPUT", output_lines(outputs(report)))

    def registry_problems(self, growth: RegistryGrowth, *, strict: bool) -> None:
        """Show what is broken in a registry, each at its file."""
        broken = [problem for problem in growth.problems if strict or not problem.warning]
        if not broken:
            return
        self._annotate(
            [
                Annotation(
                    level="error",
                    title="llmops fsck",
                    message=problem.message,
                    where=self._place(Location(path=problem.where)),
                )
                for problem in broken
            ]
        )
        listed = "\n".join(f"{problem.where}: {problem.message}" for problem in broken)
        title = "### ❌ The registry is broken"
        self._append("GITHUB_STEP_SUMMARY", f"{title}\n\n{fenced(listed, PROBLEM)}\n")

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Report why llmops stops before there is a verdict, and re-raise."""
        try:
            yield
        except LlmopsError as error:
            message = f"{error.message}\n{error.hint}" if error.hint else error.message
            if isinstance(error, InvalidFiles):
                places = {
                    problem.where.path: self._place(problem.where) for problem in error.problems
                }
                self._annotate(problems(error.problems, places))
            else:
                self._annotate([Annotation(level="error", title="llmops", message=message)])
            page = f"### ⛔ No verdict\n\n{fenced(message, PROBLEM)}\n"
            self._append("GITHUB_STEP_SUMMARY", page)
            values = {
                "verdict": "ERROR",
                "exit-code": str(int(error.exit_code)),
                "problem": terminal(clip(message, characters=PROBLEM).text),
            }
            self._append("GITHUB_OUTPUT", output_lines(values))
            raise

    def _in_repository(self, places: SourceLocations) -> SourceLocations:
        return SourceLocations(
            prompts={name: self._place(place) for name, place in places.prompts.items()},
            evalsets={name: self._place(place) for name, place in places.evalsets.items()},
            cases={key: self._place(place) for key, place in places.cases.items()},
            project=None if places.project is None else self._place(places.project),
        )

    def _place(self, where: Location) -> Location:
        """Return a place in the project as one in the repository, which is what GitHub knows."""
        try:
            root = find_root(self.start)
        except Refused:
            root = self.start
        checkout = Path(self.environ.get("GITHUB_WORKSPACE") or root).resolve()
        path = (root / where.path).resolve()
        inside = path.is_relative_to(checkout)
        return Location(
            path=path.relative_to(checkout).as_posix() if inside else where.path, line=where.line
        )

    def _annotate(self, annotations: Sequence[Annotation]) -> None:
        sys.stdout.flush()
        sys.stderr.write(self._redact(workflow_commands(annotations)))

    def _append(self, variable: str, text: str) -> None:
        path = self.environ.get(variable)
        if not path:
            return
        try:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(self._redact(text))
        except OSError as error:
            print(f"llmops: {variable} cannot be written: {error.strerror}", file=sys.stderr)

    def _redact(self, text: str) -> str:
        return Redactor.of(self.environ)(text)
