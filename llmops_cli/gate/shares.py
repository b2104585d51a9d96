"""How several looks at the same cases share the error rates, so that together they keep them.

Under `on_inconclusive: rerun` the gate may look three times, at 1, 3 and 5 draws per case. The
looks spend ½, ¼ and ¼ of α and β. At the full rates each, PASS at a true loss of the margin would
rise to 7.5–8.9 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from llmops_cli.core.policy import Policy

DRAWS: Mapping[int, int] = {1: 1, 2: 3, 3: 5}
"""Draws per case and arm that a look wants."""
SHARES: Mapping[int, float] = {1: 0.5, 2: 0.25, 3: 0.25}
"""The part of α and β that it may spend."""


def at_look(policy: Policy, look: int) -> Policy:
    """The policy with the error rates that one look may spend; as it is without `rerun`."""
    if policy.on_inconclusive != "rerun":
        return policy
    share = SHARES[look]
    return replace(policy, alpha=policy.alpha * share, beta=policy.beta * share)
