"""`llmops models`: the models of a project and, with `--check`, what works with each of them.

A check makes a few short calls, whose answers are not stored. What cannot be tried without a case
(applications, recorded answers) isn't called, and engines are only started with `--start`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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

NOT_JSON = object()
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


def model_rows(
    project: Project, environ: Mapping[str, str], names: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    """Return one row per model, or per one of `names`.

    Name, provider, model, where, key, price, prompts that use it.
    """
    users: dict[str, list[str]] = {}
    for prompt in project.prompts.values():
        users.setdefault(prompt.model, []).append(prompt.name)
    return [
        (
            model.name,
            model.provider,
            model.model,
            _where(model),
            _key(model, project, environ),
            _price(model),
            ", ".join(users.get(model.name, [])),
        )
        for model in select_models(project, names)
    ]


def select_models(project: Project, names: Sequence[str]) -> Iterator[Model]:
    """Yield the models called `names`, or all of llmops.yaml and those that prompts name directly.

    Raises `UnknownName`.
    """
    direct = (prompt.model for prompt in project.prompts.values())
    selected = names or [*project.models, *direct]
    return (project.resolve_model(name) for name in dict.fromkeys(selected))


def probe_models(
    workspace: Workspace, names: Sequence[str], *, progress: Progress, start: bool = False
) -> Probed:
    """Return what works with the models called `names`, or with every model where none is named.

    Of a model whose engine would have to be started, only that is reported, unless `start`.
    Raises `UnknownName`, and `Refused` if a model's program may not be started.
    """
    models = list(select_models(workspace.project, names))
    kinds = {model.name: workspace.provider(model) for model in models}
    called = [
        model
        for model in models
        if not (kind := kinds[model.name]).application
        and kind.records is None
        and (start or kind.runs is None)
    ]
    TrustCheck(workspace, models).commands(called)
    for model in called:
        if (why := workspace.may_not_call(model, offline=False)) is not None:
            raise Refused(f"{model.name} is not called: {why}")
    specs = (spec for header in workspace.project.evalsets.values() for spec in header.scorers)
    embedders = {spec.options.get("embeddings") for spec in specs}
    probed: dict[str, ProbedModel] = {}
    engine = Engine(
        providers=workspace.open_provider, redact=workspace.redact, counters=workspace.counters
    )

    async def probe(model: Model) -> None:
        kind = kinds[model.name]
        named = "embed" in model.model.lower() and not kind.offline
        limits = replace(model.limits, retries=min(model.limits.retries, 1))
        prober = _Prober(
            workspace=workspace,
            engine=engine,
            model=replace(model, limits=limits),
            kind=kind,
            embeds=named or model.name in embedders,
        )
        probed[model.name] = await prober.probe(start=start)
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


@dataclass(kw_only=True)
class _Prober:
    """Probes one model, aspect by aspect, each where the ones before leave something to try."""

    workspace: Workspace
    engine: Engine
    model: Model
    kind: ProviderKind
    embeds: bool
    probes: list[Probe] = field(default_factory=list)
    reports_usage: bool = False
    timed: Completion | None = None

    async def probe(self, *, start: bool) -> ProbedModel:
        """Run all probes of the model, whose engine may be started only with `start`."""
        refused = False
        try:
            if self.kind.application:
                self._add("reachable", "an application: cases call it (llmops eval)", works=None)
            elif self.kind.records is not None:
                self._add("reachable", "recorded answers: nothing is called", works=None)
            elif not start and (
                program := check_ready(self.kind, self.model, self.workspace.context)
            ):
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
        priced = None if self.kind.application else tariff(self.model) is not None
        unknown = "no price is known: give it a `price` in llmops.yaml"
        self._add("price", unknown if priced is False else "", works=priced)
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
        completion = self._answered(
            await self._call("chat", "Say OK.", timed=not self.kind.offline), "chat"
        )
        if completion is None:
            return
        self._add("chat", _text_note(completion), works=True)
        if self.kind.offline:
            self._add("structured", "it has no response formats", works=None)
            self._add("tools", "it has no tools", works=None)
            self._add("streaming", "it answers within this process", works=None)
            if self.kind.embeds:
                await self._probe_embedding()
        else:
            self._probe_streaming(completion)
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
        completion = self._answered(outcome, "embeddings")
        if completion is None:
            return False
        vector = _parsed(completion)
        size = len(vector) if isinstance(vector, list) else 0
        self._add("embeddings", f"{size} numbers" if size else "no list of numbers", works=size > 0)
        return True

    def _answered(self, outcome: Outcome, aspect: Aspect) -> Completion | None:
        """Return the answer of the first call; add a probe for it, or for why there is none."""
        if isinstance(outcome, Completion):
            if not any(probe.aspect == "reachable" for probe in self.probes):
                self._add("reachable", works=True)
            return outcome
        reached = outcome.kind is FailureKind.BAD_REQUEST
        self._add("reachable", "" if reached else outcome.message, works=reached)
        self._add(aspect, outcome.message if reached else "", works=False if reached else None)
        return None

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
    answer = _parsed(outcome)
    if answer is NOT_JSON:
        return "it answered in words and not in JSON"
    if not isinstance(answer, dict):
        return "it answered JSON that is not an object"
    if schema is not None and (set(answer) != {"color"} or answer["color"] not in COLORS):
        return "it answered other JSON: the schema is not enforced"
    return None


def _parsed(answer: Completion) -> object:
    """Return the JSON in the answer's text, or `NOT_JSON`."""
    try:
        return json.loads(answer.text or "")
    except ValueError:
        return NOT_JSON


def _key(model: Model, project: Project, environ: Mapping[str, str]) -> str:
    kind = project.catalog.providers[model.provider]
    name = model.api_key_env or kind.api_key_env
    if name is None or (kind.runs and model.base_url is None):  # an engine gets a key of its own
        return "none needed"
    return f"{name} {'is set' if environ.get(name) else 'is not set'}"


def _where(model: Model) -> str:
    """Return its URL, or the code that answers."""
    run = model.options.get("run")
    command = " ".join(map(str, run)) if isinstance(run, (list, tuple)) else run
    return str(model.base_url or model.options.get("call") or command or "")


def _price(model: Model) -> str:
    if model.price is None:
        return ""
    return f"${model.price.input:g} / ${model.price.output:g} per million"
