"""Which scores are due, how they are read, and computing those that are missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmops_cli.core.policy import Decision
from llmops_cli.core.prompt import Case, ScorerSpec
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Completion
from llmops_cli.run.evalset_run import side_results
from llmops_cli.run.execute import ScoringContext
from llmops_cli.run.scorers import Scorers, missing_scores
from llmops_cli.run.side import TrialAt
from llmops_cli.scorers.text import exact
from llmops_cli.stores.results import ResultsStore
from tests.projects import Project, make_cases
from tests.servers.faulty import Server
from tests.unit.gated_project import Result, gate
from tests.unit.run.sides import EXACT, a_side, bound, put
from tests.unit.scorers.test_rag import ANSWER, CASE, PASSAGES, sensible


def length(maximum: float, **more: bool) -> ScorerSpec:
    return ScorerSpec(kind="length", label="length", maximum=maximum, **more)  # type: ignore[arg-type]  # flags


def a_case(name: str, *own: ScorerSpec) -> Case:
    return Case(id=name, inputs={"question": name}, expected=name, scorers=own)


def labels(scorers: Scorers, case: Case) -> list[str]:
    return [each.label for each in scorers.due(case)]


def test_one_label_with_one_reading_is_one_metric() -> None:
    cases = [a_case("one", length(10)), a_case("two", length(10))]
    scorers = bound(cases, EXACT)
    assert [each.label for each in scorers.metrics] == ["exact", "length"]
    assert labels(scorers, cases[0]) == ["exact", "length"]


def test_one_label_with_several_thresholds_is_several_metrics() -> None:
    cases = [a_case("one", length(10)), a_case("two", length(100)), a_case("three")]
    scorers = bound(cases, EXACT)
    assert {each.label: each.maximum for each in scorers.metrics} == {
        "exact": None,
        "length (characters ≤ 10)": 10,
        "length (characters ≤ 100)": 100,
    }
    assert labels(scorers, cases[2]) == ["exact"]


def test_negated_and_advisory_scorers_are_read_apart() -> None:
    cases = [
        a_case("a", length(9)),
        a_case("b", length(9, negate=True)),
        a_case("c", length(9, advisory=True)),
    ]
    metrics = bound(cases).metrics
    assert [(each.negate, each.advisory) for each in metrics] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_each_case_is_judged_by_its_own_threshold(project: Project) -> None:
    cases = make_cases(2)
    cases[0]["scorers"] = [{"length": {"max": 3}}]
    cases[1]["scorers"] = [{"length": {"max": 30}}]
    project.cases(cases)
    assert gate(project).passing.candidate == 0.5
    project.cases(list(reversed(cases)))
    assert gate(project).passing.candidate == 0.5


def test_a_cases_own_scorer_beside_a_shared_namesake_is_distinguished() -> None:
    case = a_case("one", EXACT)
    assert labels(bound([case], EXACT), case) == ["exact", "exact (case)"]


def test_scorers_of_single_cases_are_named_where_a_metric_has_several() -> None:
    one, two = (
        ScorerSpec(kind="contains", label="contains", options={"values": value}, minimum=1.0)
        for value in ("a", "b")
    )
    cases = [a_case("one", one), a_case("two", two)]
    scorers = bound(cases, EXACT)
    own = scorers.own_digests(cases[0])
    assert list(own) == ["contains"]
    assert own != scorers.own_digests(cases[1])


def test_code_is_found_with_the_file_that_holds_it() -> None:
    options = {"call": "checks/mine.py:polite", "identity": ["checks/words.txt", "checks/more.py"]}
    spec = ScorerSpec(kind="python", label="mine", options=options)
    scorers = bound([a_case("one", spec)])
    files = [(scorer.label, path) for scorer, path in scorers.code()]
    assert files == [("mine", "checks/mine.py"), ("mine", "checks/more.py")]


def test_scores_are_given_once(store: ResultsStore) -> None:
    case = a_case("one")
    scorers, side, at = bound([case], EXACT), a_side(store, cases=[case]), TrialAt(0, 0)
    completion = Completion(text="one")
    assert missing_scores(store, {0: (case, completion.digest)}, scorers) == {0}
    context = ScoringContext(code={"exact": exact})
    for _ in range(2):
        asyncio.run(context.score_trial(side, at, case, completion, scorers=scorers))
    assert missing_scores(store, {0: (case, completion.digest)}, scorers) == set()
    (key,) = scorers.keys(case, completion.digest)
    assert store.scores([key])[key].value == 1.0


def test_an_unscored_trial_says_why(store: ResultsStore) -> None:
    case = a_case("one")
    scorers, side = bound([case], EXACT), a_side(store, cases=[case])
    side.plan.trial_numbers = [(0,)]
    put(store, side, Completion(text="one"))

    def reasons() -> dict[str, str]:
        (result,) = side_results(side, [case], scorers)
        return dict(result.trials[0].reasons)

    assert reasons() == {"exact": "not scored in this run"}
    side.state.unscored[TrialAt(0, 0)] = {"exact": "because"}
    assert reasons() == {"exact": "because"}


def test_a_changed_threshold_is_applied_without_a_call(project: Project, server: Server) -> None:
    project.evalset(scorers=[{"length": {"max": 100}}])
    assert gate(project).passing.candidate == 1.0
    before = server.requests
    project.evalset(scorers=[{"length": {"max": 5}}])
    assert gate(project).passing.candidate == pytest.approx(10 / 30)  # `say 0` … `say 9`
    assert server.requests == before


def test_a_scorer_of_the_clock_scores_no_reused_answer(running: Project) -> None:
    running.evalset(scorers=[{"exact": "{{ expected }}"}, {"latency": {"max": 60}}])
    running.prompt(system="Next.")
    assert gate(running, no_cache=True).decision is Decision.PASS
    gate(running)
    ran = gate(running)
    assert ran.decision is Decision.INCOMPLETE
    assert ran.evalset.candidate.unscored == 30


needs_ragas = pytest.mark.needs("ragas")

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


@needs_ragas
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


@needs_ragas
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


@needs_ragas
def test_a_judge_that_answers_in_prose_leaves_the_case_unmeasured(
    project: Project, server: Server
) -> None:
    a_rag_project(project, server, ("p1",))
    server.reply = lambda _: "I am no judge."
    result = gate(project)
    assert result.decision.value == "INCOMPLETE"
    assert set(figures(result)) == {"hit_at_k", "mrr"}
