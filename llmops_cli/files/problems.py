"""What is wrong with the files a person wrote, collected so that all of it is said at once.

A file with a hundred mistakes of one kind is one mistake a hundred times: past `SHOWN` problems
per file the rest is counted, not listed.
"""

from __future__ import annotations

from collections import Counter

from llmops_cli.core.errors import InvalidFiles, Location, Problem

SHOWN = 50


class Problems:
    """A growing list of problems; nothing is raised before everything was looked at."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._by_file: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(self._by_file.values())

    def add(self, where: Location, message: str, hint: str | None = None) -> None:
        self.take(Problem(where=where, message=message, hint=hint))

    def take(self, *problems: Problem) -> None:
        """Add problems that were found elsewhere."""
        for each in problems:
            self._by_file[each.where.path] += 1
            if self._by_file[each.where.path] <= SHOWN:
                self._found.append(each)

    def refuse(self) -> None:
        """Raise `InvalidFiles` with every problem, if there is any."""
        if not self._found:
            return
        hidden = [
            Problem(where=Location(path=path), message=f"… and {count - SHOWN} more problems here")
            for path, count in self._by_file.items()
            if count > SHOWN
        ]
        raise InvalidFiles([*self._found, *hidden])
