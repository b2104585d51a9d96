"""What a loaded prompt renders, what it refuses, and that the SDKs send what `eval` sends."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.prompt import Case, Message, Model, Prompt, Request, Target
from llmops_cli.project.templates import Templates
from llmops_cli.providers.anthropic import messages
from llmops_cli.providers.openai import messages as chat
from llmops_cli.registry.release import release_target
from llmops_cli.runtime import Prompt as Loaded
from llmops_cli.runtime import Rendered, WrongInputs, load_prompt
from llmops_cli.stores.registry import Registry
from tests.servers.faulty import FaultServer
from tests.unit.releases import ADA
from tests.unit.stores.values import plain

TOOL: dict[str, Json] = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object"}},
}
SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"why": {}, "answer": {"type": "string"}},
}
SYSTEM = "Be {{ tone }}.{% for p in passages %}\n- {{ p }}{% endfor %}"
PROMPT = Prompt(
    name="help",
    model="fast",
    parameters={"max_tokens": 30},
    inputs={
        "question": {"type": "string"},
        "passages": {"type": "array", "items": {"type": "string"}},
        "tone": {"type": "string", "enum": ["kind", "brief"], "default": "kind"},
        "count": {"type": "integer", "required": False},
        "self": {"required": False},
    },
    messages=(
        Message(role="system", content=SYSTEM),
        Message(role="user", content="{{ question }}{% if count %} ({{ count }}){% endif %}"),
    ),
    response_format="json_schema",
    json_schema=SCHEMA,
    tools=(TOOL,),
    path="prompts/help.prompt.yml",
)
MODEL = Model(
    name="fast",
    provider="openai",
    model="gpt-4.1-mini",
    parameters={"temperature": 0, "max_tokens": 99},
    extra_body={"top_k": 3},
)
GOOD: Mapping[str, Any] = {"question": "Why?", "passages": ["One.", "{{ two }}"]}


@pytest.fixture
def prompt(tmp_path: Path) -> Loaded:
    release_target(Registry(tmp_path), Target(prompt=PROMPT, model=MODEL), {}, ADA, redact=plain)
    return load_prompt("help@v1", source=tmp_path)


def test_it_says_what_it_is(prompt: Loaded) -> None:
    assert (str(prompt), prompt.name, prompt.version) == ("help@v1", "help", 1)
    assert (prompt.provider, prompt.model) == ("openai", "gpt-4.1-mini")
    assert prompt.digest == Target(prompt=PROMPT, model=MODEL).digest
    assert prompt.inputs == ("question", "passages", "tone", "count", "self")


def test_it_sends_what_eval_sends(prompt: Loaded) -> None:
    earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "{{ hi }}"}]
    rendered = prompt.render(earlier, **GOOD, count=3, tone="brief")
    case = Case(
        id="one",
        inputs={**GOOD, "count": 3, "tone": "brief"},
        messages=tuple(Message(**turn) for turn in earlier),  # type: ignore[arg-type]  # a test's own roles
    )
    request = Target(prompt=PROMPT, model=MODEL).request(Templates(PROMPT).messages(case))
    assert rendered.request == request
    assert rendered.request.digest == request.digest


def test_a_rendering_holds_what_the_sdks_take(prompt: Loaded) -> None:
    rendered = prompt.render(**GOOD)
    assert rendered.messages == [
        {"role": "system", "content": "Be kind.\n- One.\n- {{ two }}"},
        {"role": "user", "content": "Why?"},
    ]
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(rendered.messages)
    assert (rendered.name, rendered.version, rendered.digest) == ("help", 1, prompt.digest)
    assert (rendered.provider, rendered.model) == ("openai", "gpt-4.1-mini")
    assert rendered.parameters == {"temperature": 0, "max_tokens": 30}
    assert rendered.tools == [TOOL]
    assert rendered.response_format == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }


def test_the_arguments_for_openai_are_its_body_with_the_unknown_apart(prompt: Loaded) -> None:
    rendered = prompt.render(**GOOD)
    sent = rendered.openai()
    assert sent == {
        "model": "gpt-4.1-mini",
        "messages": rendered.messages,
        "temperature": 0,
        "max_tokens": 30,
        "tools": [TOOL],
        "response_format": rendered.response_format,
        "extra_body": {"top_k": 3},
    }
    schema = sent["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["why", "answer"]  # the order in which a model answers


def test_the_arguments_for_anthropic_have_its_shape(prompt: Loaded) -> None:
    sent = prompt.render(**GOOD).anthropic()
    assert sent["system"] == [{"type": "text", "text": "Be kind.\n- One.\n- {{ two }}"}]
    assert sent["messages"] == [{"role": "user", "content": "Why?"}]
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert sent["extra_body"] == {"top_k": 3}


def test_nothing_can_be_changed(prompt: Loaded) -> None:
    rendered = prompt.render(**GOOD)
    before = copy.deepcopy(rendered.openai())
    for name in ("version", "name", "_version", "new"):
        with pytest.raises(AttributeError):
            setattr(prompt, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rendered.version = 2  # type: ignore[misc]  # that it cannot be set is the test
    rendered.messages[0]["content"] = "Be rude."
    rendered.parameters["temperature"] = 2
    rendered.tools[0]["function"]["name"] = "drop"
    sent = rendered.openai()
    sent["tools"][0]["function"]["parameters"]["type"] = "array"
    sent["response_format"]["json_schema"]["schema"].clear()
    sent["extra_body"]["top_k"] = 99
    assert rendered.openai() == before
    assert prompt.render(**GOOD).openai() == before


class Tone(str, Enum):  # noqa: UP042 - the older way, whose str() is not its value
    BRIEF = "brief"


def test_inputs_are_the_callers_own_and_what_is_nearly_plain_becomes_plain(prompt: Loaded) -> None:
    passages = ["One."]
    rendered = prompt.render(question="Why?", passages=passages)
    passages.append("Two.")
    assert rendered.messages[0]["content"] == "Be kind.\n- One."
    rendered = prompt.render(question="Why?", passages=("One.",), tone=Tone.BRIEF, self=None)
    assert rendered.messages[0]["content"] == "Be brief.\n- One."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": None}, "the input 'question' must be a string, not null"),
        ({"question": 3}, "the input 'question' must be a string, not 3"),
        ({"passages": "One."}, "the input 'passages' must be an array, not \"One.\""),
        ({"passages": ["a", 1]}, "the input 'passages' item 2 must be a string, not 1"),
        ({"tone": "rude"}, "the input 'tone' cannot be \"rude\" (known: kind, brief)"),
        ({"count": True}, "the input 'count' must be an integer, not true"),
        ({"self": Decimal(1)}, "the input 'self' holds a Decimal, which is no plain data"),
        ({"self": {1: "a"}}, "the input 'self' holds a dict, which is no plain data"),
        ({"passage": []}, "it has no input 'passage' (did you mean 'passages'?)"),
    ],
)
def test_wrong_inputs_are_a_type_error_in_plain_words(
    prompt: Loaded, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(WrongInputs) as error:
        prompt.render(**{**GOOD, **changes})
    assert str(error.value) == f"help@v1: {message}"
    assert isinstance(error.value, TypeError)
    assert isinstance(error.value, LlmopsError)


def test_all_wrong_inputs_are_reported_at_once(prompt: Loaded) -> None:
    with pytest.raises(WrongInputs) as error:
        prompt.render(count="3", nonsense=1)
    assert str(error.value) == (
        "help@v1: it has no input 'nonsense' (known: count, passages, question, self, tone); "
        "the input 'passages' is missing; the input 'question' is missing; "
        "the input 'count' must be an integer, not \"3\""
    )


@pytest.mark.parametrize(
    "turn",
    [
        {},
        {"role": "robot", "content": "a"},
        {"role": "user", "content": None},
        {"role": "user", "content": ["a"]},
        {"role": "assistant", "content": "a", "tool_calls": []},
    ],
)
def test_an_earlier_turn_that_could_not_be_measured_is_refused(
    prompt: Loaded, turn: dict[str, object]
) -> None:
    with pytest.raises(WrongInputs, match="the earlier turn 1 must be a role and a content"):
        prompt.render([turn], **GOOD)


def test_what_a_template_cannot_do_with_its_inputs_is_a_wrong_input(tmp_path: Path) -> None:
    made = dataclasses.replace(
        PROMPT, inputs={"a": {}}, messages=(Message(role="user", content="{{ a.b }}"),)
    )
    release_target(Registry(tmp_path), Target(prompt=made, model=MODEL), {}, ADA, redact=plain)
    with pytest.raises(WrongInputs, match=r"message 1 \(user\) for the case 'help@v1'"):
        load_prompt("help@v1", source=tmp_path).render(a={"c": 1})


def rendering(**changes: object) -> Rendered:
    values: dict[str, object] = {
        "provider": "openai",
        "model": "tiny",
        "parameters": {"max_tokens": 9},
        "extra_body": {"guided": True},
        "messages": (
            Message(role="system", content="Be brief."),
            Message(role="user", content=({"type": "text", "text": "hello"},)),
        ),
        "response_format": "json_schema",
        "json_schema": {"type": "object", "properties": {"z": {}, "a": {}}},
        "tools": (TOOL,),
    }
    request = Request(**{**values, **changes})  # type: ignore[arg-type]  # fields by name
    return Rendered(name="help", version=1, digest="sha256:0", request=request)


def test_the_sdks_send_what_eval_sends() -> None:
    with FaultServer() as server:
        made = rendering()
        with OpenAI(api_key="none", base_url=server.url) as client:
            chatted = client.chat.completions.create(**made.openai())
        assert chatted.choices[0].message.content == "hello"
        assert server.last is not None
        assert server.last.body == chat.body(made.request)
        made = rendering(provider="anthropic")
        with Anthropic(api_key="none", base_url=server.root) as claude:
            message = claude.messages.create(**made.anthropic())
        assert message.content[0].text == "hello"
        assert server.last.body == messages.body(made.request)


def test_a_prompt_that_asks_for_no_format_and_no_tools_sends_none() -> None:
    made = rendering(response_format=None, json_schema=None, tools=(), extra_body={})
    assert (made.response_format, made.tools) == (None, [])
    assert made.openai().keys() == {"model", "messages", "max_tokens"}
