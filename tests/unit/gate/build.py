"""Rows in few words: which trials passed in which side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from llmops_cli.core.policy import Finding, Policy, Verdict
from llmops_cli.core.result import CaseResult, Failure, FailureKind, Metric, SideResult, Trial
from llmops_cli.gate.comparison import Comparison, GateInput, compare
from llmops_cli.gate.decide import decide

Outcome: TypeAlias = float | bool | Trial | None
"""A raw value of the scorer `exact`; None: unscored; or a whole draw."""

EXACT = Metric(label="exact", scorer="sha256:exact", minimum=1.0)
SIMILARITY = Metric(label="similarity", scorer="sha256:similarity", unit="fraction", minimum=0.5)
TONE = Metric(label="tone", scorer="sha256:tone", minimum=1.0, judged=True)
STYLE = Metric(label="style", scorer="sha256:style", minimum=1.0, advisory=True)
METRICS = (EXACT, SIMILARITY, TONE, STYLE)


def trial(value: float | bool | None, *, label: str = "exact") -> Trial:
    score = None if value is None else float(value)
    return Trial(output="sha256:o", scores={label: score})


def failed(kind: FailureKind = FailureKind.TIMEOUT) -> Trial:
    return Trial(failure=Failure(kind=kind, message="it went wrong"), scores={"exact": None})


def side(
    *outcomes: Outcome, request: str = "r", facts: str = "f", planned: int | None = None
) -> SideResult:
    trials = tuple(case if isinstance(case, Trial) else trial(case) for case in outcomes)
    wanted = len(trials) if planned is None else planned
    return SideResult(request=request, facts=facts, planned=wanted, trials=trials)


def row(case: str, candidate: Sequence[Outcome], baseline: Sequence[Outcome] | None) -> CaseResult:
    """A case whose request differs between the sides."""
    return CaseResult(
        case=case,
        candidate=side(*candidate, request="new"),
        baseline=None if baseline is None else side(*baseline, request="old"),
    )


def rows(regressed: int = 0, improved: int = 0, *, n: int, failing: int = 0) -> list[CaseResult]:
    """Return n cases: regressed, improved, failing on both sides, the others passing."""
    outcomes = [(0, 1)] * regressed + [(1, 0)] * improved + [(0, 0)] * failing
    outcomes += [(1, 1)] * (n - len(outcomes))
    return [row(f"c{at}", [now], [before]) for at, (now, before) in enumerate(outcomes)]


def grouped(cases: Iterable[CaseResult], size: int) -> list[CaseResult]:
    return [replace(case, group=f"g{at // size}") for at, case in enumerate(cases)]


def compared(cases: Iterable[CaseResult]) -> Comparison:
    return compare(cases, METRICS)


def gate_input(
    cases: Iterable[CaseResult], policy: Policy | None = None, *, evalset: str = "support"
) -> GateInput:
    return GateInput(evalset=evalset, comparison=compared(cases), policy=policy or Policy())


def verdict(cases: Iterable[CaseResult], policy: Policy | None = None) -> Verdict:
    return decide([gate_input(cases, policy)])


def finding(decided: Verdict, rule: str) -> Finding:
    (found,) = (case for case in decided.findings if case.rule == rule)
    return found
