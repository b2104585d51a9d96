"""Registry files written by hand, with every digest right, and how they are caught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import digest_bytes
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.records import Version, VersionRef
from llmops_cli.runtime import load_prompt
from tests.git_project import GitProject, make_git_project

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 and v2 of `support` ran; v3, which fails, and v4, which passes, are measured."""
    repo = make_git_project(tmp_path_factory.mktemp("made") / "shop", "support")
    repo.first()
    repo.git("branch", "base")
    repo.ok("promote", repo.candidate("support", "Be kind."), "--commit")
    repo.candidate("support", "Be wrong.", broken=30)
    repo.candidate("support", "Be brief.")
    repo.commit("two versions wait")
    return repo.root


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> GitProject:
    return GitProject(shutil.copytree(made, tmp_path / "shop", symlinks=True))


def written_by_hand(repo: GitProject, **values: Any) -> Path:
    """A further event in the chain of production, as its digest says it must be."""
    chain = repo.registry.history("production", "support")
    following = replace(
        chain[-1],
        seq=len(chain) + 1,
        previous=chain[-1].digest,
        from_version=chain[-1].to_version,
        **values,
    )
    path = repo.registry.event_file(following)
    path.write_text(json.dumps({**following.record(), "digest": following.digest}))
    return path


def cited(repo: GitProject, number: int) -> VersionRef:
    return VersionRef(number=number, digest=repo.registry.version("support", number).digest)


def statement_of(repo: GitProject, number: int) -> Path:
    (path,) = (repo.root / f".llmops/evidence/support@v{number}").glob("*.json")
    return path


def forged(repo: GitProject, number: int, edit: Callable[[Rows], Rows], *, name: str = "") -> None:
    """The rows of `support@v<number>` edited, and every digest over them made to fit."""
    path = statement_of(repo, number)
    statement = json.loads(path.read_text())
    file = statement["predicate"]["llmops"]["cases"]
    rows = [json.loads(line) for line in (path.parent / file["name"]).read_text().splitlines()]
    content = "".join(json.dumps(item) + "\n" for item in edit(rows)).encode()
    (path.parent / file["name"]).write_bytes(content)
    digest = digest_bytes(content)
    for item in statement["predicate"]["configuration"]:
        if item["name"] == file["name"]:
            item["digest"]["sha256"] = digest.removeprefix("sha256:")
            item["name"] = name or file["name"]
    file.update(digest=digest, name=name or file["name"])
    path.write_text(json.dumps(statement))


def refused(repo: GitProject, *arguments: str) -> str:
    """What the program says, where it says no with exit code 2."""
    result = repo.run(*arguments)
    assert result.code == 2, result.text
    return result.text


def test_an_event_written_by_hand_is_found(repo: GitProject) -> None:
    nothing: dict[str, Any] = {"evidence": (), "judged_by": (), "decision": None}
    rollback = {"action": "rollback", "to_version": cited(repo, 3), "reason": "x", **nothing}
    for forgery, message in (
        (rollback, "goes back to v3, which never ran there"),
        ({"came_from": "sha256:" + "0" * 64}, "of another environment that it cites is not here"),
        ({"to_version": None}, "it is a promote to no version"),
    ):
        path = written_by_hand(repo, **forgery)
        assert message in refused(repo, "verify")
        if "no version" in message:
            assert message in refused(repo, "fsck")
            assert message in refused(repo, "promote", "support@v4", "--initial", "-m", "x")
        path.unlink()


def test_events_of_another_prompt_are_broken(repo: GitProject) -> None:
    chain = repo.registry.chain_folder("production", "support")
    shutil.copytree(chain, chain.with_name("other"))
    assert "it belongs to support in production" in refused(repo, "verify")
    with pytest.raises(IntegrityBroken, match="it belongs to support"):
        load_prompt("other@production", source=repo.root)


def test_evidence_of_another_version_promotes_nothing(repo: GitProject) -> None:
    shutil.rmtree(statement_of(repo, 3).parent)
    shutil.copytree(statement_of(repo, 4).parent, repo.root / ".llmops/evidence/support@v3")
    assert "it is evidence about support@v4" in refused(repo, "promote", "support@v3")
    assert "it is evidence about support@v4" in refused(repo, "fsck")
    assert repo.runs("support") == 2


def test_evidence_about_other_words_than_its_version_s_promotes_nothing(repo: GitProject) -> None:
    path = statement_of(repo, 3)
    own, another = (repo.registry.version("support", number).target for number in (3, 4))
    message = path.read_text()
    assert own in message
    path.write_text(message.replace(own.removeprefix("sha256:"), another.removeprefix("sha256:")))
    assert "it is not about what support@v3 sends" in refused(repo, "promote", "support@v3")


def test_another_version_under_the_number_that_runs_is_neither_served_nor_compared_with(
    repo: GitProject,
) -> None:
    versions = repo.root / ".llmops/versions"
    shutil.rmtree(versions / "support@v2")
    shutil.copytree(versions / "support@v3", versions / "support@v2")
    record = json.loads((versions / "support@v2/version.json").read_text())
    record = {**record, "number": 2}
    record["digest"] = Version.of({k: record[k] for k in record if k != "digest"}).digest
    (versions / "support@v2/version.json").write_text(json.dumps(record))
    message = "support@v2 is not the version that this event moved to"
    for command in (["fsck"], ["status"], ["eval"], ["promote", "support@v4"], ["verify"]):
        assert message in refused(repo, *command)
    with pytest.raises(IntegrityBroken, match=message):
        load_prompt("support@production", source=repo.root)
    repo.ok("rollback", "support@production", "-m", "back to what is known")


