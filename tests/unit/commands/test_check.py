"""Every mistake at once, without calling anything."""

from __future__ import annotations

import pytest

from llmops_cli.commands.check import check_all
from llmops_cli.core.errors import InvalidFiles
from tests.projects import Project, make_cases
from tests.servers.faulty import Server
from tests.unit.gated_project import CASES


def test_a_valid_project_says_what_it_can_show(project: Project, server: Server) -> None:
    found = check_all(project.root)
    assert (found.prompts, found.cases, found.ungated) == (1, CASES, ())
    (evalset,) = found.evalsets
    assert (evalset.prompt, evalset.evalset, evalset.cases) == ("support", "support", CASES)
    assert evalset.shows
    assert server.requests == 0


def test_it_may_start_in_any_folder_of_the_project(project: Project) -> None:
    assert check_all(project.root / "prompts").cases == CASES


def test_the_margin_that_counts_is_the_evalsets(project: Project) -> None:
    before = check_all(project.root).evalsets[0].shows
    project.evalset(gate={"margin": 0.3})
    assert check_all(project.root).evalsets[0].shows != before


def test_a_prompt_that_nothing_gates_is_reported(project: Project) -> None:
    project.write("prompts/other.prompt.yml", project.read("prompts/support.prompt.yml"))
    assert check_all(project.root).ungated == ("other",)


def test_the_columns_that_are_read_as_json_are_reported(project: Project) -> None:
    rows = 'question,expected\nWho?,"{""n"": 1}"\nHow?,maybe\n'
    project.write("evalsets/support.csv", rows)
    (project.root / "evalsets/support.jsonl").unlink()
    project.evalset(cases="support.csv", scorers=["json", {"exact": "{{ expected }}"}])
    assert check_all(project.root).read_as_json == ()
    project.evalset(cases="support.csv", scorers=[{"json": {"expected": True}}])
    told = check_all(project.root).read_as_json
    assert told == ("evalsets/support.csv: `expected` is read as JSON",)


def test_critical_cases_that_no_rule_reads_are_reported(project: Project) -> None:
    cases = make_cases(CASES)
    project.cases([{**cases[0], "critical": True}, *cases[1:]])
    project.evalset(gate={"rules": ["no_worse", {"floor": 0.9}]})
    assert "critical" not in str(check_all(project.root).about_cases)
    project.evalset(gate={"rules": ["no_worse", {"critical": "off"}]})
    note, *_ = check_all(project.root).about_cases
    assert note == "support: no rule reads which cases are critical in production"


def test_an_evalset_of_two_prompts_is_checked_for_both(project: Project) -> None:
    project.write("prompts/other.prompt.yml", project.read("prompts/support.prompt.yml"))
    project.evalset(prompt=["support", "other"])
    assert [each.prompt for each in check_all(project.root).evalsets] == ["support", "other"]


def test_mistakes_in_every_file_are_reported_together_with_their_lines(project: Project) -> None:
    project.write("llmops.yaml", project.read("llmops.yaml").replace('"gate"', '"gaet"'))
    project.write("prompts/other.prompt.yml", "model: tiny\nmesages: []\n")
    cases = make_cases(2)
    cases[1]["inputs"] = {"qestion": "x"}
    project.cases(cases)
    with pytest.raises(InvalidFiles) as refused:
        check_all(project.root)
    said = str(refused.value)
    for part in ("llmops.yaml:", "'gaet'", "other.prompt.yml:2", "messages"):
        assert part in said


def test_a_case_that_a_template_cannot_take_is_found(project: Project) -> None:
    text = project.read("prompts/support.prompt.yml")
    project.write(
        "prompts/support.prompt.yml", text.replace("{{ question }}", "{{ question + 1 }}")
    )
    with pytest.raises(InvalidFiles) as refused:
        check_all(project.root)
    assert len(refused.value.problems) >= 1


def test_a_rule_for_a_metric_that_nothing_gives_is_found(project: Project) -> None:
    project.settings["gate"] = {"rules": ["no_worse", {"floor": {"metric": "exakt", "min": 0.5}}]}
    project.llmops_yaml()
    with pytest.raises(InvalidFiles) as refused:
        check_all(project.root)
    (problem,) = refused.value.problems
    assert str(problem).startswith("llmops.yaml: a rule names the metric 'exakt'")
    assert "did you mean 'exact'?" in str(problem)


def test_a_judges_prompt_needs_no_evalset(project: Project) -> None:
    project.write("prompts/fair.prompt.yml", "model: tiny\nmessages: [{role: user, content: x}]\n")
    project.evalset(
        scorers=[{"exact": "{{ expected }}"}, {"rubric": {"criteria": "a", "prompt": "fair"}}]
    )
    assert check_all(project.root).ungated == ()
