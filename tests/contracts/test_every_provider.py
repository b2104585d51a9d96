"""What every provider owes the engine, whichever vendor is behind it.

Offline providers are asked here; those that need a server are held to the same promises where
their server stands (tests/unit/providers).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext, ProviderKind
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, Outcome
from llmops_cli.plugins.catalog import open_provider
from llmops_cli.plugins.providers import PROVIDERS
from tests.hostile import HOSTILE
from tests.servers import faulty

OFFLINE = [kind for kind in PROVIDERS.values() if kind.offline]

OPTIONS: dict[str, dict[str, Any]] = {"replay": {"file": "answers.jsonl"}}
"""What a model of a provider needs to answer the question below."""

offline = pytest.mark.parametrize("kind", OFFLINE, ids=lambda kind: str(kind.name))
every = pytest.mark.parametrize("kind", PROVIDERS.values(), ids=lambda kind: str(kind.name))


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    record = {"id": "case", "text": "Paris", "usage": {"input": 9, "output": 1}, "cost": 0.0}
    (tmp_path / "answers.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return PluginContext(root=tmp_path, environ={})


def model_of(kind: ProviderKind) -> Model:
    return Model(
        name="it", provider=kind.name, model="it", options=OPTIONS.get(kind.name, {}),
        identity=kind.identity,
    )  # fmt: skip


def question(model: Model) -> Request:
    return Request(
        provider=model.provider,
        model=model.model,
        identity=model.identity,
        messages=(
            Message(role="user", content="Capital of France?"),
            Message(role="assistant", content="Paris"),
            Message(role="user", content="What is the capital of France?"),
        ),
    )


async def answers(kind: ProviderKind, context: PluginContext, times: int = 1) -> list[Outcome]:
    model = model_of(kind)
    async with open_provider(kind)(model, context) as provider:
        request = question(model)
        if (identity := getattr(provider, "identity", None)) is not None:
            request = replace(request, identity=identity("case", request))
        return list(await asyncio.gather(*(provider.complete(request) for _ in range(times))))


@every
def test_the_row_says_what_it_is(kind: ProviderKind) -> None:
    assert PROVIDERS[kind.name] is kind
    assert kind.summary.endswith(".")
    assert all(option.help for option in kind.options.values())


@offline
def test_an_answer_is_a_completion_with_usage_and_cost_and_no_latency(
    kind: ProviderKind, context: PluginContext
) -> None:
    (answer,) = asyncio.run(answers(kind, context))
    assert isinstance(answer, Completion)
    assert answer.text == "Paris"
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.cost == 0.0
    assert answer.latency is None


@offline
def test_a_deterministic_provider_answers_the_same_at_once_and_again(
    kind: ProviderKind, context: PluginContext
) -> None:
    assert kind.deterministic
    first, again = (asyncio.run(answers(kind, context, times=5)) for _ in range(2))
    assert first == again == [first[0]] * 5


@offline
def test_an_offline_provider_opens_no_socket(
    kind: ProviderKind, context: PluginContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watched() -> list[Outcome]:
        monkeypatch.setattr(socket.socket, "connect", _refuse)
        return await answers(kind, context)

    assert isinstance(asyncio.run(watched())[0], Completion)


APPLICATION = [kind for kind in PROVIDERS.values() if kind.application]

BOT = """\
import json, sys

def answer(inputs, messages):
    said = {"text": inputs["say"], "ids": ["a", "b"], "contexts": []}
    if inputs["say"] == "twice":
        said["text"] = messages[0]["content"]
    return said

if __name__ == "__main__":
    given = json.load(sys.stdin)
    json.dump(answer(given["inputs"], given["messages"]), sys.stdout)
"""

applications = pytest.mark.parametrize("kind", APPLICATION, ids=lambda kind: str(kind.name))


def outcomes(kind: ProviderKind, root: Path, *says: str) -> list[Outcome]:
    """What one and the same application answers, by way of `kind`."""
    (root / "bot.py").write_text(BOT, encoding="utf-8")

    async def serve(exchange: faulty.Exchange) -> None:
        names: dict[str, Any] = {"__name__": "bot"}
        exec(BOT, names)  # noqa: S102 - our own text
        document = exchange.body
        body = names["answer"](document["inputs"], document["messages"])
        exchange.send(json.dumps(body).encode())

    async def main() -> list[Outcome]:
        async with faulty.serve(then=serve) as server:
            options: dict[str, dict[str, Any]] = {
                "python": {"call": "bot.py:answer"},
                "command": {"run": [Path(sys.executable).name, "bot.py"]},
                "http": {},
            }
            model = Model(
                name="it", provider=kind.name, model="it", options=options[kind.name],
                base_url=f"{server.root}/bot" if kind.name == "http" else None,
            )  # fmt: skip
            environ = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            async with open_provider(kind)(
                model, PluginContext(root=root, environ=environ, trust=["**"])
            ) as provider:
                return [await provider.complete(handing(model, say)) for say in says]

    return asyncio.run(main())


def handing(model: Model, say: str) -> Request:
    messages = (Message(role="user", content="from the messages"),)
    document: dict[str, Json] = {
        "inputs": {"say": say},
        "messages": [message.plain() for message in messages],
        "parameters": {},
    }
    return replace(question(model), messages=messages, document=document)


@applications
def test_an_application_says_the_same_however_it_is_reached(
    kind: ProviderKind, tmp_path: Path
) -> None:
    replies = outcomes(kind, tmp_path, "Paris", "twice", "", HOSTILE["escape sequences"])
    assert replies == [
        Completion(text=text, ids=("a", "b"), contexts=())
        for text in ("Paris", "from the messages", "", HOSTILE["escape sequences"])
    ]


@applications
def test_any_application_output_is_an_outcome(kind: ProviderKind, tmp_path: Path) -> None:
    texts = [text for name, text in HOSTILE.items() if name != "a lone surrogate"]
    replies = outcomes(kind, tmp_path, *texts)
    assert [message.text for message in replies if isinstance(message, Completion)] == texts


@applications
def test_the_row_of_an_application_says_what_it_needs(kind: ProviderKind) -> None:
    assert kind.volatile, "without an identity, its answers live for one run"
    assert not kind.deterministic
    assert not kind.offline
    assert kind.check is not None
    assert set(kind.files) <= set(kind.options)
    assert [name for name, option in kind.options.items() if option.template] == [
        name for name in kind.options if name == "request"
    ]


def test_reading_the_table_of_providers_imports_no_vendor() -> None:
    code = (
        "import sys, llmops_cli.plugins.providers;"
        "print([name for name in ('openai', 'anthropic', 'aiohttp', 'httpx2', 'bm25s', 'numpy',"
        " 'sqlite3') if name in sys.modules])"
    )
    replies = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert replies.stdout.strip() == "[]"


@offline
def test_what_opens_a_provider_takes_a_model_and_a_world(kind: ProviderKind) -> None:
    opens: Callable[..., Any] = open_provider(kind)
    assert list(inspect.signature(opens).parameters) == ["model", "context"]


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("an offline provider reached for the network")
