"""What the draws of one critical case add up to: held, failed, or not known.

Deterministic scorers: any gate draw that fails, fails the case. Judged ones make mistakes of
their own, so that once is not enough: the case fails when the first draw fails and at least two
of the first three do, counting `confirm` draws after the gate draws (docs/verdict.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from llmops_cli.core.row import Arm, Draw, Metric
from llmops_cli.gate.comparison import CriticalState

JUDGED_DRAWS = 3


def critical_state(arm: Arm, metrics: Mapping[str, Metric]) -> CriticalState:
    """The state of a critical case. One that no gating scorer looks at is unmeasured."""
    states = (_deterministic(arm, metrics), _judged(arm, metrics))
    for state in (CriticalState.FAILED, CriticalState.UNMEASURED, CriticalState.UNCONFIRMED):
        if state in states:
            return state
    return CriticalState.HELD if CriticalState.HELD in states else CriticalState.UNMEASURED


def _deterministic(arm: Arm, metrics: Mapping[str, Metric]) -> CriticalState | None:
    """None: no deterministic scorer is due."""
    outcomes = [_passed(draw, metrics, judged=False) for draw in arm.draws]
    if False in outcomes:
        return CriticalState.FAILED
    if any(draw.failure is not None for draw in arm.draws) or len(arm.draws) < arm.planned:
        return CriticalState.UNMEASURED
    if not _due(arm, metrics, judged=False):
        return None
    return CriticalState.HELD if all(outcomes) else CriticalState.UNMEASURED


def _judged(arm: Arm, metrics: Mapping[str, Metric]) -> CriticalState | None:
    """None: no judged scorer is due."""
    if not _due(arm, metrics, judged=True):
        return None
    draws = islice((*arm.draws, *arm.confirm), JUDGED_DRAWS)
    first, *others = [_passed(draw, metrics, judged=True) for draw in draws]
    if first is None:
        return CriticalState.UNMEASURED
    if first:
        return CriticalState.HELD
    if False in others:
        return CriticalState.FAILED
    return CriticalState.HELD if others.count(True) == 2 else CriticalState.UNCONFIRMED


def _due(arm: Arm, metrics: Mapping[str, Metric], *, judged: bool) -> bool:
    return any(
        metrics[label].judged is judged and metrics[label].counts
        for draw in arm.draws
        for label in draw.scores
    )


def _passed(draw: Draw, metrics: Mapping[str, Metric], *, judged: bool) -> bool | None:
    """Whether the gating scorers of one kind pass a draw; None: not known."""
    if draw.failure is not None:
        return None
    outcomes = [
        None if value is None else metrics[label].passes(value)
        for label, value in draw.scores.items()
        if metrics[label].judged is judged and metrics[label].counts
    ]
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True
