"""What changed from one text to another, word by word, for a reader."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rapidfuzz.distance import Indel

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
ALIKE = 0.3
"""Below this share of common characters, marks would be noise: the texts are shown as they are."""


def word_diff(before: str, after: str) -> list[str] | None:
    """Both texts at once: common, gone and new text in turn, over and over.

    All pieces but every third make up `before`, all but every second of three `after`. None where
    the texts have too little in common.
    """
    if before == after:
        return [before]
    ours, theirs = _WORDS.findall(before), _WORDS.findall(after)
    pieces: list[list[str]] = [["", "", ""]]
    for kind, gone, new in _runs(ours, theirs):
        if kind == "equal" and not (gone.isspace() and pieces[-1][1] + pieces[-1][2]):
            if any(pieces[-1]):
                pieces.append(["", "", ""])
            pieces[-1][0] = gone
        else:
            pieces[-1][1] += gone
            pieces[-1][2] += gone if kind == "equal" else new
    common = sum(len(same.strip()) for same, _, _ in pieces)
    if common < ALIKE * max(len(before), len(after)):
        return None
    return [text for piece in _tidy(pieces) for text in piece]


def _runs(ours: list[str], theirs: list[str]) -> Iterator[tuple[str, str, str]]:
    for step in Indel.opcodes(ours, theirs):
        gone = "".join(ours[step.src_start : step.src_end])
        yield step.tag, gone, "".join(theirs[step.dest_start : step.dest_end])


def _tidy(pieces: list[list[str]]) -> Iterator[list[str]]:
    """Gives white space that both sides end with back to what is common."""
    for at, piece in enumerate(pieces):
        _, gone, new = piece
        space = re.search(r"\s*$", gone)[0] if gone and new else ""  # type: ignore[index]  # it always matches
        if space and new.endswith(space) and at + 1 < len(pieces):
            piece[1], piece[2] = gone[: -len(space)], new[: -len(space)]
            pieces[at + 1][0] = space + pieces[at + 1][0]
        if any(piece) or at + 1 < len(pieces):
            yield piece
