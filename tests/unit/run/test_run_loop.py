"""The run from plan to verdict: looks, error rates, and what is never drawn twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from llmops_cli.core.errors import UnknownName
from llmops_cli.core.policy import Decision
from llmops_cli.engine.budget import Budget
from llmops_cli.run.comparison import compare_prompts
from llmops_cli.run.prepare import prepare
from llmops_cli.run.selection import EvalOptions, Selection
from llmops_cli.run.workspace import open_workspace
from llmops_cli.stores.run_file import open_run
from tests.projects import Project, make_cases
from tests.servers.faulty import Reply, Server, answer, echo
from tests.unit.gated_project import (
    CASES,
    gate,
    questions,
    set_gate,
    worsen,
    write_evalset,
)


def rerunning(project: Project, **gate_options: Any) -> None:
    set_gate(project, {"margin": 0.1, "on_inconclusive": "rerun", **gate_options})


def wrong_first(wanted: set[str], times: int, *, system: str) -> Reply:
    """Wrong on `wanted` the first `times` that they are asked under `system`."""
    asked: Counter[str] = Counter()

    def reply(body: Mapping[str, Any]) -> str:
        text = echo(body)
        if body["messages"][0]["content"] != system or text not in wanted:
            return text
        asked[text] += 1
        return "no idea" if asked[text] <= times else text

    return reply


def undecided(project: Project, server: Server, *, margin: float, wrong: int) -> None:
    """Change the prompt to one that answers `wrong` cases wrongly the first time."""
    rerunning(project, margin=margin)
    server.reply = wrong_first(questions(wrong), 1, system="Next.")
    project.prompt(system="Next.")


# Looks ---------------------------------------------------------------------------------------


def test_a_further_look_runs_three_trials_of_both_sides_and_decides(
    running: Project, server: Server
) -> None:
    undecided(running, server, margin=0.2, wrong=2)
    result = gate(running)
    assert result.report.notes == ("support: 3 trials per case can decide",)
    assert (result.evalset.candidate.planned, server.requests) == (CASES * 3, CASES * 3)
    assert result.decision is Decision.PASS


def test_the_third_look_runs_five_trials_of_both_sides(running: Project, server: Server) -> None:
    undecided(running, server, margin=0.12, wrong=3)
    result = gate(running)
    assert any(each.startswith("support: 5 trials per case") for each in result.report.notes)
    assert result.report.notes[-1] == "support: all 3 looks are used: add cases, not repeats"
    assert result.evalset.baseline is not None
    assert result.evalset.candidate.planned == CASES * 5
    assert result.evalset.baseline.planned == CASES * 5
    assert server.requests == CASES * 5 + CASES * 2


def test_repeats_that_cannot_decide_are_not_run(running: Project, server: Server) -> None:
    rerunning(running, margin=0.02)
    worsen(running, server, 1, "Next.")
    result = gate(running)
    assert (result.decision, server.requests) == (Decision.INCONCLUSIVE, CASES)
    assert result.report.exit_code == 4
    assert "add cases, not repeats" in result.report.notes[0]


def test_asking_again_after_the_last_look_spends_no_error_rate_twice(
    running: Project, server: Server
) -> None:
    undecided(running, server, margin=0.2, wrong=2)
    first = gate(running, out=running.root / "first.jsonl")
    again = gate(running, out=running.root / "again.jsonl")
    looks = [
        open_run(running.root / name).manifest.evalsets[0].facts.look
        for name in ("first.jsonl", "again.jsonl")
    ]
    assert looks == [2, 2]
    assert first.verdict == again.verdict
    assert again.report.calls == 0


def test_without_a_baseline_there_is_no_further_look(project: Project, server: Server) -> None:
    rerunning(project)
    result = gate(project)
    assert (result.report.notes, server.requests) == ((), CASES)


def test_a_partial_run_takes_no_further_look(running: Project, server: Server) -> None:
    rerunning(running, margin=0.2)
    worsen(running, server, 2, "Next.")
    result = gate(running, select={"cases": ["c000", "c001", "c002"]})
    assert (server.requests, result.decision) == (3, Decision.INCONCLUSIVE)


def test_a_budget_lasts_over_all_looks(running: Project, server: Server) -> None:
    undecided(running, server, margin=0.2, wrong=2)
    result = gate(running, budget=Budget(calls=CASES + 10))
    assert (server.requests, result.decision) == (CASES + 10, Decision.INCOMPLETE)


def test_only_the_undecided_evalset_gets_more_trials_and_nothing_runs_twice(
    running: Project, server: Server
) -> None:
    texts = [f"tell {at}" for at in range(60)]
    clear = [
        {**case, "id": f"x{case['id']}", "inputs": {"question": text}, "expected": text}
        for case, text in zip(make_cases(60), texts, strict=True)
    ]
    write_evalset(running, "clear", clear)
    undecided(running, server, margin=0.2, wrong=2)
    result = gate(running)
    planned = {each.evalset: each.candidate.planned for each in result.prompt.evalsets}
    assert planned == {"clear": 60, "support": CASES * 3}
    assert server.requests == 60 * (1 + 3) + CASES * 3
    assert gate(running).report.calls == 0


def test_another_prompt_is_not_called_again_when_one_baseline_is_rerun(
    running: Project, server: Server
) -> None:
    running.write("prompts/other.prompt.yml", running.read("prompts/support.prompt.yml"))
    case = {"id": "y", "inputs": {"question": "other"}, "expected": "other"}
    write_evalset(running, "other", [case], prompt="other")
    server._then = answer(model="tiny-0002")
    running.prompt(system="Next.")
    gate(running)
    assert server.requests == CASES * (1 + 3) + 1


# Verdicts ------------------------------------------------------------------------------------


def test_several_prompts_have_a_verdict_each(running: Project, server: Server) -> None:
    running.write("prompts/other.prompt.yml", running.read("prompts/support.prompt.yml"))
    running.evalset(prompt=["support", "other"])
    worsen(running, server, 15, "Next.")
    result = gate(running)
    assert {each.prompt: each.verdict.decision for each in result.report.prompts} == {
        "other": Decision.INCONCLUSIVE,
        "support": Decision.FAIL,
    }
    assert result.report.exit_code == 1


def test_reused_and_called_trials_add_up_to_the_planned_ones(running: Project) -> None:
    running.prompt(system="Next.")
    running.cases(make_cases(CASES + 2))
    result = gate(running)
    sides = [result.evalset.candidate, result.evalset.baseline]
    assert sum(side.planned for side in sides if side) == result.report.calls + result.report.reused


def test_a_shared_request_between_evalsets_is_planned_once(project: Project) -> None:
    project.write("evalsets/twin.yaml", project.read("evalsets/support.yaml"))
    with open_workspace(project.root) as workspace:
        comparisons = compare_prompts(workspace, Selection())
        plans = [each.candidate.plan for each in prepare(workspace, comparisons, EvalOptions())]
        counts = [(len(plan.missing), len(plan.shared)) for plan in plans]
    assert counts == [(CASES, 0), (0, CASES)]


@pytest.mark.parametrize("metric", ["tone", "passs"])
def test_a_rule_on_a_metric_that_no_scorer_gives_is_refused_before_any_call(
    project: Project, server: Server, metric: str
) -> None:
    set_gate(project, {"rules": ["no_worse", {"floor": {"metric": metric, "min": 0.5}}]})
    with pytest.raises(UnknownName, match=metric):
        gate(project)
    assert server.requests == 0
