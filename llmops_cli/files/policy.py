"""Builds a policy from the patches that people write: project < evalset < environment.

A later patch overrides key by key; `rules` replaces the whole list. Rules have three spellings,
like scorers: `critical` · `{floor: 0.9}` · `{floor: {metric: tone, min: 0.9}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_cli.core.policy import DEFAULT_RULES, RULES, Policy, Rule

SHORTHAND: Mapping[str, str] = {
    "no_worse": "metric",
    "anchor": "version",
    "floor": "min",
    "regressed": "max",
    "cost": "margin",
    "tokens": "margin",
    "latency": "p95",
    "errors": "max",
}
"""The option that a bare value sets."""

FIELDS: Mapping[str, str] = {"min": "minimum", "max": "maximum"}
"""File key to field, where they differ."""


def policy_of(*patches: Mapping[str, Any]) -> Policy:
    """The policy that the patches, weakest first, make together. They are validated already."""
    merged: dict[str, Any] = {}
    for patch in patches:
        merged.update(patch)
    rules = merged.pop("rules", None)
    return Policy(
        **merged, rules=DEFAULT_RULES if rules is None else tuple(rule_of(each) for each in rules)
    )


def rule_of(written: str | Mapping[str, Any]) -> Rule:
    """One rule from any of its spellings."""
    name, options = spelled(written)
    return RULES[name](**{FIELDS.get(key, key): value for key, value in options.items()})


def spelled(written: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and options of a rule in any of its spellings."""
    if isinstance(written, str):
        return written, {}
    ((name, value),) = written.items()
    if value is None:
        return name, {}
    return name, value if isinstance(value, Mapping) else {SHORTHAND[name]: value}
