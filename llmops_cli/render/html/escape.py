"""Makes texts safe for the page, and marks what changed from one text to another.

Secrets are taken out first, while the text is whole; then it is cut to its room, and what cannot
be seen is written as an escape. The template escapes what means something to HTML, `data` what
means something to a script element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from rapidfuzz.distance import Indel

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import Redactor
from llmops_cli.render.safe_text import Clipped, clip, visible

SENTENCE = 4_000
"""Characters of a sentence in the page."""
_IN_SCRIPT = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


@dataclass(frozen=True, slots=True)
class PageText:
    """Texts as the page may show them, with `redact` taking secrets out."""

    redact: Redactor

    def clipped(self, text: str, characters: int) -> Clipped:
        """Return `text` as it may be seen, and how many of its characters are not."""
        cut = clip(self.redact(text), characters=characters)
        return Clipped(visible(cut.text), characters=cut.characters, lines=cut.lines)

    def line(self, text: str, characters: int = SENTENCE) -> str:
        """Return `text` as it may be seen, with a remark where it was cut."""
        cut = self.clipped(text, characters)
        return f"{cut.text} … {cut.remark}" if cut.remark else cut.text


def data(name: str, value: Json) -> Markup:
    """Return a block of data for the page's script, which nothing in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark, escaped in _IN_SCRIPT:
        text = text.replace(mark, escaped)
    return Markup('<script type="application/json" class="{}">{}</script>\n').format(
        name,
        Markup(text),  # noqa: S704 - free of `<`, `>` and `&`
    )


_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
ALIKE = 0.3
"""Below this share of common characters, marks would be noise: the texts are shown as they are."""


def word_diff(before: str, after: str) -> list[str] | None:
    """Return both texts at once: common, gone and new text in turn, over and over.

    All pieces but every third make up `before`, all but every second of three `after`. None if
    the texts have too little in common.
    """
    if before == after:
        return [before]
    words_before, words_after = _WORDS.findall(before), _WORDS.findall(after)
    pieces: list[list[str]] = [["", "", ""]]
    for kind, gone, new in _runs(words_before, words_after):
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


def _runs(before: list[str], after: list[str]) -> Iterator[tuple[str, str, str]]:
    for step in Indel.opcodes(before, after):
        gone = "".join(before[step.src_start : step.src_end])
        yield step.tag, gone, "".join(after[step.dest_start : step.dest_end])


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
