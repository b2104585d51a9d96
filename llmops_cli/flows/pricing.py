"""A plan with its price: counts are exact, dollars are estimated from the length of requests."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.plan import ArmPlan, EvalsetPlan, Plan, PromptPlan
from llmops_cli.engine.budget import ceiling
from llmops_cli.engine.prices import tariff
from llmops_cli.flows.arm import Arm
from llmops_cli.flows.pairing import Pairing
from llmops_cli.flows.workspace import Workspace
from llmops_cli.gate.sizing import what_it_can_show

SAMPLED = 50
"""Requests whose length stands for all."""


def plan_of(workspace: Workspace, pairings: Sequence[Pairing]) -> Plan:
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


def _evalset(workspace: Workspace, each: Pairing) -> EvalsetPlan:
    return EvalsetPlan(
        evalset=each.round.evalset.name,
        cases=len(each.round.cases),
        repeats=each.candidate.repeats,
        arms=tuple(_arm(workspace, arm, each) for arm in each.arms),
        scores=sum(len(arm.rescore) for arm in each.arms),
        shows=what_it_can_show(len(each.round.cases), each.policy),
    )


def _arm(workspace: Workspace, arm: Arm, each: Pairing) -> ArmPlan:
    model = arm.target.model
    planned, calls = arm.planned, len(arm.missing)
    return ArmPlan(
        name=arm.name,
        role=arm.role,
        model=f"{model.provider}/{model.model}",
        planned=planned,
        held=planned - calls - len(arm.shared) - len(arm.failures),
        calls=calls,
        cost=_cost(workspace, arm, each),
        unanswerable=len(arm.failures),
    )


def _cost(workspace: Workspace, arm: Arm, each: Pairing) -> float | None:
    """Dollars of the missing calls, from the ceilings of an even sample of them."""
    if not arm.missing or workspace.provider(arm.target.model).offline:
        return 0.0
    price = tariff(arm.target.model)
    if price is None:
        return None
    step = max(1, len(arm.missing) // SAMPLED)
    sampled = arm.missing[::step]
    costs = [price(ceiling(arm.request(each.round.cases[at.case]))) for at in sampled]
    return sum(costs) / len(costs) * len(arm.missing)
