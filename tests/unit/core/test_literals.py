"""A number keeps the text that a person wrote for it."""

from __future__ import annotations

import copy
import json

import pytest

from llmops_cli.core.digest import Json, canonical
from llmops_cli.core.literals import dump_json, literals, number, restored, with_literals


@pytest.mark.parametrize("literal", ["3.10", "10.00", "1e3", "1.0", "0.00001", "1E+30"])
def test_a_float_is_equal_to_its_value_and_reads_as_its_literal(literal: str) -> None:
    value = number(float(literal), literal)
    assert value == float(literal)
    assert str(value) == f"{value}" == literal
    assert canonical(value) == canonical(float(literal))
    assert str(copy.deepcopy(value)) == literal


def test_an_integer_is_equal_to_its_value_and_reads_as_its_literal() -> None:
    value = number(31, "0x1F")
    assert (value, f"{value}", value + 1, json.dumps(value)) == (31, "0x1F", 32, "31")


@pytest.mark.parametrize("literal", ["3.1", "-0.25", "123456.75"])
def test_a_float_that_python_and_json_write_the_same_way_stays_plain(literal: str) -> None:
    assert type(number(float(literal), literal)) is float


def test_literals_are_listed_by_json_pointer_and_put_back() -> None:
    value: Json = {"a": [1, number(1.0, "1.0")], "b/c~": {"d": number(31, "0x1F")}, "e": "1.0"}
    assert literals(value) == {"/a/1": "1.0", "/b~1c~0/d": "0x1F"}
    plain = json.loads(json.dumps(value))
    assert literals(plain) == {}
    assert literals(restored(plain, literals(value))) == literals(value)


def test_what_is_digested_has_literals_only_where_a_number_has_one() -> None:
    assert with_literals({"n": 1}) == {"n": 1}
    assert with_literals({"n": number(1.0, "1.0")}) == {"n": 1, "literals": {"/n": "1.0"}}


def test_json_text_spells_decimal_numbers_as_they_were_written() -> None:
    value = {"price": number(3.1, "3.10"), "mask": number(31, "0x1F"), "n": 2, "s": "é"}
    assert dump_json(value) == '{"price": 3.10, "mask": 31, "n": 2, "s": "é"}'
