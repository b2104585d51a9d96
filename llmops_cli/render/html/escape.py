"""Puts text into markup, so that none of it is markup: the only way a text gets into the page.

Secrets are taken out first, while the text is whole; then it is cut to its room, what cannot be
seen is written as an escape, and what means something to HTML or JSON is escaped.

What changed from one text to another, word by word, for a reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape
from rapidfuzz.distance import Indel

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import Redactor
from llmops_cli.render.safe_text import Clipped, clip, visible

SENTENCE = 4_000
"""Characters of a sentence in the page."""
_IN_SCRIPT = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


@dataclass(frozen=True, slots=True)
class Ink:
    """Writes with `redact` taking secrets out."""

    redact: Redactor

    def clipped(self, text: str, characters: int) -> Clipped:
        """`text` as it may be seen, and how many of its characters are not."""
        cut = clip(self.redact(text), characters=characters)
        return Clipped(visible(cut.text), characters=cut.characters, lines=cut.lines)

    def line(self, text: str, characters: int = SENTENCE) -> str:
        """`text` as it may be seen, with a remark where it was cut."""
        cut = self.clipped(text, characters)
        return f"{cut.text} … {cut.remark}" if cut.remark else cut.text

    def fill(self, html: str, **values: object) -> Markup:
        """`html` of our own, with `values` put into its braces: what is no markup is text."""
        safe = {
            name: value if isinstance(value, Markup) else escape(self.line(str(value)))
            for name, value in values.items()
        }
        return Markup(html).format(**safe)  # noqa: S704 - `html` is a literal of this package


def joined(parts: Iterable[Markup], between: str = "\n") -> Markup:
    """Markup one after the other."""
    return Markup(between).join(parts)  # noqa: S704 - white space


def data(name: str, value: Json) -> Markup:
    """A block of data for the page's script: nothing in it ends the block or begins another."""
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
