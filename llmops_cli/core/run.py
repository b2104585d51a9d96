"""The portable form of a run, as values: a manifest, and a stream of cases, answers and scores.

The cases are what the verdict and the report follow from. Answers and scores stand beside them
under the keys of the results store, so that another run can take them over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmops_cli.core.case_result import CaseResult
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.release import EvalsetFacts
from llmops_cli.core.result import Completion, Score

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


Entry: TypeAlias = CaseResult | tuple[TrialKey, Completion] | tuple[ScoreKey, Score]
"""A case with its trials, without their texts; an answer; or a score."""
