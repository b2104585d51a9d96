"""The exceptions of llmops and their exit codes.

    LlmopsError
    ├── Refused              2   the person at the keyboard can fix it
    │   ├── InvalidFiles     2   every problem in the files a person wrote, at once
    │   ├── UnknownName      2   a prompt, version, model … that is not there
    │   ├── MissingExtra     2   an optional library that is not installed
    │   └── IntegrityBroken  2   what the registry holds is not what was written
    └── Unmeasured           3   an outside cause: provider, git, disk, budget

Exit code 1 belongs to the verdict FAIL alone; no exception carries it. What goes wrong in one
call is not an exception but a value (`core.result.Failure`): a failed trial is data, not a crash.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self


class ExitCode(IntEnum):
    """The process's answer to a pipeline (docs/commands.md)."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    INCOMPLETE = 3
    INCONCLUSIVE = 4
    BUG = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class LlmopsError(Exception):
    """The base of all errors with a message for the user. `hint` says what to do next and is
    printed on its own line.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(LlmopsError):
    """A mistake in usage, configuration or files that the user can fix; `place` is its line."""

    exit_code = ExitCode.REFUSED

    place: Location | None = None

    def at(self, place: Location | None) -> Self:
        """Give it the line that it is about, and return it."""
        if place is not None and self.place is None:
            self.place, self.message = place, f"{place}: {self.message}"
            self.args = (self.message,)
        return self

    def problem(self, default: Location) -> Problem:
        """Return it as a problem of its line, or of `default`."""
        message = self.message.removeprefix(f"{self.place}: ")
        return Problem(where=self.place or default, message=message, hint=self.hint)


class Unmeasured(LlmopsError):
    """Something that had to be measured or written could not be."""

    exit_code = ExitCode.INCOMPLETE


class IntegrityBroken(Refused):
    """A file under `.llmops/` doesn't match its digest or its chain."""

    def __init__(self, why: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(why if where is None else f"{where}: {why}", hint=hint)
        self.why = why
        self.where = where


class MissingExtra(Refused):
    """An optional library is needed: names the `pip install` that brings it."""

    def __init__(self, feature: str, *, extra: str) -> None:
        super().__init__(
            f"{feature} needs a library that is not installed",
            hint=f"pip install 'llmops-cli[{extra}]'",
        )


class UnknownName(Refused):
    """An unknown name, with the most similar known one."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        super().__init__(f"unknown {what} {name!r}", hint=suggestion(name, choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in a file: path relative to the project, 1-based line (None: the whole file)."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem in a project file."""

    where: Location
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.message}{tail}"


class InvalidFiles(Refused):
    """All problems of a project's files, in file and line order, before any call was made."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.where.path, problem.where.line or 0))
        )
        count = len(self.problems)
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in the project's files\n"
            + "\n".join(f"  {problem}" for problem in self.problems)
        )


def suggestion(name: str, known: Sequence[str]) -> str | None:
    """Return a "did you mean …?" with the nearest known name, or the known names."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    if near:
        return f"did you mean {near[0]!r}?"
    if not known:
        return None
    shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    return f"known: {shown}"
