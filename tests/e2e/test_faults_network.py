"""Proxies, certificates and few open files between llmops and a model server."""

from __future__ import annotations

import json
import resource
import socket
from pathlib import Path

import pytest

from tests.projects import Project, Result, make_cases, make_project
from tests.servers.faulty import (
    CERTIFICATE,
    Behaviour,
    FaultServer,
    answer,
    cut_chunked,
    garbage,
    hang,
    html,
    redirect,
    reset,
    stale,
    status,
)
from tests.servers.proxy import Proxy

TRUSTING = {"SSL_CERT_FILE": str(CERTIFICATE)}


# Proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_calls_go_through_the_proxy_of_the_environment(tmp_path: Path, name: str) -> None:
    encrypted = name == "HTTPS_PROXY"
    with FaultServer(tls=encrypted) as server, Proxy() as proxy:
        project = make_project(tmp_path, server.url, cases=3)
        result = project.eval(env={name: proxy.url, **(TRUSTING if encrypted else {})})
        assert server.requests == 3
    assert result.evalset["candidate"]["measured"] == 3
    tunnel, plain = f"CONNECT 127.0.0.1:{server.port}", f"POST {server.url}/chat/completions"
    assert set(proxy.requested) == {tunnel if encrypted else plain}


def test_hosts_of_no_proxy_are_called_around_the_proxy(tmp_path: Path) -> None:
    with FaultServer() as server, Proxy() as proxy:
        project = make_project(tmp_path, server.url, cases=3)
        result = project.eval(env={"HTTP_PROXY": proxy.url, "NO_PROXY": "example.org,127.0.0.1"})
    assert result.evalset["candidate"]["measured"] == 3
    assert proxy.requested == []


def test_the_password_of_a_proxy_is_sent_and_never_printed(tmp_path: Path) -> None:
    with FaultServer() as server, Proxy(answers_with=407) as proxy:
        project = make_project(tmp_path, "https://127.0.0.1:9/v1", cases=2, retries=0)
        result = project.run(
            "eval", env={"HTTPS_PROXY": proxy.url.replace("//", "//team:pr0xy-pass@")}
        )
        assert server.requests == 0
    assert result.code == 3
    assert len(proxy.credentials) == 2
    assert f"the proxy {proxy.url} answered 407" in result.text
    assert "pr0xy-pass" not in result.text


def test_the_embedded_model_and_replayed_answers_know_no_proxy(tmp_path: Path) -> None:
    with Proxy() as proxy:
        for model in ({"provider": "embedded"}, {"provider": "replay", "file": "said.jsonl"}):
            project = Project(root=tmp_path / model["provider"])
            project.write("llmops.yaml", json.dumps({"models": {"tiny": model}}))
            project.prompt()
            project.cases(make_cases(2))
            project.evalset()
            project.write(
                "said.jsonl", '{"id": "c000", "text": "say 0"}\n{"id": "c001", "text": "say 1"}\n'
            )
            every = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy.url)
            result = project.eval(env=every)
            assert result.evalset["candidate"]["measured"] == 2
    assert proxy.requested == []


# Certificates --------------------------------------------------------------------------------


def test_an_untrusted_certificate_is_refused_at_once_with_the_setting_that_trusts_it(
    tmp_path: Path,
) -> None:
    with FaultServer(tls=True) as server:
        project = make_project(tmp_path, server.url, cases=20)
        result = project.run("eval")
        assert server.requests == 0
        assert result.code == 3
        assert f"TLS with {server.root} failed" in result.text
        assert "SSL_CERT_FILE" in result.text
        assert project.eval(env=TRUSTING).evalset["candidate"]["measured"] == 20


# Open files ----------------------------------------------------------------------------------


