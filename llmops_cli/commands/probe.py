"""`llmops models --check`: find out what works with each model, by a few short calls.

The answers are not stored. What cannot be tried without a case (applications, recorded answers)
isn't called, and engines are only started with `--start`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_cli.commands.render import select_models
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Progress, ProviderKind
from llmops_cli.core.prompt import Message, Model, Request, ResponseFormat
from llmops_cli.core.report import Aspect, Probe, Probed, ProbedModel
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.budget import tariff
from llmops_cli.engine.call import Engine, run
from llmops_cli.plugins.catalog import check_ready
from llmops_cli.project.project import Project
from llmops_cli.run.execute import run_coroutine
from llmops_cli.run.prepare import TrustCheck
from llmops_cli.run.workspace import Workspace

AT_ONCE = 8
"""Models that are probed at the same time."""
MAX_TOKENS = {"chat": 16, "structured": 256, "tools": 256}
"""Output tokens by probe: enough for a correct answer after some reasoning."""
OPENAI_NAME, USUAL_NAME = "max_completion_tokens", "max_tokens"

COLORS = ("red", "green")
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": list(COLORS)}},
    "required": ["color"],
    "additionalProperties": False,
}
"""No model answers like this unless the schema is enforced."""
TOOL: Mapping[str, Json] = {
    "type": "function",
    "function": {
        "name": "weather_in",
        "description": "The weather in a city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def probe_models(
    workspace: Workspace, names: Sequence[str], *, progress: Progress, start: bool = False
) -> Probed:
    """Return what works with the models called `names`, or with every model where none is named.

    Of a model whose engine would have to be started, only that is reported, unless `start`.
    Raises `UnknownName`, and `Refused` if a model's program may not be started.
    """
    models = list(select_models(workspace.project, names))
    kinds = {model.name: workspace.provider(model) for model in models}
    called = [model for model in models if _is_called(kinds[model.name], start=start)]
    TrustCheck(workspace, models).commands(called)
    embedders = _embedding_models(workspace.project)
    probed: dict[str, ProbedModel] = {}
    engine = Engine(
        providers=workspace.open_provider, redact=workspace.redact, counters=workspace.counters
    )

    def what_starts(model: Model) -> str | None:
        return check_ready(kinds[model.name], model, workspace.context)

    async def probe(model: Model) -> None:
        kind = kinds[model.name]
        named = "embed" in model.model.lower() and not kind.offline
        prober = _Prober(
            engine,
            model,
            kind,
            embeds=named or model.name in embedders,
            what_starts=None if start else what_starts,
        )
        probed[model.name] = await prober.probe()
        progress(len(probed), len(models), 0)

    async def probe_all() -> None:
        async with engine:
            await run(models, probe, workers=AT_ONCE)

    run_coroutine(probe_all())
    return Probed(
        models=tuple(probed[model.name] for model in models),
        calls=engine.spent.attempts,
        input_tokens=engine.spent.input_tokens,
        output_tokens=engine.spent.output_tokens,
        cost=None if engine.spent.unpriced else engine.spent.cost,
    )


def _embedding_models(project: Project) -> set[str]:
    """Return the names of the models that scorers take embeddings from."""
    specs = (spec for header in project.evalsets.values() for spec in header.scorers)
    return {str(spec.options["embeddings"]) for spec in specs if spec.options.get("embeddings")}


def _is_called(kind: ProviderKind, *, start: bool) -> bool:
    return not kind.application and kind.records is None and (start or kind.runs is None)


class _Prober:
    """Probes one model, aspect by aspect, each where the ones before leave something to try."""

    def __init__(
        self,
        engine: Engine,
        model: Model,
        kind: ProviderKind,
        *,
        embeds: bool,
        what_starts: Callable[[Model], str | None] | None,
    ) -> None:
        """`what_starts` says what a call would start, and prevents it; None: it may start."""
        limits = replace(model.limits, retries=min(model.limits.retries, 1))
        self.engine, self.kind, self.embeds = engine, kind, embeds
        self.model = replace(model, limits=limits)
        self.what_starts = what_starts
        self.probes: list[Probe] = []
        self.reports_usage = False
        self.timed: Completion | None = None

    async def probe(self) -> ProbedModel:
        """Run all probes of the model."""
        refused = False
        try:
            if self.kind.application:
                self._add("reachable", "an application: cases call it (llmops eval)", works=None)
            elif self.kind.records is not None:
                self._add("reachable", "recorded answers: nothing is called", works=None)
            elif self.what_starts is not None and (program := self.what_starts(self.model)):
                self._add("reachable", f"not started (--start does): {program}", works=None)
            elif self.embeds:
                await self._probe_embedding_model()
            else:
                await self._probe_chat_model()
        except Refused as error:
            refused = True
            hint = f" ({error.hint})" if error.hint else ""
            message = error.message.removeprefix(f"{self.model.name}: ")
            self._add("reachable", f"{message}{hint}", works=False)
        self._probe_price()
        return ProbedModel(
            name=self.model.name,
            provider=self.model.provider,
            model=self.model.model,
            probes=tuple(self.probes),
            first_token=self.timed.first_token if self.timed else None,
            latency=self.timed.latency if self.timed else None,
            refused=refused,
        )

    def _add(self, aspect: Aspect, why: str = "", *, works: bool | None) -> None:
        self.probes.append(Probe(aspect=aspect, works=works, why=why))

    async def _probe_chat_model(self) -> None:
        outcome = await self._call("chat", "Say OK.", timed=not self.kind.offline)
        if not self._answered(outcome, "chat"):
            return
        assert isinstance(outcome, Completion)
        self._add("chat", _text_note(outcome), works=True)
        if self.kind.offline:
            self._add("structured", "it has no response formats", works=None)
            self._add("tools", "it has no tools", works=None)
            self._add("streaming", "it answers within this process", works=None)
            if self.kind.embeds:
                await self._probe_embedding()
        else:
            self._probe_streaming(outcome)
            await self._probe_structured()
            await self._probe_tools()
        why = "" if self.reports_usage else "it reports no tokens: costs and budgets are unknown"
        self._add("usage", why, works=self.reports_usage)

    def _probe_streaming(self, completion: Completion) -> None:
        self.timed = completion
        if completion.first_token is not None:
            self._add("streaming", f"first token after {completion.first_token:.2f} s", works=True)
        elif completion.text or completion.tool_calls:
            why = "it answers at once, or its provider does not stream"
            self._add("streaming", why, works=False)
        else:
            self._add("streaming", "the answer had no text to time", works=None)

    async def _probe_structured(self) -> None:
        mode = self.model.structured_output or ("json_schema" if self.kind.structured else "none")
        if mode == "none":
            self._add("structured", "no schema is enforced here", works=None)
            return
        question = (
            "Say hello to a friend in one sentence. If you are given a JSON schema, answer as JSON."
        )
        schema = SCHEMA if mode == "json_schema" else None
        outcome = await self._call("structured", question, response_format=mode, json_schema=schema)
        problem = _schema_problem(outcome, schema)
        hint = "set `structured_output: none` (or json_object) in llmops.yaml"
        why = f"{problem}: {hint}" if problem else f"{mode} is enforced"
        self._add("structured", why, works=problem is None)

    async def _probe_tools(self) -> None:
        question = "What is the weather in Oslo? Look it up."
        outcome = await self._call("tools", question, tools=(TOOL,))
        if isinstance(outcome, Failure):
            self._add("tools", outcome.message, works=False)
            return
        called = any(call.name == "weather_in" for call in outcome.tool_calls)
        why = "" if called else f"offered one, it answered in words ({outcome.finish_reason})"
        self._add("tools", why, works=called)

    async def _probe_embedding_model(self) -> None:
        others: tuple[Aspect, ...] = ("chat", "structured", "tools", "streaming")
        for aspect in others:
            self._add(aspect, "an embedding model", works=None)
        if not self.kind.embeds:
            self._add("embeddings", f"{self.kind.name} makes no embeddings", works=False)
        elif await self._probe_embedding():
            self._add("usage", works=self.reports_usage)

    async def _probe_embedding(self) -> bool:
        """Return whether the model answered."""
        outcome = await self._call("chat", "hello", response_format="embedding")
        if not self._answered(outcome, "embeddings"):
            return False
        assert isinstance(outcome, Completion)
        size = _vector_size(outcome.text)
        self._add("embeddings", f"{size} numbers" if size else "no list of numbers", works=size > 0)
        return True

    def _answered(self, outcome: Outcome, aspect: Aspect) -> bool:
        """Return whether the first call was answered; add a probe for that, or why not."""
        if isinstance(outcome, Completion):
            if not any(probe.aspect == "reachable" for probe in self.probes):
                self._add("reachable", works=True)
            return True
        reached = outcome.kind is FailureKind.BAD_REQUEST
        self._add("reachable", "" if reached else outcome.message, works=reached)
        self._add(aspect, outcome.message if reached else "", works=False if reached else None)
        return False

    def _probe_price(self) -> None:
        if self.kind.application:
            self._add("price", works=None)
            return
        known = tariff(self.model) is not None
        why = "" if known else "no price is known: give it a `price` in llmops.yaml"
        self._add("price", why, works=known)

    async def _call(
        self,
        purpose: str,
        question: str,
        *,
        response_format: ResponseFormat | None = None,
        **fields: Any,  # noqa: ANN401 - further fields of the request
    ) -> Outcome:
        model = self.model
        parameters = dict(model.parameters)
        if response_format != "embedding":
            official = model.provider == "openai" and model.base_url is None
            name = OPENAI_NAME if official or OPENAI_NAME in parameters else USUAL_NAME
            parameters[name] = MAX_TOKENS[purpose]
        request = Request(
            provider=model.provider,
            model=model.model,
            identity=model.identity,
            parameters=parameters,
            extra_body=model.extra_body,
            messages=(Message(role="user", content=question),),
            response_format=response_format,
            **fields,
        )
        outcome = await self.engine.ask(model, request)
        self.reports_usage |= isinstance(outcome, Completion) and outcome.usage is not None
        return outcome


def _text_note(answer: Completion) -> str:
    """Return what is worth knowing about a short answer."""
    text = (answer.text or "").lstrip()
    if text.startswith("<think>"):
        return "its reasoning is part of the answer: start the server with its reasoning parser"
    if not text and answer.finish_reason == "length":
        return f"no text within {MAX_TOKENS['chat']} tokens: it reasons first, so allow it more"
    return "" if text else f"an empty answer ({answer.finish_reason})"


def _schema_problem(outcome: Outcome, schema: Mapping[str, Json] | None) -> str | None:
    """Return why an answer isn't the requested JSON; None: it is."""
    if isinstance(outcome, Failure):
        return outcome.message
    if outcome.finish_reason == "length":
        return f"cut off after {MAX_TOKENS['structured']} tokens"
    try:
        answer = json.loads(outcome.text or "")
    except ValueError:
        return "it answered in words and not in JSON"
    if not isinstance(answer, dict):
        return "it answered JSON that is not an object"
    if schema is not None and (set(answer) != {"color"} or answer["color"] not in COLORS):
        return "it answered other JSON: the schema is not enforced"
    return None


def _vector_size(text: str | None) -> int:
    try:
        vector = json.loads(text or "")
    except ValueError:
        return 0
    return len(vector) if isinstance(vector, list) else 0
