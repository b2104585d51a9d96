"""Write files completely or not at all, with secrets redacted: the one writer of every artifact.

The content goes to a temporary sibling, is forced to disk and renamed; then the folder is forced
to disk too. A reader sees the old content or the new, after a kill and after a power cut.
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


def write_text(path: Path, text: str, *, redact: Redact) -> None:
    """Write `redact(text)` as UTF-8 to `path`, creating folders. Lone surrogates become `?`."""
    write_bytes(path, redact(text).encode("utf-8", errors="replace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, replacing what is there. Raises `Unmeasured` if the disk refuses.

    For content that is not text, or whose text was redacted before.
    """
    write_stream(path, lambda file: file.write(content))


def write_stream(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write what `fill` writes piece by piece, as `write_bytes` does.

    A pipe or a device (`/dev/stdout`, `/dev/null`) is written into, never replaced.
    """
    if not path.exists() or path.is_file() or path.is_dir():
        _write(path, fill, os.replace)
        return
    try:
        with path.open("wb") as file:
            fill(file)
    except OSError as error:
        raise disk_error(path, error) from error


def create_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, which must not exist: of two writers one wins.

    Raises `FileExistsError` for the other, `Unmeasured` if the disk refuses.
    """
    _write(path, lambda file: file.write(content), _link)


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to disk, where the platform can."""
    with suppress(OSError):  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def disk_error(path: Path, error: OSError) -> Unmeasured:
    """Return the error to raise where the disk refuses `path`."""
    return Unmeasured(
        f"cannot write {path}: {error.strerror or error}",
        hint="free disk space or check the folder's permissions, then run the same command again",
    )


def _link(temporary: Path, path: Path) -> None:
    """Name the content `path` if that is free; without hard links, as nearly as possible."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)


def _write(
    path: Path, fill: Callable[[BinaryIO], object], name_it: Callable[[Path, Path], None]
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
        name_it(temporary, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
