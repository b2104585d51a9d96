"""The cases as blocks of data in the page, and an index by which its script finds them.

Blocks are written one after the other and read one by one: the page shows ten thousand cases
without unpacking them first. What has no room is counted: of a text the characters, of the cases
the number, least bad first.

Secrets are taken out of a text first, while it is whole; then it is cut to its room, and what
cannot be seen is written as an escape. The template escapes what means something to HTML, `data`
what means something to a script element.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count

from markupsafe import Markup
from rapidfuzz.distance import Indel

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, ShownCase, ShownScore, ShownSide, ShownTrial
from llmops_cli.render import formatting
from llmops_cli.render.safe_text import Clipped, clip, visible

SENTENCE = 4_000
"""Characters of a sentence in the page."""
TEXT = 8_000
"""Characters of one text."""
NAME = 300
"""Characters of an id, a tag, a label."""
BLOCK = 100
"""Cases that are read together."""
CASES = 10_000
BYTES = 60_000_000
"""What a page holds at most: browsers read this in a second or two."""

FAILED, CRITICAL, UNMEASURED, FLIPPED = 1, 2, 4, 8
"""Bits of a case in the index; page.js knows them too."""

ALIKE = 0.3
"""Below this share of common characters, marks would be noise: the texts are shown as they are."""
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_IN_SCRIPT = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """The size limits of one page."""

    cases: int = CASES
    size: int = BYTES


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


class CaseBlocks:
    """Converts cases to the page's data one by one, and counts what it contains."""

    def __init__(self, text: PageText, room: PageLimits) -> None:
        self._page = text
        self._room = room
        self._index: list[Json] = []
        # Texts that many cases share are numbered as they come.
        self._sets, self._tags, self._scorers = (
            defaultdict[str, int](count().__next__) for _ in range(3)
        )
        self._shared_name = cache(self._name)

    def written(self, cases: CaseStream) -> Iterator[Markup]:
        """Yield the cases as data, a block at a time, and the index after them."""
        left, block = self._room.size, list[Json]()
        for case in cases.worst_first:
            block.append(self._case(case))
            full = len(self._index) >= self._room.cases
            if len(block) == BLOCK or full:
                written = data("block", block)
                left -= len(written)
                yield written
                block = []
            if full or left <= 0:
                break
        if block:
            yield data("block", block)
        index: Json = {
            "block": BLOCK,
            "total": cases.total,
            "sets": list(self._sets),
            "tags": list(self._tags),
            "scorers": list(self._scorers),
            "words": {str(name): word for name, word in formatting.CHANGES.items()},
            "meanings": {str(name): text for name, text in formatting.MEANINGS.items()},
            "cases": self._index,
        }
        yield data("index", index)

    def _case(self, record: ShownCase) -> Json:
        name = self._shared_name
        self._index.append(
            [
                self._name(record.case),
                self._sets[f"{name(record.prompt)}\n{name(record.evalset)}"],
                record.change,
                _flags(record),
                [self._tags[name(tag)] for tag in record.tags],
                [self._scorers[name(label)] for label in _failing(record)],
            ]
        )
        texts = [(name, formatting.plain(value)) for name, value in record.inputs.items()]
        # Short ones first: a question before its passages.
        texts.sort(key=lambda named: (len(named[1]), named[0]))
        inputs: list[Json] = [[self._name(name), self._text(text)] for name, text in texts]
        ours, theirs = self._side(record.candidate), self._side(record.baseline)
        values: dict[str, Json] = {
            "inputs": inputs,
            "expected": None if record.expected is None else self._value(record.expected),
            "contexts": [self._text(text) for text in record.contexts],
            "messages": self._value(record.messages) if record.messages else None,
            "group": self._name(record.group) if record.group else None,
            "known": self._text(record.known_failing) if record.known_failing else None,
            "same": record.identical,
            "baseline": theirs,
            "candidate": ours,
            "diff": _marked(record, theirs, ours),
        }
        return {name: value for name, value in values.items() if value not in (None, [], False)}

    def _side(self, side: ShownSide | None) -> dict[str, Json] | None:
        if side is None:
            return None
        return {"passed": side.passed, "trials": [*map(self._trial, side.trials)]}

    def _trial(self, trial: ShownTrial) -> Json:
        values: dict[str, Json] = {
            "text": None if trial.text is None else self._text(trial.text),
            "failure": self._text(trial.failure) if trial.failure is not None else None,
            "tools": self._value(trial.tool_calls) if trial.tool_calls else None,
            "contexts": None if trial.contexts is None else [*map(self._text, trial.contexts)],
            "scores": [*map(self._score, trial.scores)],
            "facts": self._name(_facts(trial)),
            "confirming": trial.confirming or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _score(self, score: ShownScore) -> Json:
        value = None if score.value is None else formatting.score_value(score)
        reason = self._text(score.reason) if score.reason else None
        return [self._shared_name(score.label), value, score.passed, reason, score.advisory]

    def _name(self, text: str) -> str:
        return self._page.line(text, NAME)

    def _value(self, value: Json) -> Json:
        return self._text(formatting.plain(value))

    def _text(self, text: str) -> Json:
        """Return the text; with the number of characters that were cut, if any."""
        cut = self._page.clipped(text, TEXT)
        return [cut.text, cut.characters] if cut.characters else cut.text


def _marked(
    record: ShownCase, theirs: Mapping[str, Json] | None, ours: Mapping[str, Json] | None
) -> Json:
    """Return the trials of both sides that tell most, and what changed between their texts.

    A text that the marks contain stands nowhere else.
    """
    if record.baseline is None or record.candidate is None or theirs is None or ours is None:
        return None
    worse = record.change != "improved"
    pair = [record.baseline.telling(passing=worse), record.candidate.telling(passing=not worse)]
    telling = [
        trials[at]
        for side, at in zip((theirs, ours), pair, strict=True)
        if isinstance(trials := side["trials"], list) and at < len(trials)
    ]
    texts = [trial["text"] for trial in telling if isinstance(trial, dict) and "text" in trial]
    if len(texts) < 2:
        return [*pair, None]
    before, after = (text[0] if isinstance(text, list) else text for text in texts)
    pieces = word_diff(str(before), str(after))
    if pieces is not None:
        for trial in telling:
            assert isinstance(trial, dict)
            text = trial.pop("text")
            trial["cut"] = text[1] if isinstance(text, list) else 0
    return [*pair, pieces]


def _facts(trial: ShownTrial) -> str:
    """Return what a trial took, in a line."""
    parts = []
    if trial.finish_reason not in (None, "stop", "tool_calls"):
        parts.append(f"ended by {trial.finish_reason}")
    if trial.input_tokens is not None and trial.output_tokens is not None:
        parts.append(f"{trial.input_tokens:,} tokens in, {trial.output_tokens:,} out")
    if trial.cost:
        parts.append(formatting.money(trial.cost))
    if trial.latency is not None and trial.latency >= 0.005:
        parts.append(f"{trial.latency:.2f} s")
    if trial.served_model:
        parts.append(trial.served_model)
    return " · ".join(parts)


def _failing(record: ShownCase) -> list[str]:
    """Return the scorers that some trial of the candidate does not pass."""
    trials = record.candidate.trials if record.candidate else ()
    count = Counter(
        score.label for trial in trials for score in trial.scores if score.passed is not True
    )
    return list(count)


def _flags(record: ShownCase) -> int:
    ours = record.candidate.passed if record.candidate else None
    theirs = record.baseline.passed if record.baseline else None
    trials = record.candidate.trials if record.candidate else ()
    unmeasured = any(
        trial.failure is not None
        or any(score.passed is None and not score.advisory for score in trial.scores)
        for trial in trials
    )
    flags = CRITICAL * record.critical | UNMEASURED * (unmeasured or record.change == "unmeasured")
    flags |= FAILED * (ours is not None and ours < 0.5)
    if ours is not None and theirs is not None:
        flags |= FLIPPED * ((ours >= 0.5) != (theirs >= 0.5))
    return flags


def word_diff(before: str, after: str) -> list[str] | None:
    """Return both texts at once: common, gone and new text in turn, over and over.

    All pieces but every third make up `before`, all but every second of three `after`. None if
    the texts have too little in common.
    """
    if before == after:
        return [before]
    words_before, words_after = _WORDS.findall(before), _WORDS.findall(after)
    pieces: list[list[str]] = [["", "", ""]]
    for step in Indel.opcodes(words_before, words_after):
        kind, gone = step.tag, "".join(words_before[step.src_start : step.src_end])
        new = "".join(words_after[step.dest_start : step.dest_end])
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


def _tidy(pieces: list[list[str]]) -> Iterator[list[str]]:
    """Give white space that both sides end with back to what is common."""
    for at, piece in enumerate(pieces):
        _, gone, new = piece
        space = gone[len(gone.rstrip()) :] if new else ""
        if space and new.endswith(space) and at + 1 < len(pieces):
            piece[1], piece[2] = gone[: -len(space)], new[: -len(space)]
            pieces[at + 1][0] = space + pieces[at + 1][0]
        if any(piece) or at + 1 < len(pieces):
            yield piece
