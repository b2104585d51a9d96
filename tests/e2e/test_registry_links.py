"""Links, pipes and unreadable folders below `.llmops/`: reported, never taken for nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.runtime import load_prompt
from tests.git_project import GitProject
from tests.projects import without_rights

CHAIN = ".llmops/log/production/support"
VERSION = ".llmops/versions/support@v1"
FOLDERS = (".llmops", ".llmops/log", ".llmops/log/production", CHAIN, VERSION, ".llmops/versions")
FILES = (f"{CHAIN}/000001.json", f"{VERSION}/version.json", "statement", "rows")


@pytest.fixture(scope="module")
def moved(promoted: GitProject, tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """A repository in which production has moved to v2, and `base` is the commit before."""
    repo = promoted.copy(tmp_path_factory.mktemp("moved") / "shop")
    repo.git("branch", "base")
    repo.ok("promote", repo.candidate("support", "Be kind."), "--commit")
    return repo


@pytest.fixture
def repo(moved: GitProject, tmp_path: Path) -> GitProject:
    """A copy of it."""
    return moved.copy(tmp_path / "shop")


def path_of(repo: GitProject, name: str) -> Path:
    """Return the path of a name in `FOLDERS` or `FILES`."""
    ending = {"statement": "*.json", "rows": "*.cases.jsonl"}.get(name)
    if ending is None:
        return repo.root / name
    (path,) = (repo.root / ".llmops/evidence/support@v2").glob(ending)
    return path


def replace_by_link(path: Path, aside: Path) -> None:
    """Move `path` out of the repository and link it from where it was."""
    shutil.move(path, aside)
    path.symlink_to(aside)


def replace_by_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_device(path: Path, _: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def replace_by_huge_file(path: Path, _: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3_000_000_000)


@pytest.mark.parametrize("command", [("verify",), ("fsck",), ("fsck", "--base", "base")])
@pytest.mark.parametrize("name", [*FOLDERS, *FILES, ".llmops/evidence/support@v2"])
def test_a_link_in_the_registry_is_refused(
    repo: GitProject, tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    path = path_of(repo, name)
    replace_by_link(path, tmp_path / "aside")
    result = repo.run(*command)
    assert result.code == 2, result.text
    refusals = (
        f"{path.relative_to(repo.root)}: a link, which is never followed here",
        f"{path} is not a folder: the store is not opened",
    )
    assert any(refusal in result.text for refusal in refusals), result.text


@pytest.mark.parametrize("name", [*FOLDERS, *FILES[:2]])
def test_no_prompt_is_loaded_through_a_link(repo: GitProject, tmp_path: Path, name: str) -> None:
    replace_by_link(path_of(repo, name), tmp_path / "aside")
    with pytest.raises(IntegrityBroken, match="a link, which is never followed here"):
        load_prompt("support@production~1", source=repo.root)


@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_device, replace_by_huge_file])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_the_registry_is_refused_without_waiting(
    repo: GitProject, tmp_path: Path, replace: Callable[[Path, Path], None], name: str
) -> None:
    path = path_of(repo, name)
    replace(path, tmp_path)
    for command in (("verify",), ("fsck", "--base", "base")):
        result = repo.run(*command)
        assert result.code == 2, result.text
        assert str(path.relative_to(repo.root)) in result.text


@pytest.mark.parametrize("command", ["verify", "fsck", "status", "bundle"])
@pytest.mark.parametrize("name", FOLDERS[1:])
def test_a_folder_of_the_registry_that_cannot_be_read_is_refused(
    repo: GitProject, name: str, command: str
) -> None:
    arguments = ("production", "--out", "bundle.json") if command == "bundle" else ()
    (repo.root / name).chmod(0)
    result = repo.start(command, *arguments, before=without_rights).wait()
    (repo.root / name).chmod(0o755)
    assert result.code == 2, result.text
    assert "cannot be read: Permission denied" in result.text


def test_one_broken_prompt_hides_no_other(repo: GitProject, tmp_path: Path) -> None:
    for name in ("aaa", "zzz"):
        (repo.root / f".llmops/log/production/{name}").symlink_to(tmp_path)
    result = repo.run("verify")
    assert result.code == 2, result.text
    assert "aaa@?" in result.text
    assert "zzz@?" in result.text
    assert "support@v2" in result.text


@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_device, replace_by_huge_file])
def test_a_bundle_that_is_no_file_is_refused_without_waiting(
    repo: GitProject, tmp_path: Path, replace: Callable[[Path, Path], None]
) -> None:
    file = tmp_path / "bundle.json"
    repo.ok("bundle", "production", "--out", str(file))
    replace(file, tmp_path)
    assert repo.run("verify", "--bundle", str(file)).code == 2
    with pytest.raises(IntegrityBroken):
        load_prompt("support@production", source=file)


def test_a_registry_that_links_to_itself_is_refused_before_a_bundle_is_written(
    repo: GitProject, tmp_path: Path
) -> None:
    shutil.rmtree(repo.root / ".llmops")
    (repo.root / ".llmops").symlink_to(".llmops")
    result = repo.run("bundle", "production", "--out", str(tmp_path / "bundle.json"))
    assert result.code == 2, result.text
    assert ".llmops: a link, which is never followed here" in result.text


def test_a_bundle_may_be_a_link(repo: GitProject, tmp_path: Path) -> None:
    repo.ok("bundle", "production", "--out", str(tmp_path / "bundle.json"))
    (tmp_path / "mounted.json").symlink_to("bundle.json")
    repo.ok("verify", "--bundle", str(tmp_path / "mounted.json"))
    assert load_prompt("support@production", source=tmp_path / "mounted.json").version == 2


# Nothing to verify proves nothing -----------------------------------------------------------------


@pytest.mark.parametrize("empty", [CHAIN, ".llmops/log/production"])
def test_an_environment_that_runs_nothing_is_not_verified(repo: GitProject, empty: str) -> None:
    shutil.rmtree(repo.root / empty)
    (repo.root / empty).mkdir()
    result = repo.run("verify")
    assert result.code == 2, result.text
    assert "production runs nothing, so there is nothing to verify" in result.text


# Nothing is written through a link ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["versions", "evidence", "log"])
def test_nothing_is_released_measured_or_promoted_through_a_link(
    repo: GitProject, tmp_path: Path, name: str
) -> None:
    aside = tmp_path / "aside"
    replace_by_link(repo.root / ".llmops" / name, aside)
    before = sorted(aside.rglob("*"))
    repo.say("support", "Be brief.")
    for command in (("release", "support"), ("measure", "support@v3"), ("promote", "support@v3")):
        assert repo.run(*command).code == 2 or name != "versions"
    assert sorted(aside.rglob("*")) == before


# What reviewers read is what llmops reads --------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES[:2], "statement"])
def test_a_record_of_the_registry_with_a_duplicate_key_is_refused(
    repo: GitProject, name: str
) -> None:
    path = path_of(repo, name)
    key = {"statement": "predicateType"}.get(name, "digest")
    path.write_text(path.read_text().replace("{", f'{{"{key}": "what a reviewer reads", ', 1))
    result = repo.run("fsck")
    assert result.code == 2, result.text
    assert "a key is here twice" in result.text


def test_a_summary_that_says_something_else_than_its_statement_is_a_problem(
    repo: GitProject,
) -> None:
    assert repo.run("fsck", "--base", "base").code == 0
    (path,) = (repo.root / ".llmops/evidence/support@v2").glob("*.summary.md")
    path.write_text(path.read_text().replace("PASS", "PASS (reviewed)"))
    for command in (("fsck",), ("fsck", "--base", "base")):
        result = repo.run(*command)
        assert result.code == 2, result.text
        assert f"{path.relative_to(repo.root)}: it is not the summary" in result.text


def test_a_summary_without_a_statement_is_a_problem(repo: GitProject) -> None:
    repo.write(".llmops/evidence/support@v1/000000000000.summary.md", "# support@v1: PASS\n")
    result = repo.run("fsck", "--base", "base")
    assert result.code == 2, result.text
    assert "000000000000.json: there is no such file" in result.text
