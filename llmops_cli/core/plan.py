"""What a run would call and cost, and what a configured model was found to be able to do.

The counts of a plan are exact; its cost is an estimate from the length of the requests and the
output that the prompt allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from llmops_cli.core.errors import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePlan:
    """The trials of one target on one evalset."""

    name: str
    """`support@working`, `support@v3`."""
    model: str
    """`provider/model`."""
    role: str
    """`candidate`, `baseline` or `anchor`."""
    planned: int
    """Trials that the verdict needs."""
    cached: int
    """Those that evidence or the store answers already."""
    calls: int
    """Requests to make: equal missing ones are made once."""
    cost: float | None
    """Estimated US dollars of those calls; None if the price is not known."""
    unanswerable: int = 0
    """Trials without an answer in a file of recorded answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingPlan:
    """The calls of one scorer to one model."""

    label: str
    role: str
    """`judge` or `embedding`."""
    model: str
    """`provider/model`."""
    calls: int
    """At most: equal answers are judged once, and some scores may be stored."""
    cost: float | None
    """Estimated US dollars of those calls; None if the price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetPlan:
    """One prompt on one evalset."""

    evalset: str
    cases: int
    repeats: int
    sides: tuple[SidePlan, ...]
    scores: int
    """Scores to give on stored answers."""
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
    """What an `eval` or `measure` would call."""

    prompts: tuple[PromptPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """Return the number of requests; an upper bound if judges are called."""
        return sum(item.calls for item in self._asked())

    @property
    def cost(self) -> float | None:
        """Return the estimated US dollars in all; None if any price is not known."""
        costs = [item.cost for item in self._asked() if item.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def _asked(self) -> list[SidePlan | JudgingPlan]:
        evalsets = [evalset for prompt in self.prompts for evalset in prompt.evalsets]
        plans: list[SidePlan | JudgingPlan] = []
        for evalset in evalsets:
            plans += [*evalset.sides, *evalset.judging]
        return plans


Aspect: TypeAlias = Literal[
    "reachable", "chat", "structured", "tools", "usage", "streaming", "embeddings", "price"
]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One aspect of one model."""

    aspect: Aspect
    works: bool | None
    """None: it doesn't apply, or wasn't tested."""
    why: str = ""
    """The result, or why it wasn't tested, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedModel:
    """One model and everything that was found about it."""

    name: str
    """The alias in llmops.yaml, or `provider/model`."""
    provider: str
    model: str
    probes: tuple[Probe, ...]
    first_token: float | None = None
    """Seconds until the first token, where it streamed."""
    latency: float | None = None
    """Seconds until the end of that short answer."""
    refused: bool = False
    """Whether its configuration can never work."""

    def of(self, aspect: Aspect) -> Probe:
        """Return what is known about `aspect`."""
        known = (probe for probe in self.probes if probe.aspect == aspect)
        return next(known, Probe(aspect=aspect, works=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """All models that were probed, with the number and cost of the calls."""

    models: Sequence[ProbedModel]
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None if some of it is unpriced."""

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; configuration before the network, because it can be fixed here."""
        if any(model.refused for model in self.models):
            return ExitCode.REFUSED
        unreached = any(model.of("reachable").works is False for model in self.models)
        return ExitCode.INCOMPLETE if unreached else ExitCode.DONE
