from __future__ import annotations

import asyncio
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


def test_a_scorer_that_raises_leaves_the_answer_unscored() -> None:
    def careless(_case: Case, _completion: Completion) -> Score:
        return Score(value=1 / 0)

    assert why(called(careless, reply("x"))) == (
        "the scorer raised ZeroDivisionError: 'division by zero'"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_and_infinity_are_no_scores(number: float) -> None:
    result = called(lambda *_: Score(value=number), reply("x"))
    assert why(result) == f"the scorer raised NotAScore: '{number} is not a score'"


@pytest.mark.parametrize("returned", [None, True, 0.5, "yes"])
def test_anything_but_a_score_is_unscored(returned: object) -> None:
    kind = type(returned).__name__
    assert why(called(lambda *_: returned, reply("x"))) == (
        f"the scorer returned a {kind}, not a Score"
    )


def test_what_a_user_must_fix_is_not_swallowed() -> None:
    def incomplete(_case: Case, _completion: Completion) -> Score:
        raise MissingExtra("the scorer 'x'", extra="x")

    with pytest.raises(MissingExtra):
        called(incomplete, reply("x"))


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


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupted(_case: Case, _completion: Completion) -> Score:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        called(interrupted, reply("x"))
