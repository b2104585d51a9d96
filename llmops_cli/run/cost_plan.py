"""A plan with its price: counts are exact, dollars are estimated from the length of requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llmops_cli.core.plan import EvalsetPlan, JudgingPlan, Plan, PromptPlan, SidePlan
from llmops_cli.core.prompt import Judge, Model
from llmops_cli.engine.budget import ceiling
from llmops_cli.engine.prices import tariff
from llmops_cli.gate.power import what_it_can_show
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace

USUAL_ANSWER = 1_000
"""Characters of an answer that is not there yet."""
SAMPLED = 50
"""Requests whose length stands for all."""


def plan_of(workspace: Workspace, pairings: Sequence[EvalsetRun]) -> Plan:
    """What the planned `pairings` would call."""
    contests = list({id(each.contest): each.contest for each in pairings}.values())
    return Plan(
        prompts=tuple(
            PromptPlan(
                prompt=contest.prompt,
                candidate=contest.candidate.name,
                baseline=contest.baseline.name if contest.baseline else None,
                evalsets=tuple(
                    _evalset(workspace, each) for each in pairings if each.contest is contest
                ),
                notes=contest.notes,
            )
            for contest in contests
        )
    )


def _evalset(workspace: Workspace, each: EvalsetRun) -> EvalsetPlan:
    return EvalsetPlan(
        evalset=each.round.evalset.name,
        cases=len(each.round.cases),
        repeats=each.candidate.repeats,
        sides=tuple(_side(workspace, side, each) for side in each.sides),
        scores=sum(len(side.rescore) for side in each.sides),
        judging=tuple(_judging(workspace, each)),
        shows=what_it_can_show([case.group for case in each.round.cases], each.policy),
    )


def _side(workspace: Workspace, side: Side, each: EvalsetRun) -> SidePlan:
    model = side.target.model
    planned, calls = side.planned, len(side.missing)
    return SidePlan(
        name=side.name,
        role=side.role,
        model=f"{model.provider}/{model.model}",
        planned=planned,
        held=planned - calls - len(side.shared) - len(side.failures),
        calls=calls,
        cost=_cost(workspace, side, each),
        unanswerable=len(side.failures),
    )


def _judging(workspace: Workspace, each: EvalsetRun) -> Iterator[JudgingPlan]:
    """What judges are asked for every answer to come and every answer to score again."""
    answers = sum(len(side.missing) + len(side.rescore) for side in each.sides)
    pairs = each.pairs + len(each.candidate.missing)
    for bound in each.scorers.all:
        if bound.judge is None:
            continue
        models = {"judge": bound.judge.target.model, "embedding": bound.judge.embeddings}
        for role, times in bound.kind.asks.items():
            model = models[role]
            calls = times * (pairs if bound.kind.paired else answers)
            if model is not None and calls:
                yield JudgingPlan(
                    label=bound.label,
                    role=role,
                    model=f"{model.provider}/{model.model}",
                    calls=calls,
                    cost=_judging_cost(workspace, model, bound.judge, each, calls),
                )


def _judging_cost(
    workspace: Workspace, model: Model, judge: Judge, each: EvalsetRun, calls: int
) -> float | None:
    """Dollars, from the judge's prompt around a case's facts and an answer of usual length."""
    if workspace.provider(model).offline:
        return 0.0
    price = tariff(model)
    if price is None:
        return None
    cases = each.round.cases[:: max(1, len(each.round.cases) // SAMPLED)]
    facts = sum(len(str(case.inputs)) + len(str(case.contexts)) for case in cases) // len(cases)
    usage = ceiling(judge.target.request(judge.target.prompt.messages))
    return calls * price(replace(usage, input=usage.input + (facts + USUAL_ANSWER) // 3))


def _cost(workspace: Workspace, side: Side, each: EvalsetRun) -> float | None:
    """Dollars of the missing calls, from the ceilings of an even sample of them."""
    if not side.missing or workspace.provider(side.target.model).offline:
        return 0.0
    price = tariff(side.target.model)
    if price is None:
        return None
    step = max(1, len(side.missing) // SAMPLED)
    sampled = side.missing[::step]
    costs = [price(ceiling(side.request(each.round.cases[at.case]))) for at in sampled]
    return sum(costs) / len(costs) * len(side.missing)
