from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.scorers.number import check, expected_number, number, read_number
from tests.unit.scorers.answers import expecting, reason, reply, value, why


def number_in(text: str) -> Decimal | None:
    reading = read_number(text)
    return None if reading is None else reading.value


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("18", "18"), ("18.", "18"), ("It is 18, I think", "18"), ("$1,234.50!", "1234.50"),
        ("12,34,567", "1234567"), ("1’234’567", "1234567"), ("1\u202f234", "1234"),
        ("1, 2, 3", "3"), ("-5", "-5"), ("−5", "-5"), ("$-5", "-5"), ("-$5", "-5"), ("- 3", "3"),
        ("50%", "50"), ("3/4", "0.75"), (".5", "0.5"), ("Rs.18", "18"), ("7dollars", "7"),
        ("1.5e6", "1500000"), ("‑5", "-5"), ("–5", "-5"), ("1 000 000", "1000000"),
        ("1_000_000", "1000000"), (r"\boxed{1{,}000}", "1000"), (r"11,\! 111", "11111"),
        ("6.02 × 10^23", "6.02e23"), (r"6.02 \times 10^{23}", "6.02e23"), ("6.02×10²³", "6.02e23"),
        ("6.02 x 10^-5", "6.02e-5"), (r"1.6\cdot10^{-19}", "1.6e-19"), ("10^6", "1e6"),
        ("10^{6}", "1e6"), (r"$\frac{3}{4}$", "0.75"), (r"-\frac{3}{4}", "-0.75"),
        (r"\frac34", "0.75"), (r"3\frac{1}{2}", "3.5"), ("3 1/2", "3.5"), ("2½", "2.5"),
        ("½", "0.5"), ("2 ½ cups", "2.5"), ("2+3=5", "5"), ("20-5=15", "15"), ("_5_", "5"),
        ("**-5**", "-5"), (r"5 \cdot \frac{1}{2}", "0.5"), (r"\boxed{-5}", "-5"),
        (r"5^\circ", "5"), ("2020 100", "100"), ("555 123 4567", "4567"),
        (r"\text{Answer: } 42", "42"), (r"42\%", "42"), (r"\$42", "42"), (r"1\,000", "1000"),
        ("1 000", "1000"), ("In 2020, 100 people", "100"), ("3-year plan", "3"), ("+5", "5"),
        ("#### 18", "18"), ("$5$", "5"), ("1e400", "1e400"), ("A: -1,234.5", "-1234.5"),
        ("H2O", "2"), ("−½", "-0.5"), ("1⁄2", "0.5"), (r"x = \frac{5}{2}.", "2.5"),
        ("25 m²", "25"), ("9.8 m/s^2", "9.8"), (r"25\text{ cm}^2", "25"), ("1 / 2", "0.5"),
        ("10 / 2 = 5", "5"), ("5*10**6", "5e6"), ("It is minus 5", "-5"), ("x = - 5", "-5"),
        ("10 minus 5", "5"), ("a non-negative 5", "5"), ("3 + 4 = 7", "7"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_and_models_write_them(text: str, read: str) -> None:
    assert number_in(text) == Decimal(read)


@pytest.mark.parametrize(
    "text",
    [
        "1,2", "16-3", "GPT-3", "12/25/2020", "1/0", "1.000,50", "1.000,50 €", r"\sqrt{16}",
        r"3\sqrt{2}", r"2\pi", "2π", "x^2", "x_1", r"\pm 5", "±5", "0x1F", "192.168.0.1", "12:30",
        r"\frac{x}{2}", r"\frac{\pi}{2}", "1.2.3", "5–10", "—5", "2^10", "1 234,5", "5'10",
        "9" * 500, "2**10", "3+4", "3 + 4", "3·5", "5 ± 2", "0.(3)", "1000 000", "x_{12}",
        r"\log_2 8", r"\frac{10}{x}",
    ],
)  # fmt: skip
def test_what_hangs_together_with_more_is_read_whole_or_not_at_all(text: str) -> None:
    reading = read_number(text)
    assert reading is not None
    assert reading.value is None


@pytest.mark.parametrize("text", ["x", "", "- !"])
def test_a_text_without_a_digit_has_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("dash", [*"-−–‑－"])
def test_a_dash_directly_before_a_number_is_a_minus(dash: str) -> None:
    assert value(number(expecting(-5), reply(f"x = {dash}5"))) == 1
    assert value(number(expecting(5), reply(f"x = {dash}5"))) == 0


@given(
    written=st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=3),
    form=st.sampled_from(["{:f}", "{:,f}", "${:,f}.", "so A: {:f}%\n", "= {:f} apples"]),
)
def test_a_number_in_any_form_is_read_back(written: Decimal, form: str) -> None:
    assert number_in(form.format(written)) == written


