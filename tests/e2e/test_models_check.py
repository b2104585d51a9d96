"""`llmops models --check` against a real server: what works with each model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.projects import Project, Result, make_project
from tests.servers.faulty import Behaviour, Exchange, FaultServer, raw_body, status
from tests.servers.streaming import stream, text

KEY = "sk-canary-7f3a9c1e5b"


def able(*, lacks: Iterable[str] = ()) -> Behaviour:
    """A server that can do everything but what it `lacks`."""
    missing = set(lacks)

    async def behave(exchange: Exchange) -> None:
        body = exchange.body
        if "input" in body:
            exchange.send(exchange.answer())
        elif "tools" in body and "tools" not in missing:
            function = {"name": "weather_in", "arguments": '{"city": "Oslo"}'}
            await _says(exchange, {"content": None, "tool_calls": [{"function": function}]})
        elif "response_format" in body and "schema" not in missing:
            await _says(exchange, {"content": json.dumps({"color": "red"})})
        elif "stream" in body and "streams" not in missing:
            words = text("OK")
            await stream(*([words[1], words[2], words[-1]] if "usage" in missing else words))(
                exchange
            )
        else:
            await _says(exchange, {"content": "Hello, friend."}, counted="usage" not in missing)

    return behave


async def _says(exchange: Exchange, message: Mapping[str, Any], *, counted: bool = False) -> None:
    choice = {"message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12} if counted else None
    exchange.send(json.dumps({"choices": [choice], "usage": usage}).encode())


def checked(
    tmp_path: Path, then: Behaviour, *arguments: str, **settings: Any
) -> tuple[Result, int]:
    """`models tiny --check --json` against a server; what it said, and the requests it took."""
    with FaultServer(then=then) as server:
        project = make_project(tmp_path / "shop", server.url, cases=1, retries=0, **settings)
        result = project.run("models", "tiny", "--check", "--json", *arguments)
        return result, server.requests


def marks(result: Result, name: str = "tiny") -> dict[str, bool | None]:
    (model,) = (model for model in result.document["models"] if model["name"] == name)
    return {probe["aspect"]: probe["works"] for probe in model["probes"]}


def whys(result: Result) -> str:
    return " | ".join(
        probe["why"] for model in result.document["models"] for probe in model["probes"]
    )


def test_a_server_that_can_do_everything_is_checked_in_three_short_calls(tmp_path: Path) -> None:
    price = {"input": 1, "output": 2}
    result, requests = checked(tmp_path, able(), price=price)
    assert result.code == 0, result.text
    expected = dict.fromkeys(("reachable", "chat", "streaming", "structured", "tools"), True)
    assert marks(result) == {**expected, "usage": True, "price": True}
    assert requests == result.document["calls"] == 3
    assert result.document["input_tokens"] == 12
    assert result.document["models"][0]["first_token"] > 0


LACKS = {
    "schema": ("structured", "answered in words and not in JSON: set `structured_output: none`"),
    "tools": ("tools", "it answered in words (stop)"),
    "streams": ("streaming", "it answers at once"),
    "usage": ("usage", "it reports no tokens"),
}


def test_what_a_server_cannot_do_is_reported_with_the_reason(tmp_path: Path) -> None:
    project = make_project(tmp_path / "shop", cases=1)
    with ExitStack() as stack:
        for lacks in LACKS:
            server = stack.enter_context(FaultServer(then=able(lacks=[lacks])))
            project.models[lacks] = _local(server.url)
        project.llmops_yaml()
        result = project.run("models", *LACKS, "--check", "--json")
    assert result.code == 0
    for lacks, (aspect, why) in LACKS.items():
        wrong = [name for name, works in marks(result, lacks).items() if works is False]
        assert wrong == [aspect, "price"]
        assert why in whys(result)


def test_what_a_model_says_it_cannot_do_is_not_asked(tmp_path: Path) -> None:
    result, requests = checked(tmp_path, able(), structured_output="none")
    assert marks(result)["structured"] is None
    assert requests == 2


def test_a_model_that_is_not_reached_is_3_and_no_key_is_shown(tmp_path: Path) -> None:
    servers = {
        "wrong-key": status(401, message=f"Incorrect API key provided: {KEY}"),
        "wrong-model": status(404, message="no such model"),
        "login": raw_body(b"<html>Log in</html>", kind="text/html"),
    }
    project = make_project(tmp_path / "shop", cases=1)
    project.models = {"other": {"provider": "embedded"}}
    with ExitStack() as stack:
        for name, then in servers.items():
            url = stack.enter_context(FaultServer(then=then)).url
            project.models[name] = {**_local(url), "api_key_env": "MY_KEY", "retries": 0}
        project.llmops_yaml()
        result = project.run("models", "other", *servers, "--check", env={"MY_KEY": KEY})
    assert result.code == 3, result.text
    for why in ("check the key in MY_KEY", "check `model` and", "answers no JSON but text/html"):
        assert why in result.text
    assert KEY not in result.text
    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines() if line.split()}
    assert all(rows[name][:2] == ["✗", "–"] for name in servers)
    assert rows["other"][:2] == ["✓", "✓"]
    assert result.out.splitlines()[-1].startswith("spent ")


def test_a_configuration_that_can_never_work_is_2_and_the_others_are_asked(tmp_path: Path) -> None:
    with FaultServer(then=able()) as server:
        project = make_project(tmp_path / "shop", server.url, cases=1)
        project.models = {
            "keyless": {"provider": "openai", "model": "gpt-4.1-mini"},
            "gone": {**_local("http://127.0.0.1:9/v1"), "retries": 0},
        }
        project.llmops_yaml()
        result = project.run("models", "--check", "--json", env={"OPENAI_API_KEY": ""})
        assert result.code == 2
        assert marks(result)["chat"] is True
        assert marks(result, "gone")["reachable"] is False
        assert "OPENAI_API_KEY is not set" in whys(result)
        unknown = project.run("models", "tinny", "--check")
    assert unknown.code == 2
    assert "did you mean 'tiny'?" in unknown.text


def _local(url: str) -> dict[str, Any]:
    return {"provider": "openai", "model": "tiny", "base_url": url}


def test_each_kind_of_model_is_asked_what_applies_to_it(tmp_path: Path) -> None:
    with FaultServer(then=able()) as server:
        project = make_project(tmp_path / "shop", server.url, cases=1)
        project.write("answers.jsonl", '{"id": "c000", "text": "say 0"}\n')
        project.write("app.py", "def answer(document):\n    raise SystemExit(9)\n")
        project.models = {
            "vectors": {**_local(server.url), "model": "text-embedding-x"},
            "embedded": {"provider": "embedded"},
            "held": {"provider": "replay", "file": "answers.jsonl"},
            "web": {"provider": "http", "base_url": server.url, "identity": {"revision": 1}},
            "code": {"provider": "python", "call": "app.py:answer", "identity": {"revision": 1}},
        }
        project.llmops_yaml()
        result = project.run("models", "--check", "--json")
        calls = server.requests
    assert result.code == 0, result.text
    assert marks(result, "vectors")["embeddings"] is True
    assert marks(result, "vectors")["chat"] is None
    assert marks(result, "embedded")["chat"] is marks(result, "embedded")["price"] is True
    for untouched in ("held", "web", "code"):
        assert set(marks(result, untouched).values()) <= {None, True}
        assert marks(result, untouched)["reachable"] is None
    assert calls == 3 + 1  # three of the chat model, one of the embedding model


def test_without_check_the_named_models_are_listed_and_nothing_is_called(tmp_path: Path) -> None:
    project: Project = make_project(tmp_path / "shop", cases=1)
    result = project.run("models", "tiny", "embedded/x", "--json")
    assert [row["name"] for row in result.document] == ["tiny", "embedded/x"]
