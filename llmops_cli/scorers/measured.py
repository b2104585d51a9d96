"""Scorers of latency, cost and tokens of a call.

What was not measured is Unscored, and never 0: a reused answer has no latency, an unpriced model
no cost, and an API that reports no usage no tokens.
"""

from __future__ import annotations

from typing import Literal

from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored


def latency(
    _case: Case, completion: Completion, *, of: Literal["whole", "first_token"] = "whole"
) -> Score | Unscored:
    """Return the seconds of the successful attempt: until its end, or until its first token."""
    if completion.latency is None:
        return Unscored(
            why="this answer is cached, and a cached answer has no latency; --no-cache calls again"
        )
    first = completion.first_token
    if of == "first_token":
        if first is None:
            return Unscored(why="this answer did not come as a stream: it has no first token")
        return Score(value=first, reason=f"the first token came after {first:.3g} s")
    return Score(value=completion.latency, reason=f"the call took {completion.latency:.3g} s")


def cost(_case: Case, completion: Completion) -> Score | Unscored:
    """Return the US dollars of the call."""
    if completion.cost is None:
        return Unscored(
            why="this call has no price: give the model a `price` in llmops.yaml, or a provider "
            "that reports usage"
        )
    return Score(value=completion.cost, reason=f"the call cost ${completion.cost:.6f}")


def tokens(
    _case: Case,
    completion: Completion,
    *,
    count: Literal["total", "input", "output"] = "total",
) -> Score | Unscored:
    """Return the tokens as the API counted them; `total` is input and output."""
    usage = completion.usage
    if usage is None:
        return Unscored(why="the provider reported no usage for this call")
    counts = {"total": usage.input + usage.output, "input": usage.input, "output": usage.output}
    kind = "" if count == "total" else f"{count} "
    return Score(value=float(counts[count]), reason=f"the call took {counts[count]:,} {kind}tokens")
