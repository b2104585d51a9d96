"""The scorers of ragas: five that ask a judge, and four of retrieval that call no model.

What an answer rests on is what the application retrieved; where it does not report that, the
passages of the case. An application that retrieved nothing scores 0 by the figures of retrieval,
and an answer without a letter or a digit by the three of generation, without a call. What ragas
cannot measure, which it calls NaN, is `Unscored`.

ragas' own client would bring its own cache, retries and parameters. Its requests go through `Ask`
instead: they are cached, limited and budgeted like any call. An answer counts where it is JSON of
the form that ragas asked for, with yes and no as 1 and 0 and a verdict on every statement;
otherwise the judge is asked again, and in the end the score is `Unscored`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

from ragas.dataset_schema import SingleTurnSample
from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics import (
    IDBasedContextPrecision,
    IDBasedContextRecall,
    NonLLMContextPrecisionWithReference,
    NonLLMContextRecall,
)
from ragas.metrics.collections import (
    AnswerRelevancy,
    ContextPrecision,
    ContextRecall,
    FactualCorrectness,
    Faithfulness,
)
from rapidfuzz.distance import Levenshtein

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask
from llmops_cli.core.prompt import Case, Message
from llmops_cli.core.result import Completion, Failure, Score, Unscored
from llmops_cli.scorers.judged import EMPTY, WrongForm, answer_of, is_empty, passages
from llmops_cli.scorers.scoring import LONGEST_COMPARED, expected_texts, not_reported, quoted

SHOWN = 3
"""So many of the statements that failed are named in a reason."""
NO_PASSAGES = Unscored(
    why="there are no passages to compare with: the application reports no contexts "
    "(`response.contexts`), and the case has none"
)
NOTHING_RETRIEVED = Score(value=0.0, reason="the application retrieved nothing")
Mode: TypeAlias = Literal["f1", "precision", "recall"]
YES_OR_NO = ("verdict", "attributed", "noncommittal")
"""Fields of ragas' forms that are summed: any value except 0 and 1 would distort the score."""


class Metric(NamedTuple):
    """One of ragas' metrics that ask a judge."""

    opened: Callable[[Judge, Ask, Mode], Any]
    takes: frozenset[str]
    """Arguments of its `ascore`."""
    reason: Callable[[list[Any]], str]
    """Says by the forms that the judge filled in how the value came about."""
    without: str
    """Says why there is no value."""
    measured: Callable[[list[Any]], bool] = bool
    """Whether there was something to measure: ragas scores 0 of 0 as 0."""


async def _judged(  # noqa: PLR0913 - options of a scorer are its arguments
    metric: Metric,
    case: Case,
    completion: Completion,
    *,
    ask: Ask,
    question: str | None = None,
    reference: str | None = None,
    mode: Mode = "f1",
    **_judge: Json,
) -> Score | Unscored:
    """Return ragas' value with its reason.

    Cosines may lie a little beyond 1 and may be negative; a score is on [0, 1].
    """
    arguments: dict[str, Any] = {
        "user_input": case.question if question is None else question,
        "response": completion.text or "",
    }
    if "reference" in metric.takes:
        expected = expected_texts(reference, case)
        if isinstance(expected, Unscored):
            return expected
        arguments["reference"] = "\n".join(expected)
    if "response" in metric.takes and is_empty(arguments["response"]):
        return EMPTY
    if "retrieved_contexts" in metric.takes:
        retrieved = passages(case, completion)
        if retrieved is None:
            return NO_PASSAGES
        if not retrieved and "response" not in metric.takes:
            return NOTHING_RETRIEVED
        arguments["retrieved_contexts"] = list(retrieved) or [""]  # which supports no statement
    judge = Judge(ask)
    try:
        result = await metric.opened(judge, ask, mode).ascore(
            **{name: arguments[name] for name in metric.takes}
        )
    except Unanswered as error:
        return Unscored(why=str(error))
    value, forms = float(result.value), judge.forms
    if math.isnan(value) or not metric.measured(forms):
        return Unscored(why=metric.without)
    detail = {"judge": judge.served}
    return Score(value=min(1.0, max(0.0, value)), reason=metric.reason(forms), detail=detail)


def _relevancy_reason(forms: list[Any]) -> str:
    questions = ", ".join(quoted(form.question, 80) for form in forms if form.question)
    evasive = "the answer is noncommittal; " * all(form.noncommittal for form in forms)
    return f"{evasive}it would answer {questions}"


