"""Links, and folders that can't be read, are never taken for files that don't exist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.git_project import GitProject, git, make_git_project
from tests.projects import without_rights


def move_and_link(repo: GitProject, path: str, target: str) -> None:
    """Move `path` to `target`, both relative to the project, and leave a link to it."""
    file, moved = repo.root / path, repo.root / target
    moved.parent.mkdir(parents=True, exist_ok=True)
    file.rename(moved)
    file.symlink_to(os.path.relpath(moved, file.parent))


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """A repository whose gate allows no case to fail."""
    repo = make_git_project(tmp_path / "shop", "support")
    text = (repo.root / "llmops.yaml").read_text()
    repo.write("llmops.yaml", text + "gate: {rules: [{floor: 1.0}]}\n")
    repo.commit("a strict gate")
    return repo


def gate_the_change(repo: GitProject) -> tuple[int, str]:
    """Make the prompt worse and its gate weaker, and return what a pull request would get."""
    repo.git("branch", "-f", "base")
    if (repo.root / "llmops.yaml").is_symlink():
        (repo.root / "llmops.yaml").unlink()
    repo.write(
        "llmops.yaml", "models:\n  tiny: {provider: embedded}\ngate: {rules: [{floor: 0.1}]}\n"
    )
    repo.say("support", "Answer badly.", broken=3)
    result = repo.run("eval", "--base", "base")
    return result.code, result.text


# Links at the base revision -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("llmops.yaml", "config/llmops.yaml"),
        ("prompts", "shared/prompts"),
        ("evalsets", "shared/evalsets"),
        ("evalsets/support.yaml", "shared/support.yaml"),
        ("evalsets/support.jsonl", "shared/support.jsonl"),
    ],
)
def test_a_link_at_the_base_is_followed_within_the_project(
    repo: GitProject, path: str, target: str
) -> None:
    move_and_link(repo, path, target)
    repo.commit("a link")
    code, text = gate_the_change(repo)
    assert code == 1, text
    assert "floor" in text


@pytest.mark.parametrize("path", ["llmops.yaml", "evalsets", "evalsets/support.jsonl"])
@pytest.mark.parametrize("target", ["../elsewhere", "nothing", "/etc/hostname"])
def test_a_link_at_the_base_that_leads_nowhere_is_refused(
    repo: GitProject, path: str, target: str
) -> None:
    repo.git("branch", "here")
    repo.git("rm", "-rq", path)
    (repo.root / path).symlink_to(target)
    repo.commit("a link")
    repo.git("branch", "-f", "base")
    repo.git("checkout", "-q", "here")
    result = repo.run("eval", "--base", "base")
    assert result.code == 2, result.text
    assert f"{path}" in result.text


def test_a_submodule_at_the_base_is_refused(repo: GitProject) -> None:
    commit = repo.git("rev-parse", "HEAD")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},evalsets/shared")
    repo.git("commit", "-qm", "a submodule")
    result = repo.run("eval", "--base", "HEAD")
    assert result.code == 2, result.text
    assert "evalsets/shared/" in result.text


def test_fsck_applies_a_linked_project_file_of_the_base(repo: GitProject) -> None:
    (repo.root / "llmops.yaml").rename(repo.root / "real.yaml")
    (repo.root / "llmops.yaml").symlink_to("real.yaml")
    repo.write("real.yaml", "gate: {rules: [no such rule]}\n")
    repo.commit("a link to an invalid file")
    (repo.root / "real.yaml").write_text("environments: [production]\n")
    result = repo.run("fsck", "--base", "HEAD", "--strict")
    assert result.code == 2, result.text
    assert "invalid at HEAD" in result.text


# Links and unreadable folders in the work tree ------------------------------------------------


@pytest.mark.parametrize("folder", ["evalsets", "evalsets/strict", "prompts"])
def test_a_folder_that_cannot_be_listed_is_a_problem(repo: GitProject, folder: str) -> None:
    (repo.root / folder).mkdir(exist_ok=True)
    (repo.root / folder).chmod(0)
    result = repo.start("check", before=without_rights).wait()
    (repo.root / folder).chmod(0o755)
    assert result.code == 2, result.text
    assert f"'{folder}' cannot be listed: Permission denied" in result.text


def test_a_linked_folder_of_evalsets_is_a_problem(repo: GitProject) -> None:
    (repo.root / "evalsets" / "strict").mkdir()
    move_and_link(repo, "evalsets/strict", "shared/strict")
    result = repo.run("check")
    assert result.code == 2, result.text
    assert "evalsets/strict/: a link to a folder is not read" in result.text


@pytest.mark.parametrize("target", ["nothing", "..", "evalsets"])
def test_a_folder_of_evalsets_that_is_a_link_to_nothing_is_a_problem(
    repo: GitProject, target: str
) -> None:
    repo.git("rm", "-rq", "evalsets")
    (repo.root / "evalsets").symlink_to(target)
    result = repo.run("check")
    assert result.code == 2, result.text
    assert "evalsets" in result.text


def test_a_project_file_that_links_to_nothing_is_not_passed_over_for_one_above(
    tmp_path: Path,
) -> None:
    outer = make_git_project(tmp_path, "support")
    (tmp_path / "inner" / "prompts").mkdir(parents=True)
    (tmp_path / "inner" / "llmops.yaml").symlink_to("nothing")
    result = GitProject(outer.root / "inner").run("check")
    assert result.code == 2, result.text
    assert "llmops.yaml" in result.text


# A partial clone --------------------------------------------------------------------------------


def test_reading_a_partial_clone_runs_no_remote_helper(repo: GitProject, tmp_path: Path) -> None:
    git(repo.root, "config", "uploadpack.allowFilter", "true")
    clone = repo.clone(tmp_path / "clone", "--filter=blob:none", "--no-checkout")
    trace = tmp_path / "ran"
    clone.git("config", "remote.origin.url", f"ext::sh -c touch% {trace}")
    clone.git("config", "protocol.ext.allow", "always")
    clone.write("llmops.yaml", "models:\n  tiny: {provider: embedded}\n")
    clone.say("support")
    clone.cases("support")
    clone.evalset("support")
    result = clone.run("eval", "--base", "HEAD")
    assert result.code == 3, result.text
    assert "git does not have the content of a file here" in result.text
    assert not trace.exists()
