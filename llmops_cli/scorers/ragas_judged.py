"""The five scorers of ragas that ask a judge, each with a reason that names what failed.

What the answer rests on is what the application retrieved; where it does not say, the passages of
the case. An application that retrieved nothing has 0 by the two figures of retrieval, without a
call. An answer without a letter or a digit has 0 by the three of generation, without a call.
Whatever ragas cannot measure, which it calls NaN, is `Unscored`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal

from ragas.metrics.collections import (
    AnswerRelevancy,
    ContextPrecision,
    ContextRecall,
    FactualCorrectness,
    Faithfulness,
)

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer, expected_texts, quoted
from llmops_cli.scorers.judging import passages
from llmops_cli.scorers.ragas_relay import Embedder, Judge, Unanswered, parts

SHOWN = 3
"""What failed is named up to so many times in a reason."""

NO_PASSAGES = Unscored(
    why="nothing to hold the answer against: the application reports no contexts "
    "(`response.contexts`), and the case has none"
)
EMPTY = Score(value=0.0, reason="the answer is empty")
IN_VAIN = Score(value=0.0, reason="the application retrieved nothing")


async def faithfulness(
    case: Case, completion: Completion, *, ask: Ask, question: str | None = None, **_judge: Json
) -> Score | Unscored:
    """The share of the answer's statements that follow from the passages."""
    found, text = _passages(case, completion), answer(completion.text)
    if _is_empty(text):
        return EMPTY
    if found is None:
        return NO_PASSAGES
    judge = Judge(ask)
    return await _scored(
        judge,
        lambda: Faithfulness(llm=judge).ascore(
            user_input=_question(case, question),
            response=text,
            retrieved_contexts=list(found) or [""],  # it retrieved nothing: nothing supports it
        ),
        lambda: _shares(
            judge.said[-1], "verdict", "statements of the answer follow from the passages"
        ),
        without="the judge finds no statement in the answer",
    )


async def answer_relevancy(
    case: Case, completion: Completion, *, ask: Ask, question: str | None = None, **_judge: Json
) -> Score | Unscored:
    """How like the question are three that the answer would answer; 0 where all are evasive.

    The mean cosine of their embeddings.
    """
    text = answer(completion.text)
    if _is_empty(text):
        return EMPTY
    judge = Judge(ask)

    def told() -> str:
        asked = ", ".join(quoted(each.question, 80) for each in judge.said if each.question)
        evasive = "the answer is noncommittal; " * all(each.noncommittal for each in judge.said)
        return f"{evasive}it would answer {asked}"

    metric = AnswerRelevancy(llm=judge, embeddings=Embedder(ask))
    return await _scored(
        judge,
        lambda: metric.ascore(user_input=_question(case, question), response=text),
        told,
        without="the judge finds no question that the answer would answer",
        measured=lambda: any(each.question for each in judge.said),
    )


async def context_precision(
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    question: str | None = None,
    reference: str | None = None,
    **_judge: Json,
) -> Score | Unscored:
    """Average precision of the passages: whether the useful ones stand first."""
    found, wanted = _passages(case, completion), _reference(case, reference)
    if isinstance(wanted, Unscored):
        return wanted
    if not found:
        return NO_PASSAGES if found is None else IN_VAIN
    judge = Judge(ask)

    def told() -> str:
        useless = [(at, each) for at, each in enumerate(judge.said, 1) if not each.verdict]
        why = [f"passage {at}: {quoted(each.reason)}" for at, each in useless]
        count = len(judge.said) - len(useless)
        return _listed(f"{count} of {len(judge.said)} passages are useful", why)

    return await _scored(
        judge,
        lambda: ContextPrecision(llm=judge).ascore(
            user_input=_question(case, question), reference=wanted, retrieved_contexts=list(found)
        ),
        told,
    )


