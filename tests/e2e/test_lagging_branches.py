"""A branch behind its base is told to be updated, and no older branch escapes a newer case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shop import CASES, Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Production runs v1, and a branch leaves `main`."""
    shop = a_shop(tmp_path / "shop", "support")
    shop.cases("support", CASES - 2)
    shop.first()
    shop.git("branch", "change")
    return shop


def behind(shop: Shop, meanwhile: Callable[[Shop], object]) -> None:
    """`meanwhile` happens on main; then a new wording is committed on the branch."""
    meanwhile(shop)
    shop.commit("meanwhile")
    shop.git("switch", "-q", "change")
    shop.say("support", "Be kind.")
    shop.commit("kind")


def test_cases_that_the_base_gained_ask_for_an_update_and_block(shop: Shop) -> None:
    behind(shop, lambda item: item.cases("support"))
    ran = shop.run("eval", "--base", "main")
    assert ran.code == 1
    output = "update your branch: it lacks 2 cases added on the base since: c58, c59"
    assert output in ran.text
    assert "removed without being retired" not in ran.text
    assert "2 cases removed" not in ran.text
    shop.git("merge", "-q", "--no-edit", "main")
    assert "update your branch" not in shop.ok("eval", "--base", "main").text


def test_what_a_branch_takes_away_itself_is_told_apart(shop: Shop) -> None:
    behind(shop, lambda item: item.cases("support"))
    lines = (shop.root / "evalsets/support.jsonl").read_text().splitlines(keepends=True)
    shop.write("evalsets/support.jsonl", "".join(lines[1:]))
    output = shop.run("eval", "--base", "main").text
    assert "1 case of the baseline removed without being retired: c00; update your branch" in output


def test_an_evalset_that_the_base_gained_blocks_as_well(shop: Shop) -> None:
    def gains(shop: Shop) -> None:
        shop.write("evalsets/more.jsonl", (shop.root / "evalsets/support.jsonl").read_text())
        shop.evalset("support", cases="more.jsonl")
        yaml_text = (shop.root / "evalsets/support.yaml").read_text()
        shop.evalset("support")
        shop.write("evalsets/more.yaml", yaml_text)

    behind(shop, gains)
    ran = shop.run("eval", "--base", "main")
    assert ran.code == 1
    assert "update your branch: it lacks 58 cases added on the base since" in ran.text
    assert "the base gained more (58 cases) since this branch left: update" in ran.text


def test_a_policy_that_changed_at_the_base_decides_and_is_not_laid_at_the_branchs_door(
    shop: Shop,
) -> None:
    llmops = (shop.root / "llmops.yaml").read_text()
    behind(shop, lambda item: item.write("llmops.yaml", llmops + "gate: {margin: 0.2}\n"))
    output = shop.ok("eval", "--base", "main").text
    assert "decided by the policy at the base revision; this branch is behind main" in output


def test_work_at_the_base_that_decides_nothing_is_not_spoken_of(shop: Shop) -> None:
    behind(shop, lambda item: item.write("README.md", "Something else.\n"))
    shop.cases("support")
    shop.commit("more cases")
    output = shop.ok("eval", "--base", "main").text
    assert "2 cases added" in output
    assert "behind" not in output


def test_a_prompt_whose_evalset_the_base_gained_is_refused_with_what_mends_it(shop: Shop) -> None:
    shop.git("switch", "-q", "change")
    shop.say("other")
    shop.commit("a prompt that nothing gates")
    shop.git("branch", "-qf", "main", "HEAD")
    shop.git("switch", "-q", "main")

    def gains(shop: Shop) -> None:
        shop.cases("other")
        shop.evalset("other")

    behind(shop, gains)
    ran = shop.run("eval", "--base", "main")
    assert ran.code == 2
    assert "nothing gates other here: main gained other since this branch left it" in ran.text
    assert "git merge main" in ran.text
