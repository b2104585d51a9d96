"""Match paths of the project with the globs in llmops.yaml.

`workers/child.py` loads this file by itself, in a process without llmops: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(path: str, glob: str) -> bool:
    """Whether `glob` names `path`, folder by folder; `**` stands for any number of folders."""
    return is_plain(glob) and _match(path.split("/"), glob.split("/"))


def is_plain(path: str) -> bool:
    """Whether a path is relative and plain: no `..`, no backslash, no drive."""
    parts = path.split("/")
    odd = any(part in ("", ".", "..") for part in parts) or "\\" in path
    return not odd and not re.match(r"[A-Za-z]:", path)


def _match(parts: Sequence[str], globs: Sequence[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_match(parts[at:], globs[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _match(parts[1:], globs[1:])
