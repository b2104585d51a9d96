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

from llmops_cli.core.policy import Anchor, Verdict
from llmops_cli.core.records import EvalsetFacts, Evidence, SideFacts, Version
from llmops_cli.core.result import BASELINE, OWN_BASELINE, CaseResult, Metric, SideResult
from llmops_cli.gate.calibration import scaled, unfit_labels
from llmops_cli.gate.comparison import Comparison, GateInput, compare
from llmops_cli.gate.decide import decide
from llmops_cli.stores.calibrations import evidence_calibrations
from llmops_cli.stores.evidence import has_rows, read_rows
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
    """A verdict, and the evidence it is based on."""

    verdict: Verdict
    evidence: Evidence
    baseline_evidence: tuple[str, ...]
    """Digest of the evidence that holds the baseline's rows; empty if `evidence` does."""


def recompute(
    registry: Registry,
    evidence: Evidence,
    running: Version | None,
    evalsets: Sequence[EvalsetFacts],
) -> RecomputedVerdict | MissingEvidence:
    """Return the verdict of `evidence` against `running` (None: nothing runs) on `evalsets`.

    Raises `IntegrityBroken` if a file of evidence is not what was measured.
    """
    if missing := tuple(_missing(evidence, evalsets)):
        return MissingEvidence(why=missing)
    baseline = None if running is None else _baseline_rows(registry, evidence, running, evalsets)
    if isinstance(baseline, MissingEvidence):
        return baseline
    cited = set() if baseline is None else {baseline.evidence.digest} - {evidence.digest}
    return RecomputedVerdict(
        verdict=verdict_of(evidence, baseline, evalsets),
        evidence=evidence,
        baseline_evidence=tuple(cited),
    )


def verdict_of(
    evidence: Evidence,
    baseline: BaselineRows | None,
    evalsets: Sequence[EvalsetFacts],
) -> Verdict:
    """Return the verdict of `evidence` against `baseline`, whose rows cover `evalsets`."""
    looks = {facts.evalset: facts.look for facts in evidence.measurement.evalsets}
    return decide(
        [
            GateInput(
                evalset=facts.evalset,
                comparison=_comparison(evidence, baseline, facts),
                policy=scaled(facts.policy, facts.shrinkage),
                retired=facts.retired,
                anchors={
                    version: _comparison(evidence, BaselineRows(evidence, role), facts)
                    for version, role in _anchor_roles(facts).items()
                },
                look=looks.get(facts.evalset, 1),
            )
            for facts in evalsets
        ]
    )


def _missing(evidence: Evidence, evalsets: Sequence[EvalsetFacts]) -> Iterator[str]:
    """Yield what `evidence` lacks to be decided on `evalsets`.

    An evalset that was measured and gates no longer counts too: leaving it out is no way around
    what it says.
    """
    measured = {facts.evalset: facts for facts in evidence.measurement.evalsets}
    removed = [name for name in measured if name not in {facts.evalset for facts in evalsets}]
    if removed:
        yield f"it was measured on {', '.join(removed)} too, which gates the prompt no longer"
    calibrations = evidence_calibrations(evidence)
    for facts in evalsets:
        name = facts.evalset
        if name not in measured:
            yield f"the evalset {name} is not part of the evidence"
        elif measured[name].digest != facts.digest:
            yield f"the evalset {name} has changed since the evidence was made"
        else:
            yield from _changed_scorers(measured[name], facts.metrics)
        for version, role in _anchor_roles(facts).items():
            if role not in evidence.measurement.sides:
                yield f"the anchor {version} of {name} was not measured"
        for label in unfit_labels(calibrations, facts):
            yield (
                f"the judge {label} of {name} was not calibrated when it was made: measuring "
                "again uses its current calibration"
            )


def _changed_scorers(measured: EvalsetFacts, metrics: Sequence[Metric]) -> Iterator[str]:
    scorers = {metric.label: metric.scorer for metric in measured.metrics}
    for metric in metrics:
        if not metric.advisory and scorers.get(metric.label) != metric.scorer:
            label = metric.label
            yield f"the scorer {label} of {measured.evalset} is not the one that was measured"


def _anchor_roles(facts: EvalsetFacts) -> Mapping[str, str]:
    """Return the role of each anchor that the policy names, by the rule's version."""
    versions = [rule.version for rule in facts.policy.rules if isinstance(rule, Anchor)]
    return {version: f"anchor {version}" for version in versions}


