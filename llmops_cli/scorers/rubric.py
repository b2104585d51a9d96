"""The judges `rubric` and `choice`: criteria in words, answered by a model in a fixed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask, World
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer
from llmops_cli.scorers.judging import answer_of, asked, chosen, form, mark, passages, schema

VERDICTS = ("fail", "pass")
MAX_GRADES = 101


async def rubric(  # noqa: PLR0913 - options of a scorer are its arguments
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    criteria: str,
    scale: Sequence[int] | None = None,
    expected: bool = False,
    contexts: bool = False,
    reason: bool = True,
    **_judge: Json,
) -> Score | Unscored:
    """1 where the judge finds that the answer meets the criteria, else 0.

    With a `scale` of lowest and highest grade, the grade's place between them, on [0, 1]. An
    answer without a letter or a digit fails without a call.
    """
    if not any(map(str.isalnum, answer(completion.text))):
        return Score(value=0.0, reason="the answer is empty")
    values: Sequence[str] | Sequence[int] = VERDICTS
    name = "verdict"
    if scale is not None:
        name, values = "grade", range(scale[0], scale[1] + 1)
    inputs = _inputs(case, completion, criteria, expected=expected, contexts=contexts)
    inputs |= {"scale": scale and list(scale), "form": form(name, values, reason=reason)}
    wanted = schema(name, values, reason=reason)
    given = await answer_of(
        partial(ask.judge, inputs, json_schema=wanted), lambda said: chosen(said, name, values)
    )
    if isinstance(given, Unscored):
        return given
    (value, why), said = given
    if scale is None:
        return _score(float(VERDICTS.index(str(value))), why or str(value), said)
    low, high = scale
    why = f"{value} of {high}{': ' if why else ''}{why}"
    return _score((int(value) - low) / (high - low), why, said)


async def choice(  # noqa: PLR0913 - options of a scorer are its arguments
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    criteria: str,
    choices: Mapping[str, float],
    expected: bool = False,
    contexts: bool = False,
    reason: bool = True,
    **_judge: Json,
) -> Score | Unscored:
    """The score, on [0, 1], of the class that the judge sorts the answer into."""
    names = list(choices)
    inputs = _inputs(case, completion, criteria, expected=expected, contexts=contexts)
    inputs |= {"choices": names, "form": form("choice", names, reason=reason)}
    wanted = schema("choice", names, reason=reason)
    given = await answer_of(
        partial(ask.judge, inputs, json_schema=wanted), lambda said: chosen(said, "choice", names)
    )
    if isinstance(given, Unscored):
        return given
    (value, why), said = given
    return _score(choices[str(value)], f"{value}{': ' if why else ''}{why}", said)


def check_rubric(options: Mapping[str, Any], _world: World) -> str | None:
    """What is wrong with a rubric's options."""
    scale = options.get("scale")
    if scale is None:
        return None
    if len(scale) != 2 or scale[0] >= scale[1] or scale[1] - scale[0] >= MAX_GRADES:
        return f"'scale' is the lowest and the highest grade, as [1, 5]: not {list(scale)}"
    return None


def check_choice(options: Mapping[str, Any], _world: World) -> str | None:
    """What is wrong with the classes of a choice."""
    choices = options["choices"]
    if len({name.casefold() for name in choices}) < max(2, len(choices)):
        return "'choices' names at least two classes, each once"
    wrong = [name for name, value in choices.items() if not 0.0 <= value <= 1.0]
    return f"the score of {wrong[0]!r} is not between 0 and 1" if wrong else None


def _inputs(
    case: Case, completion: Completion, criteria: str, *, expected: bool, contexts: bool
) -> dict[str, Json]:
    """What the judge's prompt is rendered with."""
    text = answer(completion.text)
    question = asked(case)
    return {
        "criteria": criteria,
        "asked": question,
        "answer": text,
        "expected": case.expected if expected else None,
        "contexts": list(passages(case, completion)) if contexts else [],
        "mark": mark(criteria, question, text),
    }


def _score(value: float, reason: str, said: Completion) -> Score:
    return Score(value=value, reason=reason, detail={"judge": said.served_model})
