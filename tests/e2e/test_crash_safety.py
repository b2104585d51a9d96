"""Killed at any moment, a run that is started again ends as if nothing had happened.

A model server that is real but slow, runs that are real processes, and signals that cannot be
caught. What a killed run had acknowledged is in its store; how often a question reached the
server is counted there.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.projects import (
    Project,
    make_project,
    wait_until,
    wait_until_asked,
    wrong_every_fifth,
)
from tests.servers.faulty import FaultServer, answer, echo

KILLS = 200
AT_ONCE = 4
"""Runs beside each other, each in a project of its own."""
IN_FLIGHT = 4
"""Calls of one run at any moment."""
LONGEST = 0.15
"""Seconds that a run is let live once it calls, or, every fourth time, once it starts."""


class Questions:
    """A reply that counts how often each question was answered."""

    def __init__(self) -> None:
        self.requested: Counter[tuple[str, str]] = Counter()
        """By system message (whose project) and question."""

        self.calls: Counter[str] = Counter()
        """By system message."""

    def __call__(self, body: Mapping[str, Any]) -> str:
        self.requested[body["messages"][0]["content"], echo(body)] += 1
        self.calls[body["messages"][0]["content"]] += 1
        return wrong_every_fifth(body)


def store(project: Project) -> sqlite3.Connection:
    return sqlite3.connect(project.root / ".llmops/store/results.sqlite3", timeout=30)


def acknowledged(project: Project) -> set[tuple[bytes, str, int]]:
    """The keys of every completion that the store holds."""
    if not (project.root / ".llmops/store/results.sqlite3").exists():
        return set()
    with closing(store(project)) as database:
        try:
            return set(database.execute("SELECT request, purpose, n FROM completions"))
        except sqlite3.OperationalError:  # killed before the first table was made
            return set()


def sound(project: Project) -> bool:
    with closing(store(project)) as database:
        (answered,) = database.execute("PRAGMA integrity_check").fetchone()
    return bool(answered == "ok")


FORKS = """
import os, sys
import llmops_cli.commands.evaluate, llmops_cli.render.console, llmops_cli.render.progress
import llmops_cli.providers.openai.model, aiohttp
from llmops_cli.cli.main import run

for line in sys.stdin:
    process = os.fork()
    if process == 0:
        for stream in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        os._exit(run(["-C", line.strip(), "eval"]))
    print(process, flush=True)
    sys.stdin.readline()
    os.waitpid(process, 0)
    print("gone", flush=True)
