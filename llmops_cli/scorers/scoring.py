"""Call a scorer and return a `Score`, or an `Unscored` with the reason.

Here is the one catch-all around scorers. A scorer that raises, answers NaN or returns something
else has not measured anything: that is `Unscored`, never a pass, never a 0, and never the end of a
run.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.ports import Ask, Scorer
from llmops_cli.core.prompt import Case
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
    """Score one completion; `ask` is passed to judged scorers, and to no other.

    Raises `LlmopsError` only: what the user has to fix.
    """
    if completion.text is None:
        return Unscored(why="the text of this answer is not stored here")
    extra = {} if ask is None else {"ask": ask}
    try:
        result: object = scorer(case, completion, **options, **extra)
        if isawaitable(result):
            result = await result
    except LlmopsError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer may be anyone's code; its bug is data here
        return Unscored(why=f"the scorer raised {described(error)}")
    if isinstance(result, (Score, Unscored)):
        return result
    return Unscored(why=f"the scorer returned a {type(result).__name__}, not a Score")


def described(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {quoted(lines[0])}" if lines else type(error).__name__
