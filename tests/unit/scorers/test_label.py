from __future__ import annotations

import pytest

from llmops_cli.core.result import Score
from llmops_cli.scorers.label import label
from tests.unit.scorers.answers import expecting, reason, said, value, why

INTENTS = ["card_arrival", "card_arrival_late", "refund"]


@pytest.mark.parametrize(
    "given", ["card_arrival", "Card arrival.", "**card-arrival**", "card  arrival"]
)
def test_a_label_is_compared_by_its_words(given: str) -> None:
    assert value(label(expecting("card_arrival"), said(given))) == 1


def test_without_labels_the_whole_answer_is_the_label() -> None:
    assert value(label(expecting("refund"), said("It is refund"))) == 0


def test_with_labels_the_first_named_one_counts() -> None:
    given = said("Intent: refund, not card_arrival")
    assert value(label(expecting("refund"), given, labels=INTENTS)) == 1
    assert value(label(expecting("card_arrival"), given, labels=INTENTS)) == 0
    assert value(label(expecting("card_arrival"), given, labels=INTENTS, take="last")) == 1


def test_of_two_labels_that_overlap_the_longer_one_is_meant() -> None:
    given = said("The intent is card_arrival_late")
    assert value(label(expecting("card_arrival"), given, labels=INTENTS)) == 0
    assert value(label(expecting("card_arrival_late"), given, labels=INTENTS)) == 1


def test_a_label_inside_another_word_is_not_named() -> None:
    assert value(label(expecting("refund"), said("nonrefundable"), labels=INTENTS)) == 0


def test_two_labels_are_wrong_where_only_one_may_be_named() -> None:
    given = said("refund or card_arrival")
    assert reason(label(expecting("refund"), given, labels=INTENTS, take="only")) == (
        "expected 'refund'; 'refund or card_arrival' names several"
    )


def test_the_label_found_is_told_for_confusion_tables() -> None:
    given = label(expecting("refund"), said("Card arrival"), labels=INTENTS)
    assert isinstance(given, Score)
    assert dict(given.detail) == {"label": "card_arrival"}


def test_an_expected_label_that_is_not_among_the_labels_is_unscored() -> None:
    assert why(label(expecting("cash"), said("cash"), labels=INTENTS)) == (
        "the expected 'cash' is not among the labels"
    )


def test_labels_of_other_scripts_are_words_too() -> None:
    assert value(label(expecting("возврат"), said("Возврат!"))) == 1


def test_an_empty_answer_names_no_label() -> None:
    assert value(label(expecting("refund"), said(""), labels=INTENTS)) == 0
