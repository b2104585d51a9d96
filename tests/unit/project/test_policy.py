"""Patches make a policy: the later ones win, and `rules` replaces."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.core.errors import Location
from llmops_cli.core.policy import (
    Anchor,
    Cost,
    Coverage,
    Critical,
    Errors,
    Floor,
    Latency,
    NoWorse,
    Policy,
    Regressed,
    Tokens,
)
from llmops_cli.project.paths import Problems
from llmops_cli.project.policy import policy_of, read_gate, rule_of
from llmops_cli.project.schema import Gate


def test_nothing_written_is_the_default_policy() -> None:
    assert policy_of() == Policy()
    assert policy_of({}, {}) == Policy()


def test_later_patches_override_key_by_key() -> None:
    policy = policy_of({"margin": 0.1, "alpha": 0.01}, {"margin": 0.2}, {"judges": "calibrated"})
    assert policy == Policy(margin=0.2, alpha=0.01, judges="calibrated")


SAFE = (Critical(), Errors(), Coverage())


def test_rules_replace_those_about_quality_and_the_safety_rules_hold() -> None:
    floor: dict[str, Any] = {"rules": [{"floor": 0.9}]}
    assert policy_of({"rules": ["critical", "no_worse"]}, floor).rules == (
        Floor(minimum=0.9),
        *SAFE,
    )
    assert policy_of({"rules": ["critical"]}, {"margin": 0.1}).rules == SAFE


@pytest.mark.parametrize("off", [False, "off"])
def test_a_safety_rule_is_switched_off_by_name(off: object) -> None:
    policy = policy_of({"rules": ["no_worse", {"critical": off}, {"errors": 0.5}]})
    assert policy.rules == (NoWorse(), Errors(maximum=0.5), Coverage())


def test_other_rules_are_not_switched_off_but_left_out() -> None:
    problems = Problems()
    written = Gate(rules=[{"no_worse": "off"}, {"cost": False}, {"critical": "off"}])
    rules = read_gate(written, lambda *_: Location(path="llmops.yaml"), problems)["rules"]
    assert rules == [{"no_worse": {"metric": "off"}}, {"critical": False}]
    assert len(problems) == 1


def test_every_rule_in_its_short_and_its_long_spelling() -> None:
    spellings = {
        "critical": Critical(),
        "no_worse": NoWorse(),
        "errors": Errors(),
        "coverage": Coverage(),
    }
    assert {name: rule_of(name) for name in spellings} == spellings
    assert rule_of({"floor": 0.9}) == rule_of({"floor": {"min": 0.9}}) == Floor(minimum=0.9)
    assert (
        rule_of({"anchor": "v3"}) == rule_of({"anchor": {"version": "v3"}}) == Anchor(version="v3")
    )
    assert rule_of({"no_worse": "tone"}) == NoWorse(metric="tone")
    assert rule_of({"regressed": 0.1}) == Regressed(maximum=0.1)
    assert rule_of({"cost": 0.2}) == Cost(margin=0.2)
    assert rule_of({"tokens": 0.2}) == Tokens(margin=0.2)
    assert rule_of({"latency": 3}) == Latency(p95=3)
    assert rule_of({"errors": 0.1}) == Errors(maximum=0.1)
    assert rule_of({"no_worse": None}) == NoWorse()
