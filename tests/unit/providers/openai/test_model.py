"""What the openai provider sends and makes of what comes back, against the SDK itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI
from openai.types import EmbeddingCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, FailureKind, ToolCall, Usage
from llmops_cli.providers.http.access import Access
from llmops_cli.providers.openai.messages import PARAMETERS, body, completion, embedding
from llmops_cli.providers.openai.model import BASE_URL, KNOWN, OURS, OpenAI, endpoint, open_openai
from tests.outcomes import failed
from tests.servers import faulty
from tests.servers.faulty import Exchange

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
TURNS = (Message(role="system", content="Be brief."), Message(role="user", content="größe?"))


def context(**environ: str) -> PluginContext:
    return PluginContext(root=Path(), environ=environ)


def model(url: str | None, **changes: Any) -> Model:
    return Model(name="fast", provider="openai", model="gpt-4.1-mini", base_url=url, **changes)


def request(**changes: Any) -> Request:
    return Request(**{"provider": "openai", "model": "gpt-4.1-mini", "messages": TURNS, **changes})


def exchange(asked: Request, of: Mapping[str, Any], **environ: str) -> tuple[Any, Exchange]:
    """One call of our provider; its outcome and what the server saw."""

    async def main() -> tuple[Any, Exchange]:
        async with faulty.serve() as server:
            async with open_openai(model(server.url, **of), context(**environ)) as provider:
                outcome = await provider.complete(asked)
            assert server.last is not None
            return outcome, server.last

    return anyio.run(main)


def test_an_answer_is_read_with_its_usage_model_and_fingerprint() -> None:
    outcome, _ = exchange(request(), {})
    assert outcome == Completion(
        text="größe?",
        usage=Usage(input=12, output=5, cached_input=4),
        served_model="gpt-4.1-mini-0001",
        fingerprint="fp_1",
    )


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(parameters={"temperature": 0, "max_tokens": 7, "stop": ["x"]}),
        request(tools=(TOOL,), parameters={"tool_choice": "auto"}),
        request(extra_body={"top_k": 3}),
        request(response_format="json_schema", json_schema=SCHEMA),
        request(response_format="json_object"),
    ],
    ids=["plain", "parameters", "tools", "extra_body", "json_schema", "json_object"],
)
def test_what_is_sent_is_what_the_sdk_sends(asked: Request) -> None:
    _, ours = exchange(asked, {"headers": {"X-Team": "gate"}}, OPENAI_API_KEY="sk-test")

    async def through_the_sdk() -> Exchange:
        async with (
            faulty.serve() as server,
            AsyncOpenAI(
                api_key="sk-test", base_url=server.url, default_headers={"X-Team": "gate"}
            ) as sdk,
        ):
            known = {key: value for key, value in body(asked).items() if key != "top_k"}
            await sdk.chat.completions.create(**known, extra_body=dict(asked.extra_body))
            assert server.last is not None
            return server.last

    theirs = anyio.run(through_the_sdk)
    assert (ours.path, ours.body) == (theirs.path, theirs.body)
    for header in ("authorization", "content-type", "accept", "x-team"):
        assert ours.headers[header] == theirs.headers[header]


def test_openai_itself_is_reached_as_its_sdk_reaches_it() -> None:
    given = Access(key="sk-test", about_key="", base_url=None, headers={"X-Team": "gate"})

    async def main() -> tuple[str, dict[str, str]]:
        return await endpoint(given, context(OPENAI_ORG_ID="org-1"))

    url, headers = anyio.run(main)
    assert url == "https://api.openai.com/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-test"
    assert headers["OpenAI-Organization"] == "org-1"
    assert headers["X-Team"] == "gate"
    assert headers["User-Agent"].startswith("AsyncOpenAI/Python")
    assert AsyncOpenAI(api_key="x").base_url == f"{BASE_URL}/"


def to_embed(**changes: Any) -> Request:
    turn = Message(role="user", content="größe?")
    return request(messages=(turn,), response_format="embedding", **changes)


def test_an_embedding_is_asked_for_as_the_sdk_asks_and_read_as_numbers() -> None:
    asked = to_embed(parameters={"dimensions": 2})
    outcome, ours = exchange(asked, {}, OPENAI_API_KEY="sk-test")
    assert outcome == Completion(
        text="[6.0,1.0]", usage=Usage(input=3, output=0), served_model="gpt-4.1-mini"
    )

    async def through_the_sdk() -> tuple[list[float], Exchange]:
        async with (
            faulty.serve() as server,
            AsyncOpenAI(api_key="sk-test", base_url=server.url) as sdk,
        ):
            answer = await sdk.embeddings.create(
                model="gpt-4.1-mini", input="größe?", dimensions=2, encoding_format="float"
            )
            assert server.last is not None
            return answer.data[0].embedding, server.last

    vector, theirs = anyio.run(through_the_sdk)
    assert json.loads(outcome.text) == vector
    assert (ours.path, ours.body) == (theirs.path, theirs.body)
    assert ours.headers["authorization"] == theirs.headers["authorization"]
    known = frozenset(EmbeddingCreateParams.__annotations__)
    assert known == PARAMETERS | {"input", "model", "encoding_format"}


@pytest.mark.parametrize(
    "data",
    [None, [], [{}], [{"embedding": []}], [{"embedding": ["1"]}], [{"embedding": "AACAPw=="}]],
    ids=json.dumps,
)
def test_an_answer_without_an_embedding_is_a_failure_worth_another_try(data: Any) -> None:
    outcome = failed(embedding({"object": "list", "data": data}))
    assert (outcome.kind, outcome.retryable) == (FailureKind.BAD_ANSWER, True)
    failed(embedding({"data": [{"embedding": [1.0, float("inf")]}]}))


def test_a_parameter_of_a_chat_is_none_of_an_embedding_and_the_other_way_round() -> None:
    async def checked(asked: Request) -> None:
        async with open_openai(
            model("http://localhost:1/v1", parameters={"dimensions": 2}), context()
        ) as provider:
            provider.check(asked)

    anyio.run(checked, to_embed(parameters={"dimensions": 2}))
    with pytest.raises(Refused, match="no parameter 'temperature'"):
        anyio.run(checked, to_embed(parameters={"temperature": 0}))
    with pytest.raises(Refused, match="no parameter 'dimensions'"):
        anyio.run(checked, request(parameters={"dimensions": 2}))


def test_the_parameters_are_those_of_the_sdk() -> None:
    assert frozenset(CompletionCreateParamsNonStreaming.__annotations__) == KNOWN | OURS


def test_a_compatible_server_does_not_cost_the_import_of_the_sdk() -> None:
    program = """
