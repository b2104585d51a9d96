"""What changed between two versions of a prompt, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One thing that differs."""

    what: str
    """`message 2 (user)`, `parameter temperature`, `input question`, `model`."""
    before: str | None
    """None: it was not there."""
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two targets, side by side."""

    before: str
    after: str
    changes: tuple[Changed, ...]
    breaking: tuple[str, ...]
    """How calls that are right for `before` are wrong for `after`."""
    scores: Mapping[str, str]
    """Newest verdict of each version that has evidence, in a sentence."""
