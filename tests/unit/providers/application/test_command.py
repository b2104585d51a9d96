"""Applications that are programs, really run, through the engine."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits
from llmops_cli.core.result import FailureKind, Outcome
from llmops_cli.providers.application import checks as written
from tests.outcomes import completion, failed
from tests.unit.providers.application.applications import ask, model, request

PROGRAM = """\
import json, os, subprocess, sys, time
given = json.load(sys.stdin)
what = given["inputs"].get("what", "")
if what == "document":
    print(json.dumps({"text": json.dumps(given), "ids": ["a"]}))
elif what == "arguments":
    print(json.dumps({"text": json.dumps(sys.argv[1:])}))
elif what == "environment":
    print(json.dumps({"text": ",".join(sorted(os.environ))}))
elif what == "fail":
    sys.stderr.write("x" * 10_000 + "\\nKeyError: 'page' of sk-canary-0123456789\\n")
    sys.exit(3)
elif what == "fail at length":
    sys.stderr.write("x" * 5000 + " sk-canary-0123456789 " + "y" * 290)
    sys.exit(3)
elif what == "killed":
    os.kill(os.getpid(), 9)
elif what == "hang":
    child = subprocess.Popen(["sleep", "60"])
    open("child", "w").write(str(child.pid))
    time.sleep(60)
elif what == "leaves a child":
    child = subprocess.Popen(["sleep", "60"])
    print(json.dumps({"text": str(child.pid)}))
elif what == "flood":
    sys.stdout.write("x" * 20_000_000)
elif what == "nested":
    print(json.dumps({"out": {"answer": "Paris"}, "docs": [{"id": 1, "t": "p"}]}))
else:
    os.write(1, what.encode("utf-8", "surrogateescape"))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(PROGRAM)
    script = folder / "answer"
    script.write_text('#!/bin/sh\necho "{\\"text\\": \\"from a script\\"}"\n')
    script.chmod(0o755)
    (folder / "plain").write_text("not executable\n")
    return tmp_path


RUN = [sys.executable.rpartition("/")[2], "app/main.py"]


def one(root: Path, what: str, *more: str, **options: Any) -> Outcome:
    environ = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SOME_KEY": "sk-canary-0123456789",
        "MODE": "test",
    }
    of = model("command", run=[*RUN, *more], **options)
    (outcome,) = ask(of, request("command", what=what), root=root, environ=environ)
    return outcome


def test_a_program_reads_the_document_and_writes_its_answer(root: Path) -> None:
    answer = completion(one(root, "document"))
    assert json.loads(answer.text or "") == request(what="document").document
    assert answer.ids == ("a",)


def test_no_shell_reads_the_arguments(root: Path) -> None:
    answer = completion(one(root, "arguments", "$(touch ran)", "a b; touch ran"))
    assert json.loads(answer.text or "") == ["$(touch ran)", "a b; touch ran"]
    assert not (root / "ran").exists()


def test_a_program_of_the_project_is_named_by_its_path(root: Path) -> None:
    (outcome,) = ask(model("command", run=["app/answer"]), request(), root=root)
    assert completion(outcome).text == "from a script"


def test_plain_text_is_taken_as_it_is_where_that_is_said(root: Path) -> None:
    assert completion(one(root, "Paris\n", output="text")).text == "Paris"
    assert completion(one(root, "", output="text")).text == ""


def test_paths_find_the_parts_of_an_answer_of_another_shape(root: Path) -> None:
    paths = {"text": "out.answer", "contexts": "docs[].t", "ids": "docs[].id"}
    answer = completion(one(root, "nested", response=paths))
    assert (answer.text, answer.contexts, answer.ids) == ("Paris", ("p",), ("1",))


@pytest.mark.parametrize(
    ("what", "kind", "why"),
    [
        ("fail", FailureKind.SERVER, "the program ended with exit code 3: "),
        ("killed", FailureKind.SERVER, "the program ended with signal 9"),
        ("hang", FailureKind.TIMEOUT, "no whole answer within 1 s"),
        ("flood", FailureKind.TOO_LARGE, "it wrote more than 16,777,216 bytes"),
        ("Paris", FailureKind.BAD_ANSWER, "it is not JSON but 'Paris' (`output: text` takes it"),
        ('{"text": NaN}', FailureKind.BAD_ANSWER, "it is not JSON"),
        ("[" * 100_000, FailureKind.BAD_ANSWER, "it is not JSON"),
        ("\udcff", FailureKind.BAD_ANSWER, "it is not UTF-8"),
        ("", FailureKind.BAD_ANSWER, "it is not JSON but ''"),
    ],
)
def test_trouble_is_a_failure_with_its_cause(
    what: str, kind: FailureKind, why: str, root: Path
) -> None:
    limits = Limits(timeout=1.0 if what == "hang" else 10.0, retries=0, max_concurrency=1)
    failure = failed(one(root, what, limits=limits))
    assert (failure.kind, why in failure.message) == (kind, True), failure.message
    assert len(failure.message) < 500


def test_the_end_of_standard_error_is_reported_without_secrets(root: Path) -> None:
    cut = failed(one(root, "fail at length")).message
    assert (cut[-295:], "56789" in cut) == ("ted] " + "y" * 290, False)
    assert failed(one(root, "fail")).message.endswith("KeyError: 'page' of [redacted]")


@pytest.mark.parametrize("what", ["hang", "leaves a child"])
def test_all_that_a_program_started_ends_with_it(what: str, root: Path) -> None:
    limits = Limits(timeout=1.0 if what == "hang" else 10.0, retries=0, max_concurrency=1)
    outcome = one(root, what, limits=limits)
    pid = (root / "child").read_text() if what == "hang" else completion(outcome).text
    status = Path(f"/proc/{pid}/status")
    until = time.monotonic() + 5
    while _alive(status) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _alive(status)


def _alive(status: Path) -> bool:
    return status.exists() and "zombie" not in status.read_text()


def test_the_program_sees_a_short_list_of_the_environment_and_what_is_named(root: Path) -> None:
    seen = (completion(one(root, "environment", env=["MODE"])).text or "").split(",")
    assert "MODE" in seen
    assert "SOME_KEY" not in seen


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"run": ["app/answer", "x"]}, None),
        ({"run": ["some-program"]}, None),
        ({"run": []}, "'run' names no program"),
        ({"run": ["app/none"]}, "app/none is not a file of the project"),
        ({"run": ["app/plain"]}, "app/plain is not a program"),
        ({"run": ["../bin/sh"]}, "../bin/sh is outside the project"),
        ({"run": ["x"], "response": {"text": "a[["}}, "'response.text' is no JMESPath: "),
        ({"run": ["x"], "response": {"text": "(" * 900}}, "'response.text' is nested too deeply"),
        ({"run": ["x"], "response": {"text": "a" * 3000}}, "'response.text' is longer than 2,000"),
        ({"run": ["x"], "response": {"text": ""}}, "'response.text' is no JMESPath: "),
        ({"run": ["x"], "output": "text", "response": {"text": "a"}}, "'response' finds its way"),
        ({"run": ["x"], "base_url": "http://x"}, "'base_url' means nothing to command"),
    ],
)
def test_what_cannot_work_is_seen_when_the_project_is_read(
    options: dict[str, Any], wrong: str | None, root: Path
) -> None:
    said = written.check_command(
        {"provider": "command", **options}, PluginContext(root=root, environ={})
    )
    assert said is None if wrong is None else str(said).startswith(wrong), said
