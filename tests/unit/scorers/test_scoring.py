from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.ports import Ask, Scorer
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Outcome, Score, Unscored
from llmops_cli.scorers.scoring import score
from tests.unit.scorers.answers import expecting, reply, value, why


def called(scorer: Callable[..., Any], completion: Completion, **more: Any) -> Score | Unscored:
    result = score(cast("Scorer", scorer), {}, case=expecting(), completion=completion, **more)
    return asyncio.run(result)


def test_a_scorer_may_be_a_function_or_a_coroutine() -> None:
    async def later(_case: Case, _completion: Completion) -> Score:
        await asyncio.sleep(0)
        return Score(value=0.5)

    assert value(called(lambda *_: Score(value=1.0), reply("x"))) == 1
    assert value(called(later, reply("x"))) == 0.5


@pytest.mark.parametrize(
    ("scorer", "problem"),
    [
        (lambda *_: Score(value=1 / 0), "raised ZeroDivisionError: 'division by zero'"),
        (lambda *_: Score(value=math.nan), "raised NotAScore: 'nan is not a score'"),
        (lambda *_: Score(value=math.inf), "raised NotAScore: 'inf is not a score'"),
        (lambda *_: None, "returned a NoneType, not a Score"),
        (lambda *_: True, "returned a bool, not a Score"),
        (lambda *_: 0.5, "returned a float, not a Score"),
        (lambda *_: "yes", "returned a str, not a Score"),
    ],
)
def test_a_scorer_that_raises_or_gives_no_score_leaves_the_answer_unscored(
    scorer: Callable[..., Any], problem: str
) -> None:
    assert why(called(scorer, reply("x"))) == f"the scorer {problem}"


@pytest.mark.parametrize("error", [MissingExtra("the scorer 'x'", extra="x"), KeyboardInterrupt()])
def test_what_a_user_must_fix_and_an_interrupt_are_not_swallowed(error: BaseException) -> None:
    def scorer(_case: Case, _completion: Completion) -> Score:
        raise error

    with pytest.raises(type(error)):
        called(scorer, reply("x"))


def test_a_text_known_by_its_digest_only_is_never_scored() -> None:
    known = Completion(text=None, known_digest="sha256:0")
    assert why(called(lambda *_: Score(value=1.0), known)) == (
        "the text of this answer is not stored here"
    )


def test_a_judged_scorer_is_handed_a_way_to_ask() -> None:
    class Four:
        async def judge(self, inputs: object, *, json_schema: object) -> Outcome:
            return reply("4")

    async def judged(_case: Case, _completion: Completion, *, ask: Ask) -> Score:
        result = await ask.judge({}, json_schema={})
        assert isinstance(result, Completion)
        return Score(value=float(result.text or 0))

    assert value(called(judged, reply("x"), ask=cast("Ask", Four()))) == 4
