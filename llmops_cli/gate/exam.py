"""What a verdict is reached over: one prompt on one evalset, with the policy that judges it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from llmops_cli.core.policy import Policy
from llmops_cli.gate.comparison import Comparison
from llmops_cli.gate.shares import at_look


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """One prompt on one evalset."""

    evalset: str
    comparison: Comparison
    policy: Policy
    retired: Mapping[str, str] = field(default_factory=dict)
    """Cases that went on purpose: id to why."""
    behind: Collection[str] = ()
    """Cases that the base revision gained since the branch left it: gone, too, and nobody took
    them away."""
    anchors: Mapping[str, Comparison] = field(default_factory=dict)
    """The candidate against each pinned version, by the `version` of its `anchor` rule."""
    partial: str | None = None
    """Why only some cases were run (filter, sample): then no case counts as removed."""
    look: int = 1
    """Which look this is under `on_inconclusive: rerun`: 1, 2 or 3."""

    @property
    def spent(self) -> Policy:
        """The policy with the error rates of this look."""
        return at_look(self.policy, self.look)
