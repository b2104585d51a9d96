"""Filters and samples: which cases a person asks to have measured."""

from __future__ import annotations

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.run.comparison import PromptComparison, compare_prompts
from llmops_cli.run.selection import Selection
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project, make_cases
from tests.unit.gated_project import CASES


def chosen(project: Project, *prompts: str, **wishes: object) -> list[PromptComparison]:
    selection = Selection(prompts=prompts, **wishes)  # type: ignore[arg-type]  # as a test gives
    with open_workspace(project.root) as workspace:
        return compare_prompts(workspace, selection)


def ids(contest: PromptComparison) -> list[str]:
    return [case.id for each in contest.evalsets for case in each.cases]


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
    assert selection.partial == why
