"""The five scorers of ragas that ask a judge, each with a reason that names what failed.

What the answer rests on is what the application retrieved; where it does not report that, the
passages of the case. An application that retrieved nothing scores 0 by the two figures of
retrieval, and an answer without a letter or a digit by the three of generation, without a call.
What ragas cannot measure, which it calls NaN, is `Unscored`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
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
from llmops_cli.scorers.answers import expected_texts, quoted
from llmops_cli.scorers.judging import passages
from llmops_cli.scorers.ragas_relay import Embedder, Judge, Unanswered, parts

SHOWN = 3
"""So many of the statements that failed are named in a reason."""

NO_PASSAGES = Unscored(
    why="there are no passages to compare with: the application reports no contexts "
    "(`response.contexts`), and the case has none"
)
EMPTY = Score(value=0.0, reason="the answer is empty")
NOTHING_RETRIEVED = Score(value=0.0, reason="the application retrieved nothing")


async def faithfulness(
    case: Case, completion: Completion, *, ask: Ask, question: str | None = None, **_judge: Json
) -> Score | Unscored:
    """Return the share of the answer's statements that follow from the passages."""
    retrieved, text = passages(case, completion), completion.text or ""
    if _is_empty(text):
        return EMPTY
    if retrieved is None:
        return NO_PASSAGES
    judge = Judge(ask)
    return await _scored(
        judge,
        lambda: Faithfulness(llm=judge).ascore(
            user_input=_question(case, question),
            response=text,
            retrieved_contexts=list(retrieved) or [""],  # it retrieved nothing: nothing supports it
        ),
        lambda: _shares(
            judge.forms[-1], "verdict", "statements of the answer follow from the passages"
        ),
        without="the judge finds no statement in the answer",
    )


async def answer_relevancy(
    case: Case, completion: Completion, *, ask: Ask, question: str | None = None, **_judge: Json
) -> Score | Unscored:
    """Return how like the question are three that the answer would answer; 0 if all are evasive.

    The mean cosine of their embeddings.
    """
    text = completion.text or ""
    if _is_empty(text):
        return EMPTY
    judge = Judge(ask)

    def reason() -> str:
        questions = ", ".join(quoted(form.question, 80) for form in judge.forms if form.question)
        evasive = "the answer is noncommittal; " * all(form.noncommittal for form in judge.forms)
        return f"{evasive}it would answer {questions}"

    metric = AnswerRelevancy(llm=judge, embeddings=Embedder(ask))
    return await _scored(
        judge,
        lambda: metric.ascore(user_input=_question(case, question), response=text),
        reason,
        without="the judge finds no question that the answer would answer",
        measured=lambda: any(form.question for form in judge.forms),
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
    """Return the average precision of the passages: do the useful ones come first?"""
    retrieved, expected = passages(case, completion), _reference(case, reference)
    if isinstance(expected, Unscored):
        return expected
    if not retrieved:
        return NO_PASSAGES if retrieved is None else NOTHING_RETRIEVED
    judge = Judge(ask)

    def reason() -> str:
        useless = [(at, form) for at, form in enumerate(judge.forms, 1) if not form.verdict]
        why = [f"passage {at}: {quoted(form.reason)}" for at, form in useless]
        count = len(judge.forms) - len(useless)
        return _listed(f"{count} of {len(judge.forms)} passages are useful", why)

    return await _scored(
        judge,
        lambda: ContextPrecision(llm=judge).ascore(
            user_input=_question(case, question),
            reference=expected,
            retrieved_contexts=list(retrieved),
        ),
        reason,
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
    """Return the share of the expected answer's statements that the passages support."""
    retrieved, expected = passages(case, completion), _reference(case, reference)
    if isinstance(expected, Unscored):
        return expected
    if not retrieved:
        return NO_PASSAGES if retrieved is None else NOTHING_RETRIEVED
    judge = Judge(ask)
    return await _scored(
        judge,
        lambda: ContextRecall(llm=judge).ascore(
            user_input=_question(case, question),
            reference=expected,
            retrieved_contexts=list(retrieved),
        ),
        lambda: _shares(
            judge.forms[-1], "attributed", "statements of the expected answer are in the passages"
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
    """Return the claims that answer and expected answer share: precision, recall, or F₁."""
    text, expected = completion.text or "", _reference(case, reference)
    if isinstance(expected, Unscored):
        return expected
    if _is_empty(text):
        return EMPTY
    judge = Judge(ask)

    def has_claims() -> bool:
        """Return whether there were claims to count: ragas scores 0 of 0 as 0."""
        first, *others = [form for form in judge.forms if hasattr(form, "claims")]
        return bool((others[0] if others else first).claims)

    def reason() -> str:
        checked = [form for form in judge.forms if not hasattr(form, "claims")]
        made = hasattr(judge.forms[1], "claims") is False
        sides = ("claims of the answer are expected", "expected claims are in the answer")
        named = sides if made else sides[1:]
        shares = [
            _shares(form, "verdict", side) for form, side in zip(checked, named, strict=False)
        ]
        return "; ".join(shares if made else ["the answer claims nothing", *shares])

    return await _scored(
        judge,
        lambda: FactualCorrectness(llm=judge, mode=mode).ascore(response=text, reference=expected),
        reason,
        without="the judge finds no claim to count",
        measured=has_claims,
    )


async def _scored(
    judge: Judge,
    ascore: Callable[[], Awaitable[Any]],
    reason: Callable[[], str],
    *,
    without: str = "ragas gives no number",
    measured: Callable[[], bool] = lambda: True,
) -> Score | Unscored:
    """Return ragas' value with its reason; `without` says why there is none.

    Cosines may lie a little beyond 1 and may be negative; a score is on [0, 1].
    """
    try:
        value = float((await ascore()).value)
    except Unanswered as error:
        return error.unscored
    if math.isnan(value) or not measured():
        return Unscored(why=without)
    return Score(value=min(1.0, max(0.0, value)), reason=reason(), detail={"judge": judge.served})


def _question(case: Case, question: str | None) -> str:
    """Return the option, or the one text among the inputs (`ScorerKind.lacks` has checked it)."""
    question = case.question if question is None else question
    assert question is not None
    return question


def _reference(case: Case, reference: str | None) -> str | Unscored:
    """Return the expected answer as one text."""
    texts = expected_texts(reference, case)
    return texts if isinstance(texts, Unscored) else "\n".join(texts)


def _is_empty(text: str) -> bool:
    return not any(map(str.isalnum, text))


def _shares(form: Any, flag: str, what: str) -> str:  # noqa: ANN401 - ragas' forms
    """Return `2 of 3 statements …; not 'x' (the judge's reason)`."""
    listed = parts(form)
    failed = [part for part in listed if not getattr(part, flag)]
    why = [f"not {quoted(part.statement)} ({quoted(part.reason)})" for part in failed]
    return _listed(f"{len(listed) - len(failed)} of {len(listed)} {what}", why)


def _listed(summary: str, why: Iterable[str]) -> str:
    named = list(why)
    more = [f"and {len(named) - SHOWN} more"] if len(named) > SHOWN else []
    return "; ".join([summary, *named[:SHOWN], *more])
