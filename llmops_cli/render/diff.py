"""Shows two versions of a prompt: what changed, texts word by word."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from llmops_cli.core.report import Changed, Difference
from llmops_cli.render.renderable import LineWriter, Renderable

STYLES = {"=": "dim", "-": "red strike", "+": "green"}
MARKS = {"=": ("", ""), "-": ("[-", "-]"), "+": ("{+", "+}")}
"""As `git diff --word-diff` writes them, so that it reads without color."""


def console_difference(difference: Difference) -> Renderable:
    """Return every change, then what breaks callers, then the scores of each version."""

    def lines(writer: LineWriter) -> Iterator[RenderableType]:
        before, after = difference.before, difference.after
        yield writer.joined((before, "bold"), ("  to  ", "dim"), (after, "bold"))
        if not difference.changes:
            yield writer.line("nothing that reaches the model differs")
        for change in difference.changes:
            yield Text()
            yield writer.line(change.what, "bold")
            yield _change(writer, change)
        for sentence in difference.breaking:
            yield writer.note(f"callers break: {sentence}")
        for name, verdict in difference.scores.items():
            yield Text()
            yield writer.joined((f"{name}  ", "bold"), verdict)

    return Renderable(lines)


def words(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of two texts, word by word, each with `=`, `-` or `+`."""
    old, new = _split(before), _split(after)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield "=", "".join(old[a:b])
            continue
        if a < b:
            yield "-", "".join(old[a:b])
        if c < d:
            yield "+", "".join(new[c:d])


def _split(text: str) -> list[str]:
    """Return words with the white space behind them, so that joining gives the text again."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        bare = line.split(" ")
        pieces += [f"{word} " for word in bare[:-1]] + [bare[-1]]
    return [piece for piece in pieces if piece]


def _change(writer: LineWriter, change: Changed) -> Text:
    line = Text("  ")
    for mark, piece in words(change.before or "", change.after or ""):
        opening, closing = MARKS[mark]
        line.append_text(writer.block(f"{opening}{piece}{closing}", STYLES[mark]))
    return line
