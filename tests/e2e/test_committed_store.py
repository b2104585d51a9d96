"""A change cannot bring a store of its own: what is stored counts as measured."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_cli.core.ci import store_folder
from llmops_cli.core.errors import Refused
from llmops_cli.run.workspace import checked_store
from tests.git_project import GitProject, git
from tests.projects import Project, Result, make_project
from tests.servers.faulty import FaultServer, Server, answer, echo

STORE = ".llmops/store"
DATABASE = f"{STORE}/results.sqlite3"
PUSH = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_RUN_ID": "7"}


@pytest.fixture
def server() -> Iterator[Server]:
    with FaultServer() as server:
        server.reply = lambda body: echo(body) if "Answer." in json.dumps(body) else "wrong"
        yield server


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    """A prompt on the branch `main` whose answers are right, and a branch that makes it worse."""
    project = make_project(tmp_path / "project", server.url)
    git(project.root, "init", "-q", "-b", "main")
    commit(project, "a project")
    git(project.root, "switch", "-qc", "change")
    project.prompt(system="Answer badly.")
    commit(project, "make it worse")
    return project


def commit(project: Project, message: str) -> None:
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", message)


def forge_answers(project: Project) -> None:
    """Fill the store from a server that answers the worse prompt rightly."""
    honest = project.url
    with FaultServer(then=answer(), reply=echo) as kind:
        project.url = kind.url
        project.llmops_yaml()
        assert project.run("eval").code == 0
    project.url = honest
    project.llmops_yaml()


def commit_store(project: Project, *names: str) -> None:
    git(project.root, "add", "-f", *(f"{STORE}/{name}" for name in names or ("",)))
    git(project.root, "commit", "-qm", "a store")


def is_refused(result: Result) -> bool:
    assert (result.code, "the store is not opened" in result.text) == (2, True), result.text
    return True


def test_a_committed_store_is_not_opened_and_fsck_names_its_files(
    project: Project, server: Server
) -> None:
    forge_answers(project)
    commit_store(project)
    for command in (
        ["eval", "--base", "main"],
        ["eval"],
        ["release"],
        ["check"],
        ["report"],
        ["status"],
        ["verify"],
    ):
        result = project.run(*command)
        assert is_refused(result), command
        assert f"git has {project.store}/" in result.text
        assert "git rm -r --cached" in result.text
    assert server.requests == 0

    flagged = project.run("fsck", "--base", "main")
    assert (flagged.code, DATABASE in flagged.text) == (2, True), flagged.text


def test_a_committed_write_ahead_log_alone_is_refused(project: Project) -> None:
    forge_answers(project)
    (project.store / "results.sqlite3-wal").write_bytes(b"rows")
    commit_store(project, "results.sqlite3-wal")
    assert is_refused(project.run("eval", "--base", "main"))
    assert "results.sqlite3-wal" in project.run("fsck").text


def test_a_store_that_the_index_or_head_has_is_refused_until_both_have_not(
    project: Project, server: Server
) -> None:
    project.run("eval", "--base", "main")
    git(project.root, "add", "-f", DATABASE)
    assert is_refused(project.run("eval", "--base", "main"))
    git(project.root, "commit", "-qm", "a store")
    git(project.root, "rm", "-q", "--cached", DATABASE)
    assert is_refused(project.run("eval", "--base", "main"))
    git(project.root, "commit", "-qm", "no store")
    calls = server.requests
    assert project.run("eval", "--base", "main").code == 1
    assert server.requests == calls
    assert project.run("fsck", "--base", "main").code == 0


def test_a_store_is_refused_before_the_first_commit_too(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    git(tmp_path, "init", "-q")
    project.write(DATABASE, "rows")
    assert checked_store(tmp_path, {}) == project.store
    git(tmp_path, "add", "-f", DATABASE)
    with pytest.raises(Refused, match=r"results\.sqlite3"):
        checked_store(tmp_path, {})


def test_on_a_disk_that_folds_case_a_committed_name_in_capitals_is_the_store(
    project: Project,
) -> None:
    project.store.mkdir(parents=True)
    project.write(".LLMOPS/Store/results.sqlite3", "rows")
    commit(project, "in capitals")
    assert is_refused(project.run("eval", "--base", "main"))


def folder_elsewhere(project: Project, path: str) -> None:
    elsewhere = project.root.parent / "elsewhere"
    (elsewhere / "store").mkdir(parents=True)
    (project.root / path).parent.mkdir(exist_ok=True)
    (project.root / path).symlink_to(elsewhere)


def submodule(project: Project, path: str) -> None:
    other = project.root.parent / "other"
    git(project.root.parent, "init", "-q", "other")
    (other / "store").mkdir()
    (other / "store" / "results.sqlite3").write_bytes(b"rows")
    GitProject(other).commit()
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(project.root, *add, str(other), path)


@pytest.mark.parametrize(
    ("put", "path"),
    [
        (folder_elsewhere, STORE),
        (folder_elsewhere, ".llmops"),
        (submodule, STORE),
        (submodule, ".llmops"),
        (lambda project, path: project.write(path, "text"), STORE),
        (lambda project, path: project.write(path, "text"), ".llmops"),
    ],
)
def test_a_store_that_is_no_folder_of_this_checkout_is_refused_and_nothing_is_written(
    project: Project, put: Callable[[Project, str], object], path: str
) -> None:
    put(project, path)
    git(project.root, "add", "-A", "-f")
    git(project.root, "commit", "-qm", "another store")
    before = sorted(project.root.parent.rglob("*.sqlite3"))
    assert is_refused(project.run("eval", "--base", "main"))
    assert path in project.run("fsck").text
    assert sorted(project.root.parent.rglob("*.sqlite3")) == before


def test_a_pipe_in_place_of_the_store_is_refused(project: Project) -> None:
    project.store.parent.mkdir()
    os.mkfifo(project.store)
    assert is_refused(project.run("eval"))


def test_a_checkout_that_git_will_not_read_has_no_store_that_could_be_checked(
    project: Project,
) -> None:
    project.store.mkdir(parents=True)
    result = project.run("eval", env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert (result.code, "git will not read" in result.text) == (2, True), result.text


def test_without_git_the_store_is_opened(project: Project, server: Server) -> None:
    project.run("eval")
    shutil.rmtree(project.root / ".git")
    calls = server.requests
    project.run("eval")
    assert server.requests == calls


# In CI the store is outside of the work tree ---------------------------------------------------


def test_in_ci_the_store_is_outside_of_the_work_tree_and_of_this_run_alone(
    project: Project, server: Server
) -> None:
    for run, calls in (("7", 80), ("7", 80), ("8", 160)):
        result = project.run("eval", "--base", "main", env={**PUSH, "GITHUB_RUN_ID": run})
        assert (result.code, server.requests) == (1, calls), result.text
    assert project.run("report", env=PUSH).code == 1
    assert not project.store.exists()
    assert store_folder(project.root, {**os.environ, **PUSH}).is_relative_to(Path.home())


def test_in_ci_a_committed_store_serves_nothing(project: Project, server: Server) -> None:
    forge_answers(project)
    commit_store(project)
    assert project.run("eval", "--base", "main", env=PUSH).code == 1
    assert server.requests == 80


def test_the_variable_names_the_store_in_ci_and_elsewhere(
    project: Project, server: Server, tmp_path: Path
) -> None:
    named = {"LLMOPS_STORE": str(tmp_path / "cache" / "store")}
    for env in ({**PUSH, **named}, named, {**PUSH, **named, "GITHUB_RUN_ID": "8"}):
        assert project.run("eval", "--base", "main", env=env).code == 1
        assert server.requests == 80
    assert not project.store.exists()
    onto = tmp_path / "cache" / "store" / "results.sqlite3"
    assert "belongs to the project" in project.run("eval", "--out", str(onto), env=named).text


@pytest.mark.parametrize("place", ["cache", "../project/cache", ".", "prompts"])
def test_a_store_that_the_variable_names_may_not_be_in_git_either(
    project: Project, place: str
) -> None:
    project.write("cache/results.sqlite3", "rows")
    commit(project, "a store of another name")
    result = project.run("eval", env={**PUSH, "LLMOPS_STORE": place})
    assert is_refused(result)
    assert "set LLMOPS_STORE to a folder that git has no file of" in result.text


def test_a_store_beside_the_project_may_not_be_in_git_either(
    project: Project, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(project.root, repository / "sub", ignore=shutil.ignore_patterns(".git"))
    (repository / "cache").mkdir()
    (repository / "cache" / "results.sqlite3").write_bytes(b"rows")
    (repository / "link").symlink_to("cache")
    git(repository, "init", "-q")
    GitProject(repository).commit()
    for place in ("../cache", "../link"):
        with pytest.raises(Refused, match="the store is not opened"):
            checked_store(repository / "sub", {"LLMOPS_STORE": place})
