"""Connections that are kept, proxies in between, and addresses and keys that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import DefaultResolver

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits, Model
from llmops_cli.core.result import Completion, FailureKind, Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.providers.http.client import proxy_for
from llmops_cli.providers.openai.model import open_openai
from tests.outcomes import failed
from tests.servers import faulty
from tests.unit.providers.calls import ask_all, request

QUESTIONS = [f"question {n}" for n in range(8)]


@pytest.mark.parametrize(("after", "pause"), [(0.0, 0.0), (0.02, 0.04), (0.002, 0.0), (0.02, 0.0)])
@pytest.mark.parametrize("how", [{}, {"named": False}, {"named": False, "id": None}])
def test_an_answer_that_comes_twice_is_not_the_answer_to_the_next_question(
    after: float, pause: float, how: dict[str, Any]
) -> None:
    outcomes, _ = ask_all(then=faulty.twice(after=after, **how), questions=QUESTIONS, pause=pause)
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Completion)] == QUESTIONS


@pytest.mark.parametrize("timed", [False, True])
def test_once_an_answer_came_twice_every_question_has_a_connection_of_its_own(timed: bool) -> None:
    outcomes, _ = ask_all(then=faulty.behind(), questions=QUESTIONS, timed=timed)
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Completion)] == QUESTIONS
    assert [outcome.attempts for outcome in outcomes] == [1, 2, *[1] * 6]


def test_an_answer_without_a_name_that_came_before_the_next_question_is_not_its_answer() -> None:
    outcomes, _ = ask_all(
        then=faulty.twice(after=0.0, named=False), questions=QUESTIONS, pause=0.05
    )
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Completion)] == QUESTIONS


def test_a_server_that_calls_every_request_the_same_is_believed_after_one_doubt() -> None:
    async def same(exchange: faulty.Exchange) -> None:
        exchange.send(exchange.answer(), headers={"x-request-id": "abc"})

    outcomes, _ = ask_all(then=same, questions=QUESTIONS)
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Completion)] == QUESTIONS
    assert [outcome.attempts for outcome in outcomes] == [1, 2, *[1] * 6]


@pytest.mark.parametrize(
    "proxy", ["socks5://u:hunter22@127.0.0.1:1", "http://[::1", "http://u:hunter22@", "http://a..b"]
)
def test_a_proxy_that_speaks_no_http_is_refused_without_showing_its_value(
    proxy: str,
) -> None:
    with pytest.raises(Refused) as refused:
        proxy_for("https://api.example.org/v1", {"HTTPS_PROXY": proxy})
    assert refused.value.message == "HTTPS_PROXY names no HTTP proxy"
    assert "hunter22" not in f"{refused.value} {refused.value.hint}"


def test_a_proxy_without_a_scheme_is_one_of_http() -> None:
    proxy_found = proxy_for("https://api.example.org/v1", {"https_proxy": "proxy.example:3128"})
    assert proxy_found == "http://proxy.example:3128"


def refused_on_opening(environ: dict[str, str], url: str, headers: dict[str, str]) -> Refused:
    async def main() -> None:
        of = Model(
            name="fast", provider="openai", model="tiny", base_url=url, headers=headers,
            limits=Limits(timeout=1.0, retries=0),
        )  # fmt: skip
        context = PluginContext(root=Path(), environ=environ)
        async with Engine(providers=lambda one: open_openai(one, context)) as ours:
            await ours.ask(of, request())

    with pytest.raises(Refused) as refused:
        anyio.run(main)
    return refused.value


@pytest.mark.parametrize(
    "key", ["sk-can\nary", "sk-can\r\nx-evil: ary", "sk-\0ary", "sk-\udcffary"]
)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "GATEWAY"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_its_value(
    variable: str, key: str
) -> None:
    environ = {"OPENAI_API_KEY": "sk-fine", variable: key}
    headers = {"x-gateway": "env:GATEWAY"} if variable == "GATEWAY" else {}
    refused = refused_on_opening(environ, "http://127.0.0.1:1/v1", headers)
    assert refused.hint is not None
    assert variable in refused.hint
    assert "ary" not in refused.message.replace("library", "")
    assert "ary" not in refused.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
        "http://h:99999/v1",
        "http://h:x/",
    ],
)
def test_what_is_no_url_is_refused_on_opening(url: str) -> None:
    refused = refused_on_opening({}, url, {})
    assert refused.message == f"fast: base_url {url!r} is not an http(s) URL"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://１６９.254.169.254/v1", "has a host that is not ASCII: write 169.254.169.254"),
        ("http://169.254.169.254/v1", "is not called: 169.254.169.254 is an address that is never"),
        ("http://[::ffff:a9fe:a9fe]/v1", "is an address that is never called"),
        ("http://2852039166/v1", "has a number for a host that is no IP address"),
    ],
)
def test_no_model_is_called_at_a_cloud_s_metadata_address(url: str, why: str) -> None:
    assert why in refused_on_opening({}, url, {}).message


def test_a_name_that_leads_to_a_metadata_address_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        place = {"host": "169.254.169.254", "port": port, "family": 2, "proto": 0, "flags": 0}
        return [{"hostname": host, **place}]

    async def main() -> Outcome:
        model = Model(
            name="fast",
            provider="openai",
            model="m",
            base_url="http://models.example.org/v1",
            limits=Limits(timeout=5.0, retries=0),
        )
        context = PluginContext(root=Path(), environ={"OPENAI_API_KEY": "sk-fine"})
        async with Engine(providers=lambda one: open_openai(one, context)) as ours:
            return await ours.ask(model, request())

    monkeypatch.setattr(DefaultResolver, "resolve", resolve)
    failure = failed(anyio.run(main))
    assert failure.kind is FailureKind.BAD_REQUEST
    assert "models.example.org (169.254.169.254) is an address that is never called" in (
        failure.message
    )


def test_a_url_with_a_password_is_refused_and_its_value_not_shown() -> None:
    refused = refused_on_opening({}, "http://team:hunter22@127.0.0.1:1/v1", {})
    assert "hunter22" not in f"{refused.message} {refused.hint}"
