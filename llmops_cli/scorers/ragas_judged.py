"""The five scorers of ragas that ask a judge, each with a reason that names what failed.

What the answer rests on is what the application retrieved; where it does not report that, the
passages of the case. An application that retrieved nothing scores 0 by the two figures of
retrieval, and an answer without a letter or a digit by the three of generation, without a call.
What ragas cannot measure, which it calls NaN, is `Unscored`.

ragas' own client would bring its own cache, retries and parameters. Its requests go through `Ask`
instead: they are cached, limited and budgeted like any call. An answer counts where it is JSON of
the form that ragas asked for, with yes and no as 1 and 0 and a verdict on every statement;
otherwise the judge is asked again, and in the end the score is `Unscored`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NoReturn

from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics.collections import (
    AnswerRelevancy,
    ContextPrecision,
    ContextRecall,
    FactualCorrectness,
    Faithfulness,
)

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask
from llmops_cli.core.prompt import Case, Message
from llmops_cli.core.result import Completion, Failure, Score, Unscored
from llmops_cli.scorers.answers import expected_texts, quoted
from llmops_cli.scorers.judged import WrongForm, answer_of, passages

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
    compared = _compared(case, completion, reference)
    if isinstance(compared, (Score, Unscored)):
        return compared
    retrieved, expected = compared
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
            retrieved_contexts=retrieved,
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
    compared = _compared(case, completion, reference)
    if isinstance(compared, (Score, Unscored)):
        return compared
    retrieved, expected = compared
    judge = Judge(ask)
    return await _scored(
        judge,
        lambda: ContextRecall(llm=judge).ascore(
            user_input=_question(case, question),
            reference=expected,
            retrieved_contexts=retrieved,
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


def _compared(
    case: Case, completion: Completion, reference: str | None
) -> tuple[list[str], str] | Score | Unscored:
    """Return the passages and the expected answer, or the score where there is nothing to ask."""
    retrieved, expected = passages(case, completion), _reference(case, reference)
    if isinstance(expected, Unscored):
        return expected
    if not retrieved:
        return NO_PASSAGES if retrieved is None else NOTHING_RETRIEVED
    return list(retrieved), expected


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


YES_OR_NO = frozenset({"verdict", "attributed", "noncommittal"})
"""Fields of ragas' forms that are summed: any value except 0 and 1 would distort the score."""


class Unanswered(Exception):
    """The judge gave no usable answer; raised through ragas' own code."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.unscored = Unscored(why=why)


class Judge(InstructorBaseRagasLLM):  # type: ignore[misc] # ragas' types are not read
    """One score's judge. `forms` are those that it filled in, in order."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._due: int | None = None  # verdicts that the next form must have
        self.forms: list[Any] = []
        self.served: str | None = None

    async def agenerate(self, prompt: str, response_model: Any) -> Any:  # noqa: ANN401 - ragas' forms
        """Return the form that `prompt` asks for, filled in. Raises `Unanswered`."""
        message = Message(role="user", content=prompt)
        schema = strict(response_model.model_json_schema())
        result = await answer_of(
            partial(self._ask.generate, (message,), json_schema=schema),
            partial(self._read, response_model),
        )
        if isinstance(result, Unscored):
            raise Unanswered(result.why)
        form, completion = result
        self.forms.append(form)
        self.served = completion.served_model
        self._due = len(_statements(form)) or None
        return form

    def _read(self, response_model: Any, answer: Json) -> Any:  # noqa: ANN401
        try:
            form = response_model.model_validate(answer, strict=True)
        except ValueError as error:
            why = f"the judge's JSON is not what ragas asked for: {_first_problem(error)}"
            raise WrongForm(why) from error
        _check_flags(answer)
        if self._due is not None and len(parts(form)) != self._due:
            why = f"the judge's JSON has {len(parts(form))} verdicts on {self._due} statements"
            raise WrongForm(why)
        return form

    def generate(self, prompt: str, response_model: Any) -> NoReturn:  # noqa: ANN401
        """Never called: scores are given in an event loop."""
        raise NotImplementedError


class Embedder(BaseRagasEmbedding):  # type: ignore[misc] # ragas' types are not read
    """One score's embedding model; a text is embedded once."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self._vectors: dict[str, list[float]] = {}

    async def aembed_text(self, text: str, **_: Any) -> list[float]:  # noqa: ANN401
        """Return the embedding of `text`. Raises `Unanswered`."""
        if text not in self._vectors:
            vector = await self._ask.embed(text)
            if isinstance(vector, Failure):
                raise Unanswered(f"the embedding model gave no answer: {vector.message}")
            if not any(vector):
                raise Unanswered("the embedding model knows no word of a text: its vector is all 0")
            self._vectors[text] = list(vector)
        return self._vectors[text]

    async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:  # noqa: ANN401
        """Return the embeddings of `texts`, in order. Raises `Unanswered`."""
        return [await self.aembed_text(text) for text in texts]

    def embed_text(self, text: str, **_: Any) -> NoReturn:  # noqa: ANN401
        """Never called: scores are given in an event loop."""
        raise NotImplementedError


def parts(form: Any) -> list[Any]:  # noqa: ANN401
    """Return the statements or claims of a form, or the verdicts on them; [] where it has none."""
    for name in ("statements", "claims", "classifications"):
        if hasattr(form, name):
            return list(getattr(form, name))
    return []


def _statements(form: Any) -> list[str]:  # noqa: ANN401
    """Return what a form lists to be judged in the next one."""
    return [part for part in parts(form) if isinstance(part, str)]


def strict(schema: Json) -> dict[str, Json]:
    """Return a JSON Schema as structured output wants it: every property there, and no other."""
    assert isinstance(schema, Mapping)
    closed = {name: _strict_below(inner) for name, inner in schema.items()}
    if schema.get("type") == "object":
        properties = schema.get("properties")
        assert isinstance(properties, Mapping)
        closed |= {"additionalProperties": False, "required": list(properties)}
    return closed


def _strict_below(value: Json) -> Json:
    if isinstance(value, Mapping):
        return strict(value)
    if isinstance(value, (list, tuple)):
        return [_strict_below(inner) for inner in value]
    return value


def _check_flags(answer: Json) -> None:
    if isinstance(answer, Mapping):
        for name, value in answer.items():
            if name in YES_OR_NO and value not in (0, 1):
                raise WrongForm(f"the judge's {name} is {value}, neither 0 nor 1")
            _check_flags(value)
    elif isinstance(answer, (list, tuple)):
        for value in answer:
            _check_flags(value)


def _first_problem(error: ValueError) -> str:
    """Return the first thing that pydantic finds wrong: `statements.0.verdict: Field required`."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ": ".join(line.partition(" [")[0] for line in lines[1:3])
