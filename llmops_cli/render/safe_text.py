r"""Makes text that anyone may have written harmless for the place where it is shown, and visible.

A model's answer may hold escape sequences, workflow commands, markup, mentions and characters
that reorder a line. Nothing is dropped silently: what a sink cannot take is written as an escape
such as `\x1b` or `\u202e`, and what was cut is counted. One function per sink:

- `terminal`, `terminal_line`: a terminal or a CI log. GitHub's runner obeys `::command::` at the
  start of a line and `##[command]` anywhere in it; a backslash breaks both.
- `markdown_code`, `markdown_span`, `markdown_inline`: a job summary or a comment on GitHub.
- `visible`: text and attributes of an XML 1.0 document; the writer escapes `<`, `&` and quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"  # invisible "tag" letters
    "\ud800-\udfff"  # lone surrogates
    "\ufffe\uffff]"
)
"""What a reader cannot see, a terminal obeys or XML forbids: controls, marks that reorder text."""

_ANY_BREAK = re.compile(r"[\t\n]")
_WORKFLOW_LINE = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
_BACKTICKS = re.compile(r"`+")
_MARKDOWN = re.compile(r"[\\`*_\[\]|~]")
_MARKDOWN_START = re.compile(r"^(\s*)([-+#>=]|\d+(?=[.)]))")
_LINKED = re.compile(r"@|#(?=\d)|(?i:\bGH(?=-\d))|(?i:\b(?:https?|ftp|mailto):)|(?i:\bwww(?=\.))")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "<span>$</span>"}
_HTML_CHARACTER = re.compile(r"[&<>$]")
_ZERO_WIDTH_SPACE = "\u200b"


@dataclass(frozen=True, slots=True)
class Clipped:
    """A text cut to fit: what is left, and how many characters and lines are not shown."""

    text: str
    characters: int = 0
    lines: int = 0

    @property
    def remark(self) -> str:
        """Return `3 lines more`; nothing if nothing was cut."""
        count, unit = (self.lines, "line") if self.lines else (self.characters, "character")
        return f"{count:,} {unit}{'s' if count != 1 else ''} more" if count else ""


def clip(text: str, *, characters: int, lines: int | None = None) -> Clipped:
    """Cut `text` to at most so many characters and lines, and count what was cut."""
    kept = text[:characters]
    if lines is not None:
        kept = "\n".join(kept.split("\n", lines)[:lines])
    cut = text[len(kept) :]
    return Clipped(kept, characters=len(cut), lines=cut.count("\n"))


def shortened(text: str, characters: int) -> str:
    """Cut `text` to at most so many characters, with a remark on how many are missing."""
    cut = clip(text, characters=characters)
    return f"{cut.text} … {cut.remark}" if cut.remark else cut.text


def visible(text: str) -> str:
    """Return `text` with every invisible or obeyed character but tab and newline as an escape."""
    return _INVISIBLE.sub(_escape, text.replace("\r\n", "\n"))


def terminal(text: str) -> str:
    """Return several lines for a terminal or a CI log."""
    return _WORKFLOW_LINE.sub(r"\1\::", visible(text)).replace("##[", "##\\[")


def terminal_line(text: str) -> str:
    """Return one line for a terminal or a CI log: newlines and tabs are escapes too."""
    return terminal(_ANY_BREAK.sub(_escape, text.replace("\r\n", "\n")))


def markdown_code(text: str, *, language: str = "") -> str:
    """Return a fenced block whose fence is longer than any run of backticks within."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def fenced(text: str, characters: int) -> str:
    """Return a fenced block of at most so many characters, and what was cut below it."""
    cut = clip(text, characters=characters)
    return markdown_code(cut.text) + (f"\n\n*… {cut.remark}*" if cut.remark else "")


def markdown_span(text: str) -> str:
    """Return a code span, good in table cells too: nothing in it is markup, mention or link."""
    line = terminal_line(text)
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not line.strip(" ") or "`" in (line[0], line[-1]) else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|")


def markdown_inline(text: str) -> str:
    """Return prose in one line, good in tables and HTML: no markup, mention, reference or link."""
    line = terminal_line(text)
    line = _MARKDOWN.sub(lambda match: "\\" + match[0], line)
    line = _MARKDOWN_START.sub(_unlisted, line)
    line = _LINKED.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, line)
    return _HTML_CHARACTER.sub(lambda match: _HTML[match[0]], line)


def html_inline(text: str) -> str:
    """Return prose for inside an HTML tag of a Markdown page, such as `<summary>`."""
    line = _LINKED.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, terminal_line(text))
    return line.translate(_HTML_ENTITIES)


_HTML_ENTITIES = {ord(mark): f"&#{ord(mark)};" for mark in "&<>\"'`*_[]|~$\\"}


_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unlisted(match: re.Match[str]) -> str:
    """Make text of a list, heading or quote mark at the start of a line."""
    if match[2] == ">":
        return match[0]  # becomes an entity
    return f"{match[1]}\\{match[2]}" if not match[2].isdigit() else f"{match[1]}{match[2]}\u200b"
