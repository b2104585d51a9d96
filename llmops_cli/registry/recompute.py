"""Recompute the verdict on committed evidence from its rows: no network, no model, no git.

`promote` decides and `verify` checks this way. The policies, thresholds and evalsets need not be
those that the evidence was made under. What the rows do not cover is returned as `MissingEvidence`,
never decided without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from llmops_cli.core.case_result import (
    BASELINE,
    OWN_BASELINE,
    CaseResult,
    Metric,
    SideResult,
)
from llmops_cli.core.policy import Anchor
from llmops_cli.core.release import (
    EvalsetFacts,
    Evidence,
    SideFacts,
    Version,
)
from llmops_cli.core.verdict import Verdict
from llmops_cli.gate.calibration import scaled
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import Comparison
from llmops_cli.gate.decide import GateInput, decide
from llmops_cli.gate.judges import unfit_labels
from llmops_cli.stores.calibrations import evidence_calibrations
from llmops_cli.stores.registry import Registry

SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingEvidence:
    """What has to be measured before these rows can decide."""

    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaselineRows:
    """Whose rows are the baseline: a role of the evidence itself, or of another version's."""

    evidence: Evidence
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputedVerdict:
    """A verdict, and the rows it is based on."""

    verdict: Verdict
    evidence: Evidence
    baseline: BaselineRows | None
    judged_by: tuple[EvalsetFacts, ...]

    @property
    def baseline_evidence(self) -> tuple[str, ...]:
        """Digest of the evidence that holds the baseline's rows; empty where `evidence` does."""
        if self.baseline is None or self.baseline.evidence.digest == self.evidence.digest:
            return ()
        return (self.baseline.evidence.digest,)


def recompute(
    registry: Registry,
    evidence: Evidence,
    running: Version | None,
    evalsets: Sequence[EvalsetFacts],
) -> RecomputedVerdict | MissingEvidence:
    """The verdict of `evidence` against `running` (None: nothing runs), judged by `asked`.

    Raises `IntegrityBroken` where a file of evidence is not what was measured.
    """
    gaps = [*_unlike(evidence, evalsets), *_missing_anchors(evidence, evalsets)]
    gaps += _uncalibrated(registry, evidence, evalsets)
    if gaps:
        return MissingEvidence(why=tuple(gaps))
    baseline = None if running is None else _baseline_rows(registry, evidence, running, evalsets)
    if isinstance(baseline, MissingEvidence):
        return baseline
    return RecomputedVerdict(
        verdict=verdict_of(registry, evidence, baseline, evalsets),
        evidence=evidence,
        baseline=baseline,
        judged_by=tuple(evalsets),
    )


def verdict_of(
    registry: Registry,
    evidence: Evidence,
    baseline: BaselineRows | None,
    evalsets: Sequence[EvalsetFacts],
) -> Verdict:
    """The verdict of `evidence` beside `baseline`, whose rows are known to answer what is asked."""
    looks = {each.evalset: each.look for each in evidence.measurement.evalsets}
    return decide(
        [
            GateInput(
                evalset=each.evalset,
                comparison=_comparison(registry, evidence, baseline, each),
                policy=scaled(each.policy, each.shrinkage),
                retired=each.retired,
                anchors={
                    version: _comparison(registry, evidence, BaselineRows(evidence, role), each)
                    for version, role in _anchors(each).items()
                },
                look=looks.get(each.evalset, 1),
            )
            for each in evalsets
        ]
    )


def _unlike(evidence: Evidence, evalsets: Sequence[EvalsetFacts]) -> Iterator[str]:
    """Yield how the evidence differs from `evalsets` in evalsets, cases and scorers.

    Evalsets that were measured and gate no longer count too: one cannot be left out.
    """
    measured = {each.evalset: each for each in evidence.measurement.evalsets}
    left = [name for name in measured if name not in {each.evalset for each in evalsets}]
    if left:
        yield f"it was measured on {', '.join(left)} too, which gates the prompt no longer"
    for each in evalsets:
        found = measured.get(each.evalset)
        if found is None:
            yield f"the evalset {each.evalset} is not part of the evidence"
        elif found.digest != each.digest:
            yield f"the evalset {each.evalset} has changed since the evidence was made"
        else:
            yield from _other_scorers(found, each.metrics)


def _other_scorers(found: EvalsetFacts, metrics: Sequence[Metric]) -> Iterator[str]:
    scorers = {metric.label: metric.scorer for metric in found.metrics}
    for metric in metrics:
        if not metric.advisory and scorers.get(metric.label) != metric.scorer:
            yield f"the scorer {metric.label} of {found.evalset} is not the one that was measured"


def _uncalibrated(
    registry: Registry, evidence: Evidence, evalsets: Sequence[EvalsetFacts]
) -> Iterator[str]:
    known = evidence_calibrations(evidence, registry.evidence_file(evidence))
    for each in evalsets:
        for label in unfit_labels(known, each):
            yield (
                f"the judge {label} of {each.evalset} was not calibrated when it was made: "
                "measuring again takes what is known of it now"
            )


def _missing_anchors(evidence: Evidence, evalsets: Sequence[EvalsetFacts]) -> Iterator[str]:
    for each in evalsets:
        for version, role in _anchors(each).items():
            if role not in evidence.measurement.sides:
                yield f"the anchor {version} of {each.evalset} was not measured"


