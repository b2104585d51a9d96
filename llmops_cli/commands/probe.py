"""Asks each model the least that tells what works: a few short calls, through the engine.

Their answers are kept nowhere. What cannot be told without a case, an application's answers and
recorded ones, is not asked; and no engine is started for it unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from llmops_cli.commands.render import chosen
from llmops_cli.core.catalog import ProviderKind
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.plan import Aspect, Probe, Probed, ProbedModel
from llmops_cli.core.ports import Progress
from llmops_cli.core.prompt import Message, Model, Request, ResponseFormat
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.engine.pool import run
from llmops_cli.engine.prices import tariff
from llmops_cli.plugins import check_ready
from llmops_cli.project.project import Project
from llmops_cli.run.checks import vet_commands, vet_job
from llmops_cli.run.event_loop import to_its_end
from llmops_cli.run.workspace import Workspace

AT_ONCE = 8
"""Models that are asked at the same time."""
MOST = {"chat": 16, "structured": 256, "tools": 256}
"""Tokens of an answer: enough for one that does what it is asked, were it to reason a little."""
OPENAI_NAME, USUAL_NAME = "max_completion_tokens", "max_tokens"

COLOURS = ("red", "green")
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": list(COLOURS)}},
    "required": ["colour"],
    "additionalProperties": False,
}
"""Nobody answers like this unless held to it."""
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
    """What works with the models called `names`; with none named, with every model there is.

    Of a model whose engine would have to be started it is said what that would be, unless `start`.
    Raises `UnknownName`, and `Refused` where a model's program may not be started.
    """
    models = list(chosen(workspace.project, names))
    kinds = {model.name: workspace.provider(model) for model in models}
    asked = [model for model in models if _asked(kinds[model.name], start=start)]
    replaying = all(kind.offline for kind in kinds.values())
    ci = vet_job(workspace.environ, replaying=replaying)
    commands = workspace.commands(asked)
    vet_commands(commands, trusted=workspace.rules.trust, ci=ci, environ=workspace.environ)
    found: dict[str, ProbedModel] = {}
    spent: list[Engine] = []
    embedders = embedding_models(workspace.project)

    def starts(model: Model) -> str | None:
        return check_ready(workspace.provider(model), model, workspace.world)

    async def main() -> None:
        engine = Engine(
            providers=workspace.open_provider, redact=workspace.redact, cells=workspace.cells
        )

        async def probe(model: Model) -> None:
            kind = kinds[model.name]
            named = "embed" in model.model.lower() and not kind.offline
            asking = _Asking(
                engine,
                model,
                kind,
                embeds=named or model.name in embedders,
                starts=None if start else starts,
            )
            found[model.name] = await asking.everything()
            progress(len(found), len(models), 0)

        async with engine:
            await run(models, probe, workers=AT_ONCE)
        spent.append(engine)

    to_its_end(main())
    (engine,) = spent
    return Probed(
        models=tuple(found[model.name] for model in models),
        calls=engine.attempts,
        input_tokens=engine.spent.input_tokens,
        output_tokens=engine.spent.output_tokens,
        cost=None if engine.spent.unpriced else engine.spent.cost,
    )


def embedding_models(project: Project) -> set[str]:
    """Names of the models that scorers take embeddings from."""
    specs = (spec for header in project.evalsets.values() for spec in header.scorers)
    return {str(spec.options["embeddings"]) for spec in specs if spec.options.get("embeddings")}


def _asked(kind: ProviderKind, *, start: bool) -> bool:
    return not kind.application and kind.records is None and (start or kind.runs is None)


class _Asking:
    """The questions to one model, each where the ones before leave something to ask."""

    def __init__(
        self,
        engine: Engine,
        model: Model,
        kind: ProviderKind,
        *,
        embeds: bool,
        starts: Callable[[Model], str | None] | None,
    ) -> None:
        """`starts` says what asking starts, which is then not done; None: it may be started."""
        limits = replace(model.limits, retries=min(model.limits.retries, 1))
        self.engine, self.kind, self.embeds = engine, kind, embeds
        self.model = replace(model, limits=limits)
        self.found: list[Probe] = []
        self.starts = starts
        self.counted = False
        self.timed: Completion | None = None

    async def everything(self) -> ProbedModel:
        """All that can be told about the model."""
        refused = False
        try:
            if self.kind.application:
                self._say(
                    "reachable", "an application: it is asked by cases (llmops eval)", works=None
                )
            elif self.kind.records is not None:
                self._say("reachable", "recorded answers: nothing is called", works=None)
            elif self.starts is not None and (what := self.starts(self.model)) is not None:
                self._say("reachable", f"not started (--start does): {what}", works=None)
            elif self.embeds:
                await self._embedding()
            else:
                await self._chat()
        except Refused as error:
            refused = True
            hint = f" ({error.hint})" if error.hint else ""
            message = error.message.removeprefix(f"{self.model.name}: ")
            self._say("reachable", f"{message}{hint}", works=False)
        self._price()
        return ProbedModel(
            name=self.model.name,
            provider=self.model.provider,
            model=self.model.model,
            probes=tuple(self.found),
            first_token=None if self.timed is None else self.timed.first_token,
            latency=None if self.timed is None else self.timed.latency,
            refused=refused,
        )

    def _say(self, aspect: Aspect, why: str = "", *, works: bool | None) -> None:
        self.found.append(Probe(aspect=aspect, works=works, why=why))

    async def _chat(self) -> None:
        outcome = await self._ask("chat", "Say OK.", timed=not self.kind.offline)
        if not self._reached(outcome, "chat"):
            return
        assert isinstance(outcome, Completion)
        self._say("chat", _about_text(outcome), works=True)
        if self.kind.offline:
            self._say("structured", "it understands no formats", works=None)
            self._say("tools", "it understands no tools", works=None)
            self._say("streaming", "it answers within this process", works=None)
            if self.kind.embeds:
                await self._vector()
        else:
            self._streaming(outcome)
            await self._structured()
            await self._tools()
        why = "" if self.counted else "it reports no tokens: costs and budgets are not known"
        self._say("usage", why, works=self.counted)

    def _streaming(self, outcome: Completion) -> None:
        self.timed = outcome
        if outcome.first_token is not None:
            seconds = f"{outcome.first_token:.2f} s"
            self._say("streaming", f"first token after {seconds}", works=True)
        elif outcome.text or outcome.tool_calls:
            self._say(
                "streaming", "it answers at once, or its provider does not stream", works=False
            )
        else:
            self._say("streaming", "the answer had no text to time", works=None)

    async def _structured(self) -> None:
        held = self.model.structured_output or ("json_schema" if self.kind.structured else "none")
        if held == "none":
            self._say("structured", "nothing is held to a schema here", works=None)
            return
        question = "Say hello to a friend, in a sentence. Answer as JSON if you are told a form."
        schema = SCHEMA if held == "json_schema" else None
        outcome = await self._ask("structured", question, response_format=held, schema=schema)
        why = _not_held(outcome, SCHEMA if schema else None)
        hint = "say `structured_output: none` (or json_object) in llmops.yaml"
        self._say("structured", f"{why}: {hint}" if why else f"{held} is held", works=why is None)

    async def _tools(self) -> None:
        outcome = await self._ask("tools", "What is the weather in Oslo? Look it up.", tool=TOOL)
        if isinstance(outcome, Failure):
            self._say("tools", outcome.message, works=False)
            return
        called = any(call.name == "weather_in" for call in outcome.tool_calls)
        why = "" if called else f"offered one, it answered in words ({outcome.finish_reason})"
        self._say("tools", why, works=called)

    async def _embedding(self) -> None:
        others: tuple[Aspect, ...] = ("chat", "structured", "tools", "streaming")
        for aspect in others:
            self._say(aspect, "an embedding model", works=None)
        if not self.kind.embeds:
            why = f"{self.kind.name} makes no embeddings"
            self._say("embeddings", why, works=False)
            return
        outcome = await self._vector()
        if isinstance(outcome, Completion):
            self._say("usage", works=self.counted)

    async def _vector(self) -> Outcome:
        """Asks for an embedding, and says whether one came."""
        outcome = await self._ask("chat", "hello", response_format="embedding")
        if self._reached(outcome, "embeddings"):
            assert isinstance(outcome, Completion)
            width = _width(outcome.text)
            why = f"{width} numbers" if width else "no list of numbers"
            self._say("embeddings", why, works=width > 0)
        return outcome

    def _reached(self, outcome: Outcome, aspect: Aspect) -> bool:
        """Whether the first call was answered; says so, or why not."""
        if isinstance(outcome, Completion):
            if not any(probe.aspect == "reachable" for probe in self.found):
                self._say("reachable", works=True)
            return True
        there = outcome.kind is FailureKind.BAD_REQUEST
        self._say("reachable", "" if there else outcome.message, works=there)
        self._say(aspect, outcome.message if there else "", works=False if there else None)
        return False

    def _price(self) -> None:
        if self.kind.application:
            self._say("price", works=None)
            return
        known = tariff(self.model) is not None
        why = "" if known else "no price is known: give it a `price` in llmops.yaml"
        self._say("price", why, works=known)

    async def _ask(
        self,
        what: str,
        question: str,
        *,
        timed: bool = False,
        response_format: ResponseFormat | None = None,
        schema: Mapping[str, Json] | None = None,
        tool: Mapping[str, Json] | None = None,
    ) -> Outcome:
        model = self.model
        parameters = dict(model.parameters)
        if response_format != "embedding":
            official = model.provider == "openai" and model.base_url is None
            name = OPENAI_NAME if official or OPENAI_NAME in parameters else USUAL_NAME
            parameters[name] = MOST[what]
        outcome = await self.engine.ask(
            model,
            Request(
                provider=model.provider,
                model=model.model,
                identity=model.identity,
                parameters=parameters,
                extra_body=model.extra_body,
                messages=(Message(role="user", content=question),),
                response_format=response_format,
                json_schema=schema,
                tools=(tool,) if tool else (),
                timed=timed,
            ),
        )
        self.counted |= isinstance(outcome, Completion) and outcome.usage is not None
        return outcome


def _about_text(answer: Completion) -> str:
    """What is worth knowing about a short answer."""
    text = (answer.text or "").lstrip()
    if text.startswith("<think>"):
        return "it leaves its thoughts in the answer: start the server with its reasoning parser"
    if not text and answer.finish_reason == "length":
        return f"no text within {MOST['chat']} tokens: it reasons first, so allow it more"
    return "" if text else f"an empty answer ({answer.finish_reason})"


def _not_held(outcome: Outcome, schema: Mapping[str, Json] | None) -> str | None:
    """Why an answer is not the JSON that was asked for; None: it is."""
    if isinstance(outcome, Failure):
        return outcome.message
    if outcome.finish_reason == "length":
        return f"cut off after {MOST['structured']} tokens"
    try:
        given = json.loads(outcome.text or "")
    except ValueError:
        return "it answered in words and not in JSON"
    if not isinstance(given, dict):
        return "it answered with something else than an object"
    if schema is not None and (set(given) != {"colour"} or given["colour"] not in COLOURS):
        return "it answered JSON of another shape: the schema is not held"
    return None


def _width(text: str | None) -> int:
    try:
        vector = json.loads(text or "")
    except ValueError:
        return 0
    return len(vector) if isinstance(vector, list) else 0
