"""The judged scorers: a model answers written criteria in a fixed JSON form.

`rubric` (pass or fail, or a grade), `choice` (one of named classes) and `pairwise` (the candidate's
answer against the baseline's, in both orders). A judge's answer only counts if it is the requested
JSON. Prose, another shape, a refusal or a cut-off answer is `Unscored`, never a pass or a 0.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.literals import dump_json
from llmops_cli.core.ports import Ask, PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Failure, Outcome, Score, Unscored
from llmops_cli.scorers.scoring import quoted
from llmops_cli.scorers.structured import NotJson, parsed

T = TypeVar("T")

REASKS = 2
"""Further calls in one run if a judge's answer isn't in the requested form."""
MARK = 12
"""Hexadecimal digits of the mark around quoted parts."""
LONGEST_REASON = 2_000
"""Characters of a judge's reason that are stored."""
NOTHING_RETRIEVED = "(the application retrieved no passage)"
EMPTY = Score(value=0.0, reason="the answer is empty")
VERDICTS: Sequence[str | int] = ("fail", "pass")
MAX_GRADES = 101
BETTER = ("first", "second", "tie")
HELPS_MORE = "It helps the person who asked more: correct, complete, to the point."
POINTS = {"candidate": 1.0, "tie": 0.5, "baseline": 0.0}


async def rubric(
    case: Case,
    completion: Completion,
    *,
    scale: Sequence[int] | None = None,
    **judge: Any,  # noqa: ANN401 - the options of every judge
) -> Score | Unscored:
    """Score 1 if the judge finds that the answer meets the criteria, else 0.

    With a `scale` of lowest and highest grade, the grade's place between them, on [0, 1]. An
    answer without a letter or a digit fails without a call.
    """
    text = completion.text or ""
    if is_empty(text):
        return EMPTY
    name = "verdict" if scale is None else "grade"
    values = VERDICTS if scale is None else range(scale[0], scale[1] + 1)
    inputs = {"answer": text, "scale": scale and list(scale)}
    result = await _ask(case, completion, [text], inputs, name, values, **judge)
    if isinstance(result, Unscored):
        return result
    value, why, model = result
    shown = why or str(value) if scale is None else _with_reason(f"{value} of {scale[1]}", why)
    return _score(values.index(value) / (len(values) - 1), shown, model)


async def choice(
    case: Case,
    completion: Completion,
    *,
    choices: Mapping[str, float],
    **judge: Any,  # noqa: ANN401 - the options of every judge
) -> Score | Unscored:
    """Return the score, on [0, 1], of the class that the judge sorts the answer into."""
    text, names = completion.text or "", list(choices)
    inputs = {"answer": text, "choices": names}
    picked = await _ask(case, completion, [text], inputs, "choice", names, **judge)
    if isinstance(picked, Unscored):
        return picked
    name, why, model = picked
    return _score(choices[str(name)], _with_reason(str(name), why), model)


async def pairwise(
    case: Case,
    completion: Completion,
    *,
    against: Completion,
    criteria: str = HELPS_MORE,
    **judge: Any,  # noqa: ANN401 - the options of every judge
) -> Score | Unscored:
    """Score 1 if `completion` is better than `against` in either order, 0 where it is worse.

    ½ is a tie: the judge says so, or the two orders disagree. Equal texts tie without a call.
    """
    answers = {"candidate": completion.text or "", "baseline": against.text or ""}
    texts = sorted(answers.values())
    if texts[0] == texts[1]:
        return Score(value=0.5, reason="the answers are equal")
    winners = []
    for first, second in (("candidate", "baseline"), ("baseline", "candidate")):
        pair = {"first": answers[first], "second": answers[second]}
        better = await _ask(
            case, completion, texts, pair, "better", BETTER, criteria=criteria, **judge
        )
        if isinstance(better, Unscored):
            return better
        value, why, model = better
        winners.append(({"first": first, "second": second}.get(str(value), "tie"), why))
    (winner, why), (swapped, why_swapped) = winners
    if winner != swapped:
        why = f"the orders disagree ({winner}, then {swapped}): a tie. {why} | {why_swapped}"
        return _score(0.5, why, model)
    return _score(POINTS[winner], f"{winner}: {why}", model)


