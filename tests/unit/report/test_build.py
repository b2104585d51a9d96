"""What a report shows of a run: the cases worth a reader's time, and what to do next."""

from __future__ import annotations

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision, Verdict
from llmops_cli.report.build import SHOWN, worst_exit_code
from llmops_cli.run.selection import Between, Selection
from tests.projects import Project, make_cases
from tests.servers.faulty import Server, echo, status
from tests.unit.gated_project import (
    CASES,
    Result,
    add_model,
    gate,
    promoted,
    questions,
    worsen,
    wrong_on,
)


def shown(result: Result) -> list[tuple[str, str | None]]:
    return [(each.case, each.change) for each in result.evalset.shown]


def test_a_regressed_case_is_shown_with_both_answers(running: Project, server: Server) -> None:
    server.reply = wrong_on({"say 3"}, system="Worse.")
    running.prompt(system="Worse.")
    (case,) = gate(running).evalset.shown
    assert (case.case, case.change, case.expected) == ("c003", "regressed", "say 3")
    assert case.candidate is not None
    assert case.baseline is not None
    (now,), (before,) = case.candidate.trials, case.baseline.trials
    assert (now.text, before.text) == ("no idea", "say 3")
    assert (case.candidate.passed, case.baseline.passed) == (0.0, 1.0)
    assert [score.passed for score in now.scores] == [False]


def test_improved_and_still_failing_cases_are_distinguished(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on({"say 1", "say 2"}, system="Second.")
    running.prompt(system="Second.")
    promoted(running)
    server.reply = wrong_on({"say 2"}, system="Third.")
    running.prompt(system="Third.")
    assert shown(gate(running)) == [("c001", "improved"), ("c002", "failing")]


def test_critical_and_unmeasured_cases_come_first(running: Project, server: Server) -> None:
    cases = make_cases(CASES)
    cases[5]["critical"] = True
    running.cases(cases)
    server.reply = wrong_on({"say 1", "say 5"}, system="Next.")
    running.prompt(system="Next.")
    assert shown(gate(running)) == [("c005", "critical"), ("c001", "regressed")]


def test_removed_cases_are_shown_until_they_are_retired(running: Project) -> None:
    running.cases(make_cases(CASES)[1:])
    assert shown(gate(running)) == [("c000", "removed")]
    running.evalset(retired={"c000": "asked no more"})
    assert shown(gate(running)) == []


def test_a_known_failing_case_that_passes_is_reported(running: Project) -> None:
    cases = make_cases(CASES)
    cases[0]["known_failing"] = "an old bug"
    running.cases(cases)
    running.prompt(system="Next.")
    result = gate(running)
    assert shown(result) == [("c000", "known_passing")]
    assert "1 known-failing case outside the gate" in result.evalset.notes


def test_what_is_not_shown_is_counted(project: Project, server: Server) -> None:
    count = SHOWN + 7
    project.cases(make_cases(count))
    server.reply = wrong_on(questions(count))
    result = gate(project)
    assert (len(result.evalset.shown), result.evalset.hidden) == (SHOWN, 7)
    assert result.evalset.changes == {"failing": count}


def test_failed_calls_are_counted_by_cause(project: Project, server: Server) -> None:
    server._script = [status(400), status(400)]
    side = gate(project).evalset.candidate
    assert (side.planned, side.measured, side.called) == (CASES, CASES - 2, CASES - 2)
    assert side.failures == {"bad_request": 2}


def test_calls_of_this_run_have_a_latency_and_reused_answers_none(project: Project) -> None:
    called = gate(project).evalset.candidate
    assert called.latency_p50 is not None
    assert called.latency_p95 is not None
    assert 0 < called.latency_p50 <= called.latency_p95
    assert gate(project).evalset.candidate.latency_p50 is None


# What to do next -----------------------------------------------------------------------------


def test_after_a_pass_comes_a_promotion_of_the_working_copy(running: Project) -> None:
    running.prompt(system="Next.")
    assert gate(running).prompt.next_steps == ("llmops promote support --to production -m 'why'",)


def test_after_a_released_pass_comes_a_promotion(running: Project) -> None:
    running.prompt(system="Next.")
    promoted(running)
    running.prompt(system="Third.")
    promoted(running)
    assert gate(running, "support@v2").prompt.next_steps == (
        "llmops promote support@v2 --to production --measure -m 'why'",
    )


def test_an_unchanged_prompt_leaves_nothing_to_do(running: Project) -> None:
    assert gate(running).prompt.next_steps == ()
    assert gate(running, "production").prompt.next_steps == ()


def test_without_a_baseline_the_command_to_create_one_is_shown(project: Project) -> None:
    assert gate(project).prompt.next_steps == (
        "llmops promote support --to production --initial -m 'why'",
    )


def test_a_failure_leads_back_to_the_prompt(running: Project, server: Server) -> None:
    worsen(running, server, 15)
    (step,) = gate(running).prompt.next_steps
    assert step == "llmops eval support --verbose   # look closer; fix support"


def test_a_comparison_leads_back_to_itself(running: Project, server: Server) -> None:
    add_model(running, server)
    server.reply = lambda body: "no" if body["model"] == "other" else echo(body)
    (step,) = gate(running, between=Between("tiny", "other")).prompt.next_steps
    command, _, comment = step.partition("   # ")
    assert comment == "look closer; stay with support@working on tiny"
    assert command == "llmops compare tiny other --prompt support --verbose"
    again = running.run(*command.split()[1:])
    assert (again.code, "support@working on other" in again.text) == (1, True), again.text


def test_a_run_is_repeated_as_it_was_asked_for() -> None:
    again = {
        Selection(baseline="@v1", sample=3).rerun_command("support"): "compare support@v1 support",
        Selection(evalsets=("a",)).rerun_command("support@v2"): "eval support@v2 --evalset a",
        Selection(model="big", environment="beta").rerun_command(
            "x"
        ): "eval x --model big --env beta",
    }
    assert {said: f"llmops {told}" for said, told in again.items()} == {s: s for s in again}


def test_the_worst_verdict_is_the_exit_code() -> None:
    said = {
        decision: Verdict(decision=decision, why="", findings=(), on_inconclusive="fail")
        for decision in Decision
    }
    assert worst_exit_code(verdict.exit_code for verdict in said.values()) is ExitCode.FAILED
    del said[Decision.FAIL]
    assert worst_exit_code(verdict.exit_code for verdict in said.values()) is ExitCode.INCOMPLETE
    del said[Decision.INCOMPLETE]
    assert worst_exit_code(verdict.exit_code for verdict in said.values()) is ExitCode.INCONCLUSIVE
    assert worst_exit_code([said[Decision.PASS].exit_code]) is ExitCode.DONE
