"""A repository with prompts and evalsets and nothing else is gated against its own base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shop import Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """No llmops.yaml, no registry: the prompt names its model in full."""
    shop = a_shop(tmp_path / "shop", "support")
    (shop.root / "llmops.yaml").unlink()
    path = shop.root / "prompts" / "support.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))
    shop.commit("prompts and evalsets")
    return shop


def say(shop: Shop, system: str, *, broken: int = 0) -> None:
    shop.say("support", system, broken=broken)
    path = shop.root / "prompts" / "support.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))


def test_a_worse_prompt_fails_and_one_as_good_passes(shop: Shop) -> None:
    say(shop, "Answer badly.", broken=20)
    ran = shop.run("eval", "--base", "HEAD")
    assert ran.code == 1, ran.text
    assert "support@working against support@base" in ran.text
    assert "production does not run it yet" in ran.text
    say(shop, "Answer kindly.")
    assert "PASS" in shop.ok("eval", "--base", "HEAD", "--require-baseline").out


def test_an_unchanged_prompt_calls_nothing_twice(shop: Shop) -> None:
    shop.ok("eval", "--base", "HEAD")
    assert shop.ok("eval", "--base", "HEAD", "--json").report["calls"] == 0


def test_a_prompt_that_the_base_does_not_have_has_no_baseline(shop: Shop) -> None:
    ran = shop.run("eval", "--json", "--base", "HEAD~1")  # there it named a model of llmops.yaml
    assert ran.decision == "PASS"
    shop.say("second")
    shop.cases("second")
    shop.evalset("second")
    path = shop.root / "prompts" / "second.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))
    ran = shop.run("eval", "second", "--json", "--base", "HEAD")
    assert ran.decision == "INCONCLUSIVE"
    assert "no baseline" in ran.text


def test_what_production_runs_is_the_baseline_as_soon_as_it_runs_anything(shop: Shop) -> None:
    shop.first("support")
    say(shop, "Answer badly.", broken=20)
    ran = shop.run("eval", "--base", "HEAD")
    assert "support@working against support@v1 (production)" in ran.text


def test_a_folder_without_prompts_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    ran = Shop(tmp_path).run("eval")
    assert (ran.code, "llmops init" in ran.err) == (2, True)
