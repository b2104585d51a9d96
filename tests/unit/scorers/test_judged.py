"""Judges are never asked without the reference that they are to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.judged import NOTHING_RETRIEVED, choice, pairwise, rubric
from tests.unit.scorers.answers import Obliging, reply, value, why

Judged = Callable[..., Awaitable[Score | Unscored]]
JUDGES: list[tuple[Judged, dict[str, Any]]] = [
    (rubric, {"criteria": "It is right."}),
    (rubric, {"criteria": "It is right.", "scale": [1, 5]}),
    (choice, {"criteria": "What it is.", "choices": {"right": 1.0, "wrong": 0.0}}),
    (pairwise, {"against": reply("Rome")}),
]
every_judge = pytest.mark.parametrize(("judge", "options"), JUDGES)


def judged(
    judge: Judged, options: Mapping[str, Any], case: Case, answer: Completion
) -> tuple[Score | Unscored, Obliging]:
    ask = Obliging()

    async def run() -> Score | Unscored:
        return await judge(case, answer, ask=ask, **options)

    return asyncio.run(run()), ask


@every_judge
@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("expected", None),
        ("expected", ""),
        ("expected", []),
        ("expected", {}),
        ("contexts", "Paris"),
    ],
)
def test_without_what_it_is_to_be_shown_no_judge_is_asked(
    judge: Judged, options: dict[str, Any], shown: str, expected: Json
) -> None:
    case = Case(id="one", inputs={"q": "?"}, expected=expected)
    result, ask = judged(judge, {**options, shown: True}, case, reply("Paris"))
    assert why(result).startswith(f"case 'one' has no `{shown}` to show the judge")
    assert ask.shown == []


@every_judge
def test_a_judge_is_shown_what_was_retrieved_and_that_nothing_was(
    judge: Judged, options: dict[str, Any]
) -> None:
    case = Case(id="one", inputs={"q": "?"}, expected=0, contexts=("the case's own",))
    shown = {**options, "contexts": True, "expected": True}
    for retrieved, passages in (
        (None, ["the case's own"]),
        (("Paris is a capital.",), ["Paris is a capital."]),
        ((), [NOTHING_RETRIEVED]),
    ):
        result, ask = judged(judge, shown, case, reply("Paris", contexts=retrieved))
        assert 0 <= value(result) <= 1
        assert {(*inputs["contexts"],) for inputs in ask.shown} == {(*passages,)}  # type: ignore[misc]  # lists
        assert {inputs["expected"] for inputs in ask.shown} == {0}
    result, ask = judged(judge, options, case, reply("Paris"))
    assert [inputs["contexts"] for inputs in ask.shown] == [[]] * len(ask.shown)
