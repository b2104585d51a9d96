"""The judge `pairwise`: the candidate's answer against the baseline's, asked in both orders."""

from __future__ import annotations

from functools import partial

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer
from llmops_cli.scorers.judging import answer_of, asked, chosen, form, mark, passages, schema

BETTER = ("first", "second", "tie")
CRITERIA = "It helps the person who asked more: correct, complete, to the point."
POINTS = {"candidate": 1.0, "tie": 0.5, "baseline": 0.0}


async def pairwise(  # noqa: PLR0913 - options of a scorer are its arguments
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    against: Completion,
    criteria: str = CRITERIA,
    expected: bool = False,
    contexts: bool = False,
    reason: bool = True,
    **_judge: Json,
) -> Score | Unscored:
    """1 where `completion` is better than `against` whichever comes first, 0 where it is worse.

    ½ is a tie: the judge says so, or the two orders disagree. Equal texts are one without a call.
    """
    ours, theirs = answer(completion.text), answer(against.text)
    if ours == theirs:
        return Score(value=0.5, reason="the answers are equal")
    question = asked(case)
    shared: dict[str, Json] = {
        "criteria": criteria,
        "asked": question,
        "expected": case.expected if expected else None,
        "contexts": list(passages(case, completion)) if contexts else [],
        "mark": mark(criteria, question, *sorted((ours, theirs))),
        "form": form("better", BETTER, reason=reason),
    }
    wanted = schema("better", BETTER, reason=reason)
    found = []
    for texts, names in (
        ((ours, theirs), ("candidate", "baseline", "tie")),
        ((theirs, ours), ("baseline", "candidate", "tie")),
    ):
        inputs = {**shared, "first": texts[0], "second": texts[1]}
        given = await answer_of(
            partial(ask.judge, inputs, json_schema=wanted),
            lambda said: chosen(said, "better", BETTER),
        )
        if isinstance(given, Unscored):
            return given
        (value, why), said = given
        found.append((names[BETTER.index(str(value))], why, said.served_model))
    (one, why, judge), (other, again, _) = found
    if one != other:
        why = f"the orders disagree ({one}, then {other}): a tie. {why} | {again}"
        return Score(value=0.5, reason=why, detail={"judge": judge})
    return Score(value=POINTS[one], reason=f"{one}: {why}", detail={"judge": judge})
