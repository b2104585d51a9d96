"""Several tests at once: p-values adjusted so that many of them do not cry wolf together.

Holm (1979) bounds the chance of a single false rejection in the family; Benjamini & Hochberg
(1995) the expected share of false ones. Both return values that are compared with the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__)
    raised = accumulate(((n - rank) * p_values[at] for rank, at in enumerate(order)), max)
    return _back(order, raised)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (q-values), in the order given."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__, reverse=True)
    lowered = accumulate((n / (n - rank) * p_values[at] for rank, at in enumerate(order)), min)
    return _back(order, lowered)


def _back(order: Sequence[int], adjusted: accumulate[float]) -> list[float]:
    placed = [0.0] * len(order)
    for at, value in zip(order, adjusted, strict=True):
        placed[at] = min(1.0, value)
    return placed
