"""Scorers of what a call took: seconds, US dollars, tokens.

What was not measured is Unscored, and never 0: a reused answer has no latency, an unpriced model
no cost, and an API that reports no usage no tokens.
"""

from __future__ import annotations

from typing import Literal

from llmops_cli.core.case import Case
from llmops_cli.core.result import Completion, Score, Unscored


def latency(_case: Case, completion: Completion) -> Score | Unscored:
    """Seconds of the successful attempt."""
    if completion.latency is None:
        return Unscored(
            why="this answer was not called just now: a reused answer has no latency; "
            "--fresh draws anew"
        )
    return Score(value=completion.latency, reason=f"the call took {completion.latency:.3g} s")


def cost(_case: Case, completion: Completion) -> Score | Unscored:
    """US dollars."""
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
    """Tokens as the API counted them; `total` is input and output."""
    usage = completion.usage
    if usage is None:
        return Unscored(why="the provider reported no usage for this call")
    counted = {"total": usage.input + usage.output, "input": usage.input, "output": usage.output}
    what = "" if count == "total" else f"{count} "
    return Score(
        value=float(counted[count]), reason=f"the call took {counted[count]:,} {what}tokens"
    )