def _precision_reason(forms: list[Any]) -> str:
    useless = [(at, form) for at, form in enumerate(forms, 1) if not form.verdict]
    why = [f"passage {at}: {quoted(form.reason)}" for at, form in useless]
    return _listed(f"{len(forms) - len(useless)} of {len(forms)} passages are useful", why)


def _correctness_reason(forms: list[Any]) -> str:
    checked = [form for form in forms if not hasattr(form, "claims")]
    sides = ["claims of the answer are expected", "expected claims are in the answer"]
    if not hasattr(forms[1], "claims"):
        shares = zip(checked, sides, strict=False)  # the second one is not asked for precision
        return "; ".join(_shares(form, "verdict", side) for form, side in shares)
    return f"the answer claims nothing; {_shares(checked[0], 'verdict', sides[1])}"


def _has_claims(forms: list[Any]) -> bool:
    first, *others = [form for form in forms if hasattr(form, "claims")]
    return bool((others[0] if others else first).claims)


def _shares(form: Any, flag: str, what: str) -> str:  # noqa: ANN401 - ragas' forms
    """Return `2 of 3 statements …; not 'x' (the judge's reason)`."""
    listed = _parts(form)
    failed = [part for part in listed if not getattr(part, flag)]
    why = [f"not {quoted(part.statement)} ({quoted(part.reason)})" for part in failed]
    return _listed(f"{len(listed) - len(failed)} of {len(listed)} {what}", why)


def _listed(summary: str, why: Sequence[str]) -> str:
    more = [f"and {len(why) - SHOWN} more"] if len(why) > SHOWN else []
    return "; ".join([summary, *why[:SHOWN], *more])


class Unanswered(Exception):
    """The judge gave no usable answer; raised through ragas' own code."""


class Judge(InstructorBaseRagasLLM):  # type: ignore[misc] # ragas' types are not read
    """One score's judge. `forms` are those that it filled in, in order."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._due = 0  # verdicts that the next form must have; 0: any number
        self.forms: list[Any] = []
        self.served: str | None = None

    async def agenerate(self, prompt: str, response_model: Any) -> Any:  # noqa: ANN401 - ragas' forms
        """Return the form that `prompt` asks for, filled in. Raises `Unanswered`."""
        schema = response_model.model_json_schema()
        for part in (schema, *schema.get("$defs", {}).values()):
            # As structured output wants it: every property there, and no other.
            part |= {"additionalProperties": False, "required": list(part["properties"])}
        message = Message(role="user", content=prompt)
        result = await answer_of(
            partial(self._ask.generate, (message,), json_schema=schema),
            partial(self._read, response_model),
        )
        if isinstance(result, Unscored):
            raise Unanswered(result.why)
        form, completion = result
        self.forms.append(form)
        self.served = completion.served_model
        self._due = sum(isinstance(part, str) for part in _parts(form))
        return form

    def _read(self, response_model: Any, answer: Json) -> Any:  # noqa: ANN401
        try:
            form = response_model.model_validate(answer, strict=True)
        except ValueError as error:
            # pydantic's message: the count, the place, what is wrong [its type and input]
            lines = [line.partition(" [")[0].strip() for line in str(error).splitlines()]
            why = f"the judge's JSON is not what ragas asked for: {': '.join(lines[1:3])}"
            raise WrongForm(why) from error
        parts = _parts(form)
        for name in YES_OR_NO:
            for value in (getattr(part, name, 0) for part in (form, *parts)):
                if value not in (0, 1):
                    raise WrongForm(f"the judge's {name} is {value}, neither 0 nor 1")
        if self._due and len(parts) != self._due:
            raise WrongForm(f"the judge's JSON has {len(parts)} verdicts on {self._due} statements")
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


def _parts(form: Any) -> list[Any]:  # noqa: ANN401
    """Return the statements or claims of a form, or the verdicts on them; [] where it has none."""
    for name in ("statements", "claims", "classifications"):
        if hasattr(form, name):
            return list(getattr(form, name))
    return []


class EditSimilarity:
    """ragas' own similarity of two texts, 1 − edit distance / longer length, without telemetry."""

    async def single_turn_ascore(self, pair: SingleTurnSample, _callbacks: object) -> float:
        """Return the similarity of a retrieved and a relevant passage, on [0, 1]."""
        return float(1 - Levenshtein.normalized_distance(pair.reference, pair.response))


