"""Patches make a policy: the later ones win, and `rules` replaces."""

from __future__ import annotations

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
from llmops_cli.project.schema import policy_of, rule_of


def test_nothing_written_is_the_default_policy() -> None:
    assert policy_of() == Policy()
    assert policy_of({}, {}) == Policy()


def test_later_patches_override_key_by_key() -> None:
    policy = policy_of({"margin": 0.1, "alpha": 0.01}, {"margin": 0.2}, {"judges": "calibrated"})
    assert policy == Policy(margin=0.2, alpha=0.01, judges="calibrated")


def test_rules_replace_the_whole_list() -> None:
    assert policy_of({"rules": ["critical", "errors"]}, {"rules": [{"floor": 0.9}]}).rules == (
        Floor(minimum=0.9),
    )
    assert policy_of({"rules": ["critical"]}, {"margin": 0.1}).rules == (Critical(),)


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
