"""The embedded model reads its prompt, and nothing but its prompt."""

from __future__ import annotations

import asyncio
import json

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.prompt import Message, Request, Role
from llmops_cli.core.result import Completion
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.providers.embedded import DIMENSIONS, REVISION, Bm25, Embedded

SHOTS: tuple[tuple[Role, str], ...] = (
    ("user", "My card has been stolen"),
    ("assistant", "lost_card"),
    ("user", "How do I change my PIN?"),
    ("assistant", "change_pin"),
)


def ask(*turns: tuple[Role, str], model: Embedded | None = None) -> Completion:
    request = Request(
        provider="embedded",
        model="embedded",
        messages=tuple(Message(role=role, content=content) for role, content in turns),
    )
    return asyncio.run((model or Embedded()).complete(request))


def test_the_answer_is_that_of_the_most_similar_example() -> None:
    asked = ask(("system", "Label it."), *SHOTS, ("user", "somebody stole a card"))
    assert asked.text == "lost_card"
    assert ask(*SHOTS, ("user", "a new pin, please")).text == "change_pin"


def test_another_answer_in_the_example_is_another_answer_of_the_model() -> None:
    wrong = tuple((role, text.replace("lost_card", "other")) for role, text in SHOTS)
    assert ask(*wrong, ("user", "somebody stole a card")).text == "other"


def test_without_examples_the_answer_is_the_most_similar_sentence_of_the_prompt() -> None:
    system = "Answer from these passages.\n- Ada was born in London. She died in 1852.\n- Bees hum!"
    assert (
        ask(("system", system), ("user", "Where was Ada born?")).text == "Ada was born in London."
    )
    assert ask(("system", system), ("user", "what do bees do")).text == "Bees hum!"


def test_a_prompt_of_one_message_is_asked_by_its_last_sentence() -> None:
    assert ask(("user", "Ada was born in London. Bees hum.\nWho was born?")).text == (
        "Ada was born in London."
    )


def test_a_prompt_that_holds_nothing_but_a_question_gets_an_empty_answer() -> None:
    assert ask(("user", "Who was born?")).text == ""
    assert ask(("system", " "), ("user", "Who was born?")).text == ""


def test_a_user_turn_without_an_answer_is_no_example() -> None:
    asked = ask(("user", "stolen card"), *SHOTS, ("user", "stolen card"), ("user", "stolen card"))
    assert asked.text == "lost_card"


def test_earlier_turns_of_the_conversation_are_examples_too() -> None:
    earlier: tuple[tuple[Role, str], ...] = (("user", "bees?"), ("assistant", "they hum"))
    assert ask(*SHOTS, *earlier, ("user", "and bees")).text == "they hum"


def test_the_first_of_equally_similar_examples_answers() -> None:
    twice: tuple[tuple[Role, str], ...] = (
        ("user", "a card"),
        ("assistant", "first"),
        ("user", "a card"),
        ("assistant", "second"),
    )
    assert ask(*twice, ("user", "my card")).text == "first"
    assert ask(*twice, ("user", "no word in common")).text == "first"


def test_parts_of_a_message_are_read_for_their_text() -> None:
    request = Request(
        provider="embedded",
        model="embedded",
        messages=(
            Message(role="system", content="Ada was born in London. Bees hum."),
            Message(
                role="user",
                content=(
                    {"type": "image_url", "image_url": {"url": "https://example.org/bee.png"}},
                    {"type": "text", "text": "do bees hum"},
                ),
            ),
        ),
    )
    assert asyncio.run(Embedded().complete(request)).text == "Bees hum."


def test_words_are_counted_as_tokens_and_nothing_is_charged() -> None:
    answer = ask(("system", "Label it."), *SHOTS, ("user", "my stolen card"))
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output) == (18, 1)
    assert (answer.cost, answer.finish_reason, answer.served_model) == (0.0, "stop", REVISION)


def test_what_the_model_was_asked_before_changes_no_answer() -> None:
    model = Embedded()
    questions = ["somebody stole a card", "a new pin, please", "somebody stole a card"]
    answers = [ask(*SHOTS, ("user", each), model=model).text for each in questions]
    ask(("system", "Bees hum."), ("user", "bees"), model=model)
    assert answers == [ask(*SHOTS, ("user", each)).text for each in questions]


def test_any_change_of_the_algorithm_must_change_its_revision() -> None:
    """Change REVISION together with this: stored answers of the old algorithm lose their keys."""
    scores = Bm25(["my card was stolen", "change my pin", "", "my my my card"]).scores("my card")
    assert [round(each, 6) for each in scores] == [0.34862, 0.137063, 0.0, 0.443697]
    assert REVISION == "embedded-bm25-1" == PROVIDERS["embedded"].identity


words = st.lists(st.sampled_from(["card", "lost", "stolen", "my", "the", "fee"]), min_size=1)


@given(texts=st.lists(words, min_size=1, max_size=12), question=words)
def test_similarities_are_those_of_the_library_bm25s(
    texts: list[list[str]], question: list[str]
) -> None:
    """Up to single precision and bm25s's own reading of a word that no text holds."""
    library = bm25s.BM25(method="lucene", k1=Bm25.K1, b=Bm25.B, dtype="float64")
    library.index(texts, show_progress=False)
    known = [word for word in question if word in library.vocab_dict]
    expected = library.get_scores(known) if known else np.zeros(len(texts))
    ours = Bm25([" ".join(text) for text in texts]).scores(" ".join(question))
    assert ours == pytest.approx(list(expected), rel=1e-6)


def embedding_of(text: str) -> list[float]:
    turn = Message(role="user", content=text)
    request = Request(
        provider="embedded", model="embedded", messages=(turn,), response_format="embedding"
    )
    answer = asyncio.run(Embedded().complete(request))
    assert answer.usage is not None
    assert answer.usage.output == 0
    vector: list[float] = json.loads(answer.text or "")
    assert len(vector) == DIMENSIONS
    return vector


def test_texts_with_the_same_words_have_near_embeddings() -> None:
    asked = embedding_of("Where was Ada Lovelace born?")
    same = np.dot(asked, embedding_of("ADA LOVELACE: born where, was?"))
    near = np.dot(asked, embedding_of("Where was Ada Lovelace buried?"))
    far = np.dot(asked, embedding_of("Bees make honey"))
    assert same == pytest.approx(1)
    assert 0.7 < near < 1
    assert abs(far) < 0.3


def test_an_embedding_has_length_1_and_is_the_same_everywhere() -> None:
    vector = embedding_of("a b b")
    assert np.linalg.norm(vector) == pytest.approx(1)
    found = {at: round(each, 6) for at, each in enumerate(vector) if each}
    assert found == {67: 0.508542, 249: -0.861037}
    assert embedding_of("…") == [0.0] * DIMENSIONS