def test_sixty_four_open_files_are_enough_for_a_thousand_calls_at_once(tmp_path: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with FaultServer(then=answer(delay=0.01)) as server:
        project = make_project(tmp_path, server.url, cases=400, max_concurrency=1000)
        result = project.run_alone("eval", "--json", before=few)
        assert server.most_in_flight <= 32
    assert result.code == 0, result.text
    assert result.evalset["candidate"]["measured"] == 400
    assert result.evalset["candidate"]["failures"] == {}


def test_connections_that_the_server_closes_after_each_answer_cost_no_answer(
    tmp_path: Path,
) -> None:
    with FaultServer(then=stale()) as server:
        result = make_project(tmp_path, server.url, cases=100).eval()
    assert result.code == 0, result.text
    assert result.evalset["candidate"]["measured"] == 100


# What the person reads -----------------------------------------------------------------------


def run_with(project: Project, **environment: str) -> Result:
    result = project.run("eval", env=environment)
    assert result.code == 3, result.text
    assert result.out.startswith("INCOMPLETE")
    assert "Traceback" not in result.text
    return result


REFUSALS: list[tuple[str, Behaviour, str, bool]] = [
    ("401", status(401, message="bad key"), "answered 401: bad key (check the key in A_KEY)", True),
    ("403", status(403, message="not you"), "answered 403: not you (check the key in A_KEY)", True),
    ("404", status(404, message="no such"), "(check `model` and `base_url` in llmops.yaml", True),
    ("400", status(400, message="too long"), "too long (`llmops render` shows what is sent)", True),
    ("402", status(402, message="pay"), "402: pay (the quota behind the key is used up)", True),
    ("429", status(429, message="slow"), "(a lower `rpm` or `max_concurrency` in", False),
    ("500", status(500, message="boom"), "the server answered 500: boom", False),
    ("hang", hang(), "no whole answer within 0.5 s (`timeout` in llmops.yaml)", False),
    ("reset", reset("before"), "the connection with {root} failed (Connection reset", False),
    ("cut", cut_chunked(), "the answer of {root} was cut off", False),
    ("html", html(), "{url}/chat/completions answers no JSON but text/html", False),
    ("no http", garbage(), "{url}/chat/completions does not answer in HTTP", False),
    ("redirect", redirect("http://169.254.169.254/"), "which is not followed", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("then", "sentence", "lasting"),
    [refusal[1:] for refusal in REFUSALS],
    ids=[refusal[0] for refusal in REFUSALS],
)
def test_each_fault_is_one_sentence_that_says_where_to_look(
    tmp_path: Path, then: Behaviour, sentence: str, lasting: bool
) -> None:
    with FaultServer(then=then) as server:
        project = make_project(
            tmp_path, server.url, cases=2, retries=0, timeout=0.5, api_key_env="A_KEY"
        )
        result = run_with(project, A_KEY="canary-123456")
    expected = sentence.format(url=server.url, root=server.root)
    (note,) = [line for line in result.out.split("\nnote: ") if "trials failed: " in line]
    assert expected in " ".join(note.split())
    assert ("first fix what the notes say" in result.text) is lasting


def test_where_no_key_is_set_that_is_what_a_401_says(tmp_path: Path) -> None:
    with FaultServer(then=status(401, message="who?")) as server:
        result = run_with(make_project(tmp_path, server.url, cases=2))
    assert "401: who? (no key was sent: OPENAI_API_KEY is not set)" in result.text


@pytest.mark.slow
def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path, cases=2)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        project.url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
    project.llmops_yaml()
    nobody = f"no server answers at {project.url}/chat/completions (Connection refused): start it"
    assert nobody in run_with(project).text
    models = {"tiny": {"provider": "replay", "file": "said.jsonl"}}
    project.write("llmops.yaml", json.dumps({"models": models}))
    project.write("said.jsonl", '{"id": "c000", "text": "say 0"}\n')
    no_record = "said.jsonl holds no answer to case 'c001': record one there"
    assert no_record in run_with(project).text


def test_a_model_without_a_price_is_reported_as_unpriced(tmp_path: Path) -> None:
    with FaultServer() as server:
        project = make_project(tmp_path, server.url, cases=2)
        result = project.run("eval")
        assert "2 calls · unpriced" in result.text
        machine = project.eval("--no-cache")
    assert machine.report["cost"] is None
    assert machine.evalset["candidate"]["cost"] is None