async def context_recall(
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    question: str | None = None,
    reference: str | None = None,
    **_judge: Json,
) -> Score | Unscored:
    """The share of the expected answer's statements that the passages hold."""
    found, wanted = _passages(case, completion), _reference(case, reference)
    if isinstance(wanted, Unscored):
        return wanted
    if not found:
        return NO_PASSAGES if found is None else IN_VAIN
    judge = Judge(ask)
    return await _scored(
        judge,
        lambda: ContextRecall(llm=judge).ascore(
            user_input=_question(case, question), reference=wanted, retrieved_contexts=list(found)
        ),
        lambda: _shares(
            judge.said[-1], "attributed", "statements of the expected answer are in the passages"
        ),
        without="the judge finds no statement in the expected answer",
    )


async def factual_correctness(
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    mode: Literal["f1", "precision", "recall"] = "f1",
    reference: str | None = None,
    **_judge: Json,
) -> Score | Unscored:
    """Claims of the answer that the expected one supports (precision), and back (recall); F₁."""
    text, wanted = answer(completion.text), _reference(case, reference)
    if isinstance(wanted, Unscored):
        return wanted
    if _is_empty(text):
        return EMPTY
    judge = Judge(ask)

    def claimed() -> bool:
        """Whether there were claims to count: ragas says 0 for 0 of 0."""
        first, *others = [form for form in judge.said if hasattr(form, "claims")]
        return bool((others[0] if others else first).claims)

    def told() -> str:
        checked = [form for form in judge.said if not hasattr(form, "claims")]
        made = hasattr(judge.said[1], "claims") is False
        sides = ("claims of the answer are expected", "expected claims are in the answer")
        named = sides if made else sides[1:]
        shares = [
            _shares(form, "verdict", side) for form, side in zip(checked, named, strict=False)
        ]
        return "; ".join(shares if made else ["the answer claims nothing", *shares])

    return await _scored(
        judge,
        lambda: FactualCorrectness(llm=judge, mode=mode).ascore(response=text, reference=wanted),
        told,
        without="the judge finds no claim to count",
        measured=claimed,
    )


async def _scored(
    judge: Judge,
    ascore: Callable[[], Awaitable[Any]],
    told: Callable[[], str],
    *,
    without: str = "ragas gives no number",
    measured: Callable[[], bool] = lambda: True,
) -> Score | Unscored:
    """Ragas' value with `told()` as its reason; `without`: why there is none.

    Cosines may lie a little beyond 1 and may be negative; a score is on [0, 1].
    """
    try:
        value = float((await ascore()).value)
    except Unanswered as error:
        return error.unscored
    if math.isnan(value) or not measured():
        return Unscored(why=without)
    return Score(value=min(1.0, max(0.0, value)), reason=told(), detail={"judge": judge.served})


def _passages(case: Case, completion: Completion) -> Sequence[str] | None:
    """What the answer rests on; empty: nothing was retrieved; None: nobody knows."""
    found = passages(case, completion)
    return None if not found and completion.contexts is None else found


def _question(case: Case, question: str | None) -> str:
    """What was asked: the option, or the one text among the inputs (`ScorerKind.lacks` saw it)."""
    asked = case.question if question is None else question
    assert asked is not None
    return asked


def _reference(case: Case, reference: str | None) -> str | Unscored:
    """The expected answer as one text."""
    wanted = expected_texts(reference, case)
    return wanted if isinstance(wanted, Unscored) else "\n".join(wanted)


def _is_empty(text: str) -> bool:
    return not any(map(str.isalnum, text))


def _shares(form: Any, flag: str, what: str) -> str:  # noqa: ANN401 - ragas' forms
    """`2 of 3 statements …; not 'x' (the judge's reason)`."""
    listed = parts(form)
    failed = [each for each in listed if not getattr(each, flag)]
    why = [f"not {quoted(each.statement)} ({quoted(each.reason)})" for each in failed]
    return _listed(f"{len(listed) - len(failed)} of {len(listed)} {what}", why)


def _listed(told: str, why: Iterable[str]) -> str:
    named = list(why)
    more = [f"and {len(named) - SHOWN} more"] if len(named) > SHOWN else []
    return "; ".join([told, *named[:SHOWN], *more])
