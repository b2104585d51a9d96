"""What is left to do for one evalset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmops_cli.core.case import Case
from llmops_cli.core.prompt import Model
from llmops_cli.flows.run.arm import Arm
from llmops_cli.flows.run.scoring import Scorers


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One evalset's arms, each with what is left to do for it."""

    cases: Sequence[Case]
    scorers: Scorers
    arms: Sequence[Arm]
    """The candidate's first."""
    against: Arm | None = None
    """Whose answers the candidate's are set against, where a scorer does that."""
    pairs: int = 0
    """Pairs of answers to score, of those that are there already."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that may be asked, by a target or by a judge."""
        return self._asked(self.arms)

    @property
    def due(self) -> tuple[Model, ...]:
        """Those that will be asked for something."""
        return self._asked([arm for arm in self.arms if arm.missing]) if self.todo else ()

    def _asked(self, arms: Sequence[Arm]) -> tuple[Model, ...]:
        judges = [bound.judge for bound in self.scorers.all if bound.judge]
        asked = [*(arm.target.model for arm in arms), *(m for j in judges for m in j.models)]
        return tuple({model.name: model for model in asked}.values())

    @property
    def todo(self) -> int:
        """Draws to make, draws to score again, and pairs to score."""
        return self.pairs + sum(len(arm.missing) + len(arm.rescore) for arm in self.arms)
