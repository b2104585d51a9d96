"""A change that itself promotes is compared with what ran before it. Real git, a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shop import Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Production runs v1; the branch `main` is where changes go to."""
    shop = a_shop(tmp_path / "shop", "support")
    shop.first()
    shop.git("switch", "-qc", "change")
    return shop


def worse(shop: Shop) -> str:
    """A version that loses half of the cases, measured."""
    return shop.candidate("support", "Be brief.", broken=30)


def changed_run(shop: Shop, *arguments: str, code: int) -> str:
    ran = shop.run("eval", "--base", "main", *arguments)
    assert ran.code == code, ran.text
    return ran.text


def test_a_promotion_by_override_is_compared_with_what_ran_before(
    shop: Shop, tmp_path: Path
) -> None:
    shop.ok("promote", worse(shop), "--override", "-m", "trust me", "--commit")
    fresh = shop.clone(tmp_path / "ci")  # as a job does: it holds no answer but the evidence's
    fresh.git("branch", "main", "origin/main")
    ran = fresh.run("eval", "--base", "main", "--json")
    assert (ran.code, ran.decision) == (1, "FAIL")
    assert ran.prompt["baseline"].startswith("support@v1")
    assert ran.report["calls"] == 0
    note = (
        "this change promotes support@v2 to production by override: compared with support@v1, "
        "which ran there before"
    )
    assert note in ran.text
    assert "UNCHANGED" not in changed_run(fresh, "--changed", "main", code=1)


def test_without_a_base_what_runs_here_is_the_baseline(shop: Shop) -> None:
    shop.ok("promote", worse(shop), "--override", "-m", "trust me", "--commit")
    output = shop.ok("eval").text
    assert "support@v2" in output
    assert "this change" not in output


def test_a_promotion_that_was_merged_is_the_baseline_of_the_next_change(shop: Shop) -> None:
    shop.ok("promote", shop.candidate("support"), "--commit")
    assert "this change promotes support@v2 to production: compared with" in changed_run(
        shop, code=0
    )
    shop.git("branch", "-qf", "main", "HEAD")
    assert "this change" not in changed_run(shop, code=0)


def test_a_rollback_does_not_lower_the_bar_of_its_own_change(shop: Shop) -> None:
    shop.ok("promote", shop.candidate("support"), "--commit")
    shop.git("branch", "-qf", "main", "HEAD")
    shop.ok("rollback", "support@production", "-m", "a rumour", "--commit")
    shop.say("support", "Be brief.", broken=30)
    output = changed_run(shop, code=1)
    assert (
        "this change rolls production back to support@v1: compared with support@v2, which ran "
        "there before" in output
    )


def test_the_first_promotion_of_all_is_compared_with_the_prompt_at_the_base(
    tmp_path: Path,
) -> None:
    shop = a_shop(tmp_path / "shop", "support")
    shop.git("switch", "-qc", "change")
    shop.say("support", "Be brief.", broken=30)
    shop.commit("worse")
    shop.first()
    output = changed_run(shop, code=1)
    assert "support@v1 to production, the first that runs there: compared with what the" in output
    bare = changed_run(shop, "--env", "production", code=0)
    assert "no baseline: this change promotes support@v1 to production" in bare


def test_what_the_base_runs_meanwhile_is_the_baseline_or_asked_for(shop: Shop) -> None:
    left = shop.git("rev-parse", "HEAD")
    shop.ok("promote", shop.candidate("support"), "--commit")
    shop.git("branch", "-qf", "main", "HEAD")
    shop.git("reset", "-q", "--hard", left)
    output = changed_run(shop, code=2)
    assert "at main, production runs support@v2, and this branch does not have it" in output
    assert "git merge main" in output


def test_a_log_that_is_broken_at_the_base_is_refused_with_the_file_at_fault(shop: Shop) -> None:
    event = ".llmops/log/production/support/000001.json"
    whole = (shop.root / event).read_text()
    shop.write(event, whole.replace("the first", "the last"))
    shop.commit("edited")
    shop.git("branch", "-qf", "main", "HEAD")
    shop.write(event, whole)
    assert f"{event} at main: its content is not what was written" in changed_run(shop, code=2)
