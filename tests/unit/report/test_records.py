"""Every case of a run, one by one: from the run itself, from its file, from its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.cli.output import RunSinks
from llmops_cli.commands.evaluate import evaluate
from llmops_cli.core.report import Report, ShownCase
from llmops_cli.report.finished_run import FinishedRun, stream_file, stream_report
from llmops_cli.run.selection import EvalOptions
from tests.projects import Project, make_cases
from tests.servers.faulty import Server, status
from tests.unit.gated_project import CASES, wrong_on


def told(project: Project, **wishes: Any) -> tuple[Report, int, list[ShownCase]]:
    """What a run tells of its cases while its store is open."""
    heard: list[tuple[Report, int, list[ShownCase]]] = []

    def take(finished: FinishedRun) -> None:
        with finished.cases() as records:
            heard.append((finished.report, records.total, list(records.worst_first)))

    files = RunSinks(out=wishes.pop("out", None)).files()
    evaluate(project.root, EvalOptions(**wishes), sinks=[*files, take])
    (one,) = heard
    return one


def test_all_cases_come_worst_first_with_every_answer(running: Project, server: Server) -> None:
    server.reply = wrong_on({"say 7", "say 3"}, system="Next.")
    running.prompt(system="Next.")
    report, total, records = told(running)
    assert total == len(records) == CASES
    assert [each.case for each in records[:3]] == ["c003", "c007", "c000"]
    assert [each.change for each in records[:3]] == ["regressed", "regressed", None]
    first = records[0]
    assert first.candidate is not None
    assert first.baseline is not None
    assert (first.candidate.passed, first.baseline.passed) == (0.0, 1.0)
    assert len(first.baseline.trials) == 3
    assert first.inputs == {"question": "say 3"}
    (score,) = first.candidate.trials[0].scores
    assert (score.label, score.passed) == ("exact", False)
    assert report.prompts[0].evalsets[0].changes == {"regressed": 2}


@pytest.mark.parametrize("same", [True, False], ids=["same requests", "other requests"])
def test_a_run_file_gives_the_cases_that_the_run_gave(
    running: Project, server: Server, tmp_path: Path, same: bool
) -> None:
    server.reply = wrong_on({"say 7"}, system="Next.")
    cases = [{**each, "critical": each["id"] == "c007", "group": "g"} for each in make_cases(CASES)]
    cases[1] |= {"contexts": ["a passage"], "messages": [{"role": "user", "content": "earlier"}]}
    running.cases(cases[1:])  # c000 is gone
    if not same:
        running.prompt(system="Next.")
        server._script = [status(400)]
    file = tmp_path / "run.jsonl.gz"
    report, total, records = told(running, out=file)
    with stream_file(file) as (again, found):
        assert (again, found.total) == (report, total)
        assert [*found.worst_first] == records
    assert {each.change for each in records} >= (
        {"removed"} if same else {"critical", "unmeasured"}
    )
    assert any(each.identical for each in records) is same
    by_case = {each.case: each for each in records}
    assert by_case["c001"].contexts == ("a passage",)
    assert by_case["c001"].messages == [{"role": "user", "content": "earlier"}]


def test_a_run_file_tells_how_long_an_answer_took_and_why_it_got_no_score(
    project: Project, server: Server, tmp_path: Path
) -> None:
    del server
    silent = "def silent(text, case):\n    raise ValueError('nothing to say')\n"
    project.write("scorers/silent.py", silent)
    project.settings["trust"] = ["scorers/silent.py"]
    project.llmops_yaml()
    project.evalset(
        scorers=[
            {"exact": "{{ expected }}"},
            {"latency": {"max": 60, "advisory": True}},
            {"python": {"call": "scorers/silent.py:silent", "advisory": True}},
        ]
    )
    file = tmp_path / "run.jsonl"
    report, _, records = told(project, out=file)
    with stream_file(file) as (again, found):
        assert (again, [*found.worst_first]) == (report, records)
    (trial,) = records[0].candidate.trials  # type: ignore[union-attr]
    exact, latency, silence = trial.scores
    assert trial.latency is not None
    assert (exact.passed, latency.value, silence.value) == (True, trial.latency, None)
    assert "nothing to say" in silence.reason


def test_of_a_report_alone_come_the_cases_that_it_shows_and_the_number_of_all(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on({"say 7", "say 3"}, system="Next.")
    running.prompt(system="Next.")
    report, total, records = told(running)
    shown = stream_report(report)
    assert shown.total == total
    assert [each.case for each in shown.worst_first] == [each.case for each in records[:2]]
