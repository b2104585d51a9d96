"""Applications behind a URL: a real server, through the engine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import DefaultResolver

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits
from llmops_cli.core.result import FailureKind, Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.providers.application import checks as written
from llmops_cli.providers.application.http import open_http
from llmops_cli.providers.http.addresses import forbidden
from tests.outcomes import completion, failed
from tests.servers import faulty
from tests.servers.faulty import Behaviour, Server
from tests.unit.providers.application.applications import model, request

ROOT = Path()


def answered(**said: Any) -> Behaviour:
    return faulty.raw_body(json.dumps(said).encode())


def ask(
    *script: Behaviour,
    then: Behaviour | None = None,
    host: str = "127.0.0.1",
    retries: int = 3,
    timeout: float = 5.0,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> tuple[Outcome, Server]:
    """One call against a server that plays `script`, by way of `host`."""

    async def main() -> tuple[Outcome, Server]:
        async with faulty.serve(*script, then=then) as server:
            limits = Limits(timeout=timeout, retries=retries, max_concurrency=1)
            url = f"http://{host}:{server.port}/answer?v=2"
            of = model("http", base_url=url, limits=limits, **options)
            context = PluginContext(root=ROOT, environ=environ or {})
            engine = Engine(providers=lambda each: open_http(each, context), jitter=lambda: 0.0)
            async with engine:
                return await engine.ask(of, request("http", country="France")), server

    return anyio.run(main)


def test_the_document_is_posted_and_the_answer_is_read() -> None:
    said = {"text": "Paris", "contexts": ["p"], "ids": ["a", 2], "took": 0.1}
    outcome, server = ask(answered(**said))
    answer = completion(outcome)
    assert (answer.text, answer.contexts, answer.ids) == ("Paris", ("p",), ("a", "2"))
    assert server.last is not None
    assert server.last.path == "/answer?v=2"
    assert server.last.body == request(country="France").document


def test_paths_find_the_parts_of_an_answer_of_another_shape() -> None:
    said = {"out": [{"message": "Paris"}], "hits": [{"id": "a", "score": 0.2}, {"id": "b"}]}
    paths = {"text": "out[0].message", "ids": "hits[*].id", "contexts": "nothing.here"}
    answer = completion(ask(answered(**said), response=paths)[0])
    assert (answer.text, answer.ids, answer.contexts) == ("Paris", ("a", "b"), None)


def test_an_answer_without_a_text_where_one_was_promised_is_a_failure() -> None:
    failure = failed(ask(answered(out=None), retries=0, response={"text": "out.text"})[0])
    assert failure.kind is FailureKind.BAD_ANSWER
    assert "there is no text at `out.text`, but nothing" in failure.message


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("max_by(out, &x).x", [{"x": 1}, {"x": "a"}]),
        ("out[?x > `1`]", [{"x": 1}, {"x": "a"}]),
        ("avg(out)", [10**400, 0.5]),
        ("floor(out)", float("1e999")),
        ("out[::0]", [1]),
    ],
)
def test_a_path_that_cannot_be_reckoned_over_an_answer_is_a_failure(path: str, out: Json) -> None:
    raw = json.dumps({"out": out}).replace("Infinity", "1e999").encode()
    failure = failed(ask(faulty.raw_body(raw), retries=0, response={"text": path})[0])
    assert failure.kind is FailureKind.BAD_ANSWER
    assert failure.message.startswith("the answer is not a whole one: `response.text`: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("out" + " | [@, @]" * 40, [1]),
        ("out" + " | {a: @, b: @}" * 40, [1]),
        ("out | {a: @" + ", b: to_string(@)} | {a: @" * 20 + "}", "x" * 1000),
        ("out | [@, @]" + " | [@[0], @[1]] | [@, @]" * 40 + " | @ == @", [1]),
        ("join(out, [out" + ", out" * 300 + "])", "x" * 200_000),
        ("out" + " | map(&map(&[@, @], [@, @]), [@, @])" * 12, "x"),
    ],
)
def test_a_path_that_makes_much_of_an_answer_is_a_failure(path: str, out: Json) -> None:
    began = time.process_time()
    raw = json.dumps({"out": out}).encode()
    failure = failed(ask(faulty.raw_body(raw), retries=0, response={"text": path})[0])
    assert failure.kind is FailureKind.BAD_ANSWER
    assert "makes too much" in failure.message or "CPU time" in failure.message
    assert time.process_time() - began < 5


def test_headers_come_from_the_environment_and_are_never_shown() -> None:
    headers = {"Authorization": "Bearer env:APP_TOKEN", "x-team": "ours"}
    outcome, server = ask(
        answered(text="Paris"), headers=headers, environ={"APP_TOKEN": "canary-0123"}
    )
    assert completion(outcome).text == "Paris"
    assert server.last is not None
    assert server.last.headers["authorization"] == "Bearer canary-0123"
    assert server.last.headers["x-team"] == "ours"
    with pytest.raises(Refused, match="needs APP_TOKEN, which is not set"):
        ask(answered(text="Paris"), headers=headers)


def test_what_get_sends_stands_in_the_query() -> None:
    outcome, server = ask(answered(text="Paris"), method="GET")
    assert completion(outcome).text == "Paris"
    assert server.last is not None
    assert server.last.raw == b""
    assert server.last.path.startswith("/answer?v=2&inputs=%7B%22country%22:+%22France%22%7D&")


@pytest.mark.parametrize(
    ("behaviour", "kind", "requests"),
    [
        (faulty.status(400), FailureKind.BAD_REQUEST, 1),
        (faulty.status(401), FailureKind.AUTHENTICATION, 1),
        (faulty.status(404), FailureKind.NOT_FOUND, 1),
        (faulty.status(422), FailureKind.BAD_REQUEST, 1),
        (faulty.status(500), FailureKind.SERVER, 2),
        (faulty.status(503), FailureKind.OVERLOADED, 2),
        (faulty.html(), FailureKind.BAD_ANSWER, 2),
        (faulty.raw_body(b'{"text": "Par'), FailureKind.BAD_ANSWER, 2),
        (faulty.raw_body(b'["Paris"]'), FailureKind.BAD_ANSWER, 2),
        (faulty.raw_body(b'{"text": "\xff\xfe"}'), FailureKind.BAD_ANSWER, 2),
        (answered(error="the index is empty"), FailureKind.SERVER, 2),
        (faulty.reset(), FailureKind.CONNECTION, 2),
        (faulty.short(), FailureKind.CONNECTION, 2),
        (faulty.cut_chunked(), FailureKind.CONNECTION, 2),
        (faulty.gzip_bomb(64), FailureKind.TOO_LARGE, 1),
        (faulty.endless(), FailureKind.TOO_LARGE, 1),
        (faulty.redirect("http://169.254.169.254/latest/meta-data"), FailureKind.BAD_ANSWER, 1),
    ],
)
def test_every_fault_has_its_kind_and_is_tried_again_only_where_that_may_help(
    behaviour: Behaviour, kind: FailureKind, requests: int
) -> None:
    outcome, server = ask(then=behaviour, retries=1)
    assert (failed(outcome).kind, server.requests) == (kind, requests)


def test_loopback_is_called_where_the_url_says_so() -> None:
    assert completion(ask(answered(text="Paris"), host="localhost")[0]).text == "Paris"


@pytest.fixture
def _resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers with this machine, whatever is asked."""

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        place = {"host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}
        return [{"hostname": host, **place}]

    monkeypatch.setattr(DefaultResolver, "resolve", resolve)


@pytest.mark.usefixtures("_resolving")
def test_a_name_that_leads_to_this_machine_is_not_called_unless_it_is_allowed() -> None:
    outcome, server = ask(answered(text="Paris"), host="app.example.org")
    assert (failed(outcome).kind, server.requests) == (FailureKind.BAD_REQUEST, 0)
    assert failed(outcome).message == (
        "app.example.org (127.0.0.1) is not a public address: "
        "`allow_hosts: [app.example.org]` in llmops.yaml allows it"
    )
    allowed, _ = ask(
        answered(text="Paris"), host="app.example.org", allow_hosts=["APP.example.org"]
    )
    assert completion(allowed).text == "Paris"


LOOPBACK_OTHERWISE = [
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "ⓛocalhost",
    "localhoſt",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1%2f",
]
"""What some resolver or client takes for this machine, and `ipaddress` does not."""


@pytest.mark.parametrize("host", LOOPBACK_OTHERWISE)
def test_a_host_that_another_program_reads_otherwise_is_refused_unread(host: str) -> None:
    with pytest.raises(Refused, match=r"not ASCII|no IP address|not an http"):
        ask(answered(text="Paris"), host=host, allow_hosts=[host])


def test_a_host_that_is_not_ascii_is_refused_with_its_ascii_form() -> None:
    with pytest.raises(Refused, match=r"write xn--bcher-kva\.example"):
        ask(host="bücher.example")


@pytest.mark.parametrize(
    ("address", "host", "allowed", "called"),
    [
        ("93.184.215.14", "example.org", (), True),
        ("127.0.0.1", "127.0.0.1", (), True),
        ("127.0.0.1", "localhost", (), True),
        ("::1", "app.localhost", (), True),
        ("127.0.0.1", "example.org", (), False),
        ("127.0.0.1", "example.org", ("example.org",), True),
        ("10.1.2.3", "10.1.2.3", (), False),
        ("10.1.2.3", "10.1.2.3", ("10.1.2.3",), True),
        ("192.168.1.1", "app.internal", (), False),
        ("192.168.1.1", "app.internal", ("other.internal",), False),
        ("fd12::1", "app.internal", ("app.internal",), True),
        ("100.64.0.1", "app.internal", (), False),
        ("::ffff:10.1.2.3", "app.internal", (), False),
        ("64:ff9b::a01:203", "app.internal", (), False),
        ("169.254.169.254", "169.254.169.254", ("169.254.169.254",), False),
        ("::ffff:169.254.169.254", "metadata", ("metadata",), False),
        ("64:ff9b::a9fe:a9fe", "metadata", ("metadata",), False),
        ("fe80::1%eth0", "metadata", ("metadata",), False),
        ("fd00:ec2::254", "metadata", ("metadata",), False),
        ("100.100.100.200", "metadata", ("metadata",), False),
        ("168.63.129.16", "metadata", ("metadata",), False),
        ("::", "localhost", ("localhost",), False),
        ("224.0.0.1", "many", ("many",), False),
        ("127.0.0.1", "model.internal", None, True),
        ("10.1.2.3", "model.internal", None, True),
        ("0.0.0.0", "0.0.0.0", None, True),  # noqa: S104 - a server that listens everywhere
        ("169.254.169.254", "model.internal", None, False),
        ("::ffff:169.254.169.254", "model.internal", None, False),
        ("fd00:ec2::254", "model.internal", None, False),
    ],
)
def test_the_table_of_addresses_that_are_called(
    address: str, host: str, allowed: tuple[str, ...] | None, called: bool
) -> None:
    assert (forbidden(address, host=host, allowed=allowed) is None) is called


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"base_url": "http://localhost:8000/answer"}, None),
        ({"base_url": "https://app.example.org"}, None),
        ({}, "'base_url' is missing"),
        (
            {"base_url": "http://169.254.169.254/latest"},
            "169.254.169.254 is an address that is",
        ),
        (
            {"base_url": "http://10.0.0.5"},
            "10.0.0.5 is not a public address: `allow_hosts: [",
        ),
        ({"base_url": "http://10.0.0.5", "allow_hosts": ["10.0.0.5"]}, None),
        (
            {"base_url": "http://[fe80::1]/"},
            "fe80::1 is an address that is never called",
        ),
        ({"base_url": "http://me:secret@localhost"}, "'base_url' contains a password"),
        ({"base_url": "http://localhost", "extra_body": {"a": 1}}, "'extra_body' means nothing"),
        ({"base_url": "http://localhost", "response": {"ids": "a["}}, "'response.ids' is no JME"),
    ],
)
def test_what_cannot_work_is_seen_when_the_project_is_read(
    options: dict[str, Any], wrong: str | None
) -> None:
    said = written.check_http({"provider": "http", **options}, PluginContext(root=ROOT, environ={}))
    assert said is None if wrong is None else wrong in str(said), said


def test_an_address_that_is_never_called_is_refused_when_it_is_opened() -> None:
    async def main() -> None:
        of = model("http", base_url="http://169.254.169.254/")
        async with open_http(of, PluginContext(root=ROOT, environ={})):
            raise AssertionError("opened")

    with pytest.raises(Refused, match="never called"):
        anyio.run(main)
