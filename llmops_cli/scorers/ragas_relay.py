"""What ragas takes for a model: its questions go through `Ask`, and answers are read strictly.

ragas' own client would bring its own cache, retries and parameters. Through `Ask`, its questions
are keyed, held, limited and budgeted like any call. An answer counts where it is JSON of the form
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
from llmops_cli.scorers.judging import NotTheForm, answer_of

YES_OR_NO = frozenset({"verdict", "attributed", "noncommittal"})
"""Fields of ragas' forms that it adds up: anything but 0 and 1 would bend the figure."""


class Unanswered(Exception):
    """A question that got no usable answer: the way out through ragas' own code."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.unscored = Unscored(why=why)


class Judge(InstructorBaseRagasLLM):  # type: ignore[misc] # ragas' types are not read
    """One score's judge. `said` keeps the forms that it filled in, in order."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._due: int | None = None  # verdicts that the next form owes
        self.said: list[Any] = []
        self.served: str | None = None

    async def agenerate(self, prompt: str, response_model: Any) -> Any:  # noqa: ANN401 - ragas' forms
        """The form that `prompt` asks for, filled in. Raises `Unanswered`."""
        message = Message(role="user", content=prompt)
        wanted = strict(response_model.model_json_schema())
        given = await answer_of(
            partial(self._ask.generate, (message,), json_schema=wanted),
            partial(self._read, response_model),
        )
        if isinstance(given, Unscored):
            raise Unanswered(given.why)
        form, completion = given
        self.said.append(form)
        self.served = completion.served_model
        self._due = len(_statements(form)) or None
        return form

    def _read(self, response_model: Any, said: Json) -> Any:  # noqa: ANN401
        try:
            form = response_model.model_validate(said, strict=True)
        except ValueError as error:
            why = f"the judge's JSON is not what ragas asked for: {_told(error)}"
            raise NotTheForm(why) from error
        _check_flags(said)
        if self._due is not None and len(parts(form)) != self._due:
            why = f"the judge's JSON has {len(parts(form))} verdicts on {self._due} statements"
            raise NotTheForm(why)
        return form

    def generate(self, prompt: str, response_model: Any) -> NoReturn:  # noqa: ANN401
        """Never called: scores are given in an event loop."""
        raise NotImplementedError


class Embedder(BaseRagasEmbedding):  # type: ignore[misc] # ragas' types are not read
    """One score's embedding model; a text is embedded once."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self._known: dict[str, list[float]] = {}

    async def aembed_text(self, text: str, **_: Any) -> list[float]:  # noqa: ANN401
        """The embedding of `text`. Raises `Unanswered`."""
        if text not in self._known:
            given = await self._ask.embed(text)
            if isinstance(given, Failure):
                raise Unanswered(f"the embedding model gave no answer: {given.message}")
            if not any(given):
                raise Unanswered("the embedding model knows no word of a text: its vector is all 0")
            self._known[text] = list(given)
        return self._known[text]

    async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:  # noqa: ANN401
        """The embeddings of `texts`, in order. Raises `Unanswered`."""
        return [await self.aembed_text(each) for each in texts]

    def embed_text(self, text: str, **_: Any) -> NoReturn:  # noqa: ANN401
        """Never called: scores are given in an event loop."""
        raise NotImplementedError


def parts(form: Any) -> list[Any]:  # noqa: ANN401
    """The statements or claims of a form, or the verdicts on them; [] where it lists none."""
    for name in ("statements", "claims", "classifications"):
        if hasattr(form, name):
            return list(getattr(form, name))
    return []


def _statements(form: Any) -> list[str]:  # noqa: ANN401
    """What a form lists to be judged in the next one."""
    return [each for each in parts(form) if isinstance(each, str)]


def strict(schema: Json) -> dict[str, Json]:
    """A JSON Schema as structured output wants it: every property there, and no other."""
    assert isinstance(schema, Mapping)
    closed = {name: _strict_below(each) for name, each in schema.items()}
    if schema.get("type") == "object":
        properties = schema.get("properties")
        assert isinstance(properties, Mapping)
        closed |= {"additionalProperties": False, "required": list(properties)}
    return closed


def _strict_below(value: Json) -> Json:
    if isinstance(value, Mapping):
        return strict(value)
    if isinstance(value, (list, tuple)):
        return [_strict_below(each) for each in value]
    return value


def _check_flags(said: Json) -> None:
    if isinstance(said, Mapping):
        for name, value in said.items():
            if name in YES_OR_NO and value not in (0, 1):
                raise NotTheForm(f"the judge's {name} is {value}, neither 0 nor 1")
            _check_flags(value)
    elif isinstance(said, (list, tuple)):
        for each in said:
            _check_flags(each)


def _told(error: ValueError) -> str:
    """The first thing that pydantic finds wrong: `statements.0.verdict: Field required`."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ": ".join(each.partition(" [")[0] for each in lines[1:3])
