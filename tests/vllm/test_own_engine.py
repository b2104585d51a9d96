"""llmops starts vLLM for a command: killed itself, robbed of its engine, and left in peace.

One evalset in three runs, each with an engine of its own: what one run was answered, the next does
not ask again.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from tests.projects import Process, Project, Result, wait_until
from tests.vllm.conftest import ARGUMENTS, STARTING, Local
from tests.vllm.processes import all_gone, below, peers

pytestmark = pytest.mark.needs("vllm")

CASES = 60
NOWHERE = "http://127.0.0.1:9"
PROXIES = {f"{name}_proxy": NOWHERE for name in ("http", "https", "all", "HTTP", "HTTPS", "ALL")}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of a run."""

    result: Result
    engine: dict[int, str]
    """The processes of its engine, with their commands."""
    gone: bool
    """Whether they ended with it."""
    stored: int
    """Answers in the store afterwards."""
    peers: frozenset[IPv4Address] = frozenset()


@pytest.fixture(scope="module")
def project(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two prompts on one engine: the adapter, which answers by default, and the model itself."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "models").symlink_to(local.models)
    built = Project(root=folder)
    base = {
        "provider": "vllm", "model": "models/model", "args": ARGUMENTS, "max_concurrency": 2,
        "lora": {"tuned": "models/adapter"}, "modelParameters": {"temperature": 0, "maxTokens": 24},
    }  # fmt: skip
    built.settings = {"models": {"tuned": base, "base": {**base, "served_name": "models/model"}}}
    built.llmops_yaml()
    for name in ("tuned", "base"):
        built.name = name
        built.prompt(model=name)
    built.cases([{"id": f"c{at}", "inputs": {"question": f"say {at}"}} for at in range(CASES // 2)])
    built.evalset(scorers=[{"length": {"max": 4000}}], prompt=["base", "tuned"], cases="base.jsonl")
    return built


@pytest.fixture(scope="module")
def killed(project: Project, local: Local) -> Told:
    """`kill -9` of llmops while it asks."""
    running = project.start("eval", env=local.env)
    engine = _engine_of(project, running, more_than=2)
    running.send(signal.SIGKILL)
    return Told(result=running.wait(), engine=engine, gone=all_gone(engine), stored=stored(project))


@pytest.fixture(scope="module")
def robbed(project: Project, local: Local, killed: Told) -> Told:
    """`kill -9` of the engine while it is asked."""
    running = project.start("eval", env=local.env)
    engine = _engine_of(project, running, more_than=killed.stored + 2)
    server = next(pid for pid, command in engine.items() if "vllm serve" in command
                  and "guard.py" not in command)  # fmt: skip
    os.kill(server, signal.SIGKILL)
    return Told(
        result=running.wait(90), engine=engine, gone=all_gone(engine), stored=stored(project)
    )


@pytest.fixture(scope="module")
def whole(project: Project, local: Local, robbed: Told) -> Told:
    """To the end, with every proxy of the environment pointing nowhere."""
    running = project.start("eval", "--json", env={**local.env, **PROXIES})
    engine: dict[int, str] = {}
    seen: set[IPv4Address] = set()
    until = time.monotonic() + STARTING
    while running.running and time.monotonic() < until:
        # Answers are stored together: the engine may be gone before the first is seen in the store.
        engine |= {pid: command for pid, command in below(running.pid).items() if command}
        seen |= set(peers(engine))
        time.sleep(0.05)
    return Told(
        result=running.wait(90),
        engine=engine,
        gone=all_gone(engine, 1),
        stored=stored(project),
        peers=frozenset(seen),
    )


def test_no_process_of_a_real_engine_is_left_when_llmops_is_killed(killed: Told) -> None:
    assert len(killed.engine) >= 4  # the guard, the server, its engine and its worker
    assert killed.gone
    assert killed.result.code == -signal.SIGKILL


def test_a_real_engine_that_is_killed_makes_the_run_incomplete_and_leaves_no_process(
    killed: Told, robbed: Told
) -> None:
    assert robbed.result.code == 3
    assert "ended while it answered: killed by SIGKILL" in robbed.result.text
    assert ".llmops/store/vllm-models-model-" in robbed.result.text
    assert robbed.gone
    assert killed.stored < robbed.stored < CASES


def test_the_next_run_asks_a_real_engine_only_what_is_missing(robbed: Told, whole: Told) -> None:
    assert whole.result.code == 0
    assert whole.result.report["calls"] == CASES - robbed.stored
    assert whole.stored == CASES
    assert whole.gone


def test_a_run_on_a_local_model_needs_no_proxy_and_its_engine_knows_this_machine_only(
    whole: Told,
) -> None:
    assert whole.peers
    assert {peer for peer in whole.peers if not peer.is_loopback} == set()


def test_an_adapter_answers_otherwise_than_its_model_from_the_same_engine(
    project: Project, whole: Told
) -> None:
    logs = list((project.root / ".llmops/store").glob("vllm-models-model-*.log"))
    assert len(logs) == 3  # one for each run, whichever prompts it asked
    base, tuned = (texts(project, name) for name in ("base", "tuned"))
    assert len(base) == len(tuned) == CASES // 2
    assert len(set(base) & set(tuned)) < len(set(base)) / 2


def texts(project: Project, prompt: str) -> list[str]:
    """What is held of a prompt's answers, of every case one."""
    file = project.root / f"{prompt}.jsonl"
    assert project.run("eval", prompt, "--offline", "--out", str(file)).code == 0
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    values = [line["value"] for line in lines if line["kind"] == "completion"]
    return [value["completion"]["text"] for value in values]


def stored(project: Project) -> int:
    """Answers in the store."""
    store = project.root / ".llmops/store/results.sqlite3"
    if not store.exists():
        return 0
    with closing(sqlite3.connect(store, timeout=30)) as database:
        try:
            (count,) = database.execute("SELECT count(*) FROM completions").fetchone()
        except sqlite3.OperationalError:  # it is just being made
            return 0
    return int(count)


def _engine_of(project: Project, running: Process, *, more_than: int) -> dict[int, str]:
    """The processes of the engine, once so many answers are held."""
    wait_until(lambda: stored(project) > more_than or not running.running, within=STARTING)
    assert running.running, running.wait().text
    return below(running.pid)
