"""Applications that are functions of the project, in real processes, through the engine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits
from llmops_cli.core.result import FailureKind, Outcome, ToolCall, Usage
from llmops_cli.providers.application import checks as written
from llmops_cli.providers.application.code import open_python
from tests.outcomes import completion, failed
from tests.unit.providers.application.applications import ask, model, request

APPLICATION = """
import asyncio, os, sys, time
from beside import CAPITALS

def answer(inputs):
    return CAPITALS[inputs["country"]]

def whole(inputs, messages, parameters):
    return {
        "text": f"{messages[0]['content']} {parameters['temperature']}",
        "contexts": ["one", "two"], "ids": ["a", "b"],
        "tool_calls": [{"name": "search", "arguments": {"q": 1}}],
        "usage": {"input": 7, "output": 3}, "cost": 0.5,
        "finish_reason": "length", "served_model": "tiny-0001",
    }

async def later(inputs):
    return str(id(asyncio.get_running_loop()))

def retrieves(inputs):
    return {"ids": []}

def process(inputs):
    time.sleep(inputs.get("seconds", 0))
    return str(os.getpid())

def environment(inputs):
    return ",".join(sorted(os.environ))

def says(inputs):
    return inputs["answer"]

def trouble(inputs):
    what = inputs["what"]
    if what == "raise":
        raise ValueError("no such page sk-canary-0123456789")
    if what == "raise at length":
        raise ValueError("x" * 275 + " sk-canary-0123456789")
    if what == "exit":
        sys.exit(3)
    if what == "hang":
        time.sleep(60)
    if what == "fork":
        os.fork()
    if what == "print":
        print("noise", flush=True)
        os.write(1, b"{}")
    if what == "flood":
        return "x" * 17_000_000
    if what == "megabyte":
        return "x" * 1_000_000
    return "fine"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(APPLICATION)
    (folder / "beside.py").write_text('CAPITALS = {"France": "Paris"}\n')
    (folder / "broken.py").write_text("import a_library_that_is_not_here\n")
    return tmp_path


def one(root: Path, function: str, **inputs: Any) -> Outcome:
    (outcome,) = ask(model("python", call=f"app/main.py:{function}"), request(**inputs), root=root)
    return outcome


def test_a_function_is_handed_the_inputs_and_answers(root: Path) -> None:
    answer = completion(one(root, "answer", country="France"))
    assert (answer.text, answer.contexts, answer.ids) == ("Paris", None, None)
    assert answer.latency is not None


def test_a_function_may_take_messages_and_parameters_and_say_all_it_knows(root: Path) -> None:
    answer = completion(one(root, "whole"))
    assert answer.text == "hello 0"
    assert (answer.contexts, answer.ids) == (("one", "two"), ("a", "b"))
    assert answer.tool_calls == (ToolCall(name="search", arguments={"q": 1}),)
    assert (answer.usage, answer.cost) == (Usage(input=7, output=3), 0.5)
    assert (answer.finish_reason, answer.served_model) == ("length", "tiny-0001")


def test_an_application_that_only_retrieves_has_an_empty_text(root: Path) -> None:
    answer = completion(one(root, "retrieves"))
    assert (answer.text, answer.ids) == ("", ())


