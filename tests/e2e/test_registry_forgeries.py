"""What somebody writes into the registry by hand, with every digest right, and what comes of it."""

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
from llmops_cli.core.release import VersionRef, version_from
from llmops_cli.runtime.loading import load_prompt
from tests.shop import Shop, a_shop

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 and v2 of `support` ran; v3, which fails, and v4, which passes, are measured."""
    shop = a_shop(tmp_path_factory.mktemp("made") / "shop", "support")
    shop.first()
    shop.git("branch", "base")
    shop.ok("promote", shop.candidate("support", "Be kind."), "--commit")
    shop.candidate("support", "Be wrong.", broken=30)
    shop.candidate("support", "Be brief.")
    shop.commit("two versions wait")
    return shop.root


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Shop:
    return Shop(shutil.copytree(made, tmp_path / "shop", symlinks=True))


def written_by_hand(shop: Shop, **values: Any) -> Path:
    """A further event in the chain of production, as its digest says it must be."""
    chain = shop.registry.history("production", "support")
    following = replace(
        chain[-1],
        seq=len(chain) + 1,
        previous=chain[-1].digest,
        from_version=chain[-1].to_version,
        **values,
    )
    path = shop.registry.event_file(following)
    path.write_text(json.dumps({**following.record(), "digest": following.digest}))
    return path


def cited(shop: Shop, number: int) -> VersionRef:
    return VersionRef(number=number, digest=shop.registry.version("support", number).digest)


def statement_of(shop: Shop, number: int) -> Path:
    (path,) = (shop.root / f".llmops/evidence/support@v{number}").glob("*.json")
    return path


def forged(shop: Shop, number: int, edit: Callable[[Rows], Rows], *, name: str = "") -> None:
    """The rows of `support@v<number>` edited, and every digest over them made to fit."""
    path = statement_of(shop, number)
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


def refused(shop: Shop, *arguments: str) -> str:
    """What the program says, where it says no with exit code 2."""
    ran = shop.run(*arguments)
    assert ran.code == 2, ran.text
    return ran.text


def test_a_rollback_by_hand_to_what_never_ran_there_is_found(shop: Shop) -> None:
    nothing: dict[str, Any] = {"evidence": (), "judged_by": (), "decision": None}
    written_by_hand(shop, action="rollback", to_version=cited(shop, 3), reason="x", **nothing)
    assert "goes back to v3, which never ran there" in refused(shop, "verify")


def test_a_promotion_by_hand_that_cites_an_event_of_nowhere_is_found(shop: Shop) -> None:
    written_by_hand(shop, came_from="sha256:" + "0" * 64)
    assert "of another environment that it cites is not here" in refused(shop, "verify")


def test_an_event_that_moves_to_nothing_is_broken(shop: Shop) -> None:
    written_by_hand(shop, to_version=None)
    for command in (["verify"], ["fsck"], ["promote", "support@v4", "--initial", "-m", "x"]):
        assert "says promote, and not to which version" in refused(shop, *command)


def test_events_of_another_prompt_move_nothing(shop: Shop) -> None:
    chain = shop.registry.chain_folder("production", "support")
    shutil.copytree(chain, chain.with_name("other"))
    assert "it belongs to support in production" in refused(shop, "verify")
    with pytest.raises(IntegrityBroken, match="it belongs to support"):
        load_prompt("other@production", source=shop.root)


def test_evidence_of_another_version_promotes_nothing(shop: Shop) -> None:
    shutil.rmtree(statement_of(shop, 3).parent)
    shutil.copytree(statement_of(shop, 4).parent, shop.root / ".llmops/evidence/support@v3")
    assert "it is evidence about support@v4" in refused(shop, "promote", "support@v3")
    assert "it is evidence about support@v4" in refused(shop, "fsck")
    assert shop.runs("support") == 2


def test_evidence_about_other_words_than_its_version_s_promotes_nothing(shop: Shop) -> None:
    path = statement_of(shop, 3)
    own, another = (shop.registry.version("support", number).target for number in (3, 4))
    message = path.read_text()
    assert own in message
    path.write_text(message.replace(own.removeprefix("sha256:"), another.removeprefix("sha256:")))
    assert "it is not about what support@v3 sends" in refused(shop, "promote", "support@v3")


def test_another_version_under_the_number_that_runs_is_neither_served_nor_compared_with(
    shop: Shop,
) -> None:
    versions = shop.root / ".llmops/versions"
    shutil.rmtree(versions / "support@v2")
    shutil.copytree(versions / "support@v3", versions / "support@v2")
    record = json.loads((versions / "support@v2/version.json").read_text())
    record = {**record, "number": 2}
    record["digest"] = version_from({k: record[k] for k in record if k != "digest"}).digest
    (versions / "support@v2/version.json").write_text(json.dumps(record))
    message = "support@v2 is not the version that this event moved to"
    for command in (["fsck"], ["status"], ["eval"], ["promote", "support@v4"], ["verify"]):
        assert message in refused(shop, *command)
    with pytest.raises(IntegrityBroken, match=message):
        load_prompt("support@production", source=shop.root)
    shop.ok("rollback", "support@production", "-m", "back to what is known")


def test_evidence_that_lost_cases_is_broken_however_its_digests_fit(shop: Shop) -> None:
    forged(shop, 3, lambda rows: rows[30:])
    assert "it holds 30 of the 60 cases of support" in refused(shop, "promote", "support@v3")


def test_a_statement_that_names_files_elsewhere_clears_nothing_away(shop: Shop) -> None:
    forged(shop, 1, lambda rows: rows, name="../../../llmops.yaml")
    assert "do not stand beside it" in refused(shop, "gc")
    assert (shop.root / "llmops.yaml").exists()


def test_a_huge_version_number_is_a_flaw_and_no_hang(shop: Shop) -> None:
    shop.write(".llmops/versions/support@v99999999999/version.json", "{}")
    assert "support has a v99999999999 and no v5" in refused(shop, "fsck")


def test_what_a_desktop_leaves_in_the_log_is_passed_over(shop: Shop) -> None:
    shop.write(".llmops/log/.DS_Store", "what a Finder has seen")
    shop.ok("verify")
    shop.ok("promote", "support@v4")


def test_a_commit_that_git_puts_in_the_place_of_the_base_is_not_asked(shop: Shop) -> None:
    (shop.registry.event_file(shop.registry.history("production", "support")[0])).write_text("{}")
    shop.commit("another beginning")
    shop.git("replace", "base", "HEAD")
    assert "it is not the event of base: it was edited" in refused(shop, "fsck", "--base", "base")


def test_an_evalset_taken_away_in_the_same_change_lets_nothing_in(tmp_path: Path) -> None:
    shop = a_shop(tmp_path / "shop", "support")
    shop.cases("hard")
    shop.evalset("hard", prompt="support")
    shop.cases("support", 30)
    shop.evalset("support", gate={"rules": [{"no_worse": {"margin": 0.2}}]})
    shop.commit("two evalsets")
    shop.first()
    shop.git("branch", "base")
    for path in ("evalsets/hard.yaml", "evalsets/hard.jsonl"):
        (shop.root / path).unlink()
    shop.say("support", "Be wrong.")
    shop.commit("one of them is gone")
    shop.ok("release", "support")
    shop.ok("promote", "support@v2", "--measure", "--commit")
    message = refused(shop, "fsck", "--base", "base")
    assert "at base, hard gated support, and it was not used" in message


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_policy_that_git_was_told_to_overlook_is_not_committed_and_said_so(
    shop: Shop, mark: str
) -> None:
    shop.write("schemas/reply.json", "{}")
    shop.commit("what a scorer reads")
    shop.git("update-index", mark, "llmops.yaml", "schemas/reply.json")
    shop.ok("promote", "support@v4", "--commit")  # marked, and as it is committed
    with (shop.root / "llmops.yaml").open("a") as file:
        file.write("gate: {rules: [{no_worse: {margin: 0.9}}]}\n")
    shop.write("schemas/reply.json", '{"type": "string"}')
    assert shop.git("status", "--short") == ""
    message = refused(shop, "promote", "support@v3", "--commit")
    assert "not committed: llmops.yaml, schemas/reply.json" in message


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_an_evalset_that_git_was_told_to_overlook_is_missed_where_it_was_taken_away(
    shop: Shop, mark: str
) -> None:
    shop.cases("hard")
    shop.evalset("hard", prompt="support")
    shop.commit("a second evalset")
    shop.git("update-index", mark, "evalsets/hard.yaml", "evalsets/hard.jsonl")
    for path in ("evalsets/hard.yaml", "evalsets/hard.jsonl"):
        (shop.root / path).unlink()
    assert shop.git("status", "--short") == ""
    message = refused(shop, "promote", "support@v4", "--commit")
    assert "not committed: evalsets/hard.jsonl, evalsets/hard.yaml" in message


def test_an_evalset_that_git_ignores_is_not_committed_and_said_so(shop: Shop) -> None:
    (shop.root / ".git/info/exclude").write_text("*.local.jsonl\n.DS_Store\n")
    shop.write("evalsets/.DS_Store", "what a Finder has seen")
    shop.ok("promote", "support@v4", "--commit")
    shop.cases("support.local", 30)
    shop.evalset("support", cases="support.local.jsonl")
    (shop.root / "evalsets/support.jsonl").unlink()
    shop.commit("easier")
    message = refused(shop, "promote", "support@v3", "--commit")
    assert "not committed: evalsets/support.local.jsonl" in message


@pytest.mark.parametrize("ignored", ["log/", "*.jsonl", "*.gz", "*.json"])
def test_what_a_project_ignores_is_committed_in_the_registry_all_the_same(
    shop: Shop, tmp_path: Path, ignored: str
) -> None:
    shop.write(".gitignore", f"{ignored}\n")
    shop.commit("data is no code")
    shop.ok("promote", shop.candidate("support", "Be calm."), "--commit")
    shop.clone(tmp_path / "clone").ok("fsck", "--base", "origin/base")
    assert Shop(tmp_path / "clone").runs("support") == 5


@pytest.mark.parametrize(("ignored", "rules"), [("log/", "store/\n"), (".llmops/", "!*\n")])
def test_a_promotion_that_git_would_ignore_is_refused_and_not_half_committed(
    shop: Shop, ignored: str, rules: str
) -> None:
    shop.write(".gitignore", f"{ignored}\n")
    shop.write(".llmops/.gitignore", rules)
    shop.git("add", "-f", ".gitignore", ".llmops/.gitignore")
    shop.git("commit", "-qm", "an older registry")
    message = refused(shop, "promote", "support@v4", "--commit")
    assert "git ignores .llmops/log/production/support/000003.json" in message
    assert f".gitignore:1:{ignored}" in message
    assert shop.runs("support") == 2
