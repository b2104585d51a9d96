"""Which prompts a change concerns, asked of a real repository with several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Ran
from tests.shop import Shop, a_shop, git

PROMPTS = ("claims", "intent", "support")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three prompts on `main`; a branch is checked out."""
    shop = a_shop(tmp_path / "shop", *PROMPTS)
    shop.git("switch", "-q", "-c", "change")
    return shop


def changed(shop: Shop, *arguments: str) -> list[str]:
    """What `eval --changed main` measures."""
    ran = shop.run("eval", "--changed", "main", "--dry-run", "--json", *arguments)
    assert ran.code == 0, ran.text
    (plan,) = ran.document
    return [each["prompt"] for each in plan["prompts"]]


def appended(shop: Shop, path: str, text: str) -> None:
    shop.write(path, (shop.root / path).read_text() + text)


def refused(ran: Ran) -> str:
    assert ran.code == 2
    return ran.text


def test_nothing_changed_is_nothing_to_measure_and_passes(shop: Shop) -> None:
    junit = shop.root / "junit.xml"
    ran = shop.ok("eval", "--changed", "main", "--junit", str(junit))
    assert "Nothing to measure." in ran.out
    assert "no prompt changed since" in ran.out
    assert "<error" not in junit.read_text()


def test_a_prompts_own_file_concerns_it_alone(shop: Shop) -> None:
    shop.say("intent", "Answer kindly.")
    assert changed(shop) == ["intent"]


def test_a_comment_concerns_nobody(shop: Shop) -> None:
    appended(shop, "evalsets/intent.yaml", "\n# a remark\n")
    assert changed(shop) == []


def test_cases_scorers_tags_and_policy_concern_those_they_gate(shop: Shop) -> None:
    shop.cases("claims", 59)
    shop.evalset("support", gate={"margin": 0.2})
    assert changed(shop) == ["claims", "support"]


def test_an_evalset_that_gates_another_prompt_now_concerns_both(shop: Shop) -> None:
    shop.cases("hard")
    shop.evalset("hard", prompt="intent")
    shop.commit("a second evalset")
    shop.git("branch", "-f", "main")
    shop.evalset("hard", prompt="claims")
    assert changed(shop) == ["claims", "intent"]


def test_a_model_concerns_those_that_it_answers(shop: Shop) -> None:
    shop.write(
        "llmops.yaml",
        "models:\n  tiny: {provider: embedded}\n  other: {provider: embedded}\n"
        "environments: [production]\n",
    )
    path = "prompts/intent.prompt.yml"
    shop.write(path, (shop.root / path).read_text().replace('"tiny"', '"other"'))
    assert changed(shop) == ["intent"]


def test_the_projects_policy_concerns_all(shop: Shop) -> None:
    appended(shop, "llmops.yaml", "gate: {margin: 0.2}\n")
    assert changed(shop) == [*PROMPTS]


def test_what_others_merged_meanwhile_concerns_nobody_here(shop: Shop) -> None:
    shop.git("switch", "-q", "main")
    shop.say("support", "Answer kindly.")
    shop.commit("meanwhile")
    shop.git("switch", "-q", "change")
    shop.say("claims", "Answer kindly.")
    assert changed(shop) == ["claims"]


def test_a_name_and_a_change_must_both_hold(shop: Shop) -> None:
    shop.say("intent", "Answer kindly.")
    shop.say("claims", "Answer kindly.")
    assert changed(shop, "--prompt", "int*") == ["intent"]


def test_a_prompt_that_is_gone_is_said_whatever_else_changed(shop: Shop) -> None:
    for path in ("prompts/support.prompt.yml", "evalsets/support.yaml", "evalsets/support.jsonl"):
        (shop.root / path).unlink()
    for measured in ([], ["intent"], ["claims", "intent"]):
        for name in measured:
            shop.say(name, "Answer kindly.")
        ran = shop.ok("eval", "--changed", "main", "--base", "main", "--json")
        assert [each["prompt"] for each in ran.report["prompts"]] == measured
        assert ran.out.count("support is gone, which support gated at main") == 1


def test_where_the_files_at_the_base_are_broken_all_are_measured(shop: Shop) -> None:
    shop.git("switch", "-q", "main")
    shop.write("llmops.yaml", "models: nonsense\n")
    shop.commit("broken")
    shop.git("switch", "-q", "-C", "change")
    shop.git("checkout", "-q", "main~1", "--", "llmops.yaml")
    shop.commit("mended")
    assert changed(shop) == [*PROMPTS]


def test_a_shallow_clone_is_told_how_to_get_deeper(shop: Shop, tmp_path: Path) -> None:
    shop.say("intent", "Answer kindly.")
    shop.commit("kindly")
    thin = shop.clone(tmp_path / "thin", "--depth=1", "--branch", "change")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "origin/main"))
    git(thin.root, "fetch", "-q", "--depth=1", "origin", "main")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "FETCH_HEAD"))


def test_a_version_never_changes(shop: Shop) -> None:
    shop.first()
    assert "a version never does" in refused(shop.run("eval", "intent@v1", "--changed", "main"))
