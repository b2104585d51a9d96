"""The hooks, as pre-commit runs them: `try-repo` on this checkout, in an environment that it makes.

What llmops depends on is taken from this environment instead of a package index, so that the test
needs no network; that all of it installs is shown by `.ci/run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.git_project import GitProject, git, make_git_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".pre-commit-hooks.yaml")


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """This checkout as a repository of hooks."""
    folder = tmp_path / "llmops"
    shutil.copytree(
        ROOT / "llmops_cli", folder / "llmops_cli", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in NEEDED:
        shutil.copy(ROOT / name, folder)
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "hooks")
    return folder


def tried(hooks: Path, repo: GitProject, *arguments: str) -> dict[str, str]:
    """What each hook came to: `Passed`, `Failed` or `Skipped`, and all that was printed."""
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), *arguments]
    env = {
        **os.environ,
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as: no isolation
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    ran = subprocess.run(
        command, cwd=repo.root, env=env, capture_output=True, text=True, check=False
    )
    outcomes = {"": ran.stdout + ran.stderr}
    for line in ran.stdout.splitlines():
        name, dots, result = line.partition("...")
        if dots:
            outcomes[name] = result.rpartition(".")[2].rpartition(")")[2]
    return outcomes


CHECK = "check prompts and evalsets"
REGISTRY = "check the prompt registry"
EVAL = "compare prompts with production"


def test_the_hooks_let_through_what_is_good_and_stop_what_is_not(
    hooks: Path, tmp_path: Path
) -> None:
    """A prompt that is worse, and then a version out of order as well."""
    repo = make_git_project(tmp_path / "shop", "support")
    repo.first()
    repo.say("support", "Answer badly.", broken=20)
    repo.git("add", "-A")
    outcomes = tried(hooks, repo, "--all-files", "--hook-stage", "pre-push")
    results = {name: outcomes.get(name) for name in (CHECK, REGISTRY, EVAL)}
    assert results == {CHECK: "Passed", REGISTRY: "Passed", EVAL: "Failed"}, outcomes[""]
    assert "FAIL  support" in outcomes[""]

    versions = repo.root / ".llmops" / "versions"
    shutil.copytree(versions / "support@v1", versions / "support@v3")
    repo.git("add", "-A")
    outcomes = tried(hooks, repo, "--all-files", "--hook-stage", "pre-push")
    results = {name: outcomes.get(name) for name in (CHECK, REGISTRY, EVAL)}
    assert results == {CHECK: "Failed", REGISTRY: "Failed", EVAL: "Failed"}, outcomes[""]
    assert "support has a v3 and no v2" in outcomes[""]
