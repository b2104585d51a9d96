"""Which scores are due, how they are read, and giving those that are missing."""

from __future__ import annotations

import asyncio

import pytest

from llmops_cli.core.policy import Decision
from llmops_cli.core.prompt import Case, ScorerSpec
from llmops_cli.core.result import Completion
from llmops_cli.run.evalset_run import side_results
from llmops_cli.run.execute import ScoringContext
from llmops_cli.run.scorers import Scorers, missing_scores
from llmops_cli.run.side import TrialAt
from llmops_cli.scorers.text import exact
from llmops_cli.stores.results import ResultsStore
from tests.projects import Project, make_cases
from tests.servers.faulty import Server
from tests.unit.gated_project import gate
from tests.unit.run.sides import EXACT, a_side, bound, put


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
    assert scorers.code() == [("mine", "checks/mine.py"), ("mine", "checks/more.py")]


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
    assert gate(running, fresh=True).decision is Decision.PASS
    ran = gate(running)
    assert ran.decision is Decision.INCOMPLETE
    assert ran.evalset.candidate.unscored == 30
