"""Checks a `gate:` patch and brings its rules to one spelling, ready for `policy_of`."""

from __future__ import annotations

from typing import Any

from llmops_cli.core.errors import suggestion
from llmops_cli.files.explain import Where, validated
from llmops_cli.files.policy import SHORTHAND, spelled
from llmops_cli.files.problems import Problems
from llmops_cli.files.schema import RULE_OPTIONS, Gate


def read_gate(gate: Gate, where: Where, problems: Problems, *at: str | int) -> dict[str, Any]:
    """The keys that the patch sets, as plain data; `at` is where the patch stands in its file."""
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
    if isinstance(written, dict) and not isinstance(written[name], dict) and name not in SHORTHAND:
        problems.add(where(*place), f"the rule '{name}' takes no value")
        return None
    _, options = spelled(written)
    shape = validated(RULE_OPTIONS[name], options, where, problems, *place, name)
    if shape is None:
        return None
    plain = shape.model_dump(exclude_unset=True, exclude_none=True)
    return {name: plain} if plain else name
