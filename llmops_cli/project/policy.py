"""Checks `gate:` patches, and builds a policy from them: project < evalset < environment.

A later patch overrides key by key; `rules` replaces the rules about quality. The safety rules
(`critical`, `errors`, `coverage`) stay unless they are switched off by name: `critical: off`.
Rules have three spellings, like scorers: `critical` · `{floor: 0.9}` · `{floor: {min: 0.9}}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmops_cli.core.errors import suggestion
from llmops_cli.core.policy import RULES, SAFETY_RULES, Policy, Rule, rule_name, rule_options
from llmops_cli.project.paths import Problems
from llmops_cli.project.schema import RULE_OPTIONS, Gate, Where, validated

OFF = (False, "off")
"""What switches a safety rule off."""


def policy_of(*patches: Mapping[str, Any]) -> Policy:
    """Return the policy that validated patches, weakest first, make together."""
    merged = {key: value for patch in patches for key, value in patch.items()}
    if "rules" in merged:
        merged["rules"] = _with_safety_rules(merged["rules"])
    return Policy(**merged)


def _with_safety_rules(written: Iterable[str | Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules, and the safety rules that are neither among them nor switched off."""
    off = {name for item in written if isinstance(item, Mapping) for name in item if is_off(item)}
    rules = tuple(rule_of(item) for item in written if not is_off(item))
    named = off | {rule_name(type(rule)) for rule in rules}
    return rules + tuple(rule for rule in SAFETY_RULES if rule_name(type(rule)) not in named)


def is_off(written: object) -> bool:
    """Whether a rule is only named to switch it off."""
    return isinstance(written, Mapping) and any(value in OFF for value in written.values())


def rule_of(written: str | Mapping[str, Any]) -> Rule:
    """Return one rule from any of its spellings."""
    name, values = spelled(written)
    options = rule_options(RULES[name])
    return RULES[name](**{item.field: values[item.key] for item in options if item.key in values})


def bare_option(name: str) -> str | None:
    """Return the option that `name: value` sets; None if the rule takes no value."""
    return next((option.key for option in rule_options(RULES[name]) if option.bare), None)


def spelled(written: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and options of a rule in any of its spellings."""
    ((name, value),) = ({written: None} if isinstance(written, str) else written).items()
    if value is None or isinstance(value, Mapping):
        return name, value or {}
    return name, {str(bare_option(name)): value}


def read_gate(gate: Gate, where: Where, problems: Problems, *at: str | int) -> dict[str, Any]:
    """Return the keys that the patch sets, as plain data; `at` is where it stands in its file."""
    patch = gate.model_dump(exclude_unset=True, exclude_none=True)
    if "rules" in patch:
        patch["rules"] = [
            rule
            for position, written in enumerate(patch["rules"])
            if (rule := _rule(written, where, problems, *at, "rules", position)) is not None
        ]
    return patch


def _rule(
    written: Any, where: Where, problems: Problems, *at: str | int
) -> str | dict[str, Any] | None:
    """Return a rule as its name, or its name and options; None, and a problem, if it is wrong."""
    name = next(iter(written)) if isinstance(written, dict) and len(written) == 1 else written
    hint: str | None
    if not isinstance(name, str):
        message, hint = "not a rule", "write `name`, `name: value` or `name: {options}`"
    elif name not in RULE_OPTIONS:
        message, hint = f"unknown rule '{name}'", suggestion(name, list(RULE_OPTIONS))
    elif is_off(written) and any(rule_name(type(rule)) == name for rule in SAFETY_RULES):
        return {name: False}
    elif isinstance(written, dict) and not (isinstance(written[name], dict) or bare_option(name)):
        message, hint = f"the rule '{name}' takes no value", None
    else:
        _, options = spelled(written)
        shape = validated(RULE_OPTIONS[name], options, where, problems, *at, name)
        if shape is None:
            return None
        plain = shape.model_dump(exclude_unset=True, exclude_none=True)
        return {name: plain} if plain else name
    problems.add(where(*at), message, hint)
    return None
