"""`provider: vllm` as a person runs it: an engine that starts, serves, dies, and never stays.

The engine is a program of the tests (`tests/servers/engine.py`) with vLLM's arguments; the real
one runs in `tests/vllm/`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project, make_cases, wait_until
from tests.servers.engine import alive, all_gone, calls_of, engines, make_vllm
from tests.servers.faulty import FaultServer

MODEL = {"provider": "vllm", "model": "org/tiny"}
KEY = "sk-live-0123456789abcdef"
NOWHERE = "http://127.0.0.1:9"


def a_local_project(root: Path, *, cases: int = 4, **model: Any) -> Project:
    """A project on `provider: vllm`."""
    project = Project(root=root, settings={"models": {"tiny": {**MODEL, **model}}})
    project.llmops_yaml()
    project.prompt()
    project.cases(make_cases(cases))
    project.evalset()
    return project


@pytest.fixture
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose PATH has a vllm."""
    program = make_vllm(tmp_path_factory.mktemp("bin"))
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def the_log(project: Project) -> str:
    (log,) = (project.root / ".llmops/store").glob("vllm-org-tiny-*.log")
    return log.read_text(encoding="utf-8")


def test_an_engine_is_started_for_the_run_and_is_gone_with_all_its_helpers_afterwards(
    tmp_path: Path, env: dict[str, str]
) -> None:
    project = a_local_project(tmp_path, args=["--max-model-len", 512])
    proxies = {f"{name}_proxy": NOWHERE for name in ("http", "https", "all", "HTTP", "ALL")}
    ran = project.eval(env={**env, **proxies})  # it is asked past every proxy
    assert ran.report["calls"] == 4
    (engine,) = engines(tmp_path)
    assert engine["arguments"][:4] == ["serve", "org/tiny", "--max-model-len", "512"]
    assert engine["arguments"][-4:-1] == ["--host", "127.0.0.1", "--port"]
    assert list(alive(tmp_path)) == []
    assert "starting vllm serve org/tiny" in ran.err


def test_an_engine_sees_no_key_and_its_log_holds_none(tmp_path: Path, env: dict[str, str]) -> None:
    project = a_local_project(tmp_path)
    secret = {"OPENAI_API_KEY": KEY, "HF_TOKEN": "hf_0123456789abcdef"}
    project.eval(env={**env, **secret})
    (engine,) = engines(tmp_path)
    assert "OPENAI_API_KEY" not in engine["environ"]
    assert engine["environ"]["HF_TOKEN"] == "hf_0123456789abcdef"
    assert engine["environ"]["VLLM_NO_USAGE_STATS"] == "1"
    log = the_log(project)
    assert "'HF_TOKEN': '[redacted]'" in log
    assert "hf_0123456789abcdef" not in log
    assert engine["environ"]["VLLM_API_KEY"] not in log


def test_models_that_are_started_alike_share_an_engine_and_an_adapter_is_asked_for_by_name(
    tmp_path: Path, env: dict[str, str]
) -> None:
    tuned = {**MODEL, "lora": {"tuned": "adapters/tuned"}}
    project = a_local_project(tmp_path)
    models = {"tiny": {**tuned, "served_name": "org/tiny"}, "tuned": tuned}
    project.settings["models"] = models
    project.llmops_yaml()
    project.write("prompts/other.prompt.yml", project.read("prompts/support.prompt.yml"))
    other = project.read("prompts/other.prompt.yml").replace("model: tiny", "model: tuned")
    project.write("prompts/other.prompt.yml", other)
    project.evalset(prompt=["support", "other"])
    assert project.run("eval", env=env).code == 0
    (engine,) = engines(tmp_path)
    assert "--lora-modules tuned=adapters/tuned" in " ".join(engine["arguments"])
    assert Counter(name for name, _ in calls_of(tmp_path)) == {"org/tiny": 4, "tuned": 4}


def test_without_a_vllm_nothing_is_called_and_the_way_out_is_named(tmp_path: Path) -> None:
    with FaultServer() as server:
        project = a_local_project(tmp_path)
        models = project.settings["models"]
        models["paid"] = {"provider": "openai", "model": "gpt", "base_url": server.url}
        project.llmops_yaml()
        ran = project.run("eval", env={"PATH": "/usr/bin:/bin"})
    assert ran.code == 2
    assert "there is no `vllm` on the PATH to serve org/tiny with" in ran.text
    assert "pip install 'llmops-cli[vllm]'" in ran.text
    assert server.requests == 0


@pytest.mark.parametrize(
    ("stand_in", "sentences"),
    [
        (
            "dies",
            (
                "ended before it was ready: exit code 1",
                "ValueError: no such weights",
                ".llmops/store/vllm-org-tiny-",
            ),
        ),
        ("never", ("it took more than 1.5 s (`startup_timeout` in llmops.yaml)",)),
    ],
)
def test_an_engine_that_is_not_ready_in_time_is_stopped_and_incomplete_with_its_last_words(
    tmp_path: Path, env: dict[str, str], stand_in: str, sentences: tuple[str, ...]
) -> None:
    project = a_local_project(tmp_path, startup_timeout=1.5)
    ran = project.run("eval", env={**env, "STAND_IN": stand_in})
    assert ran.code == 3
    assert [words for words in sentences if words not in ran.text] == []
    assert "Traceback" not in ran.err
    assert all_gone(tmp_path)