import sys
from pathlib import Path
import anyio
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Model
from llmops_cli.providers.openai.model import open_openai

async def main():
    model = Model(name="m", provider="openai", model="m", base_url="http://localhost:1/v1")
    async with open_openai(model, PluginContext(root=Path(), environ={})):
        print(sorted({"openai", "httpx2", "pydantic"} & set(sys.modules)))

anyio.run(main)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_schema_in_github_s_form_keeps_its_name() -> None:
    named = {"name": "reply", "schema": SCHEMA}
    sent = body(request(response_format="json_schema", json_schema=named))
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
    }


def choice(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish}]}


def test_tool_calls_are_read_with_arguments_parsed() -> None:
    calls = [
        {"function": {"name": "look", "arguments": '{"at": 3}'}},
        {"function": {"name": "look", "arguments": "not json"}},
    ]
    answer = completion(choice({"content": None, "tool_calls": calls}, "tool_calls"))
    assert isinstance(answer, Completion)
    assert answer.tool_calls == (
        ToolCall(name="look", arguments={"at": 3}),
        ToolCall(name="look", arguments="not json"),
    )
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")


def test_a_refusal_is_an_answer_that_says_so() -> None:
    answer = completion(choice({"content": None, "refusal": "I cannot help."}))
    assert answer == Completion(text="I cannot help.", finish_reason="refusal")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_cut_off_or_filtered_answer_is_a_completion(finish: str) -> None:
    answer = completion(choice({"content": "half"}, finish))
    assert answer == Completion(text="half", finish_reason=finish)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": "x", "finish_reason": "stop"}]},
        choice({"content": "x"}, None),
        choice({"content": "x"}, ""),
        choice({"content": ["x"]}),
        choice({"content": "x", "tool_calls": [{"function": {}}]}),
        choice({"content": "x", "tool_calls": ["x"]}),
        choice({"content": "x", "tool_calls": 7}),
    ],
    ids=json.dumps,
)
def test_json_that_is_no_whole_answer_is_a_failure(answer: dict[str, Any]) -> None:
    outcome = failed(completion(answer))
    assert (outcome.kind, outcome.retryable) == (FailureKind.BAD_ANSWER, True)


