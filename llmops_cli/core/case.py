"""Cases, the scorers of their answers, and evalsets.

The *facts* of a case are what a score may depend on. Its id, tags, group and `critical` organize
cases: they affect the verdict but are in no cache key, so changing them causes no calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import Location
from llmops_cli.core.number import with_literals
from llmops_cli.core.prompt import Message

QUESTION_INPUTS = ("question", "query", "input")
"""Names of inputs that are taken as the question if a case has several, in order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSpec:
    """One line under `scorers:`; `label` names its metric and is unique within a case.

    `options` may hold Jinja templates over the facts (`"{{ expected }}"`). Threshold, negation and
    `advisory` are applied to the raw value later, so they aren't part of the scorer's key.
    """

    kind: str
    label: str
    options: Mapping[str, Json] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    negate: bool = False
    advisory: bool = False
    where: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input with what is expected of the answer."""

    id: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    expected: Json = None
    contexts: tuple[str, ...] = ()
    """Passages the answer must rest on, for RAG scorers."""
    messages: tuple[Message, ...] = ()
    """Earlier turns of the conversation, put before the prompt's last user turn."""
    scorers: tuple[ScorerSpec, ...] = ()
    """Scorers for this case only, in addition to the evalset's."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    """Cases of one group are decided together and count as one cluster."""
    known_failing: str | None = None
    """Why it is known to fail. Such a case is shown, but doesn't count for floors and critical
    cases.
    """
    metadata: Mapping[str, Json] = field(default_factory=dict)
    where: Location | None = field(default=None, compare=False)
    _facts: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def has_reference(self) -> bool:
        """Whether `expected` says anything that an answer can be compared with."""
        return self.expected is not None and self.expected not in ("", [], {})

    @property
    def question(self) -> str | None:
        """Return the text under one of `QUESTION_INPUTS`, or the only text; None: unclear."""
        texts = {name: value for name, value in self.inputs.items() if isinstance(value, str)}
        for name in QUESTION_INPUTS:
            if name in texts:
                return texts[name]
        return next(iter(texts.values())) if len(texts) == 1 else None

    @property
    def facts(self) -> str:
        """Return the digest of the facts, computed once."""
        known = self._facts
        if known is None:
            plain: dict[str, Json] = {
                "inputs": dict(self.inputs),
                "expected": self.expected,
                "contexts": list(self.contexts),
                "messages": [message.plain() for message in self.messages],
                "metadata": dict(self.metadata),
            }
            known = digest("llmops/facts/v1", with_literals(plain))
            object.__setattr__(self, "_facts", known)
        return known


def remembered(case: Case, facts: str) -> Case:
    """Return `case` with the known digest of its facts."""
    object.__setattr__(case, "_facts", facts)
    return case


@dataclass(frozen=True, kw_only=True)
class Evalset:
    """A named set of cases that gates one or more prompts."""

    name: str
    prompts: tuple[str, ...]
    cases: Sequence[Case]
    scorers: tuple[ScorerSpec, ...] = ()
    repeats: int = 1
    """Gate trials per case."""
    gate: Mapping[str, Json] = field(default_factory=dict)
    """The part of the policy that this evalset overrides, as validated plain data."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Cases removed on purpose, by id, with the reason."""
    path: str = ""

    def due(self, case: Case) -> tuple[ScorerSpec, ...]:
        """Return every scorer that applies to `case`."""
        return self.scorers + case.scorers
