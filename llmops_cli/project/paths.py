"""Read project files by paths that never leave the project, and collect their problems.

A `Source` is a folder on disk (`Folder`) or a git revision. Every path that a person writes goes
through `within` first: no absolute paths, no `..`, no drive letters. `Folder` then refuses links
that lead out, devices, and files beyond a size.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from llmops_cli.core.errors import InvalidFiles, Location, Problem

SHOWN = 50
"""Problems per file that are listed: a hundred mistakes of one kind are one mistake."""


class Problems:
    """A growing list of problems; nothing is raised before everything was checked."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._by_file: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(self._by_file.values())

    def add(self, where: Location, message: str, hint: str | None = None) -> None:
        self.take(Problem(where=where, message=message, hint=hint))

    def take(self, *problems: Problem) -> None:
        """Add problems of another collection."""
        for problem in problems:
            self._by_file[problem.where.path] += 1
            if self._by_file[problem.where.path] <= SHOWN:
                self._problems.append(problem)

    def refuse(self) -> None:
        """Raise `InvalidFiles` with every problem, if there is any."""
        if not self._problems:
            return
        hidden = [
            Problem(where=Location(path=path), message=f"… and {count - SHOWN} more problems here")
            for path, count in self._by_file.items()
            if count > SHOWN
        ]
        raise InvalidFiles([*self._problems, *hidden])


MAX_FILE = 5_000_000
MAX_CASES = 2_000_000_000

FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
"""Not following, so that a link put here since `resolve` cannot lead elsewhere; not blocking, so
that a named pipe cannot hang us."""


HIDDEN = re.compile(r"(^|/)\.")
"""Matches a path that no listing holds."""


class Unreadable(Exception):
    """A project file that is missing or must not be read, with the reason."""


class Absent(Unreadable):
    """Nothing is at that path, not even a link."""


class Source(Protocol):
    """The project's files by path relative to its root, with `/` between folders."""

    def read(self, path: str, *, limit: int) -> bytes:
        """Return the file's bytes.

        Raises `Unreadable`: outside, no file, or too large; `Absent` where nothing is.
        """
        ...

    def files(self, folder: str) -> tuple[str, ...]:
        """Return every file under `folder`, sorted; none if there is no such folder.

        A link to a folder below it is not followed and is listed with a `/` at its end. Raises
        `Unreadable` for what can't be listed: it may hold files.
        """
        ...


def within(path: str, *, folder: str = "") -> str:
    """Return `path`, as written in a file in `folder`, relative to the project's root.

    Raises `Unreadable` for a path that could lead out of the project.
    """
    parts = PurePosixPath(path).parts
    if not parts or "\0" in path:
        raise Unreadable(f"{path!r} names no file")
    if "\\" in path or ":" in path or path.startswith(("/", "~")) or ".." in parts:
        raise Unreadable(f"{path!r} could leave the project: use a path below it, with '/'")
    return str(PurePosixPath(folder, path))


@dataclass(frozen=True, slots=True)
class Folder:
    """The project's files on disk."""

    root: Path

    def read(self, path: str, *, limit: int) -> bytes:
        full = self.resolve(path)
        try:
            handle = os.open(full, FLAGS)
        except FileNotFoundError:
            kind = Unreadable if os.path.lexists(self.root / path) else Absent
            raise kind(f"there is no file {path!r}") from None
        except OSError as error:
            raise Unreadable(f"{path!r} cannot be read: {error.strerror}") from None
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise Unreadable(f"{path!r} is not a file")
        with os.fdopen(handle, "rb") as file:
            if status.st_size > limit:
                raise Unreadable(f"{path!r} is larger than {_size(limit)}")
            return file.read()

    def files(self, folder: str) -> tuple[str, ...]:
        full = self.resolve(folder)
        is_absent = not os.path.lexists(self.root / folder)
        return () if is_absent else tuple(sorted(self._walk(full, within(folder))))

    def resolve(self, path: str) -> Path:
        """Return where the links in `path` lead. Raises `Unreadable` if that is outside."""
        root = self.root.resolve()
        try:
            full = (root / within(path)).resolve()
        except (OSError, RuntimeError):  # which of them depends on the version of Python
            raise Unreadable(f"{path!r} is a link that leads in a circle") from None
        if not full.is_relative_to(root):
            raise Unreadable(f"{path!r} is a link that leaves the project")
        return full

    def _walk(self, top: Path, folder: str) -> Iterator[str]:
        def refuse(error: OSError) -> None:
            inside = Path(folder, os.path.relpath(error.filename, top)).as_posix()
            raise Unreadable(f"{inside!r} cannot be listed: {error.strerror}")

        for place, folders, names in os.walk(top, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder, os.path.relpath(place, top)).as_posix()
            yield from (f"{below}/{name}" for name in names if not name.startswith("."))
            yield from (f"{below}/{name}/" for name in folders if Path(place, name).is_symlink())


def _size(limit: int) -> str:
    return f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit} bytes"