@pytest.mark.parametrize(
    "expected", [18, 18.0, "18", "$18.00", " 18 ", "18%", "36/2", "17 1/1", "+18"]
)
def test_an_expected_number_may_be_written_in_many_ways(expected: Json) -> None:
    assert value(number(expecting(expected), reply("A: 18"))) == 1


@pytest.mark.parametrize(
    "expected", [None, True, "eighteen", "A: 18", [18], float("inf"), "3-5", "1,5"]
)
def test_what_is_no_number_cannot_be_expected(expected: Json) -> None:
    assert expected_number(expected) is None
    assert why(number(expecting(expected), reply("18"))).startswith("no number is expected")


MARKED, TAGGED = "A: 5? No.\nA: 18\n", "<answer>18</answer> of 30"


@pytest.mark.parametrize(
    ("expected", "answer", "options", "right"),
    [
        (18, "18.01", {"tolerance": 0.01}, 1),  # inclusive, and exact in decimals
        (18, "18.011", {"tolerance": 0.01}, 0),
        (200, "210", {"relative": 0.05}, 1),  # a share of the expected number
        (200, "211", {"relative": 0.05}, 0),
        (5, "2 + 3 = 5", {}, 1),  # the last number counts
        (2, "2 + 3 = 5", {"take": "first"}, 1),
        (18, MARKED, {"after": "A:", "take": "first"}, 1),  # at the marker's last place
        (5, MARKED, {"after": "A:", "occurrence": "first", "take": "first"}, 1),
        (18, TAGGED, {"pattern": "<answer>(.*?)</answer>"}, 1),  # by the first group
        (30, TAGGED, {"pattern": r"of \d+"}, 1),
        (0.5, "It is 50%.", {"percent": True}, 1),
        ("50 %", "0.5", {"percent": True}, 1),
        (0.5, r"50\%", {}, 0),
        (50, "50%", {}, 1),
        (1234.56, "1.234,56 €", {"decimal": ","}, 1),
        (1000.5, "1 000,5", {"decimal": ","}, 1),
        (1000.5, "1,000.50", {"decimal": ","}, 0),
        (1.5, "1.5", {"decimal": ","}, 0),
    ],
)
def test_options_say_which_number_counts_and_how_near_it_must_be(
    expected: Json, answer: str, options: Any, right: int
) -> None:
    assert value(number(expecting(expected), reply(answer), **options)) == right


@pytest.mark.parametrize(
    ("expected", "answer", "options", "why_so"),
    [
        ("1,000", "it is 900.50", {"tolerance": 5}, "1000 within 5; the number is 900.5"),
        (3, "I have 3. It costs 1.000,50", {}, "3; '1.000,50' is not a number"),
        (18, "18", {"after": "A:"}, "18; 'A:' is not in '18'"),
    ],
)
def test_a_reason_shows_what_was_expected_and_what_was_read(
    expected: Json, answer: str, options: Any, why_so: str
) -> None:
    result = number(expecting(expected), reply(answer), **options)
    assert (value(result), reason(result)) == (0, f"expected {why_so}")


def test_a_pattern_that_backtracks_is_unscored() -> None:
    scored = number(expecting(1), reply("a" * 5000 + "b"), pattern=r"^(a|a)*$")
    assert "backtracks" in why(scored)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"value": 3, "tolerance": 0.1}, None),
        ({"value": "three"}, "'three' is not a number"),
        ({"tolerance": -1}, "a tolerance is not below 0"),
        ({"after": "A:", "pattern": "x"}, "both say where the number stands"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"after": ""}, "`after` is empty"),
        ({"occurrence": "first"}, "`occurrence` says which of the places of `after` counts"),
    ],
)
def test_wrong_options_are_seen_before_any_call(
    options: dict[str, Json], wrong: str | None, tmp_path: Path
) -> None:
    problem = check(options, PluginContext(root=tmp_path, environ={}))
    assert problem == wrong if wrong is None else wrong in str(problem)
