from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.result import Score
from llmops_cli.scorers.text import check_label, label
from tests.unit.scorers.answers import expecting, reason, reply, value, why

INTENTS = ["card_arrival", "card_arrival_late", "refund"]


@pytest.mark.parametrize(
    "answered", ["card_arrival", "Card arrival.", "**card-arrival**", "card  arrival"]
)
def test_a_label_is_compared_by_its_words(answered: str) -> None:
    assert value(label(expecting("card_arrival"), reply(answered))) == 1


@pytest.mark.parametrize(
    ("answered", "named", "options"),
    [
        ("Intent: refund, not card_arrival", "refund", {}),  # the first named one counts
        ("Intent: refund, not card_arrival", "card_arrival", {"take": "last"}),
        ("The intent is card_arrival_late", "card_arrival_late", {}),  # of two, the longer one
        ("nonrefundable", None, {}),  # a label inside another word
        ("", None, {}),
    ],
)
def test_with_labels_the_one_that_is_named_counts(
    answered: str, named: str | None, options: Any
) -> None:
    for intent in INTENTS:
        result = label(expecting(intent), reply(answered), labels=INTENTS, **options)
        assert value(result) == (intent == named)


def test_without_labels_the_whole_answer_is_the_label() -> None:
    assert value(label(expecting("refund"), reply("It is refund"))) == 0
    assert value(label(expecting("возврат"), reply("Возврат!"))) == 1


def test_two_labels_are_wrong_where_only_one_may_be_named() -> None:
    answered = reply("refund or card_arrival")
    assert reason(label(expecting("refund"), answered, labels=INTENTS, take="only")) == (
        "expected 'refund'; 'refund or card_arrival' names several"
    )


def test_the_label_found_is_reported_for_confusion_tables() -> None:
    answered = label(expecting("refund"), reply("Card arrival"), labels=INTENTS)
    assert isinstance(answered, Score)
    assert dict(answered.detail) == {"label": "card_arrival"}


def test_an_expected_label_that_is_not_among_the_labels_is_unscored() -> None:
    assert why(label(expecting("cash"), reply("cash"), labels=INTENTS)) == (
        "the expected 'cash' is not among the labels"
    )


DIFFERENT = [
    ("-1", "1"), ("−1", "1"), ("+1", "-1"), ("A+", "A-"), ("A+", "A"), ("C++", "C"), ("C#", "C"),
    ("<18", ">18"), ("<=18", "18"), ("18+", "18"), (".5", "5"), ("$5", "€5"), ("50%", "50"),
    ("👍", "👎"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
@pytest.mark.parametrize(
    "form", ["{}", "**{}**", "The label is {}.", "<label>{}</label>", "label: {}"]
)
def test_signs_and_symbols_tell_labels_apart(one: str, other: str, form: str) -> None:
    labels = [one, other]
    for expected, answered in ((one, one), (one, other), (other, one), (other, other)):
        result = label(expecting(expected), reply(form.format(answered)), labels=labels)
        assert value(result) == (expected == answered), (expected, answered)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_without_labels_signs_count_and_the_symbols_that_are_expected(one: str, other: str) -> None:
    assert value(label(expecting(one), reply(f"{one}."))) == 1
    assert value(label(expecting(one), reply(other))) == 0


@pytest.mark.parametrize("answered", ["-1", "C++", "3+"])
def test_a_label_with_another_sign_is_not_named(answered: str) -> None:
    assert value(label(expecting("1"), reply(answered), labels=["1", "3"])) == 0
    assert value(label(expecting("C"), reply(answered), labels=["C", "Java"])) == 0


def test_a_decimal_number_does_not_name_the_whole_number_in_it() -> None:
    for answered in ("1.5", "The score is 1.5.", "-1.5", "2.1"):
        assert value(label(expecting("1"), reply(answered), labels=["1", "2"])) == 0
    for answered in ("1.0", "1.", "The score is 1.00."):
        assert value(label(expecting("1"), reply(answered), labels=["0", "1"], take="last")) == 1


@pytest.mark.parametrize("answered", ["label=-1", "<b>-1</b>", "x: −1", '"-1"', "(-1)"])
def test_a_sign_is_read_whatever_stands_before_it(answered: str) -> None:
    assert value(label(expecting("-1"), reply(answered), labels=["-1", "0", "1"])) == 1
    assert value(label(expecting("1"), reply(answered), labels=["-1", "0", "1"])) == 0


@pytest.mark.parametrize("answered", ["<b>1</b>", "-> 1", "=>1", "~~1~~", "> 1", "label=1"])
def test_tags_arrows_and_quotes_are_no_signs(answered: str) -> None:
    assert value(label(expecting("1"), reply(answered), labels=["-1", "0", "1"])) == 1


def test_a_dash_between_words_or_before_a_list_item_is_no_sign() -> None:
    assert value(label(expecting("1"), reply("- 1"), labels=["-1", "0", "1"])) == 1
    assert value(label(expecting("gpt-4"), reply("GPT 4"))) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"labels": ["-1", "0", "1"], "value": "-1"}, None),
        ({"labels": ["yes", "yes"]}, None),
        ({"labels": ["yes", "Yes!"]}, "the labels 'yes' and 'Yes!' are compared as one label"),
        (
            {"labels": ["A*", "A"], "value": "A"},
            "the labels 'A*' and 'A' are compared as one label",
        ),
        ({"labels": ["?", "a"]}, "the label '?' has no letter, digit or symbol"),
        ({"value": "?!"}, "the expected label has no letter, digit or symbol"),
        ({"value": "c", "labels": ["a", "b"]}, "the expected 'c' is not among the labels"),
        ({"value": "-1", "labels": ["1", "0"]}, "the expected '-1' is not among the labels"),
        ({"labels": []}, "an empty list expects nothing: leave it out, or name a text"),
    ],
)
def test_labels_that_nothing_tells_apart_are_refused(
    options: dict[str, Json], problem: str | None, tmp_path: Path
) -> None:
    assert check_label(options, PluginContext(root=tmp_path, environ={})) == problem
