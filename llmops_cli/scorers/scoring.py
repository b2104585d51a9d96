"""Calling a scorer: whatever it does, the answer is a `Score` or says why there is none.

Here stands the one catch-all around scorers. A scorer that raises, answers NaN or returns
something else has not measured anything: that is `Unscored`, never a pass, never a 0, and never
the end of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from llmops_cli.core.case import Case
from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.ports import Ask, Scorer
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import quoted


async def score(
    scorer: Scorer,
    options: Mapping[str, Any],
    *,
    case: Case,
    completion: Completion,
    ask: Ask | None = None,
) -> Score | Unscored:
    """What `scorer` makes of one completion; `ask` is handed to judged scorers, and to no other.

    Raises `LlmopsError` only: what the person at the keyboard has to mend.
    """
    if completion.text is None:
        return Unscored(why="the text of this answer is not held here")
    extra = {} if ask is None else {"ask": ask}
    try:
        given: object = scorer(case, completion, **options, **extra)
        if isawaitable(given):
            given = await given
    except LlmopsError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer may be anyone's code; its bug is data here
        return Unscored(why=f"the scorer raised {described(error)}")
    if isinstance(given, (Score, Unscored)):
        return given
    return Unscored(why=f"the scorer returned a {type(given).__name__}, not a Score")


def described(error: BaseException) -> str:
    """An exception's type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {quoted(lines[0])}" if lines else type(error).__name__
