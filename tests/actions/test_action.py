"""The composite action, with its steps run as a runner runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from llmops_cli import __version__
from tests.actions.hub import Hub, programs
from tests.actions.runner import ROOT, Result
from tests.git_project import LLMOPS_YAML, GitProject, git, make_git_project
from tests.hostile import HOSTILE
from tests.projects import Process, make_project, wait_until_asked
from tests.servers.faulty import FaultServer, answer, echo, hang
from tests.servers.github import CommentServer

pytestmark = pytest.mark.slow

GATE = {"version": "none"}
STEPS = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
MARK = "<!-- llmops gate: llmops -->"


def kinder(repo: GitProject) -> None:
    """Another target with the same answers."""
    repo.say("support", "Answer kindly.")


def worse(repo: GitProject) -> None:
    """A third of the answers is wrong."""
    repo.say("support", "Answer badly.", broken=20)


def unmeasurable(repo: GitProject) -> None:
    """A model that nobody answers for."""
    url = "http://127.0.0.1:9/v1"
    model = f"{{provider: openai, model: m, base_url: '{url}', retries: 0}}"
    repo.write("llmops.yaml", f"models:\n  tiny: {model}\nenvironments: [production]\n")


def summary_of(ran: Result) -> tuple[bool, str, str]:
    return ran.success, ran.outputs["verdict"], ran.outputs["exit-code"]


def test_a_worse_prompt_is_blocked_under_the_policy_of_the_base_and_everybody_sees_why(
    hub: Hub, comments: CommentServer
) -> None:
    """In a clone of depth 1, by a change that would have lowered its own bar."""

    def lenient(repo: GitProject) -> None:
        worse(repo)
        repo.write("llmops.yaml", (repo.root / "llmops.yaml").read_text() + "gate: {margin: 0.9}\n")

    foreign = comments.add(7, f"{MARK}\n\nnot mine", author="mallory")
    runner = hub.pull(lenient, thin=True)
    ran = runner.action(GATE)

    assert summary_of(ran) == (False, "FAIL", "1"), ran.log
    assert (ran.outputs["regressed"], ran.outputs["blocked"]) == ("20", "1")
    errors = [annotation for annotation in ran.annotations if annotation.name == "error"]
    assert errors[0].properties["file"] == "prompts/support.prompt.yml"
    assert errors[0].properties["title"] == "FAIL support"
    assert {error.properties.get("file") for error in errors[1:]} == {
        "evalsets/support.jsonl",
        None,
    }
    assert len(errors) == 10
    warnings = [
        annotation.properties["file"]
        for annotation in ran.annotations
        if annotation.name == "warning"
    ]
    assert set(warnings) == {"llmops.yaml"}
    assert ran.summary.startswith("### ❌ FAIL · `support`")

    assert foreign["body"].endswith("not mine")
    _, body = comments.bodies
    assert body.startswith(f"{MARK}\n\n## ❌ FAIL · 1 of 2 prompts blocked\n")
    assert "| ❌ FAIL | `no_worse pass` |" in body
    assert body.count("<details><summary><b>REGRESSED</b>") == 20
    assert "**before**\n```\nlabel0\n" in body
    assert "**after**\n```\nwrong\n" in body
    assert comments.tokens == {"Bearer ghs_canary_of_the_job"}

    reports = runner.artefacts / "llmops-report"
    assert {path.name for path in reports.iterdir()} == {
        *("comment.md", "junit.xml", "registry.json", "report.html", "report.json")
    }
    assert (reports / "comment.md").read_text() == body
    assert [path.name for path in (runner.artefacts / "llmops-run").iterdir()] == ["run.jsonl.gz"]


def test_a_second_run_pays_for_nothing_and_changes_the_comment_of_the_first(
    hub: Hub, comments: CommentServer
) -> None:
    comments.add(7, f"{MARK}\n\n## ❌ FAIL")
    main = hub.push(lambda repo: repo.write("README.md", "hello")).action(GATE)
    first = hub.pull(kinder).action(GATE)
    again = hub.pull(None).action(GATE)

    assert [summary_of(item) for item in (main, first, again)] == [(True, "PASS", "0")] * 3
    assert (first.outputs["calls"], again.outputs["calls"]) == ("60", "0")
    assert first.annotations == []
    (body,) = comments.bodies
    assert body.startswith(f"{MARK}\n\n## ✅ PASS · 0 of 2 prompts blocked\n")
    caches = hub.folder / "caches"
    cached = {
        path.name: sorted(entry.name for entry in path.iterdir()) for path in caches.iterdir()
    }
    assert cached == {
        "refs_heads_main": ["llmops-llmops-main-1-1"],
        "refs_pull_7_merge": ["llmops-llmops-pr-7-2-1", "llmops-llmops-pr-7-3-1"],
    }


def test_a_mistake_stands_at_its_line_and_no_old_verdict_is_left(
    hub: Hub, comments: CommentServer
) -> None:
    comments.add(7, f"{MARK}\n\n## ✅ PASS")
    broken = "model: tiny\nmesages: []\n"
    runner = hub.pull(lambda repo: repo.write("prompts/support.prompt.yml", broken))
    ran = runner.action({**GATE, "fail-on": "never"})
    assert summary_of(ran) == (False, "ERROR", "2")
    where = ran.annotations[0].properties
    assert (where["file"], where["line"]) == ("prompts/support.prompt.yml", "2")
    (body,) = comments.bodies
    assert body.startswith(f"{MARK}\n\n## ⛔ no verdict\n")
    assert "mesages" in body
    assert "PASS" not in body


def test_a_registry_that_was_rewritten_blocks_whatever_the_verdict(
    hub: Hub, comments: CommentServer
) -> None:
    comments.troubles = [403]
    path = ".llmops/log/production/support/000001.json"

    def rewritten(repo: GitProject) -> None:
        text = (repo.root / path).read_text()
        repo.write(path, text.replace("the first", "the fist"))

    runner = hub.pull(rewritten)
    ran = runner.action({**GATE, "fail-on": "never"})
    assert (ran.success, ran.outputs["exit-code"]) == (False, "2")
    assert path in {annotation.properties.get("file") for annotation in ran.annotations}
    assert comments.bodies == []  # and the comment that GitHub refused is among the artefacts
    assert "403 trouble 403" in ran.step("Comment on the pull request").log
    body = (runner.artefacts / "llmops-report" / "comment.md").read_text()
    assert "the registry is broken" in body.splitlines()[2]
    assert path in body


def test_a_committed_store_blocks_the_pull_request(hub: Hub) -> None:
    """Its answers are not used, and the check of the registry names it."""
    path = ".llmops/store/results.sqlite3"

    def forged(repo: GitProject) -> None:
        kinder(repo)
        repo.run("eval")
        worse(repo)
        repo.git("add", "-f", path)

    ran = hub.pull(forged).action({**GATE, "fail-on": "never"})
    assert (ran.success, ran.outputs["verdict"], ran.outputs["exit-code"]) == (False, "FAIL", "1")
    assert path in {annotation.properties.get("file") for annotation in ran.annotations}


def test_a_merge_group_is_measured_and_comments_nowhere(hub: Hub, comments: CommentServer) -> None:
    hub.pull(worse)
    ran = hub.queued().action(GATE)
    assert summary_of(ran) == (False, "FAIL", "1")
    assert "belongs to no pull request" in ran.step("Comment on the pull request").log
    assert comments.requested == []
    assert not (hub.folder / "caches").exists()


def test_only_what_changed_is_measured_where_that_is_asked(hub: Hub) -> None:
    runner = hub.pull(lambda repo: repo.write("README.md", "words"))
    ran = runner.action({**GATE, "changed": "true"})
    assert summary_of(ran) == (True, "UNCHANGED", "0")
    assert ran.summary.startswith("### ✅ Nothing to evaluate.")


def test_a_fork_is_measured_from_the_cache_and_its_job_may_not_write(
    hub: Hub, comments: CommentServer
) -> None:
    hub.push(
        lambda repo: repo.write("llmops.yaml", f"{LLMOPS_YAML}trust: ['http://127.0.0.1:9']\n")
    )
    ran = hub.pull(unmeasurable, head="mallory/prompts").action(GATE)
    assert summary_of(ran) == (False, "INCOMPLETE", "3")
    assert "not called: --offline" in ran.log
    assert int(ran.outputs["unmeasured"]) == 120
    assert {annotation.name for annotation in ran.annotations} == {"error"}
    assert "comes from a fork" in ran.step("Comment on the pull request").log
    assert ran.step("Save the result cache").outcome == "skipped"
    assert comments.requested == []


def test_what_code_of_a_change_leaves_in_the_cache_is_not_saved(hub: Hub) -> None:
    """The next push of the change may bring the old code and find answers of the new one."""
    runner = hub.pull(lambda repo: repo.write("scorers/own.py", "def score(text): return 1.0"))
    assert runner.action(GATE).step("Save the result cache").outcome == "skipped"
    assert hub.pull(kinder).action(GATE).step("Save the result cache").outcome == "skipped"
    assert not (hub.folder / "caches").exists()


def test_an_input_is_never_run_as_a_program(hub: Hub, tmp_path: Path) -> None:
    evil = f"intent; touch {tmp_path}/owned $(touch {tmp_path}/owned) `touch {tmp_path}/owned`"
    runner = hub.pull(kinder)
    for names in (("name",), ("fail-on",), ("prompts", "args", "environment", "comment-author")):
        assert not runner.action({**GATE, **dict.fromkeys(names, evil)}).success
    assert not (tmp_path / "owned").exists()


def test_a_cache_that_was_tampered_with_never_decides(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    repo.first()
    worse(repo)
    assert repo.run("eval").code == 1
    (store,) = (repo.root / ".llmops" / "store").glob("*.sqlite3")
    content = store.read_bytes()
    assert b"wrong" in content
    store.write_bytes(content.replace(b"wrong", b"wrung"))
    ran = repo.run("eval", "--json")
    assert ran.code == 1
    assert "damaged" in " ".join(ran.report["notes"])
    assert "wrung" not in ran.out
    assert repo.run("eval").code == 1


@pytest.mark.parametrize(
    ("fail_on", "code", "registry", "exit_code"),
    [
        *[("any", code, "success", code) for code in (0, 1, 2, 3, 4, 70, 130)],
        *[
            ("fail", code, "success", {1: 1, 2: 2, 70: 70}.get(code, 0))
            for code in (0, 1, 2, 3, 70)
        ],
        *[("never", code, "success", {2: 2, 70: 70}.get(code, 0)) for code in (0, 1, 2, 3, 70)],
        *[(fail_on, 0, "failure", 2) for fail_on in ("any", "fail", "never")],
        ("any", 1, "failure", 1),
        ("never", 1, "failure", 2),
        ("never", None, "skipped", 3),
    ],
)
def test_fail_on_says_which_exit_code_blocks(
    tmp_path: Path, fail_on: str, code: int | None, registry: str, exit_code: int
) -> None:
    (step,) = [step for step in STEPS if step["name"] == "Verdict"]
    env = {
        "FAIL_ON": fail_on,
        "CODE": "" if code is None else str(code),
        "REGISTRY": registry,
        "VERDICT": "ERROR",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    ran = subprocess.run(["bash", "-e", "-c", step["run"]], env=env, check=False)
    assert ran.returncode == exit_code


def test_the_program_takes_the_place_of_the_shell_so_that_signals_reach_it() -> None:
    scripts = {step["name"]: step["run"] for step in STEPS if "run" in step}
    for name in ("Evaluate", "Check the registry", "Comment on the pull request"):
        *_, last = re.sub(r"\\\n\s*", "", scripts[name]).strip().splitlines()
        assert last.startswith('exec "$LLMOPS" '), name


CANARY = "sk-canary-4f1e9a77c0d2"


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_hostile_answers_give_no_commands_and_no_key_is_anywhere(
    tmp_path: Path, hub: Hub, comments: CommentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    texts = [text for text in HOSTILE.values() if len(text) < 20_000]

    def reply(body: object) -> str:
        question = echo(body)  # type: ignore[arg-type]  # what the server was sent
        last = texts[int(question.split()[-1]) % len(texts)]
        system = body["messages"][0]["content"]  # type: ignore[index]
        return question if system == "Answer." else f"{last}\n{CANARY}"

    with FaultServer(reply=reply) as server:
        project = make_project(tmp_path / "project", server.url, cases=40, retries=0)
        project.model = {"api_key_env": "OPENAI_API_KEY"}
        project.llmops_yaml()
        git(tmp_path, "init", "-q", "-b", "main", str(project.root))
        project.promote_v1()
        repo = GitProject(project.root)
        repo.commit("the first")
        git(tmp_path, "clone", "-q", "--bare", str(project.root), "hostile.git")
        mine = Hub(bare=tmp_path / "hostile.git", folder=hub.folder, api=hub.api, env={**hub.env})
        mine.env["OPENAI_API_KEY"] = CANARY
        path = "prompts/support.prompt.yml"
        runner = mine.pull(
            lambda repo: repo.write(
                path, (repo.root / path).read_text().replace("Answer.", "Answer with malice.")
            )
        )
        ran = runner.action({**GATE, "args": "--verbose"})
    assert summary_of(ran) == (False, "FAIL", "1"), ran.log
    assert {command.name for step in ran.steps for command in step.commands} == {"error"}
    assert len(ran.annotations) == 10
    (body,) = comments.bodies
    assert len(body) < 65_536
    everything_written = (
        everything(hub.folder) + ran.log.encode() + ran.summary.encode() + body.encode()
    )
    for secret in (CANARY, "ghs_canary_of_the_job"):
        assert secret.encode() not in everything_written
    assert b"[redacted]" in everything_written


def test_a_canceled_job_keeps_what_was_paid_and_says_so(tmp_path: Path) -> None:
    """GitHub's SIGINT goes to the shell of the step, and bash would not pass it on."""
    (step,) = [step for step in STEPS if step["name"] == "Evaluate"]
    folder = tmp_path / "reports"
    folder.mkdir()
    env = {
        **os.environ,
        "LLMOPS": str(programs(tmp_path / "programs") / "llmops"),
        "PYTHONPATH": str(ROOT),
        "FOLDER": str(folder),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **dict.fromkeys(("PROMPTS", "ARGS", "BASE", "CHANGED", "ENVIRONMENT", "OFFLINE"), ""),
    }
    with FaultServer(*[answer()] * 5, then=hang()) as server:
        project = make_project(tmp_path / "project", server.url, max_concurrency=3)
        process = Process(["bash", "-e", "-o", "pipefail", "-c", step["run"]], project.root, env)
        wait_until_asked(server, 8, process)
        process.send(signal.SIGINT)
        ran = process.wait()
    assert ran.code == 130, ran.text
    outputs = (tmp_path / "output").read_text()
    assert re.search(r"^verdict<<.*\nINCOMPLETE\n", outputs, re.MULTILINE)
    assert re.search(r"^exit-code<<.*\n130\n", outputs, re.MULTILINE)
    assert (folder / "run.jsonl.gz").exists()


def test_the_action_installs_the_checkout_that_it_came_with(tmp_path: Path) -> None:
    """Into an environment of its own; what llmops needs is taken from this one."""
    (step,) = [step for step in STEPS if step["name"] == "Install llmops"]
    env = {
        **os.environ,
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as: no isolation
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PYTHON": sys.executable,
        "VERSION": "",
        "EXTRAS": "text,parquet",
        "ACTION": str(ROOT),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step["run"]], env=env, check=True)
    program = (tmp_path / "output").read_text().strip().removeprefix("llmops=")
    assert program == f"{tmp_path}/llmops-python/bin/llmops"
    summary_of = subprocess.run(
        [program, "--version"], env=env, capture_output=True, check=True
    ).stdout
    assert summary_of.decode().strip() == f"llmops {__version__}"
