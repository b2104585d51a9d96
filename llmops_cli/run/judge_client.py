"""How scorers reach models: a judge's answer is a result like any other.

Keyed by its request and by how often the same was asked within one score; found in the store
before it is paid; made once where several scores need it at the same time; limited and budgeted
by the one engine; counted by what it was for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio

from llmops_cli.core.case import Case
from llmops_cli.core.catalog import Role
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Results, TrialKey
from llmops_cli.core.prompt import SILENT, Judge, Message, Model, Request, Target
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.run.side import Renders
from llmops_cli.run.write_batcher import WriteBatcher


class Asks(Protocol):
    """The engine, as far as drawing and judging need it."""

    async def ask(self, model: Model, request: Request) -> Outcome: ...


@dataclass(slots=True)
class _UnderWay:
    """A call that somebody waits for."""

    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None


class JudgeCallCache:
    """The calls of all judges in one run."""

    def __init__(
        self,
        engine: Asks,
        results: Callable[[Model], Results],
        *,
        reachable: Callable[[Model], bool] = lambda _: True,
    ) -> None:
        """`results`: where a model's answers are kept. `reachable`: whether it may be called."""
        self._engine = engine
        self._results = results
        self._reachable = reachable
        self._keeping = WriteBatcher()
        self._under_way: dict[TrialKey, _UnderWay] = {}
        self.spent: dict[Role, Spending] = {}
        self.answering: dict[str, str] = {}
        """By the name of a model that was called, what answered last, as it calls itself."""

    async def ask(self, role: Role, model: Model, request: Request, n: int) -> Outcome:
        """The `n`-th answer to `request`: a held one, or one that is called and then held."""
        key = TrialKey(request.digest, "judge", n)
        while (other := self._under_way.get(key)) is not None:
            await other.done.wait()
            if other.outcome is not None:
                return other.outcome
        results = self._results(model)
        held = results.completions([key]).get(key)
        if held is not None and held.text is not None:
            self._count(role, held)
            return held
        if not self._reachable(model):
            message = f"{model.name} was not called: --offline, and its answer is not held"
            return Failure(kind=FailureKind.NOT_ATTEMPTED, message=message, attempts=0)
        mine = self._under_way[key] = _UnderWay()
        try:
            mine.outcome = await self._engine.ask(model, request)
            if isinstance(mine.outcome, Completion):
                await self._keeping.keep(results, key, mine.outcome)
                if mine.outcome.served_model is not None:
                    self.answering[model.name] = mine.outcome.served_model
                self._count(role, mine.outcome)
            return mine.outcome
        finally:
            del self._under_way[key]
            mine.done.set()

    def _count(self, role: Role, completion: Completion) -> None:
        self.spent[role] = self.spent.get(role, Spending()).and_one(completion)


class JudgeClient:
    """One score's way to its judge (`core.ports.Ask`)."""

    def __init__(
        self,
        calls: JudgeCallCache,
        judge: Judge,
        templates: Renders,
        *,
        first: int = 0,
        outdated: AbstractSet[str] = frozenset(),
    ) -> None:
        """`first`: the number of the first trial of each request; a second reading has others.

        `outdated`: models, as they call themselves, whose held answers are passed over.
        """
        self._outdated = outdated
        self._calls = calls
        self._judge = judge
        self._templates = templates
        self._first = first
        self._asked: Counter[str] = Counter()

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """The judge's answer to its prompt, rendered with `inputs`."""
        messages = self._templates.messages(Case(id="", inputs=inputs))
        return await self.generate(messages, json_schema=json_schema)

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """The judge model's answer to `messages`."""
        target = self._judge.target
        request = target.request(tuple(messages))
        match self._judge.structured:
            case "json_schema":
                request = replace(request, response_format="json_schema", json_schema=json_schema)
            case "json_object":
                request = replace(request, response_format="json_object")
        return await self._ask("judge", target.model, request)

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        """The embedding of `text`."""
        model = self._judge.embeddings
        assert model is not None
        request = Target(prompt=SILENT, model=model).request((Message(role="user", content=text),))
        outcome = await self._ask("embedding", model, replace(request, response_format="embedding"))
        if isinstance(outcome, Failure):
            return outcome
        try:
            return tuple(float(each) for each in json.loads(outcome.text or ""))
        except (TypeError, ValueError):
            message = f"{model.name} answered with something else than an embedding"
            return Failure(kind=FailureKind.BAD_ANSWER, message=message)

    async def _ask(self, role: Role, model: Model, request: Request) -> Outcome:
        while True:
            n = self._first + self._asked[request.digest]
            self._asked[request.digest] += 1
            outcome = await self._calls.ask(role, model, request, n)
            if isinstance(outcome, Failure) or outcome.latency is not None:
                return outcome
            if outcome.served_model not in self._outdated:
                return outcome