def test_evidence_without_some_cases_is_broken_even_if_its_digests_fit(repo: GitProject) -> None:
    forged(repo, 3, lambda rows: rows[30:])
    assert "it holds 30 of the 60 cases of support" in refused(repo, "promote", "support@v3")


def test_a_statement_that_names_files_elsewhere_deletes_nothing(repo: GitProject) -> None:
    forged(repo, 1, lambda rows: rows, name="../../../llmops.yaml")
    assert "are not next to it" in refused(repo, "gc")
    assert (repo.root / "llmops.yaml").exists()


def test_names_that_no_tool_of_ours_writes_are_ignored_or_a_problem(repo: GitProject) -> None:
    repo.write(".llmops/log/.DS_Store", "what a Finder has seen")
    repo.ok("verify")
    repo.ok("promote", "support@v4")
    repo.write(".llmops/versions/support@v99999999999/version.json", "{}")
    assert "support has a v99999999999 and no v5" in refused(repo, "fsck")


def test_a_commit_that_git_replaced_is_not_used_as_the_base(repo: GitProject) -> None:
    (repo.registry.event_file(repo.registry.history("production", "support")[0])).write_text("{}")
    repo.commit("another beginning")
    repo.git("replace", "base", "HEAD")
    assert "it is not the event of base: it was edited" in refused(repo, "fsck", "--base", "base")


def test_an_evalset_removed_in_the_same_change_allows_nothing(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    repo.cases("hard")
    repo.evalset("hard", prompt="support")
    repo.cases("support", 30)
    rules = [{"no_worse": {"margin": 0.2}}, {"coverage": "off"}]
    repo.evalset("support", gate={"rules": rules})
    repo.commit("two evalsets")
    repo.first()
    repo.git("branch", "base")
    for path in ("evalsets/hard.yaml", "evalsets/hard.jsonl"):
        (repo.root / path).unlink()
    repo.say("support", "Be wrong.")
    repo.commit("one of them is gone")
    repo.ok("release", "support")
    repo.ok("promote", "support@v2", "--measure", "--commit")
    message = refused(repo, "fsck", "--base", "base")
    assert "at base, hard gated support, and it was not used" in message


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_policy_that_git_assumes_unchanged_is_not_committed_and_reported(
    repo: GitProject, mark: str
) -> None:
    repo.write("schemas/reply.json", "{}")
    repo.commit("what a scorer reads")
    repo.git("update-index", mark, "llmops.yaml", "schemas/reply.json")
    repo.ok("promote", "support@v4", "--commit")  # marked, and as it is committed
    with (repo.root / "llmops.yaml").open("a") as file:
        file.write("gate: {rules: [{no_worse: {margin: 0.9}}]}\n")
    repo.write("schemas/reply.json", '{"type": "string"}')
    assert repo.git("status", "--short") == ""
    message = refused(repo, "promote", "support@v3", "--commit")
    assert "not committed: llmops.yaml, schemas/reply.json" in message


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_an_evalset_that_git_assumes_unchanged_is_missed_where_it_was_removed(
    repo: GitProject, mark: str
) -> None:
    repo.cases("hard")
    repo.evalset("hard", prompt="support")
    repo.commit("a second evalset")
    repo.git("update-index", mark, "evalsets/hard.yaml", "evalsets/hard.jsonl")
    for path in ("evalsets/hard.yaml", "evalsets/hard.jsonl"):
        (repo.root / path).unlink()
    assert repo.git("status", "--short") == ""
    message = refused(repo, "promote", "support@v4", "--commit")
    assert "not committed: evalsets/hard.jsonl, evalsets/hard.yaml" in message


def test_an_evalset_that_git_ignores_is_not_committed_and_reported(repo: GitProject) -> None:
    (repo.root / ".git/info/exclude").write_text("*.local.jsonl\n.DS_Store\n")
    repo.write("evalsets/.DS_Store", "what a Finder has seen")
    repo.ok("promote", "support@v4", "--commit")
    repo.cases("support.local", 30)
    repo.evalset("support", cases="support.local.jsonl")
    (repo.root / "evalsets/support.jsonl").unlink()
    repo.commit("easier")
    message = refused(repo, "promote", "support@v3", "--commit")
    assert "not committed: evalsets/support.local.jsonl" in message


@pytest.mark.parametrize("ignored", ["log/", "*.jsonl", "*.gz", "*.json"])
def test_what_a_project_ignores_is_committed_in_the_registry_all_the_same(
    repo: GitProject, tmp_path: Path, ignored: str
) -> None:
    repo.write(".gitignore", f"{ignored}\n")
    repo.commit("data is no code")
    repo.ok("promote", repo.candidate("support", "Be calm."), "--commit")
    repo.clone(tmp_path / "clone").ok("fsck", "--base", "origin/base")
    assert GitProject(tmp_path / "clone").runs("support") == 5


@pytest.mark.parametrize(("ignored", "rules"), [("log/", "store/\n"), (".llmops/", "!*\n")])
def test_a_promotion_that_git_would_ignore_is_refused_and_not_half_committed(
    repo: GitProject, ignored: str, rules: str
) -> None:
    repo.write(".gitignore", f"{ignored}\n")
    repo.write(".llmops/.gitignore", rules)
    repo.git("add", "-f", ".gitignore", ".llmops/.gitignore")
    repo.git("commit", "-qm", "an older registry")
    message = refused(repo, "promote", "support@v4", "--commit")
    assert "git ignores .llmops/log/production/support/000003.json" in message
    assert f".gitignore:1:{ignored}" in message
    assert repo.runs("support") == 2