def _baseline_rows(
    registry: Registry, evidence: Evidence, running: Version, evalsets: Sequence[EvalsetFacts]
) -> BaselineRows | MissingEvidence:
    """Return the rows of `running`: measured beside the candidate, or in its own evidence."""
    beside = evidence.measurement.sides.get(BASELINE)
    if beside is not None and beside.target == running.target:
        return BaselineRows(evidence, BASELINE)
    reasons = [f"{running.address} runs now, and the evidence was not made against it"]
    for other in reversed(registry.evidence(running.name, running.number)):
        why = _why_incomparable(evidence, other, evalsets)
        if why is None:
            return BaselineRows(other, OWN_BASELINE)
        reasons.append(f"its own evidence cannot be used instead: {why}")
    return MissingEvidence(why=tuple(reasons))


def _why_incomparable(
    evidence: Evidence, other: Evidence, evalsets: Sequence[EvalsetFacts]
) -> str | None:
    """Return why the own baseline of `other` cannot be compared with `evidence`; None: it can."""
    if not has_rows(other):
        return "its rows were deleted"
    ours, theirs = evidence.candidate, other.candidate
    served = [set(ours.served_models), set(theirs.served_models)]
    if ours.model == theirs.model and all(served) and served[0] != served[1]:
        return f"another model answered as {ours.model} then"
    limit = min((facts.policy.baseline_max_age for facts in evalsets), default=0)
    if not theirs.deterministic and _is_too_old(ours, theirs, limit):
        return f"its baseline trials are not known to be of the same {limit} days"
    measured = {facts.evalset: facts for facts in other.measurement.evalsets}
    for facts in evalsets:
        if facts.evalset not in measured:
            return f"it does not cover {facts.evalset}"
        for reason in _changed_scorers(measured[facts.evalset], facts.metrics):
            return reason
        others = _rows_by_case(other, facts.evalset)
        count = 0
        for row in _rows(evidence, facts.evalset):
            if row.candidate is not None:
                match = others.get(row.case)
                side = match.sides.get(OWN_BASELINE) if match else None
                count += not (side and side.trials and side.facts == row.facts)
        if count:
            cases = "case" if count == 1 else "cases"
            return f"{count} {cases} of {facts.evalset} were not measured alike"
    return None


def _is_too_old(ours: SideFacts, theirs: SideFacts, days: int) -> bool:
    """Return whether the trials of both are too far apart, or their times are not known."""
    if theirs.oldest is None or ours.newest is None:
        return True
    try:
        apart = datetime.fromisoformat(ours.newest) - datetime.fromisoformat(theirs.oldest)
    except (TypeError, ValueError):  # no time, or one without a zone
        return True
    # in either direction: a clock that ran ahead must not make a trial young for ever
    return abs(apart).total_seconds() > days * SECONDS_A_DAY


def _comparison(
    evidence: Evidence, baseline: BaselineRows | None, facts: EvalsetFacts
) -> Comparison:
    rows = _rows(evidence, facts.evalset)
    if baseline is None:
        pairs = (row.against(None) for row in rows if row.candidate is not None)
        return compare(pairs, facts.metrics)
    if baseline.evidence.digest == evidence.digest:
        return compare((row.against(row.sides.get(baseline.role)) for row in rows), facts.metrics)
    return compare(_paired_rows(rows, baseline, facts), facts.metrics)


def _paired_rows(
    rows: Iterator[CaseResult], baseline: BaselineRows, facts: EvalsetFacts
) -> Iterator[CaseResult]:
    """Pair `rows` with those that `baseline` has of the same cases in other evidence."""
    paired = {metric.label for metric in facts.metrics if metric.paired}
    others = _rows_by_case(baseline.evidence, facts.evalset)
    for row in rows:
        if row.candidate is not None:
            other = others.pop(row.case, None)
            pair = row.against(other.sides.get(baseline.role) if other else None)
            yield replace(pair, candidate=_without_scores(row.candidate, paired))
    for row in others.values():  # cases that only the baseline was measured on
        if baseline.role in row.sides:
            yield replace(row, candidate=None, baseline=row.sides[baseline.role], others={})


def _without_scores(side: SideResult | None, labels: AbstractSet[str]) -> SideResult | None:
    """Return `side` without scores that compared it with other answers than the baseline's."""
    if side is None or not labels:
        return side
    trials = []
    for trial in side.trials:
        scores = {label: score for label, score in trial.scores.items() if label not in labels}
        trials.append(replace(trial, scores=scores))
    return replace(side, trials=tuple(trials))


def _rows(evidence: Evidence, evalset: str) -> Iterator[CaseResult]:
    return (row for row in read_rows(evidence) if row.evalset == evalset)


def _rows_by_case(evidence: Evidence, evalset: str) -> dict[str, CaseResult]:
    return {row.case: row for row in _rows(evidence, evalset)}
