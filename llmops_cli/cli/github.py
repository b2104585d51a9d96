"""What a command tells GitHub Actions: a job summary, annotations and outputs (`--github`).

Annotations are workflow commands on standard error, so that standard output stays the answer;
the runner reads both. Summary and outputs go where `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT`
point; without them nothing is written. None of it changes a verdict: a file that cannot be
written is said, and the exit code stays.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from llmops_cli.render.safe_text import clip, markdown_code, terminal

if TYPE_CHECKING:
    from llmops_cli.core.report import Report
    from llmops_cli.registry.fsck import RegistryGrowth


SUMMARY_BYTES = 900_000
"""GitHub drops a step's summary over 1 MiB whole."""
_PROBLEM = 6_000


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The surroundings that a runner of GitHub Actions gives to a step."""

    start: Path
    """Where the command was started: in the project."""
    wanted: bool = True
    """Whether anything is to be told."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def report(
        self, report: Report, places: Callable[[], SourceLocations], *, exit_code: int
    ) -> None:
        """Shows a finished run everywhere; `places` is asked only where that is wanted."""
        if not self.wanted:
            return
        self._annotate(remarks(report, self._in_repository(places())))
        self._append("GITHUB_STEP_SUMMARY", markdown_report(report, limit_bytes=SUMMARY_BYTES))
        self._append("GITHUB_OUTPUT", output_lines(outputs(report, exit_code=exit_code)))

    def growth(self, found: RegistryGrowth, *, strict: bool) -> None:
        """Shows what is broken in a registry, each at its file."""
        broken = [each for each in found.problems if strict or not each.warning]
        if not (self.wanted and broken):
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
        listed = "\n".join(f"{each.where}: {each.message}" for each in broken)
        page = f"### ❌ The registry is not as it must be\n\n{_fenced(listed)}\n"
        self._append("GITHUB_STEP_SUMMARY", page)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Shows why there is no verdict, where llmops stops before one, and lets it stop."""
        try:
            yield
        except LlmopsError as error:
            if not self.wanted:
                raise
            told = f"{error.message}\n{error.hint}" if error.hint else error.message
            if isinstance(error, InvalidFiles):
                places = {each.where.path: self._place(each.where) for each in error.problems}
                self._annotate(problems(error.problems, places))
            else:
                self._annotate([Annotation(level="error", title="llmops", message=told)])
            self._append("GITHUB_STEP_SUMMARY", f"### ⛔ No verdict\n\n{_fenced(told)}\n")
            values = {
                "verdict": "ERROR",
                "exit-code": str(int(error.exit_code)),
                "problem": terminal(clip(told, characters=_PROBLEM).text),
            }
            self._append("GITHUB_OUTPUT", output_lines(values))
            raise

    def _in_repository(self, places: SourceLocations) -> SourceLocations:
        return SourceLocations(
            prompts={name: self._place(each) for name, each in places.prompts.items()},
            evalsets={name: self._place(each) for name, each in places.evalsets.items()},
            cases={key: self._place(each) for key, each in places.cases.items()},
            project=None if places.project is None else self._place(places.project),
        )

    def _place(self, where: Location) -> Location:
        """A place in the project as a place in the repository, which is what GitHub knows."""
        root = self._root()
        checkout = Path(self.environ.get("GITHUB_WORKSPACE") or root).resolve()
        path = (root / where.path).resolve()
        inside = path.is_relative_to(checkout)
        return Location(
            path=path.relative_to(checkout).as_posix() if inside else where.path, line=where.line
        )

    def _root(self) -> Path:
        try:
            return find_root(self.start)
        except Refused:
            return self.start

    def _annotate(self, given: Sequence[Annotation]) -> None:
        sys.stdout.flush()
        sys.stderr.write(self._redact(workflow_commands(given)))

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


def _fenced(text: str) -> str:
    cut = clip(text, characters=_PROBLEM)
    return markdown_code(cut.text) + (f"\n\n*… {cut.remark}*" if cut.remark else "")