"""
"""Starts runs that need not import anything: two hundred of them within seconds."""


class Victim:
    """One project whose runs are killed again and again."""

    def __init__(
        self, root: Path, url: str, questions: Questions, *, cases: int, seed: int
    ) -> None:
        self._chance = random.Random(seed)
        self._questions = questions
        self.name = f"project {seed}"
        self.project = make_project(root, url, cases=cases, max_concurrency=IN_FLIGHT)
        self.project.prompt(system=self.name)
        self.kills = 0
        self.lost: list[str] = []

    def suffer(self, kills: int) -> None:
        """Be killed so often, at random moments, and forget nothing."""
        with subprocess.Popen(
            [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as forks:
            assert forks.stdin is not None
            assert forks.stdout is not None
            for _ in range(kills):
                before = acknowledged(self.project)
                calls = self._questions.calls[self.name]
                print(self.project.root, file=forks.stdin, flush=True)
                process = int(forks.stdout.readline())
                if self.kills % 4:
                    self._wait_for_a_call(calls)
                time.sleep(self._chance.uniform(0.0, LONGEST))
                os.kill(process, signal.SIGKILL)
                print("killed", file=forks.stdin, flush=True)
                assert forks.stdout.readline() == "gone\n"
                self.kills += 1
                gone = before - acknowledged(self.project)
                if gone:
                    self.lost.append(f"kill {self.kills} lost {len(gone)} completions")
            forks.stdin.close()

    def _wait_for_a_call(self, calls: int) -> None:
        deadline = time.monotonic() + 10
        while self._questions.calls[self.name] == calls and time.monotonic() < deadline:
            time.sleep(0.002)


@pytest.mark.slow
def test_killed_at_200_random_moments_nothing_is_lost_and_nothing_is_paid_twice(
    tmp_path: Path,
) -> None:
    cases = 800
    questions = Questions()
    with FaultServer(then=answer(delay=0.03), reply=questions) as server:
        victims = [
            Victim(tmp_path / str(seed), server.url, questions, cases=cases, seed=seed)
            for seed in range(AT_ONCE)
        ]
        threads = [
            threading.Thread(target=victim.suffer, args=(KILLS // AT_ONCE,)) for victim in victims
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = [len(acknowledged(victim.project)) for victim in victims]
        for victim in victims:
            # the rest at full speed: what is asked here is right and what is right is paid once
            victim.project.model = {"max_concurrency": 64}
            victim.project.llmops_yaml()
        ends = [victim.project.start("eval", "--json") for victim in victims]
        ended = [process.wait() for process in ends]
    assert sum(victim.kills for victim in victims) == KILLS
    assert [victim.lost for victim in victims] == [[]] * AT_ONCE
    assert sum(stored) > KILLS  # the kills did hit runs that were at work
    for victim, had, ran in zip(victims, stored, ended, strict=True):
        assert ran.report["calls"] == cases - had
        assert ran.evalset["candidate"]["measured"] == cases
        passed = ran.metric()
        assert (passed["candidate"], passed["candidate_n"]) == (0.8, cases)
        counts = [questions.requested[victim.name, f"say {at}"] for at in range(cases)]
        assert min(counts) == 1
        # a kill loses at most the calls that were in flight, and those alone are made again
        assert sum(counts) - cases <= victim.kills * IN_FLIGHT
        assert sound(victim.project)
    assert len({str(ran.verdict) for ran in ended}) == 1


def test_sigterm_then_sigkill_as_a_ci_runner_sends_them_loses_nothing(tmp_path: Path) -> None:
    with FaultServer(then=answer(delay=0.05)) as server:
        project = make_project(tmp_path, server.url, cases=100, max_concurrency=IN_FLIGHT)
        process = project.start("eval", "--json")
        wait_until_asked(server, 30, process)
        process.send(signal.SIGINT)
        time.sleep(0.02)
        process.send(signal.SIGTERM)
        time.sleep(0.02)
        process.send(signal.SIGKILL)
        process.wait()
        stored = len(acknowledged(project))
        assert stored >= 30 - IN_FLIGHT
        ran = project.eval()
    assert ran.report["calls"] == 100 - stored
    assert ran.evalset["candidate"]["measured"] == 100


def test_two_processes_on_one_store_at_once_agree_and_lose_nothing(tmp_path: Path) -> None:
    with FaultServer(then=answer(delay=0.01), reply=wrong_every_fifth) as server:
        project = make_project(tmp_path, server.url, cases=200, max_concurrency=8)
        both = [project.start("eval", "--json") for _ in range(2)]
        ran = [process.wait() for process in both]
        seen = server.requests
        again = project.eval()
        assert server.requests == seen
    assert [result.code for result in ran] == [0, 0]
    for result in (*ran, again):
        passed = result.metric()
        assert passed["candidate"] == 0.8
        assert result.evalset["candidate"]["failures"] == {}
    assert sound(project)


def test_a_killed_measure_writes_no_evidence_and_can_be_run_again(tmp_path: Path) -> None:
    with FaultServer(then=answer(delay=0.01)) as server:
        project = make_project(tmp_path, server.url, cases=40, max_concurrency=IN_FLIGHT)
        assert project.run("release").code == 0
        process = project.start("measure", "support@v1")
        wait_until_asked(server, 60, process)
        process.send(signal.SIGKILL)
        process.wait()
        evidence = project.root / ".llmops/evidence"
        assert list(evidence.rglob("*.json")) == []
        refused = project.run("promote", "support@v1", "--initial", "-m", "why")
        assert refused.code == 3
        assert project.run("measure", "support@v1").code == 0
        assert server.requests <= 160 + IN_FLIGHT
        assert project.run("promote", "support@v1", "--initial", "-m", "why").code == 0


@pytest.mark.slow
def test_a_scorer_that_hangs_ends_with_a_killed_run(tmp_path: Path) -> None:
    hangs = (
        "import os, pathlib, time\n"
        "def hangs(output):\n"
        "    pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "    while True:\n"
        "        time.sleep(0.1)\n"
    )
    with FaultServer() as server:
        project = make_project(tmp_path, server.url, cases=1)
        project.settings = {"trust": ["scorers/own.py"]}
        project.llmops_yaml()
        project.write("scorers/own.py", hangs)
        project.evalset(scorers=[{"python": {"call": "scorers/own.py:hangs", "timeout": 600}}])
        process, pid = project.start("eval"), tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text())
        process.send(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists())
