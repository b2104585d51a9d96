"""Problems of a registry, each with its file, as `verify` and `fsck` report them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmops_cli.core.errors import IntegrityBroken, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryProblem:
    """One thing in the registry, or in a bundle of it, that is not as it must be."""

    where: str
    """The path of the broken file in the project."""
    message: str
    warning: bool = False
    """Recorded and allowed, but no proof: an override, a quarantined version. Fails `--strict`."""


class ProblemCollector:
    """Reads files of a project and collects what is wrong with them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._problems: dict[RegistryProblem, None] = {}

    @property
    def problems(self) -> tuple[RegistryProblem, ...]:
        """Every problem so far, each once."""
        return tuple(self._problems)

    def add(self, where: Path | str, message: str, *, warning: bool = False) -> None:
        """Add a problem of the file `where`."""
        problem = RegistryProblem(where=self._name(where), message=message, warning=warning)
        self._problems[problem] = None

    def _name(self, where: Path | str) -> str:
        path = Path(where)
        inside = path.is_relative_to(self._root)
        return path.relative_to(self._root).as_posix() if inside else str(where)

    def read(self, read: Callable[[], T], where: Path | str) -> T | None:
        """Return what `read` gives; None if something is broken or missing, which is a problem.

        `where` is the file to name where the error names none.
        """
        try:
            return read()
        except IntegrityBroken as error:
            self.add_error(error)
        except Refused as error:
            self.add(where, error.message)
        return None

    def add_error(self, error: IntegrityBroken) -> None:
        """Add `error`, unless a problem of its file is known already."""
        where = self._name(error.where or "")
        if not any(problem.where == where for problem in self._problems):
            self.add(where, error.why)


def pass_check(problems: Iterable[RegistryProblem], *, strict: bool) -> bool:
    """Return whether there is no problem; `strict` counts warnings too."""
    return not any(strict or not problem.warning for problem in problems)