def test_an_async_function_finds_its_event_loop_again(root: Path) -> None:
    of = model("python", call="app/main.py:later")
    first, second = ask(of, request(), request(), root=root)
    assert completion(first).text == completion(second).text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "it is nothing, not a text and not an object"),
        (17, "it is a number, not a text and not an object"),
        ({"contexts": "one"}, "contexts is not a list"),
        ({"txt": "Paris"}, "it has 'txt', which no answer has (did you mean 'text'?)"),
        ({"text": 1}, "there is no text, but a number"),
        ({"text": "x", "cost": 10**400}, "cost is not an amount of US dollars"),
        ({"text": "x", "usage": {"input": -1, "output": 0}}, "usage has no counts of input"),
        ({}, "there is no text, but nothing"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_why(answer: Any, why: str, root: Path) -> None:
    failure = failed(one(root, "says", answer=answer))
    assert failure.kind is FailureKind.BAD_ANSWER
    assert why in failure.message


@pytest.mark.parametrize(
    ("what", "kind", "why"),
    [
        ("raise", FailureKind.SERVER, "the function raised ValueError: no such page [redacted]"),
        ("raise at length", FailureKind.SERVER, " [redacted]"),
        ("exit", FailureKind.SERVER, "the function ended its process (exit code 3)"),
        ("hang", FailureKind.TIMEOUT, "no whole answer within 0.5 s"),
        ("flood", FailureKind.TOO_LARGE, "the function returned more than 16,777,216 bytes"),
        ("print", None, ""),
        ("fork", None, ""),
        ("megabyte", None, ""),
    ],
)
def test_trouble_costs_one_answer_and_the_others_go_on(
    what: str, kind: FailureKind | None, why: str, root: Path
) -> None:
    limits = Limits(timeout=0.5 if what == "hang" else 10.0, retries=0, max_concurrency=1)
    of = model("python", call="app/main.py:trouble", limits=limits)
    asked = [request(what=item) for item in ("ok", what, "ok")]
    before, given, after = ask(
        of, *asked, root=root, environ={**os.environ, "SOME_KEY": "sk-canary-0123456789"}
    )
    assert (completion(before).text, completion(after).text) == ("fine", "fine")
    if kind is None:
        assert completion(given).text
    else:
        assert (failed(given).kind, why in failed(given).message) == (kind, True)


def test_calls_at_once_run_in_as_many_processes_and_one_at_a_time_in_one(root: Path) -> None:
    of = model("python", call="app/main.py:process")

    async def main() -> tuple[set[str | None], set[str | None]]:
        context = PluginContext(root=root, environ=dict(os.environ), trust=["**"])
        async with open_python(of, context) as application:
            outcome: list[Outcome] = []

            async def call(seconds: float) -> None:
                outcome.append(await application.complete(request(seconds=seconds)))

            for _ in range(3):
                await call(0)
            alone = {completion(item).text for item in outcome}
            outcome.clear()
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(call, 0.5)
            return alone, {completion(item).text for item in outcome}

    alone, together = anyio.run(main)
    assert (len(alone), len(together)) == (1, 4)
    until = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in together) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in together)


def test_the_process_sees_a_short_list_of_the_environment_and_what_is_named(root: Path) -> None:
    environ = {**os.environ, "OPENAI_API_KEY": "sk-canary", "APP_MODE": "test", "OTHER": "x"}
    of = model("python", call="app/main.py:environment", env=["APP_MODE"])
    (outcome,) = ask(of, request(), root=root, environ=environ)
    seen = (completion(outcome).text or "").split(",")
    assert "APP_MODE" in seen
    assert not {"OPENAI_API_KEY", "OTHER"} & set(seen)


def test_a_function_that_cannot_be_loaded_is_refused_before_any_call(root: Path) -> None:
    with pytest.raises(Refused, match=r"app/broken.py:f cannot be loaded: ModuleNotFoundError: "):
        ask(model("python", call="app/broken.py:f"), request(), root=root)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"call": "app/main.py:answer"}, None),
        ({"call": "app/main.py:nothing"}, "app/main.py has no function 'nothing'"),
        ({"call": "app/none.py:f"}, "app/none.py is not a file of the project"),
        ({"call": "../x.py:f"}, "../x.py is outside the project"),
        ({"call": "app/main.py:answer", "headers": {"x": "y"}}, "'headers' means nothing to"),
    ],
)
def test_a_function_that_is_not_there_is_seen_when_the_project_is_read(
    options: dict[str, Any], wrong: str | None, root: Path
) -> None:
    said = written.check_python(
        {"provider": "python", **options}, PluginContext(root=root, environ={})
    )
    assert said is None if wrong is None else str(said).startswith(wrong)
