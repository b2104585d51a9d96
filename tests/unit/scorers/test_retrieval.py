from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers import retrieval
from tests.hostile import HOSTILE
from tests.unit.scorers.answers import expecting, reason, reply, value, why

ABCD = ("c", "a", "b", "d")
"""What was retrieved, best first."""


def scored(
    name: str, ids: tuple[str, ...] | None, relevant: retrieval.Relevant, **options: Any
) -> Score | Unscored:
    answer: Completion = reply("an answer", ids=ids)
    result = getattr(retrieval, name)(expecting(), answer, relevant=relevant, **options)
    assert isinstance(result, (Score, Unscored))
    return result


def figure(name: str, ids: tuple[str, ...], relevant: retrieval.Relevant, **options: Any) -> float:
    return value(scored(name, ids, relevant, **options))


def test_the_figures_are_those_of_their_definitions() -> None:
    assert [figure("hit_at_k", ABCD, ["a", "z"], k=k) for k in (1, 2, 3)] == [0, 1, 1]
    assert figure("precision_at_k", ABCD, ["a", "b", "z"], k=3) == pytest.approx(2 / 3)
    assert figure("recall_at_k", ABCD, ["a", "b", "z"], k=2) == pytest.approx(1 / 3)
    assert figure("mrr", ABCD, ["b", "d"]) == pytest.approx(1 / 3)
    assert figure("mrr", ABCD, ["b"], k=2) == 0
    gained = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert figure("ndcg", ABCD, {"a": 3, "b": 1, "z": 2}, k=3) == pytest.approx(gained / best)
    assert figure("ndcg", ABCD, {"a": 3, "b": 1, "z": 2}) == pytest.approx(gained / best)


def test_the_best_order_of_everything_relevant_is_one_by_every_figure() -> None:
    grades = {"a": 3, "b": 2, "c": 1, "d": 0}
    for name in ("hit_at_k", "precision_at_k", "recall_at_k", "mrr", "ndcg"):
        assert figure(name, ("a", "b", "c"), grades, k=3) == 1, name


@pytest.mark.parametrize(
    ("name", "ids", "relevant", "k", "expected"),
    [
        ("precision_at_k", "a", ["a"], 5, 1 / 5),  # fewer than k count as k for precision only
        ("recall_at_k", "a", ["a"], 5, 1),
        ("ndcg", "a", ["a"], 5, 1),
        ("precision_at_k", "aaa", ["a"], 3, 1 / 3),  # an id that comes twice counts once
        ("hit_at_k", "bba", ["a"], 2, 0),
        ("mrr", "bba", ["a"], None, 1 / 3),
        ("recall_at_k", "aab", ["a", "b"], 2, 1 / 2),
        ("hit_at_k", "7", {"7": 0, "8": 1}, 1, 0),  # a grade of 0 is not relevant
        ("hit_at_k", "7", 7, 1, 1),  # ids may be numbers
        ("recall_at_k", "7", [7, "8"], 1, 1 / 2),
    ],
)
def test_repeated_missing_and_graded_ids_count_as_trec_eval_counts_them(
    name: str, ids: str, relevant: retrieval.Relevant, k: int | None, expected: float
) -> None:
    assert figure(name, tuple(ids), relevant, k=k) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["hit_at_k", "precision_at_k", "recall_at_k", "mrr", "ndcg"])
def test_retrieving_nothing_is_a_zero_and_not_reporting_it_is_no_score(name: str) -> None:
    in_vain = scored(name, (), ["a"], k=3)
    assert (value(in_vain), reason(in_vain)) == (0, "nothing was retrieved")
    assert why(scored(name, None, ["a"], k=3)).startswith("the answer does not report the ids")


def test_nothing_retrieved_and_nothing_reported_are_two_answers() -> None:
    silent, in_vain = reply("x"), reply("x", ids=(), contexts=())
    assert silent.digest != in_vain.digest != reply("x", ids=()).digest
    earlier = "sha256:95848c51686f034f60117205680ea69c6817131ed3e9a34cb72a7a05916fbaf8"
    assert silent.digest == earlier  # of answers stored before the two were told apart


def test_the_reason_says_what_was_found_where() -> None:
    reasons = reason(scored("recall_at_k", ABCD, ["a", "b", "z"], k=3))
    assert reasons == "2 of 3 relevant among 3 retrieved: 'a' at 2, 'b' at 3"
    reasons = reason(scored("mrr", ABCD, ["z"]))
    assert reasons == "0 of 1 relevant among 4 retrieved"


def test_hostile_ids_are_ids() -> None:
    for name, text in HOSTILE.items():
        assert figure("mrr", ("x", text, "\0", "a b\tc"), [text]) == 1 / 2, name


@pytest.mark.parametrize(
    ("options", "answered"),
    [
        ({"k": 0, "relevant": "a"}, "k is 0, and must be at least 1"),
        ({"relevant": []}, "`relevant` names nothing that is relevant"),
        ({"relevant": {"a": 0}}, "`relevant` names nothing that is relevant"),
        ({"relevant": {"a": -1, "b": 1}}, "the grade of 'a' is -1, and must be 0 to 100"),
    ],
)
def test_what_can_never_be_measured_is_seen_before_any_call(
    options: dict[str, Any], answered: str, tmp_path: Path
) -> None:
    assert retrieval.check(options, PluginContext(root=tmp_path, environ={})) == answered
    right: dict[str, Any] = {"k": 3, "relevant": {"a": 2}}
    assert retrieval.check(right, PluginContext(root=tmp_path, environ={})) is None
