"""Every case of a run with its answers, for a reader who wants to see all: values, worst first.

A report shows the cases worth a reader's time; these are all of them, one after the other, so that
whoever shows them never holds more than one. Texts in them are model output, hostile until a
renderer has made them safe for its own sink.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llmops_cli.core.digest import Json
from llmops_cli.core.report import Change, ShownScore

WORST_FIRST: tuple[Change | None, ...] = (
    "critical",
    "lost",
    "unmeasured",
    "removed",
    "known_passing",
    "gained",
    "failing",
    "added",
    None,
)
"""Why a case is of note, in the order of reading; None: it passes, as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRecord:
    """One draw of one arm: what was answered, scored and spent, or why it was not."""

    text: str | None = None
    """None: the draw failed, or its text is not held here."""
    failure: str | None = None
    finish_reason: str | None = None
    tool_calls: Json = None
    contexts: tuple[str, ...] | None = None
    """Passages that an application retrieved for this answer; None: it does not say."""
    scores: tuple[ShownScore, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    latency: float | None = None
    """Seconds; None on anything that was not called in this run."""
    served_model: str | None = None
    confirming: bool = False
    """Whether it was made to confirm a judge's failing score of a critical case."""

    @property
    def passes(self) -> bool:
        """Whether it was answered and every score that counts passed."""
        return self.failure is None and all(
            score.passed is True for score in self.scores if not score.advisory
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRecord:
    """What one arm made of a case."""

    passed: float | None
    """Share of its measured draws that passed; None: none was measured."""
    draws: tuple[DrawRecord, ...] = ()

    def telling(self, *, passing: bool) -> int:
        """Position of the first draw that passes, or does not; of the first where none is so."""
        alike = (at for at, draw in enumerate(self.draws) if draw.passes == passing)
        return next(alike, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """A case, what was asked and expected, and what both arms answered."""

    prompt: str
    evalset: str
    case: str
    change: Change | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    expected: Json = None
    contexts: tuple[str, ...] = ()
    messages: Json = None
    """Earlier turns of the conversation."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    known_failing: str | None = None
    candidate: ArmRecord | None = None
    baseline: ArmRecord | None = None
    identical: bool = False
    """Both arms make the same request: one answer stands for both."""


@dataclass(frozen=True, slots=True)
class CaseRecords:
    """The cases of a run, made as they are taken: whoever takes fewer knows how many are left."""

    total: int
    worst_first: Iterator[CaseRecord]
