"""The example application as a process, against a real server: it sends what was measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.projects import llmops
from tests.servers.faulty import FaultServer, Server

QUESTION = "How long is a gift card valid?"


def copy_of_the_example(folder: Path) -> Path:
    """What is committed of the example, and nothing else."""
    source = Path(__file__).parents[2] / "examples" / "application"
    ignored = shutil.ignore_patterns("store", "__pycache__")
    return Path(shutil.copytree(source, folder / "application", ignore=ignored))


@pytest.fixture
def application(tmp_path: Path) -> Path:
    return copy_of_the_example(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with FaultServer(reply=lambda _: "For three years.") as running:
        yield running


@pytest.fixture(scope="module")
def from_registry(
    tmp_path_factory: pytest.TempPathFactory, server: Server
) -> tuple[str, dict[str, Any]]:
    """What the bot logged and sent with the registry as it is committed."""
    return ask_bot(copy_of_the_example(tmp_path_factory.mktemp("example")), server)


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def ask_bot(folder: Path, server: Server, **environ: str) -> tuple[str, dict[str, Any]]:
    """What the bot logged for one question, and what it sent."""
    address = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}
    done = run(folder, "support_bot.py", QUESTION, **address, **environ)
    assert (done.returncode, done.stdout) == (0, "For three years.\n"), done.stderr
    assert server.last is not None
    return done.stderr, server.last.body


def test_the_bot_sends_what_eval_measured_and_says_which_version_answers(
    application: Path, from_registry: tuple[str, dict[str, Any]]
) -> None:
    log, sent = from_registry
    passages = re.findall(r"^- (.*)$", sent["messages"][0]["content"], flags=re.MULTILINE)
    assert len(passages) == 2
    options = ["--input", f"question={QUESTION}", "--input", f"passages={json.dumps(passages)}"]
    shown = llmops(application, "render", "support@production", *options, "--json")
    (request,) = shown.document
    assert sent == {
        "model": request["model"],
        "messages": request["messages"],
        **request["parameters"],
    }
    target = json.loads((application / ".llmops/versions/support@v2/version.json").read_text())
    assert f"answering with support@v2 ({target['target']})" in log


def test_a_bundle_is_all_that_the_bot_needs_and_a_pin_takes_it_back_without_a_deploy(
    application: Path, server: Server, from_registry: tuple[str, dict[str, Any]]
) -> None:
    log, sent = ask_bot(application, server, LLMOPS_PIN="support=v1")
    assert "answering with support@v1" in log
    assert "colleague" not in sent["messages"][0]["content"]
    assert llmops(application, "bundle", "production", "--out", "prompts.json").code == 0
    shutil.rmtree(application / ".llmops")
    log, sent = ask_bot(application, server, LLMOPS_BUNDLE="prompts.json")
    assert "answering with support@v2" in log
    assert sent == from_registry[1]
    log, _ = ask_bot(application, server, LLMOPS_BUNDLE="prompts.json", LLMOPS_PIN="support=v1")
    assert "answering with support@v1" in log


def test_a_version_that_was_touched_is_not_sent(application: Path, server: Server) -> None:
    before = server.requests
    path = application / ".llmops/versions/support@v2/version.json"
    path.write_bytes(path.read_bytes().replace(b"colleague", b"collegue."))
    done = run(application, "support_bot.py", QUESTION, OPENAI_API_KEY="none")
    assert done.returncode != 0
    assert "IntegrityBroken" in done.stderr
    assert server.requests == before


def test_what_the_example_runs_can_be_proven(application: Path) -> None:
    assert llmops(application, "check").code == 0
    assert llmops(application, "verify", "production", "--strict").code == 0
    status = llmops(application, "status", "--json").document
    (row,) = status
    assert (row["runs"], row["evidence"], row["working_copy"]) == ("v2", "PASS", "is v2")
    evaluated = llmops(application, "eval", "--baseline", "support@v1", "--json")
    (prompt,) = evaluated.report["prompts"]
    assert prompt["verdict"]["decision"] == "PASS"


@pytest.mark.slow
def test_the_bots_own_tests_pass(application: Path) -> None:
    done = run(application, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "tests")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