async def _by_id(
    metric: Callable[[], Any], _case: Case, completion: Completion, *, relevant: Sequence[str | int]
) -> Score | Unscored:
    """Compare ids, of which neither order nor repeats count."""
    if completion.ids is None:
        return not_reported("ids")
    if not completion.ids:
        return NOTHING_RETRIEVED
    sample = SingleTurnSample(
        retrieved_context_ids=list(completion.ids), reference_context_ids=list(relevant)
    )
    both = {str(name) for name in relevant} & set(completion.ids)
    reason = f"{len(both)} of {len(set(relevant))} relevant among {len(set(completion.ids))} ids"
    return Score(value=await _value(metric(), sample), reason=reason)


async def _by_text(
    metric: Callable[[float], Any],
    _case: Case,
    completion: Completion,
    *,
    relevant: Sequence[str],
    threshold: float = 0.5,
) -> Score | Unscored:
    """Compare passages: a retrieved one is a relevant one where they are alike by edit distance."""
    if completion.contexts is None:
        return not_reported("contexts")
    if not completion.contexts:
        return NOTHING_RETRIEVED
    if max(map(len, (*completion.contexts, *relevant))) > LONGEST_COMPARED:
        return Unscored(why=f"passages are compared up to {LONGEST_COMPARED:,} characters")
    sample = SingleTurnSample(
        retrieved_contexts=list(completion.contexts), reference_contexts=list(relevant)
    )
    reason = f"{len(completion.contexts)} retrieved against {len(relevant)} relevant passages"
    return Score(value=await _value(metric(threshold), sample), reason=reason)


async def _value(metric: Any, sample: SingleTurnSample) -> float:  # noqa: ANN401 - ragas' types
    # ragas' public way to a score writes an id of the user under HOME, whatever its telemetry
    # setting is; the method behind it does not, and the version is pinned.
    return float(await metric._single_turn_ascore(sample, None))  # noqa: SLF001 - above


context_precision_by_id = partial(_by_id, IDBasedContextPrecision)
context_recall_by_id = partial(_by_id, IDBasedContextRecall)
context_precision_by_text = partial(
    _by_text,
    lambda threshold: NonLLMContextPrecisionWithReference(
        distance_measure=EditSimilarity(), threshold=threshold
    ),
)
context_recall_by_text = partial(
    _by_text,
    lambda threshold: NonLLMContextRecall(_distance_measure=EditSimilarity(), threshold=threshold),
)

faithfulness = partial(
    _judged,
    Metric(
        lambda judge, _ask, _mode: Faithfulness(llm=judge),
        frozenset({"user_input", "response", "retrieved_contexts"}),
        lambda forms: _shares(
            forms[-1], "verdict", "statements of the answer follow from the passages"
        ),
        "the judge finds no statement in the answer",
    ),
)
"""The share of the answer's statements that follow from the passages."""
answer_relevancy = partial(
    _judged,
    Metric(
        lambda judge, ask, _mode: AnswerRelevancy(llm=judge, embeddings=Embedder(ask)),
        frozenset({"user_input", "response"}),
        _relevancy_reason,
        "the judge finds no question that the answer would answer",
        lambda forms: any(form.question for form in forms),
    ),
)
"""The mean cosine of the question and three that the answer would answer; 0 if all are evasive."""
context_precision = partial(
    _judged,
    Metric(
        lambda judge, _ask, _mode: ContextPrecision(llm=judge),
        frozenset({"user_input", "reference", "retrieved_contexts"}),
        _precision_reason,
        "ragas gives no number",
    ),
)
"""The average precision of the passages: do the useful ones come first?"""
context_recall = partial(
    _judged,
    Metric(
        lambda judge, _ask, _mode: ContextRecall(llm=judge),
        frozenset({"user_input", "reference", "retrieved_contexts"}),
        lambda forms: _shares(
            forms[-1], "attributed", "statements of the expected answer are in the passages"
        ),
        "the judge finds no statement in the expected answer",
    ),
)
"""The share of the expected answer's statements that the passages support."""
factual_correctness = partial(
    _judged,
    Metric(
        lambda judge, _ask, mode: FactualCorrectness(llm=judge, mode=mode),
        frozenset({"response", "reference"}),
        _correctness_reason,
        "the judge finds no claim to count",
        _has_claims,
    ),
)
"""The claims that answer and expected answer share: precision, recall, or F₁."""
