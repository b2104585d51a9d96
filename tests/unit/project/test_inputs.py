"""A value fits the schema its input was declared with, or it is said why not."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.project.inputs import is_required, mismatch


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("x", {}),
        ("x", {"type": "string"}),
        (1, {"type": "integer"}),
        (1.0, {"type": "integer"}),
        (1, {"type": "number"}),
        (1.5, {"type": "number"}),
        (True, {"type": "boolean"}),
        ([], {"type": "array", "items": {"type": "string"}}),
        ({"a": 1}, {"type": "object"}),
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}}),
        ("a", {"enum": ["a", "b"]}),
        (None, {}),
    ],
)
def test_a_value_that_fits(value: Any, schema: dict[str, Any]) -> None:
    assert mismatch(value, schema) is None


@pytest.mark.parametrize(
    ("value", "schema", "why"),
    [
        (1, {"type": "string"}, "must be a string, not 1"),
        (None, {"type": "string"}, "must be a string, not null"),
        (True, {"type": "number"}, "must be a number, not true"),
        (1.5, {"type": "integer"}, "must be an integer, not 1.5"),
        ("[]", {"type": "array"}, 'must be an array, not "[]"'),
        ("c", {"enum": ["cat", "dog"]}, 'cannot be "c" (known: cat, dog)'),
        ([1, "x"], {"items": {"type": "integer"}}, 'item 2 must be an integer, not "x"'),
        (
            {"a": "x"},
            {"properties": {"a": {"type": "integer"}}},
            "'a' must be an integer, not \"x\"",
        ),
        ({"b": 1}, {"properties": {"a": {}}}, "has an undeclared 'b'"),
        ({}, {"properties": {"a": {}}, "required": ["a"]}, "lacks 'a'"),
    ],
)
def test_a_value_that_does_not_fit(value: Any, schema: dict[str, Any], why: str) -> None:
    assert mismatch(value, schema) == why


def test_an_input_is_required_unless_it_says_otherwise() -> None:
    assert is_required({})
    assert is_required({"type": "object", "required": ["a"]})
    assert not is_required({"required": False})
    assert not is_required({"default": None})
