"""Real llmops projects in a folder of their own, and the real program run in them.

    project = a_project(tmp_path, server.url, cases=20)
    ran = project.run("eval", "--json")             # in this process
    assert ran.code == 0
    assert ran.report["calls"] == 20
    process = project.start("eval")                 # in a process of its own, to be killed …

The prompt sends a case's question as its user turn, and the test server answers with the last
user turn: a case passes while its `expected` is its question (or the server replies otherwise).
"""

from __future__ import annotations

import ctypes
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import in_process
from tests.servers.faulty import Server, echo

LLMOPS = (sys.executable, "-m", "llmops_cli")
TIMEOUT = 60.0
"""Seconds after which a program that hangs is a failed test."""

PROMPT = """\
model: {model}
modelParameters: {{temperature: {temperature}}}
inputs:
  question: {{type: string}}
messages:
  - role: system
    content: {system}
  - role: user
    content: "{user}"
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A program that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def report(self) -> Any:
        """The report that `--json` printed."""
        return self.document["report"]

    @property
    def prompt(self) -> Any:
        """The only prompt of the report."""
        (prompt,) = self.report["prompts"]
        return prompt

    @property
    def evalset(self) -> Any:
        """The only evalset of the report."""
        (evalset,) = self.prompt["evalsets"]
        return evalset

    @property
    def verdict(self) -> Any:
        """The verdict on the only prompt."""
        return self.prompt["verdict"]

    def metric(self, label: str = "pass") -> Any:
        """Return a metric of the only evalset."""
        (metric,) = (metric for metric in self.evalset["metrics"] if metric["label"] == label)
        return metric

    def finding(self, rule: str) -> Any:
        """Return the finding of a rule on the only prompt."""
        (finding,) = (item for item in self.verdict["findings"] if item["rule"] == rule)
        return finding

    @property
    def decision(self) -> Any:
        """`PASS`, `FAIL`, `INCOMPLETE` or `INCONCLUSIVE`."""
        return self.verdict["decision"]

    @property
    def text(self) -> str:
        """All it said, with every run of white space as one blank."""
        return " ".join(f"{self.out} {self.err}".split())


class Process:
    """A program that runs."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        *,
        before: Callable[[], None] | None = None,
        stdout: int = subprocess.PIPE,
    ) -> None:
        """`before` runs in the new process ahead of the program: limits, dropped rights."""
        self._began = time.monotonic()
        self._popen = subprocess.Popen(
            arguments,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            preexec_fn=before,  # noqa: PLW1509 - it calls the kernel and nothing else
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def send(self, which: signal.Signals) -> None:
        self._popen.send_signal(which)

    def wait(self, timeout: float = TIMEOUT) -> Result:
        """Wait for its end."""
        try:
            out, err = self._popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            out, err = self._popen.communicate()
            message = f"still running after {timeout:g} s\n{out}\n{err}"
            raise AssertionError(message) from None
        seconds = time.monotonic() - self._began
        return Result(code=self._popen.returncode, out=out or "", err=err, seconds=seconds)


@dataclass(kw_only=True)
class Project:
    """A project's folder and the ways to change it."""

    root: Path
    url: str = "http://127.0.0.1:9/v1"
    name: str = "support"
    model: dict[str, Any] = field(default_factory=dict)
    """The model's settings beside provider, name and URL."""
    models: dict[str, Any] = field(default_factory=dict)
    """Further models, by alias."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of llmops.yaml."""

    @property
    def store(self) -> Path:
        """The folder of the store where no variable says otherwise."""
        return self.root / ".llmops" / "store"

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def llmops_yaml(self, alias: str = "tiny") -> None:
        """Writes llmops.yaml. JSON is YAML."""
        model = {"provider": "openai", "model": "tiny", "base_url": self.url, **self.model}
        self.write(
            "llmops.yaml",
            json.dumps({"models": {alias: model, **self.models}, **self.settings}, indent=2),
        )

    def prompt(
        self,
        *,
        system: str = "Answer.",
        user: str = "{{ question }}",
        model: str = "tiny",
        temperature: float = 0,
    ) -> None:
        text = PROMPT.format(
            system=json.dumps(system), user=user, model=model, temperature=temperature
        )
        self.write(f"prompts/{self.name}.prompt.yml", text)

    def cases(self, cases: Iterable[Mapping[str, Any]]) -> None:
        rows = "".join(json.dumps(case) + "\n" for case in cases)
        self.write(f"evalsets/{self.name}.jsonl", rows)

    def evalset(self, *, scorers: list[Any] | None = None, **more: Any) -> None:
        content = {
            "prompt": self.name,
            "cases": f"{self.name}.jsonl",
            "scorers": [{"exact": "{{ expected }}"}] if scorers is None else scorers,
            **more,
        }
        self.write(f"evalsets/{self.name}.yaml", json.dumps(content, indent=2))

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **how: Any) -> Process:
        """The program, running; `env` is added to this process's environment."""
        return Process([*LLMOPS, *arguments], self.root, {**os.environ, **(env or {})}, **how)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run the program to its end, in this process where it cannot tell the difference."""
        if not in_process.possible(env or {}):
            return self.run_alone(*arguments, env=env)
        code, out, err, seconds = in_process.run_in_process(
            arguments, self.root, env or {}, timeout=TIMEOUT
        )
        return Result(code=code, out=out, err=err, seconds=seconds)

    def run_alone(
        self, *arguments: str, env: Mapping[str, str] | None = None, **how: Any
    ) -> Result:
        """Run the program to its end, in a process of its own: start-up, limits, pipes."""
        return self.start(*arguments, env=env, **how).wait()

    def eval(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """`llmops eval --json …`."""
        return self.run("eval", "--json", *arguments, env=env)

    def promote_v1(self) -> None:
        """Release the working prompt as v1, measure it, and let production run it."""
        for arguments in (
            ["release", self.name],
            ["measure", f"{self.name}@v1"],
            ["promote", f"{self.name}@v1", "--initial", "-m", "the first"],
        ):
            result = self.run(*arguments)
            assert result.code == 0, f"{arguments}: {result.text}"


def run_on_terminal(folder: Path, *arguments: str, typed: bytes = b"") -> tuple[int, str]:
    """Run the program on a terminal where `typed` is typed: its exit code and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*LLMOPS, *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with suppress(OSError):  # how Linux says that the other side of a terminal is gone
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    return process.wait(TIMEOUT), shown.decode()


