"""Properties of verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmops_cli.core.policy import Decision, Finding, Floor, NoWorse, Policy, Regressed, Verdict
from llmops_cli.core.result import CaseResult, SideResult
from tests.unit.gate.build import failed, trial, verdict

MODEST = settings(max_examples=60, deadline=None)
ORDER = list(Decision)
"""Worst first."""

POLICY = Policy(
    margin=0.2, rules=[NoWorse(), Floor(minimum=0.6), Regressed(maximum=0.2), *Policy().rules[2:]]
)

Trials: TypeAlias = list[int | None]
"""1 passes, 0 fails, None: the call failed."""

indices = st.integers(0, 1_000)
outcomes = st.lists(st.sampled_from([0, 1, 1, 1, None]), min_size=1, max_size=3)


@dataclass(frozen=True)
class World:
    """An evalset in few words: `kinds` of (candidate, baseline) draws, repeated to `size` cases."""

    size: int
    kinds: list[tuple[Trials, Trials]]
    grouped: bool
    first: tuple[int, Trials] | None = None
    """A candidate's trials in one case that are other than its kind's."""

    def rows(self) -> list[CaseResult]:
        return [self._row(at) for at in range(self.size)]

    def _row(self, at: int) -> CaseResult:
        candidate, baseline = self.kinds[at % len(self.kinds)]
        if self.first is not None and self.first[0] == at:
            candidate = self.first[1]
        return CaseResult(
            case=f"c{at}",
            candidate=_side("new", candidate),
            baseline=_side("old", baseline),
            group=f"g{at % 13}" if self.grouped else None,
        )

    def trials_of(self, at: int) -> Trials:
        """The candidate's trials in a case."""
        return self.kinds[at % self.size % len(self.kinds)][0]

    def with_first_trial(self, at: int, first: int | None) -> World:
        """The same world with another first trial of the candidate in one case."""
        return replace(self, first=(at % self.size, [first, *self.trials_of(at)[1:]]))


def _worlds(grouped: st.SearchStrategy[bool]) -> st.SearchStrategy[World]:
    return st.builds(
        World,
        size=st.integers(10, 60),
        kinds=st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=8),
        grouped=grouped,
        first=st.none(),
    )


worlds = _worlds(st.booleans())
single = _worlds(st.just(False))
"""Without groups. With them the design effect is estimated from the same cases, so that one case
may move it and the mean in opposite ways: near the critical value the two properties below hold
almost always, but not by construction."""


def _side(request: str, values: Trials) -> SideResult:
    trials = tuple(failed() if value is None else trial(bool(value)) for value in values)
    return SideResult(request=request, facts="f", planned=len(trials), trials=trials)


def decided(rows: list[CaseResult]) -> Verdict:
    return verdict(rows, POLICY)


def decisions(rows: list[CaseResult]) -> dict[str, Decision]:
    return {outcome.rule: outcome.decision for outcome in decided(rows).findings}


def summary(outcome: Finding) -> tuple[str, Decision, str]:
    return (outcome.rule, outcome.decision, outcome.why)


@MODEST
@given(st.data(), worlds)
def test_the_order_and_the_names_of_cases_and_groups_change_nothing(
    data: st.DataObject, world: World
) -> None:
    renamed = [
        replace(row, case=f"case of {row.case}", group=row.group and f"team {row.group}")
        for row in world.rows()
    ]
    findings = list(map(summary, decided(world.rows()).findings))
    for rows in (data.draw(st.permutations(world.rows())), renamed):
        assert list(map(summary, decided(rows).findings)) == findings


@MODEST
@given(single, indices)
def test_a_worse_candidate_never_gets_a_better_decision(world: World, at: int) -> None:
    assume(world.trials_of(at)[0] is not None)
    before, after = decisions(world.rows()), decisions(world.with_first_trial(at, 0).rows())
    for rule, decision in before.items():
        assert ORDER.index(after[rule]) <= ORDER.index(decision)


@MODEST
@given(single, indices)
def test_a_decision_on_an_unmeasured_trial_holds_whatever_it_would_have_been(
    world: World, at: int
) -> None:
    unknown = decisions(world.with_first_trial(at, None).rows())
    for answer in (0, 1):
        known = decisions(world.with_first_trial(at, answer).rows())
        for rule in ("no_worse", "floor", "regressed"):
            if unknown[rule] in {Decision.PASS, Decision.FAIL}:
                assert known[rule] is unknown[rule]


@MODEST
@given(worlds)
def test_the_verdict_is_the_worst_finding_and_a_pass_is_one_about_quality(world: World) -> None:
    outcome = decided(world.rows())
    worst = min((finding.decision for finding in outcome.findings), key=ORDER.index)
    shown = any(finding.quality for finding in outcome.findings)
    assert outcome.decision is worst
    assert (outcome.decision is Decision.PASS) == (worst is Decision.PASS and shown)
    assert any(
        finding.why in outcome.why for finding in outcome.findings if finding.decision is worst
    )


@MODEST
@given(worlds)
def test_interval_margin_and_decision_agree(world: World) -> None:
    (outcome,) = (
        finding for finding in decided(world.rows()).findings if finding.rule == "no_worse"
    )
    assume(outcome.estimate is not None)
    assert outcome.estimate is not None
    estimate = outcome.estimate
    assert estimate.lower <= estimate.upper
    assume(abs(estimate.lower + estimate.margin) > 1e-9)
    assert (outcome.decision is Decision.PASS) == (estimate.lower > -estimate.margin)
    if outcome.decision is Decision.FAIL:
        assert estimate.upper < 1e-9
