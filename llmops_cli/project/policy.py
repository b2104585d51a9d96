"""Checks `gate:` patches, and builds a policy from them: project < evalset < environment.

A later patch overrides key by key; `rules` replaces the whole list. Rules have three spellings,
like scorers: `critical` · `{floor: 0.9}` · `{floor: {metric: tone, min: 0.9}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_cli.core.errors import suggestion
from llmops_cli.core.policy import DEFAULT_RULES, RULES, Policy, Rule, rule_options
from llmops_cli.project.paths import Problems
from llmops_cli.project.schema import RULE_OPTIONS, Gate
from llmops_cli.project.validation import Where, validated


def policy_of(*patches: Mapping[str, Any]) -> Policy:
    """Return the policy that validated patches, weakest first, make together."""
    merged: dict[str, Any] = {}
    for patch in patches:
        merged.update(patch)
    rules = merged.pop("rules", None)
    return Policy(**merged, rules=DEFAULT_RULES if rules is None else tuple(map(rule_of, rules)))


def rule_of(written: str | Mapping[str, Any]) -> Rule:
    """Return one rule from any of its spellings."""
    name, options = spelled(written)
    names = {option.key: option.field for option in rule_options(RULES[name])}
    return RULES[name](**{names[key]: value for key, value in options.items()})


def bare_option(name: str) -> str | None:
    """Return the option that `name: value` sets; None if the rule takes no value."""
    return next((option.key for option in rule_options(RULES[name]) if option.bare), None)


def spelled(written: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and options of a rule in any of its spellings."""
    if isinstance(written, str):
        return written, {}
    ((name, value),) = written.items()
    if value is None:
        return name, {}
    return name, value if isinstance(value, Mapping) else {str(bare_option(name)): value}


def read_gate(gate: Gate, where: Where, problems: Problems, *at: str | int) -> dict[str, Any]:
    """Return the keys that the patch sets, as plain data; `at` is where it stands in its file."""
    patch = gate.model_dump(exclude_unset=True, exclude_none=True)
    if "rules" in patch:
        patch["rules"] = [
            rule
            for position, written in enumerate(patch["rules"])
            if (rule := _rule(written, where, problems, (*at, "rules", position))) is not None
        ]
    return patch


def _rule(
    written: Any, where: Where, problems: Problems, place: tuple[str | int, ...]
) -> str | dict[str, Any] | None:
    name = written
    if isinstance(written, dict) and len(written) == 1:
        (name,) = written
    if not isinstance(name, str):
        problems.add(
            where(*place), "not a rule", "write `name`, `name: value` or `name: {options}`"
        )
        return None
    if name not in RULE_OPTIONS:
        problems.add(where(*place), f"unknown rule '{name}'", suggestion(name, list(RULE_OPTIONS)))
        return None
    is_value = isinstance(written, dict) and not isinstance(written[name], dict)
    if is_value and bare_option(name) is None:
        problems.add(where(*place), f"the rule '{name}' takes no value")
        return None
    _, options = spelled(written)
    shape = validated(RULE_OPTIONS[name], options, where, problems, *place, name)
    if shape is None:
        return None
    plain = shape.model_dump(exclude_unset=True, exclude_none=True)
    return {name: plain} if plain else name
