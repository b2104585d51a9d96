"""A canary key never appears in anything that the program writes or says, whatever a server sends.

The server knows every key (they are sent to it) and throws them back: in answers, tool calls,
model names, errors, redirects and cut-off bodies, raw and in the forms in which keys travel.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest

from tests.e2e.test_exit_codes import PROVIDER, plug_in
from tests.projects import Project, Result, make_cases, make_project
from tests.servers.faulty import (
    Behaviour,
    Exchange,
    FaultServer,
    answer,
    echo,
    html,
    redirect,
    status,
)

USUAL = "sk-canary/usual+000000000001"
UNUSUAL = "canary-unusual-000000000002"
HEADER = "canary-header-00 0000000003"
STRANGER = "canary-stranger-000000000004"
PASSWORD = "canary-password-000000000005"
LINES = "canary-line-000000000006\ncanary-line-000000000007"

ENVIRONMENT = {
    "OPENAI_API_KEY": USUAL,
    "TEAM_LLM": UNUSUAL,
    "GATEWAY_WORD": HEADER,
    "GITHUB_TOKEN": STRANGER,
    "NO_PROXY": "127.0.0.1",
    "HTTPS_PROXY": f"http://team:{PASSWORD}@127.0.0.1:9",
    "SIGNING_KEY": LINES,
}
CANARIES = (USUAL, UNUSUAL, HEADER, STRANGER, PASSWORD, *LINES.splitlines())


def forms(secret: str) -> set[bytes]:
    """The ways in which `secret` could be found in a file."""
    raw = secret.encode()
    whole = base64.b64encode(raw).rstrip(b"=")
    return {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), whole[:-2]}


NEEDLES = frozenset(form for secret in CANARIES for form in forms(secret))
EVERY = " ".join([*CANARIES, *(quote(canary, safe="") for canary in CANARIES),
                  *(base64.b64encode(key.encode()).decode() for key in CANARIES)])  # fmt: skip


def indiscreet(body: Mapping[str, Any]) -> str:
    """The right answer with every key after it; a worse one under another prompt."""
    worse = body["messages"][0]["content"] == "Answer worse."
    return f"{'no' if worse and echo(body).endswith('3') else echo(body)} {EVERY}"


def loud_answer(exchange: Exchange) -> bytes:
    called = {"name": f"f {USUAL}", "arguments": json.dumps({UNUSUAL: [HEADER, EVERY]})}
    message = {
        "content": exchange.server.reply(exchange.body),
        "tool_calls": [{"id": "1", "type": "function", "function": called}],
    }
    choice = {"message": message, "finish_reason": f"stop {HEADER}"}
    return exchange.answer(
        choices=[choice], model=f"tiny {UNUSUAL}", system_fingerprint=f"fp {EVERY}"
    )


def loud() -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        sent = exchange.headers
        assert sent["authorization"] in {f"Bearer {USUAL}", f"Bearer {UNUSUAL}"}
        exchange.send(loud_answer(exchange), headers={"x-key": USUAL})

    return behave


def project_with_keys(root: Path, url: str) -> Project:
    """Two models, keys under usual and unusual names, a header from the environment."""
    project = make_project(root, url, cases=6, retries=0, headers={"X-Gate": "env:GATEWAY_WORD"})
    project.models = {
        "second": {
            "provider": "openai",
            "model": "tiny2",
            "base_url": url,
            "api_key_env": "TEAM_LLM",
            "retries": 0,
        }
    }
    project.llmops_yaml()
    project.evalset(scorers=[{"starts_with": "{{ expected }}"}, {"exact": "x"}], gate=LENIENT)
    return project


LENIENT = {"rules": ["critical", {"no_worse": {"metric": "starts_with"}}]}


def places(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below `root` with its bytes; what is packed, unpacked too."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield str(path.relative_to(root)), content
            if content.startswith(b"\x1f\x8b"):
                yield f"{path.relative_to(root)} unpacked", gzip.decompress(content)
            if path.suffix == ".parquet":
                cells = pd.read_parquet(path).to_numpy().ravel()
                yield f"{path.relative_to(root)} unpacked", "\n".join(map(str, cells)).encode()


def leaks(roots: list[Path], results: Mapping[str, Result]) -> list[tuple[str, str]]:
    module = [(name, content) for root in roots for name, content in places(root)]
    module += [(f"stdout of {name}", result.out.encode()) for name, result in results.items()]
    module += [(f"stderr of {name}", result.err.encode()) for name, result in results.items()]
    assert len(module) > len(results)
    return [
        (name, needle.decode())
        for name, content in module
        for needle in NEEDLES
        if needle in content
    ]


COMMANDS = (
    "check",
    "models",
    "render support",
    "eval --dry-run",
    "eval --out run.jsonl --junit junit.xml --markdown page.md --verbose --csv run.csv",
    "eval --json --out run.jsonl.gz --parquet run.parquet",
    "eval --model second",
    "compare tiny second --verbose",
    "release support",
    "measure support@v1 --markdown measured.md --out measured.jsonl --verbose",
    "promote support@v1 --initial -m first",
    "status",
)
AFTER_A_CHANGE = (
    "eval --verbose --markdown second.md",
    "eval --json",
    "release support",
    "measure support@v2",
    "promote support@v2 --override -m second",
    "report --verbose --junit report.xml",
    "report run.jsonl --json --csv kept.csv --parquet kept.parquet",
    "history support",
    "history support --json",
    "diff support@v1 support@v2",
    "verify production",
    "bundle production --out bundle.json",
    "status --json",
    "models --json",
    "schema project",
    "rollback support@production -m back",
    "gc",
)


def test_no_key_is_in_any_artefact_of_any_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {**ENVIRONMENT, "HOME": str(home)}
    results: dict[str, Result] = {}
    with FaultServer(then=loud(), reply=indiscreet) as server:
        project = project_with_keys(tmp_path / "project", server.url)
        for command in COMMANDS:
            results[command] = project.run(*command.split(), env=env)
        project.prompt(system="Answer worse.")
        for command in AFTER_A_CHANGE:
            results[f"{command}, changed"] = project.run(*command.split(), env=env)
        assert server.requests > 20
    assert {name: result.text for name, result in results.items() if result.code != 0} == {}
    assert (tmp_path / "project/run.jsonl").exists()
    assert (tmp_path / "project/bundle.json").exists()
    assert any("[redacted]" in content.decode("utf-8", "replace")
               for name, content in places(tmp_path) if name.endswith(".sqlite3"))  # fmt: skip
    assert pd.read_parquet(tmp_path / "project/kept.parquet")["text"].str.contains("redacted").all()
    assert leaks([tmp_path], results) == []


def test_a_token_that_is_no_utf8_changes_no_exit_code(tmp_path: Path) -> None:
    with FaultServer() as server:
        result = make_project(tmp_path, server.url, cases=2).run(
            "eval", env={"DEPLOY_TOKEN": os.fsdecode(b"\xffcanary-bytes-000008")}
        )
    assert (result.code, "Traceback" in result.err) == (0, False), result.text


@pytest.mark.parametrize(
    "then",
    [
        status(401, message=f"wrong key {EVERY}"),
        status(400, body=f"<p>{EVERY}</p>".encode()),
        status(429, message=EVERY, retry_after="0"),
        status(500, body=json.dumps({"error": {"message": EVERY, "type": USUAL}}).encode()),
        redirect(f"https://elsewhere.example/?key={quote(USUAL, safe='')}&word={UNUSUAL}"),
        html(),
        answer(choices=[], model=EVERY),
        answer(error={"message": EVERY, "code": UNUSUAL}),
    ],
    ids=["401", "400", "429", "500", "redirect", "html", "no choices", "200 with an error"],
)
def test_no_key_is_in_a_failure_message(tmp_path: Path, then: Behaviour) -> None:
    results: dict[str, Result] = {}
    with FaultServer(then=then) as server:
        project = project_with_keys(tmp_path / "project", server.url)
        for command in (
            "eval --out run.jsonl --junit junit.xml --markdown page.md --verbose",
            "eval --json --model second",
            "report --json",
        ):
            results[command] = project.run(*command.split(), env=ENVIRONMENT)
            assert results[command].code == 3
    assert leaks([tmp_path], results) == []


def test_no_key_is_in_the_log_of_a_crash_whatever_its_variable_is_called(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    project = Project(root=tmp_path / "project")
    crash = PROVIDER.replace(
        'context.environ["TEAM_API_KEY"]', '" ".join(context.environ[name] for name in NAMES)'
    )
    names = [name for name in ENVIRONMENT if name != "NO_PROXY"]
    module = plug_in(project, f"NAMES = {names}\n{crash}")
    broken = {
        "provider": "broken",
        "api_key_env": "TEAM_LLM",
        "headers": {"X-Gate": "env:GATEWAY_WORD"},
    }
    project.write("llmops.yaml", json.dumps({"models": {"tiny": broken}}))
    project.prompt()
    project.cases(make_cases(2))
    project.evalset()
    result = project.run("eval", env={**ENVIRONMENT, **module, "HOME": str(home)})
    assert result.code == 70
    logs = [content for _, content in places(home)]
    assert any(b"ZeroDivisionError" in content for content in logs)
    assert leaks([home, project.root], {"eval": result}) == []