def _anchors(facts: EvalsetFacts) -> Mapping[str, str]:
    """The side of each anchor that the policy names, by the rule's version."""
    rules = [rule for rule in facts.policy.rules if isinstance(rule, Anchor)]
    return {rule.version: f"anchor {rule.version}" for rule in rules}


def _baseline_rows(
    registry: Registry, evidence: Evidence, running: Version, evalsets: Sequence[EvalsetFacts]
) -> BaselineRows | MissingEvidence:
    """The rows that stand for `running`: measured beside the candidate, or in its own evidence."""
    beside = evidence.measurement.sides.get(BASELINE)
    if beside is not None and beside.target == running.target:
        return BaselineRows(evidence, BASELINE)
    reasons = [f"{running.address} runs now, and the evidence was not made against it"]
    for other in reversed(registry.evidence(running.name, running.number)):
        why = _incomparable(registry, evidence, other, evalsets)
        if why is None:
            return BaselineRows(other, OWN_BASELINE)
        reasons.append(f"its own evidence cannot stand in: {why}")
    return MissingEvidence(why=tuple(reasons))


def _incomparable(
    registry: Registry, evidence: Evidence, other: Evidence, evalsets: Sequence[EvalsetFacts]
) -> str | None:
    """Why the baseline trials of `other` cannot be set beside `evidence`; None: they can."""
    if not registry.has_rows(other):
        return "its rows were cleared away"
    ours, theirs = evidence.candidate, other.candidate
    if ours.model == theirs.model and _answered_by_others(ours, theirs):
        return f"another model answered as {ours.model} then"
    limit = min((each.policy.baseline_max_age for each in evalsets), default=0)
    if not theirs.deterministic and _too_old(ours, theirs, limit):
        return f"its baseline draws are not known to be of the same {limit} days"
    for each in evalsets:
        measured = {found.evalset: found for found in other.measurement.evalsets}
        if each.evalset not in measured:
            return f"it does not cover {each.evalset}"
        for reason in _other_scorers(measured[each.evalset], each.metrics):
            return reason
        unmatched = _unmatched(registry, evidence, other, each.evalset)
        if unmatched:
            cases = "case" if unmatched == 1 else "cases"
            return f"{unmatched} {cases} of {each.evalset} were not measured alike"
    return None


def _answered_by_others(ours: SideFacts, theirs: SideFacts) -> bool:
    both_told = ours.served_models and theirs.served_models
    return bool(both_told) and set(ours.served_models) != set(theirs.served_models)


def _too_old(ours: SideFacts, theirs: SideFacts, days: int) -> bool:
    """Also where a clock was wrong: a draw from the future is not a young one for ever."""
    if theirs.oldest is None or ours.newest is None:
        return True
    try:
        apart = datetime.fromisoformat(ours.newest) - datetime.fromisoformat(theirs.oldest)
    except (TypeError, ValueError):  # no time, or one without a zone
        return True
    return abs(apart).total_seconds() > days * SECONDS_A_DAY


def _unmatched(registry: Registry, evidence: Evidence, other: Evidence, evalset: str) -> int:
    """Cases of `evidence` that `other` holds no baseline trials for, on the same facts."""
    theirs = _rows_by_case(registry, other, evalset)
    count = 0
    for row in _rows_of(registry, evidence, evalset):
        if row.candidate is not None:
            match = theirs.get(row.case)
            side = match.sides.get(OWN_BASELINE) if match else None
            count += not (side and side.trials and side.facts == row.facts)
    return count


def _comparison(
    registry: Registry, evidence: Evidence, baseline: BaselineRows | None, facts: EvalsetFacts
) -> Comparison:
    pairs = _pairs(registry, evidence, baseline, facts.evalset)
    if baseline is not None and baseline.evidence.digest != evidence.digest:
        gone = {metric.label for metric in facts.metrics if metric.paired}
        pairs = (replace(row, candidate=_without(gone, row.candidate)) for row in pairs)
    return compare(pairs, facts.metrics)


def _without(labels: AbstractSet[str], side: SideResult | None) -> SideResult | None:
    """`side` without scores that set it against other answers than those it is compared with."""
    if side is None or not labels:
        return side
    kept = (
        replace(
            trial, scores={name: each for name, each in trial.scores.items() if name not in labels}
        )
        for trial in side.trials
    )
    return replace(side, trials=tuple(kept))


def _pairs(
    registry: Registry, evidence: Evidence, baseline: BaselineRows | None, evalset: str
) -> Iterator[CaseResult]:
    rows = _rows_of(registry, evidence, evalset)
    if baseline is None:
        yield from (row.against(None) for row in rows if row.candidate is not None)
    elif baseline.evidence.digest == evidence.digest:
        yield from (row.against(row.sides.get(baseline.role)) for row in rows)
    else:
        others = _rows_by_case(registry, baseline.evidence, evalset)
        for row in rows:
            if row.candidate is not None:
                other = others.pop(row.case, None)
                yield row.against(other.sides.get(baseline.role) if other else None)
        for row in others.values():  # cases that only the baseline was measured on
            if baseline.role in row.sides:
                yield replace(row, candidate=None, baseline=row.sides[baseline.role], others={})


def _rows_of(registry: Registry, evidence: Evidence, evalset: str) -> Iterator[CaseResult]:
    return (row for row in registry.evidence_rows(evidence) if row.evalset == evalset)


def _rows_by_case(registry: Registry, evidence: Evidence, evalset: str) -> dict[str, CaseResult]:
    return {row.case: row for row in _rows_of(registry, evidence, evalset)}
