"""A retrieving application, measured whole: real engine, real store, a judge behind the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmops_cli.core.report import Spending
from tests.projects import Project
from tests.servers.faulty import Server
from tests.unit.gated_project import Result, gate
from tests.unit.scorers.test_rag import ANSWER, CASE, PASSAGES, sensible

pytestmark = pytest.mark.needs("ragas")

SCORERS: list[Any] = [
    {"hit_at_k": 1},
    {"mrr": {"min": 0.4}},
    {"context_recall": {"min": 0.5}},
    {"context_precision": {"min": 0.5}},
    {"faithfulness": {"min": 0.5}},
    {"answer_relevancy": {"embeddings": "vectors", "min": 0.5}},
    {"factual_correctness": {"min": 0.3}},
]
JUDGED = 1 + len(PASSAGES) + 2 + 3 + 4
"""A case's calls of the judge, by the scorers above."""


def judge(body: Mapping[str, Any]) -> str:
    """Fills in the form that the request names; a text to embed names none."""
    if "input" in body:
        return ""
    form = body["response_format"]["json_schema"]
    assert form["strict"] is True
    return json.dumps(sensible(body["messages"][-1]["content"], form["schema"]["title"]))


def a_rag_project(project: Project, server: Server, ids: tuple[str, ...]) -> None:
    """One case, answered from a record of what the application said and retrieved."""
    server.reply = judge
    wire = {"provider": "openai", "base_url": server.url, "timeout": 20, "retries": 0}
    project.models = {
        "app": {"provider": "replay", "file": "answers.jsonl"},
        "judge": {**wire, "model": "a-judge"},
        "vectors": {**wire, "model": "an-embedder"},
    }
    project.llmops_yaml()
    project.prompt(model="app")
    record = {"id": "one", "text": ANSWER.text, "contexts": list(PASSAGES), "ids": list(ids)}
    project.write("answers.jsonl", json.dumps(record) + "\n")
    question = {"question": CASE.inputs["question"]}
    about = {"metadata": {"relevant": ["p1"]}, "expected": CASE.expected}
    project.cases([{"id": "one", "inputs": question, **about}])
    project.evalset(scorers=SCORERS)


def figures(result: Result) -> dict[str, tuple[str | None, float]]:
    return {
        each.label: (each.part, round(each.candidate, 3))
        for each in result.evalset.metrics
        if each.candidate is not None and each.label != "pass"
    }


def test_every_score_is_given_by_calls_that_are_counted_kept_and_made_once(
    project: Project, server: Server
) -> None:
    a_rag_project(project, server, ("p1", "p2", "p3"))
    first = gate(project)
    assert figures(first) == {
        "hit_at_k": ("retrieval", 1.0),
        "mrr": ("retrieval", 1.0),
        "context_recall": ("retrieval", 0.667),
        "context_precision": ("retrieval", 1.0),
        "faithfulness": ("generation", 0.667),
        "answer_relevancy": ("generation", 1.0),
        "factual_correctness": ("generation", 0.4),
    }
    assert server.requests == JUDGED + 2
    spent = first.report.spent
    assert (spent["judge"].calls, spent["embedding"].calls) == (JUDGED, 2)
    assert spent["embedding"] == Spending(calls=2, input_tokens=6, cost=None)
    again = gate(project)
    assert figures(again) == figures(first)
    assert server.requests == JUDGED + 2


def test_a_case_names_what_failed_and_the_half_that_broke_is_seen(
    project: Project, server: Server
) -> None:
    a_rag_project(project, server, ("p8", "p1", "p9"))
    result = gate(project)
    broken = {name for name, (_, value) in figures(result).items() if value < 0.5}
    assert broken == {"hit_at_k", "factual_correctness"}
    (shown,) = result.evalset.shown
    assert shown.candidate is not None
    reasons = {each.label: each.reason for each in shown.candidate.trials[0].scores}
    assert reasons["hit_at_k"] == "0 of 1 relevant among 1 retrieved"
    assert "not 'He had two sisters.' ('as read')" in reasons["faithfulness"]


def test_a_judge_that_answers_in_prose_leaves_the_case_unmeasured(
    project: Project, server: Server
) -> None:
    a_rag_project(project, server, ("p1",))
    server.reply = lambda _: "I am no judge."
    result = gate(project)
    assert result.decision.value == "INCOMPLETE"
    assert set(figures(result)) == {"hit_at_k", "mrr"}
