"""Which prompts, versions and models are compared, on which cases."""

from __future__ import annotations

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Decision
from llmops_cli.core.prompt import Model
from llmops_cli.run.comparison import PromptComparison, compare_prompts
from llmops_cli.run.selection import Between, ResolvedTarget, Selection, resolve_target
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project, make_cases
from tests.servers.faulty import Server
from tests.unit.gated_project import (
    CASES,
    add_model,
    gate,
    promoted,
    questions,
    release,
    worsen,
    write_evalset,
    wrong_on,
)

OTHER = """\
model: tiny
inputs: {question: {type: string}}
messages:
  - {role: system, content: Another.}
  - {role: user, content: "{{ question }}"}
"""


def chosen(project: Project, *prompts: str, **wishes: object) -> list[PromptComparison]:
    selection = Selection(prompts=prompts, **wishes)  # type: ignore[arg-type]  # as a test gives
    with open_workspace(project.root) as workspace:
        return compare_prompts(workspace, selection)


def ids(contest: PromptComparison) -> list[str]:
    return [case.id for each in contest.evalsets for case in each.cases]


def test_the_working_prompt_is_compared_with_what_the_last_environment_runs(
    running: Project,
) -> None:
    (contest,) = chosen(running)
    assert contest.candidate.name == "support@working"
    assert contest.baseline is not None
    assert (contest.baseline.name, contest.environment) == ("support@v1", "production")


def test_an_environment_chooses_what_runs_there_and_watches_it(running: Project) -> None:
    (contest,) = chosen(running, "production")
    assert (contest.candidate.name, contest.watch) == ("support@v1", True)


def test_a_version_by_its_number_is_no_watch(running: Project) -> None:
    (contest,) = chosen(running, "support@v1")
    assert not contest.watch
    assert gate(running, "support@v1").decision is Decision.PASS


def test_an_environment_that_runs_nothing_is_refused(project: Project) -> None:
    with pytest.raises(Refused, match="nothing runs in production yet"):
        chosen(project, "production")


@pytest.mark.parametrize("name", ["suport", "support@v9", "no*"])
def test_unknown_names_are_refused(running: Project, name: str) -> None:
    with pytest.raises(UnknownName):
        chosen(running, name)


def test_a_glob_chooses_by_name(running: Project) -> None:
    running.write("prompts/other.prompt.yml", OTHER)
    running.evalset(prompt=["support", "other"])
    assert [each.prompt for each in chosen(running, "*o*")] == ["other", "support"]
    assert [each.prompt for each in chosen(running, "sup*")] == ["support"]


def test_a_named_baseline_takes_the_place_of_the_environments(
    running: Project, server: Server
) -> None:
    worsen(running, server, 15)
    release(running)
    running.prompt(system="Better.")
    result = gate(running, select={"baseline": "support@v2"})
    assert (result.prompt.baseline, result.decision) == ("support@v2", Decision.PASS)
    assert result.finding("no_worse").estimate.improved == 15  # type: ignore[union-attr]


def test_another_model_answers_the_candidate_alone_and_is_no_version(
    running: Project, server: Server
) -> None:
    add_model(running, server)
    result = gate(running, "support@v1", select={"model": "other"})
    assert result.prompt.candidate == "support@v1 on other"
    assert result.evalset.candidate.model == "openai/other"
    assert result.evalset.baseline is not None
    assert result.evalset.baseline.model == "openai/tiny"
    assert (result.decision, server.requests) == (Decision.PASS, CASES)
    assert not any("promote" in step for step in result.prompt.next_steps)


def test_two_versions_are_compared(running: Project, server: Server) -> None:
    worsen(running, server, 15)
    release(running)
    worse = gate(running, between=Between("support@v1", "support@v2"))
    better = gate(running, between=Between("support@v2", "support@v1"))
    assert (worse.decision, better.decision) == (Decision.FAIL, Decision.PASS)
    assert worse.prompt.baseline == "support@v1"
    assert better.prompt.next_steps == ()


def test_two_prompts_are_compared_on_the_evalset_of_the_second(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(15), system="Another.")
    running.write("prompts/other.prompt.yml", OTHER)
    running.evalset(prompt=["support", "other"])
    result = gate(running, between=Between("support", "other"))
    assert (result.prompt.candidate, result.prompt.baseline) == ("other@working", "support@working")
    assert result.decision is Decision.FAIL


def test_another_prompts_version_brings_its_own_cases_and_not_a_namesakes(
    running: Project,
) -> None:
    running.write("prompts/other.prompt.yml", OTHER)
    running.evalset(prompt=["support", "other"])
    result = gate(running, between=Between("support@v1", "other"))
    assert result.decision is Decision.PASS


def test_two_models_are_compared_on_every_prompt(running: Project, server: Server) -> None:
    add_model(running, server)
    result = gate(running, between=Between("tiny", "other"))
    assert result.prompt.candidate == "support@working on other"
    assert result.prompt.baseline == "support@working on tiny"
    assert result.decision is Decision.PASS


@pytest.mark.parametrize(
    ("before", "after"), [("support", "suport"), ("tinny", "tiny"), ("x", "support@v1")]
)
def test_what_is_neither_prompt_nor_model_cannot_be_compared(
    running: Project, before: str, after: str
) -> None:
    with pytest.raises(UnknownName):
        gate(running, between=Between(before, after))


# Filters and samples -------------------------------------------------------------------------


