from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest

from llmops_cli.scorers.overlap import bleu, rouge
from llmops_cli.scorers.similarity import similarity
from tests.unit.scorers.answers import expecting, reply, value, why

CAT = "the cat sat on the mat"


def test_edit_similarity_is_one_less_the_share_of_edits() -> None:
    assert value(similarity(expecting("kitten"), reply("sitting"))) == pytest.approx(1 - 3 / 7)


def test_rouge_is_the_f_measure_of_the_common_words() -> None:
    result = rouge(expecting(CAT), reply("the cat on the mat"), kind="rouge1")
    assert value(result) == pytest.approx(2 * 1.0 * (5 / 6) / (1.0 + 5 / 6))


def test_bleu_of_the_expected_text_is_one() -> None:
    assert value(bleu(expecting(CAT), reply(CAT))) == pytest.approx(1)
    assert value(bleu(expecting(CAT), reply("dogs bark loudly at night"))) < 0.1


def test_case_may_be_ignored() -> None:
    assert value(similarity(expecting("ABC"), reply("abc"))) == 0
    assert value(similarity(expecting("ABC"), reply("abc"), ignore_case=True)) == 1


@pytest.mark.parametrize("scorer", [similarity, rouge, bleu])
def test_the_nearest_text_counts_in_its_composed_form(scorer: Callable[..., object]) -> None:
    text = "the café sat on the naïve mat"
    decomposed = unicodedata.normalize("NFD", text)
    assert value(scorer(expecting(["something else", text]), reply(decomposed))) == pytest.approx(1)
    assert value(scorer(expecting(decomposed), reply(text))) == pytest.approx(1)
    assert value(scorer(expecting(text), reply(""))) == 0
    assert "characters" in why(scorer(expecting(text), reply("a " * 100_000)))