@pytest.mark.slow
def test_an_engine_killed_amid_a_run_is_incomplete_and_the_next_run_asks_only_the_rest(
    tmp_path: Path, env: dict[str, str]
) -> None:
    project = a_local_project(tmp_path, cases=30, max_concurrency=2)
    running = project.start("eval", env={**env, "STAND_IN": "slow"})
    wait_until(lambda: len(calls_of(tmp_path)) > 5)
    os.kill(engines(tmp_path)[0]["pid"], signal.SIGKILL)
    ran = running.wait()
    assert ran.code == 3
    assert "`vllm serve org/tiny` ended while it answered: killed by SIGKILL" in ran.text
    assert all_gone(tmp_path)
    answered = len(calls_of(tmp_path))
    assert 5 < answered < 30
    again = project.eval(env=env)
    assert again.report["calls"] in {30 - answered, 30 - answered + 1, 30 - answered + 2}
    assert again.code == 0
    times = Counter(calls_of(tmp_path))
    assert len(times) == 30
    assert sum(times.values()) <= 32  # what was under way when it was killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "which", "code"),
    [
        ("slow", signal.SIGINT, 130),
        ("never", signal.SIGINT, 130),
        ("slow", signal.SIGTERM, 130),
        ("slow", signal.SIGKILL, -signal.SIGKILL),
        ("slow stubborn", signal.SIGKILL, -signal.SIGKILL),
        ("never", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_no_engine_is_left_when_llmops_is_interrupted_or_killed(
    tmp_path: Path, env: dict[str, str], words: str, which: signal.Signals, code: int
) -> None:
    project = a_local_project(tmp_path, cases=200, max_concurrency=2)
    running = project.start("eval", env={**env, "STAND_IN": words})
    wait_until(lambda: engines(tmp_path) if words == "never" else calls_of(tmp_path))
    assert len(list(alive(tmp_path))) == 3
    running.send(which)
    assert running.wait().code == code
    # nobody is left to wait for what a killed run had started
    assert all_gone(tmp_path) if code < 0 else list(alive(tmp_path)) == []


def test_a_server_that_runs_is_asked_by_its_name_for_the_model_and_nothing_is_started(
    tmp_path: Path, env: dict[str, str]
) -> None:
    seen = list[str]()

    def reply(body: Any) -> str:
        seen.append(body["model"])
        return str(body["messages"][-1]["content"])

    with FaultServer(reply=reply) as server:
        project = a_local_project(tmp_path, base_url=server.url, served_name="tuned")
        ran = project.eval(env={**env, "http_proxy": NOWHERE})
    assert ran.code == 0
    assert set(seen) == {"tuned"}
    assert engines(tmp_path) == []


def test_several_commands_at_once_have_engines_of_their_own(
    tmp_path: Path, env: dict[str, str]
) -> None:
    project = a_local_project(tmp_path)
    both = [project.start("eval", env={**env, "STAND_IN": "slow"}) for _ in range(2)]
    assert [result.wait().code for result in both] == [0, 0]
    ports = {engine["arguments"][-1] for engine in engines(tmp_path)}
    assert len(ports) == 2


def test_retrained_weights_are_called_again_and_no_version_runs_with_them(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", env["PATH"])
    project = a_local_project(tmp_path, model="models/tiny")
    weights = project.write("models/tiny/model.safetensors", "as trained in May")
    project.promote_v1()
    assert project.eval().report["calls"] == 0
    weights.write_text("as trained in Jun", encoding="utf-8")
    project.cases(make_cases(5))
    ran = project.eval()
    assert ran.report["calls"] == 5  # all of the candidate, and of the baseline nothing
    assert (ran.code, ran.decision) == (3, "INCOMPLETE")
    assert "support@v1 cannot be called" in ran.text


def test_arguments_that_may_run_code_are_started_only_where_they_are_trusted(
    tmp_path: Path, env: dict[str, str]
) -> None:
    project = a_local_project(tmp_path, args=["--trust-remote-code"])
    ran = project.run("eval", env=env)
    assert ran.code == 2
    assert "the model 'tiny' may not be started" in ran.text
    assert engines(tmp_path) == []
    project.settings["trust"] = ["vllm serve org/tiny --trust-remote-code"]
    project.llmops_yaml()
    assert project.run("eval", env=env).code == 0


def test_a_check_of_models_starts_no_engine_and_says_what_it_would_start(
    tmp_path: Path, env: dict[str, str]
) -> None:
    project = a_local_project(tmp_path, args=["--trust-remote-code"])  # nothing runs: no trust
    cache = {**env, "HF_HOME": str(tmp_path / "cache")}
    ran = project.run("models", "--check", env=cache)
    assert (ran.code, engines(tmp_path)) == (0, [])
    assert "/vllm serve org/tiny --trust-remote-code`; org/tiny is not on this machine" in ran.text
    (tmp_path / "cache/hub/models--org--tiny/snapshots/0a1b").mkdir(parents=True)
    (tmp_path / "adapters/tuned").mkdir(parents=True)
    project = a_local_project(tmp_path, lora={"tuned": "adapters/tuned"})
    ran = project.run("models", "--check", env=cache)
    assert ran.code == 2
    assert "there are no weights at adapters/tuned" in ran.text
    project.write("adapters/tuned/adapter.safetensors", "x")
    ran = project.run("models", "--check", env=cache)
    assert (ran.code, engines(tmp_path)) == (0, [])
    assert "org/tiny is in the cache of Hugging Face; adapters/tuned is here" in ran.text
    assert project.run("models", "--check", env={"PATH": "/usr/bin:/bin"}).code == 2

    ran = project.run("models", "--check", "--start", "--json", env=cache)
    assert len(engines(tmp_path)) == 1
    assert all_gone(tmp_path)
    assert ran.document["models"][0]["probes"][0] == {
        "aspect": "reachable", "works": True, "why": ""
    }  # fmt: skip
