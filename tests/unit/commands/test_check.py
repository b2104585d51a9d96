"""Every mistake at once, without calling anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmops_cli.commands.check import check_all
from llmops_cli.core.errors import InvalidFiles, Refused
from tests.projects import Project, make_cases
from tests.servers.faulty import Server
from tests.unit.gated_project import CASES, gate


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
    assert str(problem).startswith("llmops.yaml:13: unknown metric 'exakt'")
    assert "did you mean 'exact'?" in str(problem)


def test_a_judges_prompt_needs_no_evalset(project: Project) -> None:
    project.write("prompts/fair.prompt.yml", "model: tiny\nmessages: [{role: user, content: x}]\n")
    project.evalset(
        scorers=[{"exact": "{{ expected }}"}, {"rubric": {"criteria": "a", "prompt": "fair"}}]
    )
    assert check_all(project.root).ungated == ()


EXACT = {"exact": "{{ expected }}"}
ADDRESS = "https://api.example.com/v1"


@pytest.mark.parametrize(
    ("problem", "written"),
    [
        ("evalsets/support.yaml:5: the scorer 'python' may not run: checks/mine.py is code",
         {"scorers": [{"python": "checks/mine.py:mine"}]}),
        ("llmops.yaml:3: the model 'tiny' may not run: checks/mine.py is code",
         {"model": {"provider": "python", "call": "checks/mine.py:mine"}}),
        ("llmops.yaml:3: the model 'tiny': there is no program 'no-such-program' on the PATH",
         {"model": {"provider": "command", "run": ["no-such-program"]},
          "trust": ["no-such-program"]}),
        ("llmops.yaml:3: there are no records at 'records.jsonl'",
         {"model": {"provider": "replay", "file": "records.jsonl"}}),
        ("llmops.yaml:11: unknown metric 'exakt'",
         {"gate": {"rules": [{"floor": {"metric": "exakt", "min": 0.5}}]}}),
        ("llmops.yaml:14: unknown version 'support@v7'",
         {"environments": {"beta": {}, "live": {"gate": {"rules": [{"anchor": "v7"}]}}}}),
        ("evalsets/support.yaml:5: 'tool_call' can never pass: the prompt 'support' has no tools",
         {"scorers": [{"tool_call": "search"}]}),
        ("llmops.yaml:3: tiny: anthropic takes no 'top_k' any more",
         {"model": {"provider": "anthropic", "model": "claude", "base_url": ADDRESS,
                    "modelParameters": {"top_k": 1}}}),
        ("prompts/support.prompt.yml:2: tiny: anthropic takes no 'temperature' any more",
         {"model": {"provider": "anthropic", "model": "claude", "base_url": ADDRESS}}),
    ],
)  # fmt: skip
def test_what_eval_refuses_before_its_first_call_check_refuses_with_its_line(
    project: Project, server: Server, problem: str, written: dict[str, Any]
) -> None:
    project.write("checks/mine.py", "def mine(*anything):\n    return True\n")
    model = {"provider": "openai", "model": "tiny", "base_url": server.url}
    settings = {"models": {"tiny": written.pop("model", model)}}
    project.evalset(scorers=written.pop("scorers", [EXACT]))
    project.write("llmops.yaml", json.dumps({**settings, **written}, indent=2))
    with pytest.raises(InvalidFiles) as checked:
        check_all(project.root)
    problems = [str(found) for found in checked.value.problems]
    assert any(found.startswith(problem) for found in problems), problems
    environ = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
    with pytest.raises(Refused) as evaluated:
        gate(project, environ=environ)
    assert problem.partition(": ")[2] in str(evaluated.value)
    assert server.requests == 0


def test_a_schema_that_is_none_is_found_at_its_line(project: Project) -> None:
    text = project.read("prompts/support.prompt.yml")
    schema = "responseFormat: json_schema\njsonSchema:\n  type: object\n  properties:\n"
    project.write("prompts/support.prompt.yml", f"{text}{schema}    age: {{type: nubmer}}\n")
    with pytest.raises(InvalidFiles) as refused:
        check_all(project.root)
    line = len(text.splitlines()) + 5
    (problem,) = map(str, refused.value.problems)
    assert problem.startswith(f"prompts/support.prompt.yml:{line}: 'jsonSchema' is not a JSON")
    assert "'nubmer'" in problem


def test_groups_too_few_to_decide_anything_are_found(project: Project) -> None:
    cases = make_cases(54)
    project.cases({**case, "group": f"g{at % 6}"} for at, case in enumerate(cases))
    with pytest.raises(InvalidFiles) as refused:
        check_all(project.root)
    (problem,) = map(str, refused.value.problems)
    assert problem.startswith("evalsets/support.yaml: 54 cases in 6 groups can decide nothing")
    assert "at least 10 groups" in problem
    project.settings["gate"] = {"rules": [{"floor": 0.9}]}
    project.llmops_yaml()
    assert check_all(project.root).cases == 54  # a floor needs no groups


def test_keys_that_are_not_set_here_are_no_mistake_in_the_files(project: Project) -> None:
    project.write("llmops.yaml", "models: {tiny: {provider: openai, model: gpt-4.1-mini}}\n")
    assert check_all(project.root).cases == CASES


def test_it_writes_nothing(project: Project) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.root.rglob("*")}
    check_all(project.root)
    assert {path: path.stat().st_mtime_ns for path in project.root.rglob("*")} == before
