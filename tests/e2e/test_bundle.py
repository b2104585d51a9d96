"""`llmops bundle` in real repositories: clones of any kind, and where there is no git at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import llmops, make_project
from tests.servers.faulty import FaultServer
from tests.unit.stores.test_git import git

LOAD = """
import sys
from llmops_cli import load_prompt
prompt = load_prompt("support@production")
print(prompt, prompt.render(question="hi").messages[1]["content"])
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose production runs support@v1, all of it committed."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    with FaultServer() as server:
        make_project(folder, server.url, cases=20).promote_v1()
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "support@v1 runs in production")
    return folder


def loaded(folder: Path, **environ: str) -> str:
    """What an application that starts in `folder` loads and renders."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    return done.stdout.strip()


def without_git(repository: Path, into: Path) -> Path:
    return Path(shutil.copytree(repository, into, ignore=shutil.ignore_patterns(".git")))


def override(copy: Path, answers: str) -> None:
    """Promote v2, which answers in other words and was not measured."""
    prompt = copy / "prompts" / "support.prompt.yml"
    prompt.write_text(prompt.read_text().replace("Answer.", answers))
    assert llmops(copy, "release", "support").code == 0
    assert llmops(copy, "promote", "support@v2", "--override", "-m", "a test of bundles").code == 0


def bundled(folder: Path, path: Path) -> Path:
    """Write what production runs to `path`."""
    assert llmops(folder, "bundle", "production", "--out", str(path)).code == 0
    return path


def clone(repository: Path, into: Path, *how: str) -> Path:
    git(into.parent, "clone", "-q", *how, f"file://{repository}", str(into))
    return into


def test_every_kind_of_copy_makes_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    copies = [
        repository,
        clone(repository, tmp_path / "shallow", "--depth=1"),
        clone(repository, tmp_path / "crlf", "--config", "core.autocrlf=true"),
        without_git(repository, tmp_path / "copy"),
    ]
    bundles = {llmops(copy, "bundle", "production", "--out", "-").out for copy in copies}
    assert len(bundles) == 1
    content = json.loads(bundles.pop())
    assert [version["number"] for version in content["prompts"]["support"]["versions"]] == [1]


def test_a_bundle_is_a_file_that_an_application_starts_from(
    repository: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "production.json"
    path.parent.mkdir()
    result = llmops(repository, "bundle", "production", "--out", str(path))
    assert (result.code, result.out.splitlines()) == (
        0,
        ["support  v1", f"wrote {path}", f"next: export LLMOPS_BUNDLE={path}"],
    )
    assert loaded(path.parent, LLMOPS_BUNDLE=path.name) == "support@v1 hi"


def test_an_application_starts_from_a_copy_without_git(repository: Path, tmp_path: Path) -> None:
    copy = without_git(repository, tmp_path / "copy")
    (copy / "src").mkdir()
    assert loaded(copy / "src", PATH="") == "support@v1 hi"


def test_a_broken_working_copy_is_no_reason_not_to_bundle(repository: Path, tmp_path: Path) -> None:
    copy = without_git(repository, tmp_path / "copy")
    (copy / "prompts" / "support.prompt.yml").write_text("messages: [")
    assert llmops(copy, "bundle", "production", "--out", "-").code == 0


def test_a_registry_that_was_tampered_with_is_not_bundled(repository: Path, tmp_path: Path) -> None:
    copy = without_git(repository, tmp_path / "copy")
    path = copy / ".llmops/versions/support@v1/version.json"
    path.write_bytes(path.read_bytes().replace(b"Answer.", b"Answer!"))
    result = llmops(copy, "bundle", "production")
    assert result.code == 2
    assert "its content is not what was released" in result.err
    assert not (copy / "production.bundle.json").exists()


def test_an_unknown_environment_is_named_with_the_nearest(repository: Path) -> None:
    result = llmops(repository, "bundle", "prodction")
    assert (result.code, result.out) == (2, "")
    assert "unknown environment 'prodction'" in result.err
    assert "did you mean 'production'?" in result.err


def test_a_bundle_is_verified_against_its_registry(repository: Path, tmp_path: Path) -> None:
    copy = clone(repository, tmp_path / "shallow", "--depth=1")
    path = bundled(copy, tmp_path / "production.json")
    assert llmops(copy, "verify", "production", "--bundle", str(path), "--strict").code == 0
    path.write_bytes(path.read_bytes().replace(b"Answer.", b"Answer!"))
    result = llmops(copy, "verify", "production", "--bundle", str(path))
    assert result.code == 2
    assert "support is not what was bundled" in result.out
    nowhere = str(tmp_path / "nowhere.json")
    assert llmops(copy, "verify", "production", "--bundle", nowhere).code == 2


def test_a_bundle_that_is_behind_says_so_and_is_not_strict(
    repository: Path, tmp_path: Path
) -> None:
    copy = without_git(repository, tmp_path / "copy")
    path = bundled(copy, tmp_path / "production.json")
    override(copy, "Answer well.")
    loose, strict = (
        llmops(copy, "verify", "production", "--bundle", str(path), *how)
        for how in ([], ["--strict"])
    )
    assert (loose.code, strict.code) == (0, 2)
    assert "it is behind: support@v1 (event 1), and production has support@v2" in loose.text
    assert loaded(copy, LLMOPS_BUNDLE=str(path)) == "support@v1 hi"
    assert loaded(copy) == "support@v2 hi"


def test_a_rollback_reaches_the_application_with_the_next_bundle(
    repository: Path, tmp_path: Path
) -> None:
    copy = without_git(repository, tmp_path / "copy")
    override(copy, "Answer badly.")
    bad = str(bundled(copy, tmp_path / "bad.json"))
    assert loaded(copy, LLMOPS_BUNDLE=bad) == "support@v2 hi"
    assert loaded(copy, LLMOPS_BUNDLE=bad, LLMOPS_PIN="support=v1") == "support@v1 hi"
    assert llmops(copy, "rollback", "support@production", "-m", "it is bad").code == 0
    good = str(bundled(copy, tmp_path / "good.json"))
    assert loaded(copy, LLMOPS_BUNDLE=good) == "support@v1 hi"
    pinned = {"LLMOPS_PIN": "support=v2", "PYTHONWARNINGS": "error::UserWarning"}
    with pytest.raises(subprocess.CalledProcessError) as error:
        loaded(copy, LLMOPS_BUNDLE=good, **pinned)
    assert "QuarantinedVersion: support@v2 is quarantined" in error.value.stderr