def test_evalsets_of_which_no_case_matches_are_left_out_and_told(running: Project) -> None:
    running.write("prompts/other.prompt.yml", OTHER)
    write_evalset(running, "more", make_cases(2))
    write_evalset(running, "other", [{**make_cases(1)[0], "id": "elsewhere"}], prompt="other")
    (contest,) = chosen(running, cases=["c02*"])
    assert [each.evalset.name for each in contest.evalsets] == ["support"]
    assert contest.notes == (
        "no case of more matches the filter",
        "no case of other matches the filter",
    )
    assert gate(running, select={"cases": ["c02*"]}).verdict.decision is Decision.PASS


def test_a_prompt_that_no_evalset_gates_is_refused_by_name(project: Project) -> None:
    project.write("prompts/other.prompt.yml", OTHER)
    with pytest.raises(Refused, match="no evalset gates"):
        chosen(project, "other")


def test_promoting_makes_the_candidate_the_baseline(running: Project) -> None:
    running.prompt(system="Next.")
    assert promoted(running) == 2
    (contest,) = chosen(running)
    assert contest.baseline is not None
    assert contest.baseline.name == "support@v2"


def test_a_sample_is_the_same_every_time_and_another_for_another_seed(project: Project) -> None:
    first, again, other = (ids(chosen(project, sample=10, seed=seed)[0]) for seed in (0, 0, 1))
    assert len(first) == 10
    assert first == again == sorted(first)
    assert first != other


def test_an_added_case_moves_one_case_of_a_sample_at_most(project: Project) -> None:
    before = set(ids(chosen(project, sample=10)[0]))
    project.cases([*make_cases(CASES), {**make_cases(1)[0], "id": "added"}])
    after = set(ids(chosen(project, sample=10)[0]))
    assert len(before - after) <= 1


def test_a_sample_larger_than_the_evalset_is_all_of_it(project: Project) -> None:
    assert len(ids(chosen(project, sample=1000)[0])) == CASES


def test_cases_are_chosen_by_id_glob_and_tag(project: Project) -> None:
    cases = [
        {**case, "tags": ["even"] if at % 2 == 0 else []} for at, case in enumerate(make_cases(4))
    ]
    project.cases([*cases, {**cases[0], "id": "q[1]", "tags": ["odd one"]}])
    assert ids(chosen(project, cases=["c00[12]"])[0]) == ["c001", "c002"]
    assert ids(chosen(project, cases=["q[1]"])[0]) == ["q[1]"]
    assert ids(chosen(project, tags=["even", "odd one"])[0]) == ["c000", "c002", "q[1]"]


def test_a_filter_that_matches_nothing_is_refused(project: Project) -> None:
    with pytest.raises(Refused, match="no case matches the filter") as caught:
        chosen(project, tags=["none"])
    assert caught.value.hint == "no case of these evalsets has a tag"
    with pytest.raises(Refused) as caught:
        chosen(project, cases=["c0O1"])
    assert (caught.value.hint or "").startswith("did you mean 'c0")
    with pytest.raises(UnknownName):
        chosen(project, evalsets=["none"])


@pytest.mark.parametrize(
    ("selection", "why"),
    [
        (Selection(), None),
        (Selection(evalsets=["one"]), None),
        (Selection(tags=["a", "b"]), "only cases tagged a, b"),
        (Selection(cases=["c1"]), "only 1 named case"),
        (Selection(sample=3, seed=7), "a sample of 3 cases per evalset (seed 7)"),
    ],
)
def test_what_leaves_cases_out_is_partial(selection: Selection, why: str | None) -> None:
    assert selection.partial(1) == why


def contender(project: Project, selector: str) -> ResolvedTarget:
    with open_workspace(project.root) as workspace:
        return resolve_target(workspace, "support", selector)


@pytest.mark.parametrize(
    ("selector", "name", "version"),
    [
        ("working", "support@working", None),
        ("v1", "support@v1", 1),
        ("production", "support@v2", 2),
        ("production~1", "support@v1", 1),
        ("latest", "support@v2", 2),
    ],
)
def test_addresses(running: Project, selector: str, name: str, version: int | None) -> None:
    running.prompt(system="Next.")
    promoted(running)
    found = contender(running, selector)
    assert (found.name, found.version) == (name, version)


@pytest.mark.parametrize("selector", ["v9", "staging", "production~7"])
def test_an_address_that_leads_nowhere_is_refused(running: Project, selector: str) -> None:
    with pytest.raises(Refused):
        contender(running, selector)


def test_a_prompt_that_is_not_there_is_refused_with_the_nearest(running: Project) -> None:
    with open_workspace(running.root) as workspace, pytest.raises(UnknownName) as refused:
        resolve_target(workspace, "suport", "working")
    assert refused.value.hint == "did you mean 'support'?"


def test_a_version_is_reached_by_todays_connection(running: Project) -> None:
    running.url = "http://127.0.0.1:7/v1"
    running.model = {"timeout": 7}
    running.llmops_yaml("renamed")
    running.prompt(model="renamed")
    model = contender(running, "v1").target.model
    assert (model.name, model.base_url) == ("renamed", "http://127.0.0.1:7/v1")
    assert model.limits.timeout == 7


def test_an_alias_that_means_another_model_now_does_not_reach_the_old_one(
    running: Project,
) -> None:
    running.model = {"model": "other"}
    running.llmops_yaml()
    model: Model = contender(running, "v1").target.model
    assert (model.name, model.model) == ("openai/tiny", "tiny")
    assert model.base_url != running.url
