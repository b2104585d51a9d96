"""Canonical JSON and digests; dataclasses written as JSON and read back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import (
    SAFE_INTEGER,
    InvalidRecord,
    Json,
    NotCanonical,
    canonical,
    canonical_array,
    canonical_object,
    digest,
    from_plain,
    to_plain,
)
from llmops_cli.core.errors import Location
from llmops_cli.core.policy import (
    Anchor,
    Critical,
    Decision,
    Finding,
    Floor,
    NoWorse,
    Policy,
    Verdict,
)
from llmops_cli.core.prompt import Message, Model, Price, Prompt

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


RECORDS: list[Any] = [
    Policy(
        rules=(Critical(), NoWorse(margin=0.1, tag="x"), Anchor(version="v1"), Floor(minimum=0.9))
    ),
    Verdict(
        decision=Decision.INCONCLUSIVE,
        why="close",
        findings=(
            Finding(
                rule="floor",
                decision=Decision.PASS,
                why="enough",
                cases=("a", "b"),
                figures={"mean": [0.5, {"deep": None}]},
            ),
        ),
    ),
    Prompt(
        name="a",
        model="m",
        messages=(
            Message(role="user", content="text"),
            Message(role="user", content=({"type": "text", "text": "part"},)),
        ),
        inputs={"q": {"type": "string"}},
    ),
    Model(name="a", provider="openai", model="z", price=Price(input=1.5, output=2)),
]


@pytest.mark.parametrize("value", RECORDS)
def test_a_value_comes_back_from_json(value: Any) -> None:
    stored = json.loads(json.dumps(to_plain(value)))
    assert from_plain(type(value), stored) == value


def test_a_rule_is_written_as_people_write_it() -> None:
    plain = to_plain(Policy(rules=(NoWorse(metric="tone"),)))
    assert isinstance(plain, dict)
    assert plain["rules"] == [
        {"no_worse": {"metric": "tone", "margin": None, "tolerance": None, "tag": None}}
    ]


@dataclass(frozen=True, kw_only=True)
class Odd:
    number: float
    names: tuple[str, ...] = ()
    anything: Json = None
    where: Location | None = None


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"number": "1"}, "odd.number: '1' is not a number"),
        ({"number": True}, "odd.number: True is not a number"),
        ({"number": 1, "names": ["a", 2]}, r"odd.names\[1\]: 2 is not a str"),
        ({"number": 1, "colour": 1}, "odd.colour: unknown field"),
        ({"number": 1, "where": {"path": 3}}, "odd.where.path: 3 is not a str"),
        ({}, "odd: .*number"),
        ([], "odd: .* is not a dict"),
    ],
)
def test_what_is_misshapen_says_where(plain: Any, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message):
        from_plain(Odd, plain, "odd")


@pytest.mark.parametrize("rules", [[{"no_wrose": {}}], [{"floor": {}}], [{}], ["critical"]])
def test_a_rule_that_is_none_is_refused(rules: Json) -> None:
    plain = to_plain(Policy())
    assert isinstance(plain, dict)
    with pytest.raises(InvalidRecord):
        from_plain(Policy, {**plain, "rules": rules})


def test_an_object_is_not_plain() -> None:
    with pytest.raises(InvalidRecord, match="a object is not plain data"):
        to_plain(object())
