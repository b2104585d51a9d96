"""How scorers call models, and how answers are stored.

A judge's answer is a result like any other: keyed by its request and by how often the same was
asked within one score, read from the store before it is paid for, called once where several scores
need it at the same time, and counted by what it was for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Results, Role, TrialKey
from llmops_cli.core.prompt import SILENT, Case, Judge, Message, Model, Request, Target
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.run.scorers import TemplateRenderer


class ModelCaller(Protocol):
    """The part of the engine's interface that runs and judges use."""

    async def ask(self, model: Model, request: Request) -> Outcome: ...


@dataclass(slots=True, eq=False)
class _Batch:
    """Answers that are written in one transaction."""

    answers: list[tuple[TrialKey, Completion]] = field(default_factory=list)
    written: anyio.Event = field(default_factory=anyio.Event)
    error: BaseException | None = None


class WriteBatcher:
    """Stores answers; those that arrive at the same time are written together.

    An answer counts once it is written, and a transaction for each would hold up every answer
    behind it. So the first one yields to the event loop once; the answers that arrive meanwhile are
    written in the same transaction.
    """

    def __init__(self) -> None:
        self._open: dict[Results, _Batch] = {}

    async def put(self, results: Results, key: TrialKey, completion: Completion) -> None:
        """Return when `completion` is in `results`. It is stored even if the caller is cancelled.

        Raises what the store raises.
        """
        batch = self._open.get(results)
        if batch is None:
            await self._write_with_others(results, key, completion)
            return
        batch.answers.append((key, completion))
        await batch.written.wait()
        if batch.error is not None:
            raise batch.error

    async def _write_with_others(
        self, results: Results, key: TrialKey, completion: Completion
    ) -> None:
        batch = self._open[results] = _Batch([(key, completion)])
        await cancel_shielded_checkpoint()
        del self._open[results]
        try:
            results.put_completions(batch.answers)
        except BaseException as error:
            batch.error = error
            raise
        finally:
            batch.written.set()


@dataclass(slots=True)
class _PendingCall:
    """A call that others wait for."""

    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None


class JudgeCallCache:
    """The calls of all judges in one run, each made once."""

    def __init__(
        self,
        engine: ModelCaller,
        results: Callable[[Model], Results],
        *,
        reachable: Callable[[Model], bool] = lambda _: True,
    ) -> None:
        """Take where each model's answers are stored, and whether a model may be called."""
        self._engine = engine
        self._results = results
        self._reachable = reachable
        self._batcher = WriteBatcher()
        self._pending: dict[TrialKey, _PendingCall] = {}
        self.spent: dict[Role, Spending] = {}
        self.answering: dict[str, str] = {}
        """The model that answered last, as it reports itself, by the configured model."""

    async def ask(self, role: Role, model: Model, request: Request, n: int) -> Outcome:
        """Return the `n`-th answer to `request`: a stored one, or one that is called and stored."""
        key = TrialKey(request.digest, "judge", n)
        while (pending := self._pending.get(key)) is not None:
            await pending.done.wait()
            if pending.outcome is not None:
                return pending.outcome
        results = self._results(model)
        stored = results.completions([key]).get(key)
        if stored is not None and stored.text is not None:
            self._count(role, stored)
            return stored
        if not self._reachable(model):
            message = f"{model.name} was not called: --offline, and its answer is not stored"
            return Failure(kind=FailureKind.NOT_ATTEMPTED, message=message, attempts=0)
        call = self._pending[key] = _PendingCall()
        try:
            call.outcome = await self._engine.ask(model, request)
            if isinstance(call.outcome, Completion):
                await self._batcher.put(results, key, call.outcome)
                if call.outcome.served_model is not None:
                    self.answering[model.name] = call.outcome.served_model
                self._count(role, call.outcome)
            return call.outcome
        finally:
            del self._pending[key]
            call.done.set()

    def _count(self, role: Role, completion: Completion) -> None:
        self.spent[role] = self.spent.get(role, Spending()) + Spending.of(completion)


class JudgeClient:
    """Calls the judge of one score (`core.ports.Ask`)."""

    def __init__(
        self,
        calls: JudgeCallCache,
        judge: Judge,
        templates: TemplateRenderer,
        *,
        first: int = 0,
        outdated: AbstractSet[str] = frozenset(),
    ) -> None:
        """Number calls of the same request from `first`: a second reading has numbers of its own.

        `outdated` are models, as they call themselves, whose stored answers are passed over.
        """
        self._outdated = outdated
        self._calls = calls
        self._judge = judge
        self._templates = templates
        self._first = first
        self._counts: Counter[str] = Counter()

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge's answer to its prompt, rendered with `inputs`."""
        messages = self._templates.messages(Case(id="", inputs=inputs))
        return await self.generate(messages, json_schema=json_schema)

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge model's answer to `messages`."""
        target = self._judge.target
        request = target.request(tuple(messages))
        match self._judge.structured:
            case "json_schema":
                request = replace(request, response_format="json_schema", json_schema=json_schema)
            case "json_object":
                request = replace(request, response_format="json_object")
        return await self._ask("judge", target.model, request)

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        """Return the embedding of `text`."""
        model = self._judge.embeddings
        assert model is not None
        request = Target(prompt=SILENT, model=model).request((Message(role="user", content=text),))
        outcome = await self._ask("embedding", model, replace(request, response_format="embedding"))
        if isinstance(outcome, Failure):
            return outcome
        try:
            return tuple(float(value) for value in json.loads(outcome.text or ""))
        except (TypeError, ValueError):
            message = f"{model.name} answered with something else than an embedding"
            return Failure(kind=FailureKind.BAD_ANSWER, message=message)

    async def _ask(self, role: Role, model: Model, request: Request) -> Outcome:
        while True:
            n = self._first + self._counts[request.digest]
            self._counts[request.digest] += 1
            outcome = await self._calls.ask(role, model, request, n)
            if isinstance(outcome, Failure) or outcome.latency is not None:
                return outcome
            if outcome.served_model not in self._outdated:
                return outcome
