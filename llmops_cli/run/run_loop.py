"""The gate's run: plan, execute what is missing, compare, decide.

    pairings ─► plan ──► execute ──► compare ──► decide
                   ▲                                │
                   └── a further look (rerun), or ◄─┘
                       a baseline that must be drawn anew

Planning renders every case and asks the store; only what is missing is executed. `Run` is what
reports, run files and evidence are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast

from llmops_cli.core.ports import Progress, TrialKey
from llmops_cli.core.report import Spending
from llmops_cli.core.verdict import Decision, Finding, Verdict
from llmops_cli.engine.budget import Budget
from llmops_cli.gate.comparison import TRIALS_BY_LOOK, Comparison
from llmops_cli.gate.decide import GateInput, decide_all
from llmops_cli.gate.power import NextLook, next_look
from llmops_cli.plugins import load
from llmops_cli.run.comparison import PromptComparison
from llmops_cli.run.drift import drifted, judged_by_others
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.workspace import Workspace

LIVE = "llmops_cli.run.event_loop:call"
"""What calls models: loaded where something is due, with asyncio and the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run, as opposed to what (`contest.Selection`)."""

    offline: bool = False
    fresh: bool = False
    budget: Budget | None = None
    partial: str | None = None
    now: str
    """Start of the run, UTC, ISO 8601: a baseline drawn anew is younger than this."""


@dataclass(kw_only=True)
class Run:
    """Contests, what was measured for them, and the gate's answer."""

    pairings: Sequence[EvalsetRun]
    comparisons: dict[int, Comparison] = field(default_factory=dict)
    """By position of the pairing."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By the name of the candidate's prompt."""
    calls: int = 0
    cost: float | None = 0.0
    spent: dict[str, Spending] = field(default_factory=dict)
    """Of it, what scorers asked, by role."""
    answering: dict[str, str] = field(default_factory=dict)
    """What answers today under the name of a judge's model, where it was called."""
    partial: str | None = None
    """Why only some cases were selected."""
    budget: Budget | None = None
    """What is left of it."""
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def reused(self) -> int:
        """Trials that evidence or the store answered."""
        return sum(
            side.planned - side.called - len(side.failures)
            for each in self.pairings
            for side in each.sides
        )

    def of(self, contest: PromptComparison) -> list[tuple[EvalsetRun, Comparison]]:
        """The evalsets of one contest, with their columns."""
        return [
            (each, self.comparisons[at])
            for at, each in enumerate(self.pairings)
            if each.contest is contest
        ]


Call: TypeAlias = Callable[[Workspace, Run, Options, Progress], None]


def conduct(
    workspace: Workspace,
    pairings: Sequence[EvalsetRun],
    options: Options,
    *,
    progress: Progress,
) -> Run:
    """Measures what is missing and decides. They are planned already.

    Only a run that calls something starts an event loop.
    """
    run = Run(pairings=pairings, partial=options.partial, budget=options.budget)
    damaged = workspace.results.damaged
    _measure(workspace, run, options, progress)
    if options.fresh and not run.interrupted:
        _pool(run)
        _measure(workspace, run, options, progress)
    for each in pairings:
        each.look = _look_taken(each)
    _decide(run)
    for again in (_confirm, _renew_changed_models, _look_further, _confirm, _judge_anew):
        while not run.interrupted and again(run, options):
            _measure(workspace, run, options, progress)
            _decide(run)
    if workspace.results.damaged > damaged and not run.interrupted:
        _plan_again(run)  # what turned out to be damaged on the way is missing now
        _measure(workspace, run, options, progress)
        _decide(run)
    return run


def _measure(workspace: Workspace, run: Run, options: Options, progress: Progress) -> None:
    if options.offline:
        for each in run.pairings:
            for side in each.sides:
                if not workspace.provider(side.target.model).offline:
                    each.stay_offline(side)
    works = [each.work() for each in run.pairings]
    if any(work.todo for work in works):
        call = cast("Call", load(LIVE))
        call(workspace, run, options, progress)
    for each in run.pairings:
        each.settle()


def _plan_again(run: Run) -> None:
    asked: set[TrialKey] = set()
    for each in run.pairings:
        each.plan(asked)


def _pool(run: Run) -> None:
    """What was drawn anew joins what was held: a re-run never replaces (docs/verdict.md).

    A draw that could not be made anew stays a failure: it does not fall back on what was held.
    """
    asked: set[TrialKey] = set()
    for each in run.pairings:
        for side in each.sides:
            if side.pools:
                side.fresh, side.not_before = False, None
        each.plan(asked)


