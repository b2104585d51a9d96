"""What `gc` clears away, and what still holds afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shop import Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1 to v4 of `support` ran one after the other."""
    shop = a_shop(tmp_path / "shop", "support")
    shop.first()
    for how in ("kindly", "briefly", "warmly"):
        shop.ok("promote", shop.candidate("support", f"Answer {how}."))
    shop.commit("promoted")
    return shop


def with_rows(shop: Shop) -> list[int]:
    """The versions whose rows are here."""
    registry = shop.registry
    return [
        number
        for number in registry.numbers("support")
        if any(registry.has_rows(row) for row in registry.evidence("support", number))
    ]


def test_only_what_runs_and_what_ran_before_it_keep_their_rows(shop: Shop) -> None:
    assert with_rows(shop) == [1, 2, 3, 4]
    ran = shop.ok("gc")
    assert with_rows(shop) == [3, 4]
    assert "4 files" in ran.out
    assert {path.suffix for path in (shop.root / ".llmops/evidence/support@v1").iterdir()} == {
        ".json",
        ".md",
    }


def test_everything_holds_afterwards(shop: Shop) -> None:
    shop.ok("gc", "--commit")
    assert "BROKEN" not in shop.ok("verify", "--strict").out
    shop.ok("fsck", "--base", "HEAD^")
    assert shop.ok("gc").out.splitlines()[-1] == "0 files, 0.00 MB deleted"
    shop.ok("promote", shop.candidate("support", "Answer quickly."))
    shop.ok("rollback", "support@production", "-m", "slow")
    shop.ok("verify")


def test_a_dry_run_clears_nothing(shop: Shop) -> None:
    ran = shop.ok("gc", "--dry-run", "--json")
    assert len(ran.document) == 4
    assert all(item["bytes"] > 0 for item in ran.document)
    assert with_rows(shop) == [1, 2, 3, 4]


def test_a_candidate_that_waits_keeps_its_rows(shop: Shop) -> None:
    address = shop.candidate("support", "Answer quickly.")
    shop.ok("gc")
    assert with_rows(shop) == [3, 4, 5]
    shop.ok("promote", address)


def test_an_anchor_keeps_its_rows(shop: Shop) -> None:
    shop.evalset("support", gate={"rules": ["no_worse", {"anchor": "v1"}]})
    shop.ok("gc")
    assert with_rows(shop) == [1, 3, 4]


def test_what_was_rolled_back_to_keeps_what_once_let_it_in(shop: Shop) -> None:
    shop.ok("rollback", "support@production", "--to", "v2", "-m", "warm is not enough")
    shop.ok("gc")
    assert with_rows(shop) == [2, 3, 4]  # 4 ran before; 3 waits: it is newer than what runs
    assert "recomputed" in shop.ok("verify").out


def test_a_broken_registry_is_not_cleared(shop: Shop) -> None:
    (shop.root / ".llmops/log/production/support/000002.json").unlink()
    ran = shop.run("gc")
    assert (ran.code, with_rows(shop)) == (2, [1, 2, 3, 4])
