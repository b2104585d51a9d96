"""What `check` notices about an evalset's cases."""

from __future__ import annotations

import random

from llmops_cli.commands.health import health_notes, near_duplicates
from llmops_cli.core.prompt import Case, Evalset, Message, Prompt

WORDS = [f"word{at}" for at in range(500)]


def case(id_: str, question: str, expected: str = "x", group: str | None = None) -> Case:
    return Case(id=id_, inputs={"question": question}, expected=expected, group=group)


def notes(*cases: Case, prompt: tuple[str, ...] = ()) -> list[str]:
    messages = tuple(Message(role="user", content=text) for text in prompt)
    support = Prompt(name="support", model="tiny", messages=messages)
    evalset = Evalset(name="support", prompts=("support",), cases=cases)
    return list(health_notes(evalset, [support]))


def test_cases_that_are_nearly_alike_are_named_unless_they_share_a_group() -> None:
    alike = ("Where is my new card please?", "where is my card, please")
    (note,) = notes(case("a", alike[0]), case("b", alike[1]), case("c", "How do I log in here?"))
    assert note == ("support: 2 cases nearly alike: give those of one kind a common `group` (a, b)")
    assert notes(case("a", alike[0], group="g"), case("b", alike[1], group="g")) == []


def test_contradicting_expectations_are_named() -> None:
    note, *_ = notes(case("a", "Yes or no?", "yes"), case("b", "yes or NO", "no"))
    assert note == "support: 2 cases with the same input expect different answers (a, b)"


def test_cases_that_stand_in_a_prompts_examples_are_named() -> None:
    examples = ("Question: how do I close my account? Answer: in the app.", "{{ question }}")
    (note,) = notes(case("a", "How do I close my account?"), case("b", "x y z"), prompt=examples)
    assert note == "support: 1 case given away by the messages of support (a)"


def test_short_and_different_cases_are_not_spoken_of() -> None:
    assert notes(case("a", "hi"), case("b", "hi!"), case("c", "good morning to you")) == []


def test_every_pair_that_is_nearly_alike_is_found_and_no_other() -> None:
    rng = random.Random(3)
    words = [tuple(rng.sample(WORDS, 20)) for _ in range(300)]
    words += [(*item[:-1], "other") for item in words[:100]]
    assert set(near_duplicates(words)) == {(at, 300 + at) for at in range(100)}