def opened(of: Model, **environ: str) -> None:
    async def main() -> None:
        async with open_openai(of, context(**environ)):
            pass

    anyio.run(main)


@pytest.mark.parametrize(
    ("of", "environ", "message", "hint"),
    [
        (model(None), {}, "no key, OPENAI_API_KEY is not set", "export OPENAI_API_KEY"),
        (model("https://gw.example.org/v1"), {}, "no key, OPENAI_API_KEY", "api_key_env"),
        (
            model("http://localhost:1/v1", api_key_env="MY_KEY"),
            {"OPENAI_API_KEY": "x"},
            "no key, MY_KEY is not set",
            "export MY_KEY",
        ),
        (model("localhost:8000"), {}, "base_url 'localhost:8000' is not", "http://"),
        (
            model("http://localhost:1/v1", headers={"X-A": "env:GONE"}),
            {},
            "header X-A needs GONE",
            "export GONE",
        ),
        (
            model("http://localhost:1/v1", parameters={"temprature": 0}),
            {},
            "openai takes no parameter 'temprature'",
            "did you mean 'temperature'?",
        ),
        (
            model("http://localhost:1/v1", parameters={"n": 3}),
            {},
            "openai takes no parameter 'n'",
            "extra_body",
        ),
    ],
    ids=["no key", "no key for a gateway", "named key", "url", "header", "typo", "n"],
)
def test_what_can_never_work_is_refused_on_opening(
    of: Model, environ: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(Refused) as refusal:
        opened(of, **environ)
    assert message in refusal.value.message
    assert hint in (refusal.value.hint or "")


def test_a_parameter_of_the_prompt_is_checked_before_the_call() -> None:
    async def main() -> None:
        async with open_openai(model("http://localhost:1/v1"), context()) as provider:
            assert isinstance(provider, OpenAI)
            provider.check(request(parameters={"temperature": 0}))
            provider.check(request(parameters={"top_k": 3}))

    with pytest.raises(Refused, match="no parameter 'top_k'"):
        anyio.run(main)


def test_a_server_of_one_s_own_needs_no_key_and_headers_come_from_the_environment() -> None:
    headers = {"X-Plain": "a", "X-Secret": "env:TEAM_TOKEN"}
    _, seen = exchange(request(), {"headers": headers}, TEAM_TOKEN="t-1")
    assert (seen.headers["x-plain"], seen.headers["x-secret"]) == ("a", "t-1")
    assert seen.headers["authorization"] == "Bearer unused"


def test_the_key_comes_from_the_variable_that_the_model_names() -> None:
    environ = {"OPENAI_API_KEY": "sk-one", "MY_KEY": "sk-two"}
    _, seen = exchange(request(), {"api_key_env": "MY_KEY"}, **environ)
    assert seen.headers["authorization"] == "Bearer sk-two"


def test_text_with_half_a_surrogate_pair_can_be_sent() -> None:
    turn = Message(role="user", content="a\ud800b")
    outcome, _ = exchange(request(messages=(turn,)), {})
    assert isinstance(outcome, Completion)
