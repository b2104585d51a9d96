"""Puts text into markup, so that none of it is markup: the only way a text gets into the page.

Secrets are taken out first, while the text is whole; then it is cut to its room, what cannot be
seen is written as an escape, and what means something to HTML or JSON is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import Redactor
from llmops_cli.render.safe import Clipped, clip, visible

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
