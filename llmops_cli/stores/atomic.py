"""Writing files wholly or not at all, with secrets taken out: the one writer of every artefact.

The content goes to a temporary sibling, is forced to disk and renamed over the name; then the
folder is forced to disk too. Whoever reads the name sees the old content or the new, after a
kill and after a power cut.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from llmops_cli.core.errors import Unmeasured

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP})

Redact: TypeAlias = Callable[[str], str]


class AlreadyThere(Exception):
    """Another process wrote this name first."""


def write_text(path: Path, text: str, *, redact: Redact) -> None:
    """Write `redact(text)` as UTF-8 to `path`; folders are made. Lone surrogates become `?`."""
    write_bytes(path, redact(text).encode("utf-8", errors="replace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, replacing what is there. Raises `Unmeasured` if the disk refuses.

    For what is compressed or otherwise no text; its texts were redacted before.
    """
    write_stream(path, lambda file: file.write(content))


def write_stream(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """As `write_bytes`, with content that `fill` writes piece by piece.

    A pipe or a device (`/dev/stdout`, `/dev/null`) is written into, never replaced.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        _poured(path, fill)
    else:
        _written(path, fill, place=os.replace)


def create_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, which must not exist: of two writers one wins.

    Raises `AlreadyThere` for the other, `Unmeasured` if the disk refuses.
    """
    try:
        _written(path, lambda file: file.write(content), place=_link)
    except FileExistsError as error:
        raise AlreadyThere(str(path)) from error


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to disk, where the platform can."""
    with suppress(OSError):  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def disk_trouble(path: Path, error: OSError) -> Unmeasured:
    """What to say when the disk refuses `path`."""
    return Unmeasured(
        f"cannot write {path}: {error.strerror or error}",
        hint="free disk space or check the folder's permissions, then run the same command again",
    )


def _link(temporary: Path, path: Path) -> None:
    """Give the content its name if that is free; without hard links, as nearly as can be."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)


def _poured(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    try:
        with path.open("wb") as file:
            fill(file)
    except OSError as error:
        raise disk_trouble(path, error) from error


def _written(
    path: Path, fill: Callable[[BinaryIO], object], *, place: Callable[[Path, Path], None]
) -> None:
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        place(temporary, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise disk_trouble(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
