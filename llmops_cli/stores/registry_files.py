"""Read files and folders below `.llmops/`, which anyone who can change the project can replace.

Links are refused anywhere from `.llmops` down, and so are pipes, devices, files beyond a size, and
whatever can't be read or listed. Only what isn't there at all is absent.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from llmops_cli.core.errors import IntegrityBroken

FOLDER = ".llmops"
MAX_RECORD = 100_000_000
MAX_ROWS = 2_000_000_000
FROM_GIT = f"restore it from git: git log --stat -- {FOLDER} shows who changed it"


def read_record(file: Path) -> bytes:
    """Return the content of a file that fits into memory. Raises `IntegrityBroken`."""
    with open_file(file, limit=MAX_RECORD) as opened:
        return opened.read()


def open_file(file: Path, *, limit: int = MAX_ROWS) -> BufferedReader:
    """Open a file to be read. Raises `IntegrityBroken`, also if it is larger than `limit`."""
    mode, size = _mode_and_size(file)
    if not stat.S_ISREG(mode):
        raise _broken(file, "not a file" if mode else "there is no such file")
    if size > limit:
        raise _broken(file, f"larger than {limit // 1_000_000} MB")
    try:
        return file.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from error


def exists(path: Path) -> bool:
    """Return whether anything is at `path`. Raises `IntegrityBroken`, also for a link."""
    return _mode_and_size(path)[0] != 0


def children(folder: Path) -> list[Path]:
    """Return the paths in `folder`, sorted, whatever they are; none if nothing is there.

    Raises `IntegrityBroken` if it is no folder, or can't be listed.
    """
    if not exists(folder):
        return []
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error


def folders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted. Raises `IntegrityBroken`, also for a link in it."""
    return [path for path in children(folder) if stat.S_ISDIR(_mode_and_size(path)[0])]


def files_below(
    folder: Path, *, on_error: Callable[[IntegrityBroken], object] | None = None
) -> Iterator[Path]:
    """Yield every file below `folder`, at any depth.

    `on_error` is called for everything that is neither a file nor a folder or can't be listed;
    without it, the first of them is raised.
    """
    pending = [folder]
    while pending:
        path = pending.pop()
        try:
            mode, _ = _mode_and_size(path)
            if stat.S_ISDIR(mode):
                pending.extend(reversed(children(path)))
            elif stat.S_ISREG(mode):
                yield path
            elif mode:
                raise _broken(path, "neither a file nor a folder")
        except IntegrityBroken as error:
            if on_error is None:
                raise
            on_error(error)


def _mode_and_size(path: Path) -> tuple[int, int]:
    """Return mode and size of what is at `path`; zeros if nothing is."""
    mode = size = 0
    depth = path.parts[::-1].index(FOLDER) if FOLDER in path.parts else 0
    for place in (*reversed(path.parents[:depth]), path):
        if mode and not stat.S_ISDIR(mode):
            raise _broken(place.parent, "not a folder")
        try:
            status = place.lstat()
        except FileNotFoundError:
            return 0, 0
        except OSError as error:
            raise _unreadable(place, error) from error
        mode, size = status.st_mode, status.st_size
        if stat.S_ISLNK(mode):
            raise _broken(place, "a link, which is never followed here")
    return mode, size


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(why, where=str(path), hint=FROM_GIT)


def _unreadable(path: Path, error: OSError) -> IntegrityBroken:
    why, hint = f"cannot be read: {error.strerror}", "check who may read it, and its disk"
    return IntegrityBroken(why, where=str(path), hint=hint)
