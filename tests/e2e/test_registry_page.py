"""Every command of docs/registry.md, run as written: a laptop, a bot's branch, a rollback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.git_project import GitProject, checkout, git

PAGE = (Path(__file__).parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def blocks(section: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", SECTIONS[section], re.DOTALL)


def steps(workflow: str) -> list[str]:
    """What a job runs, the installation apart."""
    (job,) = yaml.safe_load(workflow)["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step and "pip" not in step["run"]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH, with llmops and a `gh` that writes down what it was asked."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, body in {
        "llmops": f'exec {sys.executable} -m llmops_cli "$@"',
        "gh": f'echo "$@" >> {tmp_path}/gh.txt',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def bash(repo: GitProject, script: str, programs: Path, **env: str) -> str:
    """What `script` prints; a failed test where it fails, as in a job."""
    script = script.replace("${{ github.event.before }}", env.get("BEFORE", ""))
    context: Mapping[str, str] = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **env,
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    result = subprocess.run(
        command, cwd=repo.root, env=context, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_on_a_laptop(bare: Path, programs: Path) -> None:
    ada = checkout(bare, "ada")
    ada.say("support", "Answer kindly.")
    ada.commit("A kinder answer")
    for block in blocks("On a laptop", "sh"):
        bash(ada, block, programs)
    assert checkout(bare, "late").runs("support") == 2


@pytest.mark.slow
def test_by_pull_request(bare: Path, programs: Path, tmp_path: Path) -> None:
    """Merge → a bot's branch → checked → merged by the owner → deployed."""
    prepare, check, deploy = map(steps, blocks("By pull request", "yaml"))
    ada = checkout(bare, "ada")
    ada.say("support", "Answer kindly.")
    ada.say("intent", "Answer badly.", broken=20)
    merged = ada.commit("Kinder answers")
    ada.git("push", "-q")

    bot = checkout(bare, "bot", "--depth=1")
    for step in prepare:
        bash(bot, step, programs, GITHUB_SHA=merged)
    branch = f"promote/{merged[:12]}"
    assert (tmp_path / "gh.txt").read_text() == "pr create --fill\n"
    assert bot.git("log", "--format=%s", f"{merged}..") == "Promote support@v2 to production"

    thin = checkout(bare, "thin", "--depth=1", "--branch", branch)
    for step in check:
        bash(thin, step, programs, GITHUB_BASE_REF="main")

    owner = checkout(bare, "owner")
    owner.git("merge", "-q", "--squash", f"origin/{branch}")
    owner.commit("Promote support@v2 (#7)")
    owner.git("push", "-q")

    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    job = checkout(bare, "deploy", "--depth=1")
    outputs = [bash(job, step, programs, BEFORE=merged) for step in deploy]
    assert "promote support@v2 in production" in " ".join(" ".join(outputs).split())
    assert (job.root / "production.bundle.json").exists()
    assert (job.runs("support"), job.runs("intent")) == (2, 1)


def test_a_reviewer_reads_all_there_is_to_know_in_the_diff(bare: Path, programs: Path) -> None:
    ada = checkout(bare, "ada")
    ada.ok("promote", ada.candidate("support"), "-m", "Complaints about the tone", "--commit")
    diff = ada.git("show", "HEAD")
    for phrase in (
        "Promote support@v2 to production",
        "Complaints about the tone",
        "Verdict: PASS",
        "# support@v2: PASS",
        "- compared with: v1 (production)",
        "Answer kindly.",
    ):
        assert phrase in diff


@pytest.mark.slow
def test_one_job_has_the_key_and_another_one_decides(bare: Path, programs: Path) -> None:
    ada = checkout(bare, "ada")
    ada.ok("promote", ada.candidate("support", "Answer kindly."), "--commit")
    ada.say("support", "Answer briefly.")
    ada.commit("shorter")
    for block in blocks("By pull request", "sh"):
        bash(ada, block, programs)
    assert ada.runs("support") == 3


@pytest.mark.slow
def test_roll_back(bare: Path, programs: Path) -> None:
    ada = checkout(bare, "ada")
    ada.ok("promote", ada.candidate("support"), "--commit")
    ada.git("push", "-q")
    ada.write("prompts/support.prompt.yml", "messages: [{role: nobody")  # in the middle of a change
    ada.write("evalsets/intent.yaml", "scorers: none")
    now, then = blocks("Roll back", "sh")
    outputs = bash(ada, now, programs)
    assert "production runs support@v1" in outputs
    assert checkout(bare, "late").runs("support") == 1
    ada.git("checkout", "-q", "--", "prompts", "evalsets")
    assert "3  rollback" in bash(ada, then, programs)


@pytest.mark.slow
def test_removing_unreferenced_evidence(bare: Path, programs: Path) -> None:
    ada = checkout(bare, "ada")
    for how in ("kindly", "briefly"):
        ada.ok("promote", ada.candidate("support", f"Answer {how}."), "--commit")
    for block in blocks("Registry size", "sh"):
        bash(ada, block, programs)
    assert ada.git("log", "-1", "--format=%s").startswith("Delete evidence rows")
    ada.ok("verify")
    ada.ok("fsck", "--base", "HEAD^")


def test_every_block_of_commands_is_run_above() -> None:
    tested = ("On a laptop", "By pull request", "Roll back", "Registry size")
    assert len(re.findall(r"```(?:sh|yaml)\n", PAGE)) == sum(
        len(blocks(section, kind)) for section in tested for kind in ("sh", "yaml")
    )
