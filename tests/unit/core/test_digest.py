"""Canonical JSON is RFC 8785, checked against the `rfc8785` package."""

from __future__ import annotations

import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import (
    SAFE_INTEGER,
    Json,
    NotCanonical,
    canonical,
    canonical_array,
    canonical_object,
    digest,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_it_writes_the_bytes_that_rfc_8785_demands(value: Json) -> None:
    assert rfc8785.dumps(value) == canonical(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {1: "x"}, {"a": {2}}, [object()]])
def test_what_json_cannot_carry_is_refused(value: Json) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)


def test_integers_beyond_a_double_are_written_with_all_their_digits() -> None:
    assert canonical({"id": 653247040368672768}) == b'{"id":653247040368672768}'
    assert canonical([2**53, 2**53 + 1, -(2**70)]) == b"[%d,%d,%d]" % (2**53, 2**53 + 1, -(2**70))


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest("t", {"a": 1, "b": [2.0]}) == digest("t", {"b": [2], "a": 1.0})


def test_the_schema_name_is_part_of_the_digest() -> None:
    assert digest("prompt/v1", "x") != digest("case/v1", "x")


def test_canonical_parts_compose() -> None:
    whole = canonical({"b": [1, "x"], "a": {"c": None}})
    parts = {"b": canonical_array([b"1", canonical("x")]), "a": canonical({"c": None})}
    assert whole == canonical_object(parts)
