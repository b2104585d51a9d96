"""A large evalset's cases come back as they were, however they are read."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest

from llmops_cli.core.errors import Location
from llmops_cli.core.prompt import Case, Message, ScorerSpec
from llmops_cli.project.evalsets import BLOCK, OPEN, PackedCases, in_memory

MANY = OPEN + 2 * BLOCK + 7
FULL = Case(
    id="full ☃",
    inputs={"question": "Who?\n\x00", "depth": [1, 2.5, None, {"a": True}]},
    expected={"label": "x", "n": 0},
    contexts=("one", "two"),
    messages=(
        Message(role="user", content="Hello"),
        Message(role="assistant", content=({"type": "text", "text": "Hi"},)),
    ),
    scorers=(ScorerSpec(kind="exact", label="exact", minimum=1.0),),
    tags=("a", "b"),
    critical=True,
    group="g",
    known_failing="why",
    metadata={"source": "live"},
    where=Location(path="evalsets/x.jsonl", line=3),
)


def plain(at: int) -> Case:
    return Case(id=f"case-{at}", inputs={"question": f"{at}?"}, expected=at % 3)


@pytest.fixture
def packed() -> PackedCases:
    made = in_memory(FULL if at == 5 else plain(at) for at in range(MANY))
    assert isinstance(made, PackedCases)
    return made


def test_every_field_of_a_case_comes_back(packed: PackedCases) -> None:
    found = packed[5]
    assert found is not FULL
    for each in fields(Case):
        assert getattr(found, each.name) == getattr(FULL, each.name), each.name
        if each.init and each.name != "id":
            assert getattr(FULL, each.name) not in ((), {}, None, False), "the test lacks a field"
    assert [type(each.content) for each in found.messages] == [str, tuple]


def test_cases_are_read_in_order_by_position_and_from_the_end(packed: PackedCases) -> None:
    assert len(packed) == MANY
    assert [each.id for each in packed][6:] == [f"case-{at}" for at in range(6, MANY)]
    for at in (0, BLOCK, MANY - 8, MANY - 1, 6, -1, -MANY):
        assert packed[at] == plain(at % MANY)
    assert packed[BLOCK - 1 : BLOCK + 1] == [plain(BLOCK - 1), plain(BLOCK)]
    for beyond in (MANY, -MANY - 1):
        with pytest.raises(IndexError):
            packed[beyond]


def test_the_facts_of_a_case_are_what_they_were(packed: PackedCases) -> None:
    assert packed[5].facts == FULL.facts
    assert packed[7].facts == plain(7).facts


def test_what_json_cannot_carry_stays_as_it_is() -> None:
    odd = Case(id="odd", inputs={}, metadata={})
    object.__setattr__(odd, "_facts", "sha256:" + "0" * 64)
    object.__setattr__(odd, "expected", object())
    made = in_memory(odd if at == 5 else plain(at) for at in range(MANY))
    assert made[5] is odd


def test_few_cases_are_a_tuple_and_many_take_little_memory(packed: PackedCases) -> None:
    assert in_memory(map(plain, range(OPEN))) == tuple(map(plain, range(OPEN)))
    assert sum(map(sys.getsizeof, packed._packed)) < 70 * MANY