def check_rubric(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with a rubric's options, if anything."""
    scale = options.get("scale")
    if scale is None:
        return None
    if len(scale) != 2 or scale[0] >= scale[1] or scale[1] - scale[0] >= MAX_GRADES:
        return f"'scale' is the lowest and the highest grade, as [1, 5]: not {list(scale)}"
    return None


def check_choice(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the classes of a choice, if anything."""
    choices = options["choices"]
    if len({name.casefold() for name in choices}) < max(2, len(choices)):
        return "'choices' names at least two classes, each once"
    wrong = [name for name, value in choices.items() if not 0.0 <= value <= 1.0]
    return f"the score of {wrong[0]!r} is not between 0 and 1" if wrong else None


async def _ask(  # noqa: PLR0913 - options of a scorer are its arguments
    case: Case,
    completion: Completion,
    texts: Sequence[str],
    inputs: Mapping[str, Json],
    name: str,
    values: Sequence[str | int],
    *,
    ask: Ask,
    criteria: str,
    expected: bool = False,
    contexts: bool = False,
    reason: bool = True,
    **_judge: Json,
) -> tuple[str | int, str, str | None] | Unscored:
    """Return the judge's value under `name`, its reason, and the model that answered.

    A judge that compares with a reference is never called without one: it would pass anything.
    `texts` are those that its prompt quotes, `inputs` what that is rendered with beside the rest.
    """
    if expected and not case.has_reference:
        return Unscored(why=f"case {case.id!r} has no `expected` to show the judge")
    shown = passages(case, completion) if contexts else []
    if shown is None:
        return Unscored(
            why=f"case {case.id!r} has no `contexts` to show the judge, and the application "
            "reports none (`response.contexts`)"
        )
    question = _question(case)
    # The mark around quoted parts, which none of them can foresee. From a digest, so that the same
    # question to a judge is the same request.
    mark = digest("llmops/mark/v1", [criteria, question, *texts]).removeprefix("sha256:")[:MARK]
    listed = " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    rendered = {
        "criteria": criteria,
        "asked": question,
        "expected": case.expected if expected else None,
        "contexts": list(shown) or ([NOTHING_RETRIEVED] if contexts else []),
        "mark": f"#{mark}",
        **inputs,
        "form": "{" + ('"reason": "…", ' if reason else "") + f'"{name}": {listed}' + "}",
    }
    properties: dict[str, Json] = {"reason": {"type": "string"}} if reason else {}
    kind = "string" if isinstance(values[0], str) else "integer"
    properties[name] = {"type": kind, "enum": list(values)}
    json_schema: Mapping[str, Json] = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    result = await answer_of(
        partial(ask.judge, rendered, json_schema=json_schema),
        lambda answer: chosen(answer, name, values),
    )
    if isinstance(result, Unscored):
        return result
    (value, why), answer = result
    return value, why, answer.served_model


def _with_reason(value: str, reason: str) -> str:
    return f"{value}: {reason}" if reason else value


def _score(value: float, reason: str, judge: str | None) -> Score:
    return Score(value=value, reason=reason, detail={"judge": judge})


class WrongForm(ValueError):
    """The judge's JSON isn't in the requested form."""


def _question(case: Case) -> str:
    """Return the question: the only text input, or inputs and earlier turns as JSON."""
    values = list(case.inputs.values())
    if case.messages:
        turns = [message.plain() for message in case.messages]
        return dump_json({"earlier": turns, "inputs": dict(case.inputs)})
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return dump_json(dict(case.inputs))


def is_empty(text: str) -> bool:
    """Return whether an answer has no letter and no digit."""
    return not any(map(str.isalnum, text))


def passages(case: Case, completion: Completion) -> Sequence[str] | None:
    """Return the passages: those the application retrieved, else those of the case.

    Empty: the application retrieved nothing. None: there are no passages to compare with.
    """
    return (case.contexts or None) if completion.contexts is None else completion.contexts


def chosen(answer: Json, name: str, values: Sequence[str | int]) -> tuple[str | int, str]:
    """Return the value under `name` and the reason. Raises `WrongForm`.

    Names are compared without regard to case; nothing else is forgiven.
    """
    if not isinstance(answer, Mapping) or name not in answer:
        raise WrongForm(f"the judge's JSON has no {name!r}")
    choice = answer[name]
    for value in values:
        if isinstance(choice, str) and isinstance(value, str):
            same = choice.casefold() == value.casefold()
        else:
            same = choice == value and isinstance(choice, bool) is isinstance(value, bool)
        if same:
            return value, str(answer.get("reason") or "")[:LONGEST_REASON]
    raise WrongForm(f"the judge answered {quoted(json.dumps(choice))}, which is none of the values")


async def answer_of(
    ask: Callable[[], Awaitable[Outcome]], read: Callable[[Json], T]
) -> tuple[T, Completion] | Unscored:
    """Return the result of `read` on the judge's answer; each call of `ask` is one more request.

    A stored answer that cannot be read is passed over: it costs nothing, and the next one may be
    better. Of answers called in this run, at most `REASKS` more are asked for.
    """
    live = 0
    while True:
        outcome = await ask()
        if isinstance(outcome, Failure):
            return Unscored(why=f"the judge gave no answer: {outcome.message}")
        why = _unusable(outcome)
        if why is None:
            try:
                return read(parsed(outcome.text or "", once=True)), outcome
            except (NotJson, WrongForm) as error:
                why = str(error).replace("the answer is", "the judge's answer is", 1)
        elif outcome.latency is not None:
            return Unscored(why=why)
        live += outcome.latency is not None
        if live > REASKS:
            return Unscored(why=f"{why} (asked {live} times)")


def _unusable(outcome: Completion) -> str | None:
    if outcome.finish_reason in ("content_filter", "refusal"):
        return "the judge refused to answer"
    if outcome.finish_reason == "length":
        return "the judge's answer was cut off: give its model a higher maxTokens"
    return "the judge's answer is not stored here" if outcome.text is None else None
