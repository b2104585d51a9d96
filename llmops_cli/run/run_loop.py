"""Run the gate: plan, make the missing calls, compare, decide.

    evalset runs ─► plan ──► call ──► compare ──► decide
                      ▲                              │
                      └── a further look (rerun), ◄──┘
                          or a baseline that must be run again

Planning renders every case and asks the store; only what is missing is called. Reports, run files
and evidence are created from a `Run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.policy import TRIALS_BY_LOOK, Decision, Finding
from llmops_cli.core.ports import Progress
from llmops_cli.core.result import BASELINE, Failure, FailureKind
from llmops_cli.gate.comparison import CriticalState, GateInput
from llmops_cli.gate.decide import decide_all
from llmops_cli.gate.paired_test import next_look
from llmops_cli.gate.wording import counted, listed
from llmops_cli.run.evalset_run import EvalsetRun, Run, plan_trials
from llmops_cli.run.selection import EvalOptions
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace

if TYPE_CHECKING:
    from llmops_cli.run.shards import Shards


def run_evalsets(
    workspace: Workspace,
    evalset_runs: Sequence[EvalsetRun],
    options: EvalOptions,
    *,
    progress: Progress,
    shards: Shards | None = None,
) -> Run:
    """Make the missing calls and decide. The trials are already planned.

    One shard decides nothing. All `shards` of a run, which have filled the trials, call nothing.
    Only a run that calls something starts an event loop.
    """
    if workspace.makes_no_calls is not None:
        options = replace(options, offline=True)
    cases = {evalset_run.name: len(evalset_run.cases) for evalset_run in evalset_runs}
    partial = options.selection.partial(sum(cases.values()))
    run = Run(evalset_runs=evalset_runs, partial=partial, budget=options.budget)
    if shards is not None:
        shards.count(run)
        _decide(run)
        if not run.interrupted:
            _refuse_further_work(run)
        return run
    damaged = workspace.results.damaged
    _measure(workspace, run, options, progress)
    if options.shard is not None:
        return run
    for evalset_run in evalset_runs:
        evalset_run.look = _look_taken(evalset_run)
    _decide(run)
    for find_more in FURTHER_WORK:
        while not run.interrupted and (again := list(find_more(run, options))):
            plan_trials(again)
            _measure(workspace, run, options, progress)
            _decide(run)
    if workspace.results.damaged > damaged and not run.interrupted:
        plan_trials(run.evalset_runs)  # rows found damaged during the run are missing now
        _measure(workspace, run, options, progress)
        _decide(run)
    return run


def _measure(workspace: Workspace, run: Run, options: EvalOptions, progress: Progress) -> None:
    if options.offline:
        for side in run.sides:
            why = workspace.may_not_call(side.spec.target.model, offline=True)
            if why is not None:
                message = f"not called: {why}, and no result is stored"
                side.give_up(Failure(kind=FailureKind.NOT_ATTEMPTED, message=message))
    if any(evalset_run.todo for evalset_run in run.evalset_runs):
        from llmops_cli.run.execute import call_missing, run_coroutine  # noqa: PLC0415 - imports asyncio

        todo = sum(evalset_run.todo for evalset_run in run.evalset_runs) + run.trials_called
        try:
            run_coroutine(call_missing(workspace, run, options, progress))
        except Unmeasured as error:  # the disk: neither report nor verdict can be written
            left, made = max(todo - run.trials_called, 0), counted(run.calls, "call")
            message = f"INCOMPLETE: {error.message}: {made} made, {left:,} not attempted"
            raise Unmeasured(message, hint=error.hint) from error
    for evalset_run in run.evalset_runs:
        evalset_run.finish()


def _decide(run: Run) -> None:
    """Compare and decide; a change of policy or evalsets is a finding of its own."""
    inputs: dict[str, list[GateInput]] = {}
    changes: dict[str, tuple[Finding, ...]] = {}
    for evalset_run in run.evalset_runs:
        comparison, selected = evalset_run.comparison, evalset_run.selection
        evalset, base = selected.evalset, comparison.base
        doubled = selected.name in comparison.as_at_base
        evalset_run.result = evalset_run.compare()
        gate_input = GateInput(
            evalset=evalset.name,
            comparison=evalset_run.result,
            policy=evalset_run.policy,
            retired=evalset.retired,
            behind=base.behind(evalset.name),
            anchors={
                version: evalset_run.compare(f"anchor {version}") for version in comparison.anchors
            },
            partial=run.partial,
            look=evalset_run.look,
            new=selected.base_of is None and (doubled or base.lacks(evalset.name)),
            added=() if doubled else base.lacking(evalset),
        )
        inputs.setdefault(comparison.candidate.name, []).append(gate_input)
        changes[comparison.candidate.name] = comparison.changes
    run.verdicts = {
        name: replace(verdict, findings=(*verdict.findings, *changes[name]))
        for name, verdict in decide_all(inputs).items()
    }


def _refuse_further_work(run: Run) -> None:
    """Raise `Unmeasured` if a run of one process would make more trials before it decides."""
    for evalset_run in run.evalset_runs:
        result, why = evalset_run.result, ""
        if result.in_state(CriticalState.UNCONFIRMED):
            why = "a judge's failure of a critical case has to be confirmed"
        elif not evalset_run.comparison.watch and any(_answered_by_others(evalset_run)):
            why = "different models answered under one name"
        elif any(len(evalset_run.judged_by(b.label)) > 1 for b in evalset_run.scorers.all):
            why = "different models judged under one name"
        elif result.has_baseline and not run.partial and _undecided(run, evalset_run):
            look, reason = next_look(result, evalset_run.policy, evalset_run.look)
            why = "" if look is None else reason
        if why:
            raise Unmeasured(
                f"INCOMPLETE: {evalset_run.name} needs further trials: {why}",
                hint="llmops eval, with --reuse and the file of each shard, makes only those",
            )


def _confirm_critical(run: Run, _options: EvalOptions) -> Iterator[EvalsetRun]:
    """Ask for more trials of critical cases that a judge failed once, because judges err."""
    for evalset_run in run.evalset_runs:
        comparison = evalset_run.result
        unconfirmed = comparison.in_state(CriticalState.UNCONFIRMED)
        unsure = {comparison.cases[case] for case in unconfirmed}
        if not unsure <= evalset_run.unconfirmed:
            evalset_run.unconfirmed |= unsure
            yield evalset_run


def _run_again_changed_models(run: Run, options: EvalOptions) -> Iterator[EvalsetRun]:
    """Ask for a side again if a different model answered under the same name."""
    for evalset_run in run.evalset_runs:
        drifted = [] if evalset_run.comparison.watch else list(_answered_by_others(evalset_run))
        for side, why in drifted:
            side.plan.not_before, side.plan.pools = options.start, False
            side.plan.model_changed = True
            side.state.failures.clear()
            run.notes.append(f"{evalset_run.name}: {why}: the {side.spec.role} is run again")
        if drifted:
            yield evalset_run


def _answered_by_others(evalset_run: EvalsetRun) -> Iterator[tuple[Side, str]]:
    """Yield the sides to run again because different models answered under one name, and why.

    The baseline first; where the candidate's reused trials are the older ones, the candidate.
    """
    candidate = evalset_run.candidate
    for role, other in evalset_run.others.items():
        side = next((side for side in (other, candidate) if not side.plan.model_changed), None)
        ours, theirs = candidate.spec.target.model, other.spec.target.model
        if side is None or (ours.provider, ours.model) != (theirs.provider, theirs.model):
            continue
        compared = evalset_run.result if role == BASELINE else evalset_run.compare(role)
        now, before = compared.candidate.served_models, compared.baseline.served_models
        if now and before and set(now) != set(before):
            who = f"{listed(before)} answered the {role} and {listed(now)}"
            yield side, f"under one model name {who} the candidate"
            if side is candidate:
                return


def _judge_again(run: Run, _options: EvalOptions) -> Iterator[EvalsetRun]:
    """Ask for scores again that several models gave under one name; mark the older as outdated.

    Where the judge was not called in this run, all stored scores may be outdated.
    """
    for evalset_run in run.evalset_runs:
        known = len(evalset_run.judged_again)
        for bound in evalset_run.scorers.all:
            label, judge = bound.label, bound.judge
            served = evalset_run.judged_by(label)
            if judge is None or len(served) < 2 or label in evalset_run.judged_again:
                continue
            evalset_run.judged_again.add(label)
            newest = run.served.get(judge.target.model.name)
            evalset_run.scorers.outdated[label] = served - {newest}
            run.notes.append(
                f"{evalset_run.name}: {label} was judged by {listed(tuple(sorted(served)))} under "
                "one name: the older answers are rescored"
            )
        if len(evalset_run.judged_again) > known:
            yield evalset_run


def _look_taken(evalset_run: EvalsetRun) -> int:
    """Return the look that the stored trials correspond to, so that no look spends its error rate
    twice.
    """
    if evalset_run.selection.policy.on_inconclusive != "rerun":
        return evalset_run.look
    stored = max(map(len, evalset_run.candidate.plan.trial_numbers), default=0)
    repeats = evalset_run.selection.evalset.repeats
    taken = (look for look, trials in TRIALS_BY_LOOK.items() if repeats < trials <= stored)
    return max(evalset_run.look, *taken, 1)


def _look_further(run: Run, options: EvalOptions) -> Iterator[EvalsetRun]:
    """Ask for more trials if the policy says `rerun` and another look can decide."""
    if options.offline or run.partial:  # more trials of selected cases would bias the evalset
        return
    for evalset_run in run.evalset_runs:
        if not evalset_run.result.has_baseline or not _undecided(run, evalset_run):
            continue
        look, why = next_look(evalset_run.result, evalset_run.policy, evalset_run.look)
        note = f"{evalset_run.name}: {why}"
        run.notes += [] if note in run.notes else [note]
        if look is not None:
            evalset_run.look = look
            for side in evalset_run.sides:
                side.plan.repeats = max(side.plan.repeats, TRIALS_BY_LOOK[look])
                side.state.failures.clear()
            yield evalset_run


def _undecided(run: Run, evalset_run: EvalsetRun) -> bool:
    """Whether the policy allows another look at this evalset, and it is undecided."""
    verdict = run.verdicts[evalset_run.comparison.candidate.name]
    return (
        evalset_run.selection.policy.on_inconclusive == "rerun"
        and verdict.decision is Decision.INCONCLUSIVE
        and any(
            finding.evalset == evalset_run.name and finding.decision is Decision.INCONCLUSIVE
            for finding in verdict.findings
        )
    )


FURTHER_WORK: Sequence[Callable[[Run, EvalOptions], Iterator[EvalsetRun]]] = (
    _confirm_critical,
    _run_again_changed_models,
    _look_further,
    _confirm_critical,
    _judge_again,
)
"""Each yields the evalsets of which more must be measured before the verdict is final."""
