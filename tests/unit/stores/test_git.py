"""What git is asked, on real repositories in every state that CI brings about."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.stores.git import open_git, require_git
from tests.unit.stores.values import start_python


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "work")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, llmops_yaml="gate: {}\n", prompts__a="one\r\n", other="x")
    return folder


def test_a_folder_outside_any_repository_has_no_git(tmp_path: Path) -> None:
    assert open_git(tmp_path) is None
    with pytest.raises(Refused, match="--base main needs git history"):
        require_git(tmp_path, purpose="--base main")


def test_a_machine_without_git_still_works(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from llmops_cli.stores.git import open_git\n"
        "print(open_git(Path(sys.argv[1])))"
    )
    process = start_python(script, tmp_path, PATH=str(tmp_path))
    assert process.communicate() == ("None\n", "")


def test_a_repository_without_a_commit_has_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    checkout = require_git(tmp_path, purpose="this")
    assert checkout.head() is None


def test_the_commit_and_the_committer_are_known(repository: Path) -> None:
    checkout = require_git(repository, purpose="this")
    assert checkout.head() == git(repository, "rev-parse", "HEAD")
    assert checkout.actor() == "Ada Tester <ada@example.org>"


def test_files_at_a_revision_are_those_bytes(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    commit(repository, prompts__a="two", prompts__deep__b="new")
    (repository / "prompts" / "link").symlink_to("/etc/passwd")
    commit(repository)
    checkout = require_git(repository, purpose="this")
    old, new = checkout.at(before), checkout.at("main")
    assert (old.read("prompts/a"), new.read("prompts/a")) == (b"one\r\n", b"two")
    assert (old.files("prompts"), new.files("prompts")) == (
        ("prompts/a",),
        ("prompts/a", "prompts/deep/b", "prompts/link"),
    )
    assert new.read("prompts/link") is None
    assert new.resolve("prompts/link") is None
    assert new.read("nothing") is None


def test_a_project_in_a_subfolder_sees_its_own_paths(repository: Path) -> None:
    commit(repository, team__llmops_yaml="models: {}\n")
    checkout = require_git(repository / "team", purpose="this")
    assert checkout.at("HEAD").read("llmops.yaml") == b"models: {}\n"
    assert checkout.at("HEAD").files(".") == ("llmops.yaml",)


def test_a_detached_head_is_a_head(repository: Path) -> None:
    commit(repository, other="y")
    git(repository, "checkout", "-q", "--detach", "HEAD~1")
    checkout = require_git(repository, purpose="this")
    assert checkout.head() == git(repository, "rev-parse", "main~1")
    assert checkout.at("main").read("other") == b"y"


@pytest.mark.parametrize(
    "revision", ["HEAD~1", "origin/main^", "origin/old", "old", "v0", "{first}", "{short}"]
)
def test_a_revision_missing_in_a_shallow_clone_names_the_fetch_that_brings_it(
    repository: Path, tmp_path: Path, revision: str
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "old")
    git(repository, "tag", "v0")
    commit(repository, other="y")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    checkout = require_git(tmp_path / "shallow", purpose="this")
    assert checkout.at("origin/main").read("other") == b"y"
    asked = revision.format(first=first, short=first[:12])
    with pytest.raises(Refused, match="git knows no revision") as refused:
        checkout.at(asked)
    told = str(refused.value.hint)
    assert "fetch-depth: 0" in told
    command, _, instead = told.partition("in the checkout step, or git ")[2].partition(", and ")
    git(tmp_path / "shallow", *command.split())
    assert checkout.at(instead.partition(" ")[0] or asked).commit == first


@pytest.mark.parametrize("revision", ["nowhere", "--output=/tmp/x", "main:other", ""])
def test_an_unknown_revision_is_refused(repository: Path, revision: str) -> None:
    with pytest.raises(Refused, match="git knows no revision") as refused:
        require_git(repository, purpose="this").at(revision)
    assert "git fetch origin" in str(refused.value.hint)


def test_a_content_that_git_lost_is_an_error(repository: Path) -> None:
    checkout = require_git(repository, purpose="this")
    blob = git(repository, "rev-parse", "HEAD:other")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Unmeasured, match="git does not have the content of a file"):
        checkout.at("HEAD").read("other")