def _decide(run: Run) -> None:
    """Compares and decides; a change of policy or evalsets is a finding of its own."""
    run.comparisons = {at: each.comparison() for at, each in enumerate(run.pairings)}
    by_prompt: dict[str, list[GateInput]] = {}
    for at, each in enumerate(run.pairings):
        by_prompt.setdefault(each.contest.candidate.name, []).append(_exam(each, run, at))
    contests = {each.contest.candidate.name: each.contest for each in run.pairings}
    run.verdicts = {
        name: replace(verdict, findings=(*verdict.findings, *_findings(contests[name])))
        for name, verdict in decide_all(by_prompt).items()
    }


def _findings(contest: PromptComparison) -> Iterator[Finding]:
    """What the change itself does to the bar that it is held to."""
    for change in contest.policy_changes:
        yield Finding(rule="policy", decision=Decision.PASS, why=change)
    for change in contest.asked_otherwise:
        yield Finding(rule="evalset", decision=Decision.PASS, why=change)
    for change in contest.models_otherwise:
        yield Finding(rule="models", decision=Decision.PASS, why=change)


def _exam(each: EvalsetRun, run: Run, at: int) -> GateInput:
    anchors = {version: each.comparison(f"anchor {version}") for version in each.contest.anchors}
    return GateInput(
        evalset=each.round.evalset.name,
        comparison=run.comparisons[at],
        policy=each.policy,
        retired=each.round.evalset.retired,
        behind=each.contest.then.behind(each.round.evalset.name),
        anchors=anchors,
        partial=run.partial,
        look=each.look,
    )


def _confirm(run: Run, _options: Options) -> bool:
    """Plans further trials of critical cases that a judge failed once: judges err, too."""
    asked: set[TrialKey] = set()
    further = False
    for at, each in enumerate(run.pairings):
        positions = run.comparisons[at].cases
        unsure = {positions[case] for case in run.comparisons[at].unconfirmed_cases()}
        if not unsure <= each.unconfirmed:
            each.unconfirmed |= unsure
            each.plan(asked)
            further = True
    return further


def _renew_changed_models(run: Run, options: Options) -> bool:
    """Plans a side anew where another model answered it under the same name."""
    renewed = False
    asked: set[TrialKey] = set()
    for at, each in enumerate(run.pairings):
        sides = [] if each.contest.watch else [*drifted(each, run.comparisons[at])]
        for side, why in sides:
            side.rerun(options.now)
            run.notes.append(f"{each.round.evalset.name}: {why}: the {side.role} is drawn anew")
        if sides:
            each.plan(asked)
            renewed = True
    return renewed


def _judge_anew(run: Run, _options: Options) -> bool:
    """Plans scores anew where another model judged some of them under the same name."""
    again = False
    asked: set[TrialKey] = set()
    for each in run.pairings:
        found = [*judged_by_others(each, run.answering)]
        run.notes += (f"{each.round.evalset.name}: {why}" for why in found)
        if found:
            each.plan(asked)
            again = True
    return again


def _look_taken(each: EvalsetRun) -> int:
    """The look that trials held already amount to: asking again spends no error rate twice."""
    if each.round.policy.on_inconclusive != "rerun":
        return each.look
    held = max(map(len, each.candidate.wanted), default=0)
    taken = (
        look
        for look, trials in TRIALS_BY_LOOK.items()
        if each.round.evalset.repeats < trials <= held
    )
    return max(each.look, *taken, 1)


def _look_further(run: Run, options: Options) -> bool:
    """Plans more trials where the policy asks for a rerun and a further look can decide."""
    further = False
    asked: set[TrialKey] = set()
    if options.offline or run.partial:  # more trials of chosen cases would tilt the evalset
        return further
    for at, each in enumerate(run.pairings):
        if not _undecided(run, each) or not run.comparisons[at].has_baseline:
            continue
        answer = next_look(run.comparisons[at], each.policy, each.look)
        note = f"{each.round.evalset.name}: {answer.why}"
        run.notes += [] if note in run.notes else [note]
        if isinstance(answer, NextLook):
            each.look = answer.look
            for side in each.sides:
                side.repeats = max(side.repeats, answer.trials)
                side.failures.clear()
            each.plan(asked)
            further = True
    return further


def _undecided(run: Run, each: EvalsetRun) -> bool:
    """Whether the policy asks for a further look at this evalset, and it is what is undecided."""
    verdict = run.verdicts[each.contest.candidate.name]
    if verdict.decision is not Decision.INCONCLUSIVE:
        return False
    here = (one for one in verdict.findings if one.evalset == each.round.evalset.name)
    undecided = any(one.decision is Decision.INCONCLUSIVE for one in here)
    return undecided and each.round.policy.on_inconclusive == "rerun"
