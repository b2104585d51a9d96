"""Stands in for ragas' model client: its questions go through `Ask`, and answers are read strictly.

ragas' own client would bring its own cache, retries and parameters. Through `Ask`, its questions
are keyed, cached, limited and budgeted like any call. An answer counts where it is JSON of the form
that ragas asked for, with yes and no as 1 and 0 and a verdict on every statement; otherwise the
judge is asked again, and in the end the score is `Unscored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Ask
from llmops_cli.core.prompt import Message
from llmops_cli.core.result import Failure, Unscored
from llmops_cli.scorers.judging import WrongForm, answer_of

YES_OR_NO = frozenset({"verdict", "attributed", "noncommittal"})
"""Fields of ragas' forms that it adds up: anything but 0 and 1 would bend the figure."""


class Unanswered(Exception):
    """A question that got no usable answer; raised through ragas' own code."""

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
