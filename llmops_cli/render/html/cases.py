"""The cases as blocks of data in the page, and an index by which its script finds them.

Blocks are written one after the other and read one by one: the page shows ten thousand cases
without unpacking them first. What has no room is counted: of a text the characters, of the cases
the number, least bad first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from llmops_cli.core.digest import Json
from llmops_cli.core.report import CaseStream, ShownCase, ShownScore, ShownSide, ShownTrial
from llmops_cli.render import formatting
from llmops_cli.render.html.escape import PageText, data, word_diff

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """The size limits of one page."""

    cases: int = CASES
    size: int = BYTES


@dataclass(slots=True)
class Names:
    """Texts that many cases share, by number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """Return the number of `name`, a new one where it is new."""
        return self.numbers.setdefault(name, len(self.numbers))


class CaseBlocks:
    """Converts cases to the page's data one by one, and counts what it contains."""

    def __init__(self, text: PageText, room: PageLimits | None = None) -> None:
        self._page = text
        self._room = room or PageLimits()
        self._index: list[Json] = []
        self._sets, self._tags, self._scorers = Names(), Names(), Names()
        self._known: dict[str, str] = {}
        self.total = 0

    def written(self, cases: CaseStream) -> Iterator[Markup]:
        """Yield the cases as data, a block at a time, and the index after them."""
        self.total = cases.total
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
        yield data("index", self._contents())

    def _contents(self) -> Json:
        return {
            "block": BLOCK,
            "total": self.total,
            "sets": list(self._sets.numbers),
            "tags": list(self._tags.numbers),
            "scorers": list(self._scorers.numbers),
            "words": {str(name): word for name, word in formatting.CHANGES.items()},
            "meanings": {str(name): text for name, text in formatting.MEANINGS.items()},
            "cases": self._index,
        }

    def _case(self, record: ShownCase) -> Json:
        prompt, evalset = self._often(record.prompt), self._often(record.evalset)
        tags = [self._often(tag) for tag in record.tags]
        case = self._name(record.case)
        self._index.append(
            [
                case,
                self._sets.number(f"{prompt}\n{evalset}"),
                record.change,
                _flags(record),
                [self._tags.number(tag) for tag in tags],
                [self._scorers.number(self._often(label)) for label in _failing(record)],
            ]
        )
        inputs: list[Json] = [
            [self._name(name), self._text(text)] for name, text in _short_first(record.inputs)
        ]
        ours, theirs = self._side(record.candidate), self._side(record.baseline)
        whole: dict[str, Json] = {
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
        return {name: value for name, value in whole.items() if value not in (None, [], False)}

    def _side(self, side: ShownSide | None) -> dict[str, Json] | None:
        if side is None:
            return None
        return {"passed": side.passed, "trials": [*map(self._trial, side.trials)]}

    def _trial(self, trial: ShownTrial) -> Json:
        whole: dict[str, Json] = {
            "text": None if trial.text is None else self._text(trial.text),
            "failure": self._text(trial.failure) if trial.failure is not None else None,
            "tools": self._value(trial.tool_calls) if trial.tool_calls else None,
            "contexts": None if trial.contexts is None else [*map(self._text, trial.contexts)],
            "scores": [*map(self._score, trial.scores)],
            "facts": self._name(_facts(trial)),
            "confirming": trial.confirming or None,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def _score(self, score: ShownScore) -> Json:
        value = None if score.value is None else f"{score.value:.4g}"
        reason = self._text(score.reason) if score.reason else None
        return [self._often(score.label), value, score.passed, reason, score.advisory]

    def _name(self, text: str) -> str:
        return self._page.line(text, NAME)

    def _often(self, name: str) -> str:
        """Return a name that many cases share."""
        known = self._known.get(name)
        return self._known.setdefault(name, self._name(name)) if known is None else known

    def _value(self, value: Json) -> Json:
        return self._text(formatting.plain(value))

    def _text(self, text: str) -> Json:
        """Return the text; with the number of characters that were cut, if any."""
        cut = self._page.clipped(text, TEXT)
        return [cut.text, cut.characters] if cut.characters else cut.text


def _short_first(inputs: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return inputs as texts, short ones first: a question before its passages."""
    texts = [(name, formatting.plain(value)) for name, value in inputs.items()]
    return sorted(texts, key=lambda named: (len(named[1]), named[0]))


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
