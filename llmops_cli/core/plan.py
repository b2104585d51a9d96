"""What a run would need, what is there already and what would be called: told before it is paid.

The counts of a plan are exact; its price is an estimate from the length of the requests and the
output the prompt allows, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """The draws of one target on one evalset."""

    name: str
    """`support@working`, `support@v3`."""
    model: str
    """`provider/model`."""
    role: str
    """`candidate`, `baseline` or `anchor`."""
    planned: int
    """Draws that the verdict needs."""
    held: int
    """Those that evidence or the store already holds."""
    calls: int
    """Requests to make: equal missing ones are made once."""
    cost: float | None
    """Estimated US dollars of those calls; None where the price is not known."""
    unanswerable: int = 0
    """Draws that nothing can answer: no record in a replayed file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingPlan:
    """What one scorer may ask of one model."""

    label: str
    role: str
    """`judge` or `embedding`."""
    model: str
    """`provider/model`."""
    calls: int
    """At most: equal answers are judged once, and some scores may be held."""
    cost: float | None
    """Estimated US dollars of those calls; None where the price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetPlan:
    """One prompt on one evalset."""

    evalset: str
    cases: int
    repeats: int
    arms: tuple[ArmPlan, ...]
    scores: int
    """Scores to give on completions that are held."""
    judging: tuple[JudgingPlan, ...] = ()
    shows: str
    """What an evalset of this size can and cannot show, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """One prompt over its evalsets."""

    prompt: str
    candidate: str
    baseline: str | None
    evalsets: tuple[EvalsetPlan, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything an `eval` or `measure` would do."""

    prompts: tuple[PromptPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """Requests in all; at most so many where judges are asked."""
        return sum(each.calls for each in self._asked())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars in all; None where any price is not known."""
        costs = [each.cost for each in self._asked() if each.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def _asked(self) -> list[ArmPlan | JudgingPlan]:
        evalsets = [evalset for prompt in self.prompts for evalset in prompt.evalsets]
        asked: list[ArmPlan | JudgingPlan] = []
        for evalset in evalsets:
            asked += [*evalset.arms, *evalset.judging]
        return asked