def llmops(folder: Path, *arguments: str, **environ: str) -> Result:
    """Run llmops in `folder`."""
    return Project(root=folder).run(*arguments, env=environ)


def wait_until(condition: Callable[[], object], *, within: float = 30) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def wait_until_asked(server: Server, requests: int, process: Process) -> None:
    """Wait until the server has seen so many requests of a process that still runs."""

    def enough() -> bool:
        assert process.running or server.requests >= requests, process.wait().text
        return server.requests >= requests

    wait_until(enough)


def count_stored(project: Project) -> int:
    """Return the number of completions in the store."""
    with closing(sqlite3.connect(project.store / "results.sqlite3")) as database:
        (count,) = database.execute("SELECT count(*) FROM completions").fetchone()
    return int(count)


def wrong_every_fifth(body: Mapping[str, Any]) -> str:
    """Reply with the last user turn, or wrongly where it ends in 0 or 5: 80% are right."""
    text = echo(body)
    return "something else" if text[-1] in "05" else text


def make_cases(count: int) -> list[dict[str, Any]]:
    """Cases that pass where the question is echoed."""
    return [
        {"id": f"c{at:03}", "inputs": {"question": f"say {at}"}, "expected": f"say {at}"}
        for at in range(count)
    ]


def make_project(
    root: Path, url: str | None = None, *, cases: int = 20, **settings: Any
) -> Project:
    """A prompt on an evalset of `cases` cases, answered by the server at `url`.

    `settings` are keys of the model in llmops.yaml (`retries=0`).
    """
    project = Project(root=root, model=settings)
    if url is not None:
        project.url = url
    project.llmops_yaml()
    project.prompt()
    project.cases(make_cases(cases))
    project.evalset()
    return project


def without_rights() -> None:
    """Root reads and writes everything; give that up, for what is started now alone."""
    drop_from_bounding_set = 24
    kernel = ctypes.CDLL(None)
    for capability in range(64):
        kernel.prctl(drop_from_bounding_set, capability, 0, 0, 0)
