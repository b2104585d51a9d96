from __future__ import annotations

import unicodedata

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


@pytest.mark.parametrize("scorer", [similarity, rouge, bleu])
def test_the_nearest_of_several_texts_counts(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - three signatures
    assert value(scorer(expecting(["something else", CAT]), reply(CAT))) == pytest.approx(1)


@pytest.mark.parametrize("scorer", [similarity, rouge, bleu])
def test_an_empty_answer_is_like_nothing(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - three signatures
    assert value(scorer(expecting(CAT), reply(""))) == 0


@pytest.mark.parametrize("scorer", [similarity, rouge, bleu])
def test_a_text_too_long_to_compare_is_unscored(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - three signatures
    assert "characters" in why(scorer(expecting(CAT), reply("a " * 100_000)))


def test_case_may_be_ignored() -> None:
    assert value(similarity(expecting("ABC"), reply("abc"))) == 0
    assert value(similarity(expecting("ABC"), reply("abc"), ignore_case=True)) == 1


@pytest.mark.parametrize("scorer", [similarity, rouge, bleu])
def test_composed_and_decomposed_letters_are_alike(scorer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - three signatures
    text = "the café sat on the naïve mat"
    decomposed = unicodedata.normalize("NFD", text)
    assert value(scorer(expecting(text), reply(decomposed))) == pytest.approx(1)
    assert value(scorer(expecting(decomposed), reply(text))) == pytest.approx(1)
