"""Measuring as a part of promoting: on request, from a run file, or priced first."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

import llmops_cli.run.selection as selecting
import llmops_cli.run.workspace as signing
from tests.git_project import GitProject, make_git_project
from tests.projects import run_on_terminal
from tests.servers.faulty import FaultServer


@pytest.fixture
def repo(shop: GitProject) -> GitProject:
    """v1 runs, v2 is released and not measured."""
    repo = shop
    repo.say("support", "Answer kindly.")
    repo.commit("kinder")
    repo.ok("release", "support")
    return repo


def test_missing_evidence_is_3_and_named_with_its_cost(repo: GitProject) -> None:
    result = repo.run("promote", "support@v2")
    assert result.code == 3
    assert "support@v2 has no evidence" in result.out
    assert (
        "next: llmops measure support@v2 --to production   # 120 calls, about $0.00" in result.out
    )
    assert repo.runs("support") == 1


def test_measure_calls_what_is_missing_and_then_decides(repo: GitProject) -> None:
    result = repo.ok("promote", "support@v2", "--measure")
    assert "production runs support@v2" in result.out
    repo.ok("verify")
    address = repo.candidate("support", "Answer briefly.")
    repo.ok("promote", address, "--measure")  # the evidence is there
    assert len(repo.registry.evidence("support", 3)) == 1


def test_measuring_again_does_not_change_a_verdict(repo: GitProject) -> None:
    repo.say("support", "Answer kindly.", broken=30)
    repo.ok("release", "support")
    result = repo.run("promote", "support@v3", "--measure")
    assert (result.code, repo.runs("support")) == (1, 1)


def test_a_person_at_a_terminal_is_asked(repo: GitProject) -> None:
    def ask(answer: bytes) -> str:
        return run_on_terminal(repo.root, "promote", "support@v2", typed=answer)[1]

    assert ask(b"n\n").count("measure now? 120 calls, about $0.00") == 1
    assert repo.runs("support") == 1
    assert "production runs support@v2" in ask(b"y\n")
    assert repo.runs("support") == 2


def test_release_changed_names_what_production_does_not_run(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support", "intent", "tone")
    repo.first()
    assert repo.ok("release", "--changed", "--json").document == []
    repo.say("support", "Answer kindly.")
    repo.say("intent", "Answer kindly.")
    for _ in range(2):  # the second time they are versions already, and still to be promoted
        diff = repo.ok("release", "--changed", "--json").document
        assert [item["version"] for item in diff] == ["intent@v2", "support@v2"]
    repo.ok("promote", "support@v2", "--measure")
    assert [item["version"] for item in repo.ok("release", "--changed", "--json").document] == [
        "intent@v2"
    ]


def test_what_was_rolled_back_is_no_change_to_promote(repo: GitProject) -> None:
    repo.ok("promote", "support@v2", "--measure")
    rolled = repo.ok("rollback", "support@production", "-m", "too kind")
    assert "the working copy is still support@v2: revert or fix support" in rolled.out
    assert repo.ok("release", "--changed", "--json").document == []
    result = repo.run("promote", "support@v2")
    assert (result.code, "support@v2 is quarantined" in result.err) == (2, True)


def over_a_network(repo: GitProject, url: str) -> None:
    """The same project on a model that has to be called."""
    repo.write(
        "llmops.yaml",
        f"models:\n  tiny: {{provider: openai, model: echo, base_url: '{url}', "
        "api_key_env: NO_KEY}\nenvironments: [production]\n",
    )
    repo.cases("support")
    repo.evalset("support", scorers=[{"contains": "question"}])


def measured_elsewhere(tmp_path: Path, *command: str) -> GitProject:
    """A clone without a key or results, beside `run.jsonl.gz`, which `command` wrote."""
    repo = make_git_project(tmp_path / "project", "support")
    with FaultServer() as server, pytest.MonkeyPatch.context() as patch:
        over_a_network(repo, server.url)
        patch.setenv("NO_KEY", "a key for the test server")
        repo.commit("a real model")
        repo.first()
        repo.say("support", "Answer kindly.")
        repo.commit("kinder")
        repo.ok("release", "support", "--commit")
        clone = repo.clone(tmp_path / "clone")
        before = server.requests
        repo.run(*command, "--out", str(tmp_path / "run.jsonl.gz"))
        assert server.requests > before
    return clone


@pytest.mark.parametrize(
    ("command", "code", "runs", "words"),
    [
        ("measure", 0, 2, "production runs support@v2"),
        ("eval", 3, 1, "no evidence recorded"),  # it lacks the baseline trials
    ],
)
def test_a_run_file_of_measure_is_evidence_where_nothing_can_be_called(
    tmp_path: Path, command: str, code: int, runs: int, words: str
) -> None:
    """One job has the key and no right to push; the other may push and has no key."""
    clone = measured_elsewhere(tmp_path, command, "support@v2")
    result = clone.run("promote", "support@v2", "--run", str(tmp_path / "run.jsonl.gz"))
    assert (result.code, clone.runs("support")) == (code, runs), result.text
    assert words in result.out
    clone.ok("verify")


def test_an_alias_that_points_at_another_model_is_another_version(repo: GitProject) -> None:
    """What runs stays what was measured; the alias is only how the working copy says it."""
    repo.ok("promote", "support@v2", "--measure")
    repo.write("llmops.yaml", "models:\n  tiny: {provider: openai, model: gpt-x}\n")
    repo.commit("another model")
    assert repo.registry.version("support", 2).model.provider == "embedded"
    repo.ok("verify")
    rows = repo.ok("status", "--json").document
    assert [row["working_copy"] for row in rows] == ["ahead: not released"]
    assert "support@v3" in repo.ok("release", "support").out
    assert repo.registry.version("support", 3).model.model == "gpt-x"
    diff = repo.ok("diff", "support@v2", "v3").out
    assert ("embedded/embedded" in diff, "openai/gpt-x" in diff) == (True, True)


def test_the_order_of_events_and_evidence_is_not_the_clocks(
    repo: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Yesteryear(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Yesteryear:
            return cls(2001, 2, 3, 4, 5, 6, tzinfo=tz)

    repo.ok("promote", "support@v2", "--measure")
    for module in (selecting, signing):
        monkeypatch.setattr(module, "datetime", Yesteryear)
    address = repo.candidate("support", "Answer briefly.")
    repo.ok("promote", address, "-m", "in the past")
    assert repo.runs("support") == 3
    repo.ok("measure", "support@v2")
    first, second = repo.registry.evidence("support", 2)
    assert first.measurement.made.at > second.measurement.made.at
    assert second.measurement.earlier == (first.digest,)
    assert repo.ok("history", "support", "--json").document[0]["why"] == "in the past"
    repo.ok("rollback", "support@production", "-m", "still in the past")
    assert repo.runs("support") == 2
    repo.ok("verify")


def test_scores_of_a_cases_own_scorer_are_used_again(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    lines = (repo.root / "evalsets" / "support.jsonl").read_text().splitlines()
    own = [json.loads(line) for line in lines]
    for at, case in enumerate(own[:4]):
        case["scorers"] = [{"contains": f"label{at}"}]
    text = "".join(json.dumps(item) + "\n" for item in own)
    repo.write("evalsets/support.jsonl", text)
    repo.commit("four cases have a scorer of their own")
    repo.first()
    clone = repo.clone(tmp_path / "clone")
    plan = clone.ok("eval", "support@v1", "--dry-run", "--json").document
    assert [
        evalset["scores"] for prompt in plan for evalset in prompt["prompts"][0]["evalsets"]
    ] == [0]


def test_an_override_that_was_rolled_back_no_longer_fails_verify_strict(shop: GitProject) -> None:
    worse = shop.candidate("support", "Answer badly.", broken=30)
    shop.ok("promote", worse, "--override", "-m", "trust me")
    refused = shop.run("verify", "--strict")
    assert refused.code == 2
    assert "BROKEN" in refused.out
    shop.ok("rollback", "support@production", "-m", "it was bad")
    verified = shop.ok("verify", "--strict")
    assert "promoted by override: trust me" in verified.out  # recorded for good
    assert "BROKEN" not in verified.out
    (row,) = shop.ok("verify", "--strict", "--json").document
    (problem,) = row["prompts"][0]["problems"]
    assert (problem["warning"], problem["past"]) == (True, True)
