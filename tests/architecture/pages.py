"""The pages that people read, as values: their code, links, headings and tables.

A `console` block is a session: lines with `$ ` are commands, the others what they print. In what
is printed, `…` on a line of its own stands for any lines left out, within a line for any text.
A command without output says nothing about it. Commands that start a program of an example
(`python …`) are left to the tests of that program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^ *```(?P<kind>\w*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a session, and what the page says that it prints."""

    command: str
    shown: tuple[str, ...]

    def matches(self, printed: str) -> bool:
        """Whether `printed` is what is shown, runs of white space and empty lines apart."""
        if not self.shown:
            return True
        lines = [" ".join(line.split()) for line in printed.splitlines()]
        text = "".join(f"{line}\n" for line in lines if line)
        return re.fullmatch("".join(map(_pattern, self.shown)), text) is not None


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def session(page: str) -> list[Step]:
    """Every command of the page's console blocks, in order."""
    steps = []
    for kind, body in fences(page):
        if kind == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, *shown = part.splitlines()
                lines = (" ".join(line.split()) for line in shown)
                if "python " not in command:
                    steps.append(Step(command, tuple(line for line in lines if line)))
    return steps


def fences(page: str) -> Iterator[tuple[str, str]]:
    """The language and the text of every code block."""
    for fence in _FENCE.finditer(read(page)):
        yield fence["kind"], fence["body"]


def code(page: str) -> Iterator[str]:
    """Every line of the blocks that hold commands, and every inline code."""
    for kind, body in fences(page):
        if kind in {"console", "sh", "yaml"}:
            yield from body.splitlines()
    yield from _INLINE.findall(_FENCE.sub("", read(page)))


def links(page: str) -> Iterator[str]:
    """Where the page's links lead, those into the web apart."""
    for target in _LINK.findall(_FENCE.sub("", read(page))):
        if not target.startswith(("https://", "http://")):
            yield target


def anchors(page: str) -> set[str]:
    """The names by which GitHub lets headings be linked to."""
    headings = _HEADING.findall(_FENCE.sub("", read(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    _, _, rest = _FENCE.sub("", read(page)).partition(f"{heading}\n")
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def keys(text: str) -> list[str]:
    """The first column of a section's tables, where it is code."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    return ".*".join(map(re.escape, re.split(" ?… ?", line))) + r"\n"
