"""Plan the calls of a run and their cost: counts are exact, dollars are estimated from the length
of requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from llmops_cli.core.prompt import Case, Judge, Model
from llmops_cli.core.report import EvalsetPlan, JudgingPlan, Plan, PromptPlan, SidePlan
from llmops_cli.engine.budget import ceiling, tariff
from llmops_cli.gate.paired_test import what_it_can_show
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace

USUAL_ANSWER = 1_000
"""Assumed length of an answer, in characters."""
SAMPLED = 50
"""How many requests are sampled to estimate the length of all."""


def cost_plan(workspace: Workspace, evalset_runs: Sequence[EvalsetRun]) -> Plan:
    """Return what the planned `evalset_runs` would call."""
    comparisons = {id(run.comparison): run.comparison for run in evalset_runs}
    return Plan(
        prompts=tuple(
            PromptPlan(
                prompt=comparison.prompt,
                candidate=comparison.candidate.name,
                baseline=comparison.baseline.name if comparison.baseline else None,
                evalsets=tuple(
                    _evalset(workspace, evalset_run)
                    for evalset_run in evalset_runs
                    if evalset_run.comparison is comparison
                ),
                notes=comparison.notes,
            )
            for comparison in comparisons.values()
        )
    )


def _evalset(workspace: Workspace, evalset_run: EvalsetRun) -> EvalsetPlan:
    return EvalsetPlan(
        evalset=evalset_run.name,
        cases=len(evalset_run.cases),
        repeats=evalset_run.candidate.plan.repeats,
        sides=tuple(_side(workspace, side, evalset_run) for side in evalset_run.sides),
        scores=sum(len(side.plan.rescore) for side in evalset_run.sides),
        judging=tuple(_judging(workspace, evalset_run)),
        shows=what_it_can_show([case.group for case in evalset_run.cases], evalset_run.policy),
    )


def _side(workspace: Workspace, side: Side, evalset_run: EvalsetRun) -> SidePlan:
    model, plan = side.spec.target.model, side.plan
    calls, failures = len(plan.missing), len(side.state.failures)
    return SidePlan(
        name=side.spec.name,
        role=side.spec.role,
        model=f"{model.provider}/{model.model}",
        planned=plan.planned,
        cached=plan.planned - calls - len(plan.shared) - failures,
        calls=calls,
        cost=_cost(workspace, side, evalset_run),
        unanswerable=failures,
    )


def _judging(workspace: Workspace, evalset_run: EvalsetRun) -> Iterator[JudgingPlan]:
    """Yield the judge calls for every new answer and every answer to rescore."""
    plans = [side.plan for side in evalset_run.sides]
    answers = sum(len(plan.missing) + len(plan.rescore) for plan in plans)
    pairs = evalset_run.unscored_pairs + len(evalset_run.candidate.plan.missing)
    for bound in evalset_run.scorers.all:
        if bound.judge is None:
            continue
        models = {"judge": bound.judge.target.model, "embedding": bound.judge.embeddings}
        for role, times in bound.kind.asks.items():
            model = models[role]
            calls = times * (pairs if bound.kind.paired else answers)
            if model is not None and calls:
                cost = _cost_of_judging(workspace, model, bound.judge, evalset_run.cases)
                yield JudgingPlan(
                    label=bound.label,
                    role=role,
                    model=f"{model.provider}/{model.model}",
                    calls=calls,
                    cost=None if cost is None else calls * cost,
                )


def _cost_of_judging(
    workspace: Workspace, model: Model, judge: Judge, cases: Sequence[Case]
) -> float | None:
    """Return dollars per call, from the judge's prompt around a case and a usual answer."""
    if workspace.provider(model).offline:
        return 0.0
    price = tariff(model)
    if price is None:
        return None
    sample = cases[:: max(1, len(cases) // SAMPLED)]
    facts = sum(len(str(case.inputs)) + len(str(case.contexts)) for case in sample) // len(sample)
    usage = ceiling(judge.target.request(judge.target.prompt.messages))
    return price(replace(usage, input=usage.input + (facts + USUAL_ANSWER) // 3))


def _cost(workspace: Workspace, side: Side, evalset_run: EvalsetRun) -> float | None:
    """Return dollars of the missing calls, from the ceilings of an even sample of them."""
    missing, model = side.plan.missing, side.spec.target.model
    if not missing or workspace.provider(model).offline:
        return 0.0
    price = tariff(model)
    if price is None:
        return None
    sample = islice(missing, 0, None, max(1, len(missing) // SAMPLED))
    costs = [price(ceiling(side.request(evalset_run.cases[at.case]))) for at in sample]
    return sum(costs) / len(costs) * len(missing)
