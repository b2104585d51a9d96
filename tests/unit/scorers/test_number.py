from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import World
from llmops_cli.scorers.number import check, expected_number, number, number_in
from tests.unit.scorers.answers import expecting, reason, said, value, why


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("18", "18"),
        ("18.", "18"),
        ("It is 18, I think", "18"),
        ("$1,234.50!", "1234.50"),
        ("12,34,567", "1234567"),
        ("1’234’567", "1234567"),
        ("1\u202f234", "1234"),
        ("1, 2, 3", "3"),
        ("1,2", "2"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("$-5", "-5"),
        ("-$5", "-5"),
        ("16-3", "3"),
        ("GPT-3", "3"),
        ("- 3", "3"),
        ("50%", "50"),
        ("3/4", "0.75"),
        ("12/25/2020", "2020"),
        (".5", "0.5"),
        ("Rs.18", "18"),
        ("7dollars", "7"),
        ("1.5e6", "1500000"),
        ("x", None),
        ("", None),
        ("1/0", None),
        ("9" * 500, None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, read: str | None) -> None:
    assert number_in(text) == (None if read is None else Decimal(read))


@given(
    written=st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=3),
    form=st.sampled_from(["{:f}", "{:,f}", "${:,f}.", "so A: {:f}%\n", "= {:f} apples"]),
)
def test_whatever_form_a_number_is_written_in_it_is_read_back(written: Decimal, form: str) -> None:
    assert number_in(form.format(written)) == written


def test_the_last_number_counts_unless_the_first_is_asked_for() -> None:
    assert number_in("2 + 3 = 5") == 5
    assert number_in("2 + 3 = 5", take="first") == 2


def test_a_decimal_comma_is_read_where_it_is_asked_for() -> None:
    assert number_in("1.234,56 €", decimal=",") == Decimal("1234.56")


@pytest.mark.parametrize("expected", [18, 18.0, "18", "$18.00", " 18 ", "18%"])
def test_an_expected_number_may_be_written_in_many_ways(expected: Json) -> None:
    assert value(number(expecting(expected), said("A: 18"))) == 1


@pytest.mark.parametrize("expected", [None, True, "eighteen", "A: 18", [18], float("inf")])
def test_what_is_no_number_cannot_be_expected(expected: Json) -> None:
    assert expected_number(expected) is None
    assert why(number(expecting(expected), said("18"))).startswith("no number is expected")


def test_the_tolerance_is_inclusive_and_exact_in_decimals() -> None:
    assert value(number(expecting(18), said("18.01"), tolerance=0.01)) == 1
    assert value(number(expecting(18), said("18.011"), tolerance=0.01)) == 0


def test_a_relative_tolerance_is_a_share_of_the_expected_number() -> None:
    assert value(number(expecting(200), said("210"), relative=0.05)) == 1
    assert value(number(expecting(200), said("211"), relative=0.05)) == 0


def test_only_what_follows_the_last_marker_is_read() -> None:
    answered = said("A: 5? No.\nA: 18\n")
    assert value(number(expecting(18), answered, after="A:", take="first")) == 1
    assert reason(number(expecting(18), said("18"), after="A:")) == (
        "expected 18; 'A:' is not in '18'"
    )


def test_a_pattern_says_where_the_number_stands_by_its_first_group() -> None:
    answered = said("<answer>18</answer> of 30")
    assert value(number(expecting(18), answered, pattern="<answer>(.*?)</answer>")) == 1
    assert value(number(expecting(30), answered, pattern=r"of \d+")) == 1


def test_a_pattern_that_backtracks_is_unscored() -> None:
    scored = number(expecting(1), said("a" * 5000 + "b"), pattern=r"^(a|a)*$")
    assert "backtracks" in why(scored)


def test_a_reason_shows_both_numbers() -> None:
    assert reason(number(expecting("1,000"), said("it is 900.50"), tolerance=5)) == (
        "expected 1000 within 5; the number is 900.5"
    )


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"value": 3, "tolerance": 0.1}, None),
        ({"value": "three"}, "'three' is not a number"),
        ({"tolerance": -1}, "a tolerance is not below 0"),
        ({"after": "A:", "pattern": "x"}, "both say where the number stands"),
        ({"pattern": "("}, "is not a regular expression"),
    ],
)
def test_wrong_options_are_seen_before_any_call(
    options: dict[str, Json], wrong: str | None, tmp_path: Path
) -> None:
    found = check(options, World(root=tmp_path, environ={}))
    assert found == wrong if wrong is None else wrong in str(found)
