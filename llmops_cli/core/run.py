"""The portable form of a run, as values: what was planned, and every answer, score and failure.

A run file is a `Manifest` and a stream of entries. Verdict and report follow from them alone: the
cases say which trials were wanted and which scorers were due, the other entries what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.release import EvalsetFacts
from llmops_cli.core.result import Completion, Failure, Purpose, Score

FORMAT = "llmops/run/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One target of a run on one evalset."""

    name: str
    """`support@working`, `support@v3`."""
    target: str
    """Digest."""
    model: str
    """`provider/model`."""
    purpose: Purpose
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvalset:
    """One prompt on one evalset: who met whom, judged how."""

    prompt: str
    environment: str
    facts: EvalsetFacts
    sides: Mapping[str, RunSide]
    """By role: `candidate`, `baseline`, `anchor v1`."""
    partial: str | None = None
    """Why only some cases were selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a run was: two runs merge only where this is equal for each evalset they share."""

    llmops: str
    evalsets: tuple[RunEvalset, ...]
    report: Json = None
    """The run's `core.report.Report` as plain data; None where runs were merged."""
    format: str = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSide:
    """The draws of one side that one case wants."""

    request: str
    planned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCase:
    """One case of a run, with what a report shows of it."""

    prompt: str
    evalset: str
    position: int
    """In the evalset."""
    case: str
    facts: str
    inputs: Mapping[str, Json]
    expected: Json = None
    contexts: tuple[str, ...] = ()
    messages: Json = None
    """Earlier turns of the conversation."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    known_failing: str | None = None
    due: Mapping[str, str] = field(default_factory=dict)
    """Digest of each scorer that owes it a score, by label."""
    sides: Mapping[str, PlannedSide]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrial:
    """What only the run that made a trial knows of it, and no store keeps.

    Readers of before it was written pass over it.
    """

    prompt: str
    evalset: str
    position: int
    """Of the case in the evalset."""
    role: str
    """Of the side."""
    n: int
    latency: float | None = None
    """Seconds of its call; None: it was answered by what is held."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Why, by label, where a scorer could not score it."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """Those that live for the run, by label: of a clock, and of code without identity."""


Entry: TypeAlias = (
    "RunCase | RunTrial"
    " | tuple[TrialKey, Completion] | tuple[TrialKey, Failure] | tuple[ScoreKey, Score]"
)
