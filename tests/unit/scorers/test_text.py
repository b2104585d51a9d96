from __future__ import annotations

import pytest

from llmops_cli.scorers.text import contains, ends_with, exact, length, starts_with
from tests.counting import calls_made_by
from tests.unit.scorers.answers import expecting, reason, reply, value, why


def test_exact_takes_the_expected_of_the_case() -> None:
    assert value(exact(expecting("yes"), reply("yes"))) == 1
    assert value(exact(expecting("yes"), reply("no"))) == 0


def test_a_value_goes_before_the_expected() -> None:
    assert value(exact(expecting("yes"), reply("no"), value="no")) == 1


def test_a_list_means_any_of_its_texts() -> None:
    assert value(exact(expecting(["yes", "sure"]), reply("sure"))) == 1
    assert value(starts_with(expecting(), reply("sure thing"), value=["yes", "sure"])) == 1


def test_white_space_at_both_ends_does_not_count_unless_asked() -> None:
    assert value(exact(expecting("yes"), reply(" yes\n"))) == 1
    assert value(exact(expecting("yes"), reply(" yes\n"), strip=False)) == 0


@pytest.mark.parametrize(
    ("answered", "ignoring"),
    [
        ("YES, Sir", {"ignore_case": True}),
        ("yes,  sir", {"ignore_space": True}),
        ("yes sir!", {"ignore_punctuation": True}),
    ],
)
def test_what_is_ignored_is_ignored_only_when_asked(
    answered: str, ignoring: dict[str, bool]
) -> None:
    assert value(exact(expecting("yes, sir"), reply(answered))) == 0
    assert value(exact(expecting("yes, sir"), reply(answered), **ignoring)) == 1


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("3.14", "314"),
        ("-5", "5"),
        ("−5", "5"),
        ("1.0", "10"),
        ("1,5", "15"),
        ("1/2", "12"),
        ("12:30", "1230"),
        ("1e-5", "1e5"),
        ("<18", ">18"),
        (".5", "5"),
        ("A+", "A-"),
        ("C++", "C"),
    ],
)
def test_a_sign_or_a_decimal_point_is_no_punctuation(expected: str, answer: str) -> None:
    for one, other in ((expected, answer), (answer, expected)):
        assert value(exact(expecting(one), reply(other), ignore_punctuation=True)) == 0
        assert value(exact(expecting(one), reply(f"({one})."), ignore_punctuation=True)) == 1


def test_punctuation_is_compared_where_a_text_has_nothing_else() -> None:
    for expected, answer in (("👍", "👎"), ("?", "!"), ("...", "")):
        assert value(exact(expecting(expected), reply(answer), ignore_punctuation=True)) == 0
        assert value(exact(expecting(expected), reply(expected), ignore_punctuation=True)) == 1


def test_minus_signs_and_thousands_are_alike_where_punctuation_is_ignored() -> None:
    assert value(exact(expecting("-5"), reply("−5!"), ignore_punctuation=True)) == 1
    assert value(exact(expecting("1,000"), reply("$1000"), ignore_punctuation=True)) == 1
    assert value(contains(expecting("314"), reply("It is 3.14."), ignore_punctuation=True)) == 0


def test_composed_and_decomposed_letters_are_the_same_text() -> None:
    assert value(exact(expecting("caf\u00e9"), reply("cafe\u0301"))) == 1


def test_numbers_and_booleans_are_expected_as_they_are_written() -> None:
    assert value(exact(expecting(42), reply("42"))) == 1
    assert value(exact(expecting(True), reply("true"))) == 1


def test_an_object_is_no_expected_text() -> None:
    assert why(exact(expecting({"a": 1}), reply("x"))) == (
        "what is expected is neither a text nor a list of texts"
    )


def test_no_expectation_is_unscored() -> None:
    assert why(exact(expecting(), reply("x"))) == (
        "nothing to compare with: case 'one' has no `expected`"
    )


def test_a_reason_says_what_was_expected_and_what_came() -> None:
    assert reason(contains(expecting("refund"), reply("your return"))) == (
        "expected to contain 'refund'; the answer is 'your return'"
    )


def test_a_reason_quotes_the_start_of_a_long_answer() -> None:
    assert reason(exact(expecting("a"), reply("b" * 5000))) == (
        f"expected 'a'; the answer is '{'b' * 120}' …"
    )


def test_contains_all_wants_every_text() -> None:
    both = ["refund", "30 days"]
    assert value(contains(expecting(), reply("refund within 30 days"), all=both)) == 1
    assert value(contains(expecting(), reply("refund"), all=both)) == 0


def test_numbers_may_be_contained() -> None:
    assert value(contains(expecting(), reply("30 days, 4 eyes"), all=[30, "days", 4])) == 1
    assert value(contains(expecting(30), reply("30 days"))) == 1


def test_contains_with_value_and_all_wants_both() -> None:
    answered = reply("refund within 30 days")
    assert value(contains(expecting(), answered, value=["x", "within"], all=["refund"])) == 1
    assert value(contains(expecting(), answered, value="x", all=["refund"])) == 0


@pytest.mark.parametrize("scorer", [contains, starts_with, ends_with])
def test_an_empty_expectation_is_in_every_answer_and_so_measures_nothing(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - three signatures
    assert why(scorer(expecting(""), reply("x"))) == (
        "the expected text is empty, and so in every answer"
    )


def test_an_empty_answer_contains_nothing() -> None:
    assert value(contains(expecting("x"), reply(""))) == 0


def test_starts_and_ends_look_at_their_end_only() -> None:
    assert value(starts_with(expecting("yes"), reply("  yes, no"))) == 1
    assert value(starts_with(expecting("no"), reply("yes, no"))) == 0
    assert value(ends_with(expecting("no"), reply("yes, no\n"))) == 1
    assert value(ends_with(expecting("yes"), reply("yes, no"))) == 0


def test_length_counts_characters_without_the_white_space_around() -> None:
    assert value(length(expecting(), reply("  four\n"))) == 4
    assert value(length(expecting(), reply("cafe\u0301"))) == 4


@pytest.mark.parametrize("scorer", [exact, contains])
def test_a_score_is_little_work(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - two signatures
    case, answer = expecting("refund"), reply("The refund is on its way.")
    assert calls_made_by(lambda: scorer(case, answer)) < 50
