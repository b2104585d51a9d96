"""Names the files of local models by their bytes, and reads those bytes once.

Weights weigh gigabytes and hardly ever change, and every command asks. So a file's digest is kept
in `.llmops/store/weights.json` beside its size and times, and the file is read again when any of
them is another. A file that was written a moment ago is not kept: it may change once more within
the same tick of the clock.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.digest import digest
from llmops_cli.core.listening import long_wait

STORE = Path(".llmops") / "store"
SETTLED = 2.0
"""Seconds after which a file's times tell whether it changed."""
LARGE = 250_000_000
"""Bytes that take a moment to read: more than that is said."""

Seen: TypeAlias = list[int | str]
"""Size, two times and inode of a file, and the digest of its bytes."""


class Weights:
    """Digests of the files and folders that a project's models name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / STORE / "weights.json"
        self._seen = self._read()

    def digest(self, path: str) -> str | None:
        """Names what is at `path`, relative to the project or absolute; None: nothing is there.

        A folder is named by its files, hidden ones left out. Raises `OSError` for what cannot be
        read.
        """
        place = self._root / path
        found = [place] if place.is_file() else list(_files(place))
        unread = sum(self._unread(each) for each in found)
        if unread <= LARGE:
            return self._named(place, found)
        with long_wait(f"reading the weights at {path} to name them, {unread / 1e9:.1f} GB"):
            return self._named(place, found)

    def keep(self) -> None:
        """Remembers what was read, where the project has a store."""
        if not self._file.parent.is_dir() or self._seen == self._read():
            return
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with suppress(OSError):  # a folder that is only read: the next command reads again
            part.write_text(json.dumps(self._seen), encoding="utf-8")
            part.replace(self._file)

    def _named(self, place: Path, found: Sequence[Path]) -> str | None:
        if place.is_file():
            return self._of_file(place)
        files = {each.relative_to(place).as_posix(): self._of_file(each) for each in found}
        return digest("llmops/weights/v1", {**files}) if files else None

    def _unread(self, file: Path) -> int:
        """Bytes to read before it can be named."""
        seen, now = self._seen.get(str(file.absolute())), _about(file)
        return 0 if seen is not None and seen[:-1] == now else int(now[0])

    def _of_file(self, file: Path) -> str:
        now, key = _about(file), str(file.absolute())
        seen = self._seen.get(key)
        if seen is not None and seen[:-1] == now:
            return str(seen[-1])
        with file.open("rb") as opened:
            named = f"sha256:{file_digest(opened, 'sha256').hexdigest()}"
        self._seen.pop(key, None)
        if time.time() - max(now[1], now[2]) / 1e9 > SETTLED:
            self._seen[key] = [*now, named]
        return named

    def _read(self) -> dict[str, Seen]:
        with suppress(OSError, ValueError):
            held = json.loads(self._file.read_bytes())
            if isinstance(held, dict):
                return {key: seen for key, seen in held.items() if isinstance(seen, list) and seen}
        return {}


def _about(file: Path) -> list[int]:
    """Size, two times and inode."""
    about = file.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(file.stat().st_mode):
                yield file
