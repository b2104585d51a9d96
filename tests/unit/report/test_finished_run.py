"""The cases of a run one by one, its file, and reports that are shown again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.cli.output import RunSinks
from llmops_cli.commands.evaluate import evaluate
from llmops_cli.core.errors import Refused
from llmops_cli.core.report import Report, ShownCase
from llmops_cli.core.result import CaseResult, Completion, Score
from llmops_cli.render.json import json_report
from llmops_cli.report.finished_run import (
    KEPT,
    REPORTS,
    FinishedRun,
    last_report,
    read_report,
    store_report,
    stream_file,
    stream_report,
)
from llmops_cli.run.selection import EvalOptions
from llmops_cli.stores.run_file import merge, open_run, write_run
from tests.projects import Project, make_cases
from tests.servers.faulty import Server, status
from tests.unit.gated_project import CASES, gate, wrong_on
from tests.unit.stores.values import plain


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


def test_a_run_file_holds_cases_answers_and_scores(running: Project, tmp_path: Path) -> None:
    running.prompt(system="Next.")
    gate(running, out=tmp_path / "run.jsonl")
    run = open_run(tmp_path / "run.jsonl")
    entries = list(run.entries())
    cases = [each for each in entries if isinstance(each, CaseResult)]
    contents = [each[1] for each in entries if isinstance(each, tuple)]
    assert [case.case for case in cases] == [f"c{at:03}" for at in range(CASES)]
    assert sum(isinstance(each, Completion) for each in contents) == CASES * 4
    assert sum(isinstance(each, Score) for each in contents) == CASES
    (evalset,) = run.manifest.evalsets
    assert {role: side.version for role, side in evalset.sides.items()} == {
        "candidate": None,
        "baseline": 1,
    }
    for case in cases:
        assert case.candidate is not None
        assert case.baseline is not None
        assert case.candidate.trials[0].scores.keys() == {"exact"}
        assert case.candidate.trials[0].latency is not None
        # the baseline's answers are those of its evidence
        assert [trial.latency for trial in case.baseline.trials] == [None] * 3


def test_a_run_file_holds_failures(project: Project, server: Server, tmp_path: Path) -> None:
    server._script = [status(400)]
    gate(project, out=tmp_path / "run.jsonl.gz")
    entries = open_run(tmp_path / "run.jsonl.gz").entries()
    sides = [each.candidate for each in entries if isinstance(each, CaseResult)]
    failures = [trial.failure for side in sides if side for trial in side.trials if trial.failure]
    assert [failure.status for failure in failures] == [400]


def test_the_report_of_a_run_file_is_the_runs(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    ran = gate(project, out=file)
    assert read_report(file) == ran.report


def test_the_last_report_is_kept_and_a_kept_one_can_be_named(project: Project) -> None:
    first = gate(project).report
    project.prompt(system="Next.")
    second = gate(project).report
    assert read_report(last_report(project.store)) == second
    assert read_report(project.store / REPORTS / "000001.json") == first


def test_the_oldest_reports_go(project: Project) -> None:
    made = gate(project).report
    for _ in range(KEPT + 3):
        store_report(project.store, made, redact=plain)
    kept = sorted(path.name for path in (project.store / REPORTS).iterdir())
    assert (len(kept), kept[-1]) == (KEPT, f"{KEPT + 4:06}.json")


def test_a_report_that_cannot_be_kept_is_not_missed(project: Project) -> None:
    made = gate(project).report
    folder = project.root / "elsewhere"
    folder.write_text("a file, where a folder should be")
    store_report(folder, made, redact=plain)


def test_before_the_first_run_there_is_no_report(project: Project) -> None:
    with pytest.raises(Refused, match="there is no report yet"):
        read_report(last_report(project.store))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.json", None, "there is no report"),
        ("torn.json", '{"prompts": [', "cannot be read as a report"),
        ("other.json", "[1, 2]", "holds no report of this llmops"),
        ("none.jsonl", None, "there is no run file"),
    ],
)
def test_what_is_no_report_is_refused(
    tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(Refused, match=why):
        read_report(tmp_path / name)


def test_a_merged_run_has_no_report_of_its_own_and_says_how_to_get_one(
    project: Project, tmp_path: Path
) -> None:
    first, second, both = (tmp_path / f"{name}.jsonl" for name in ("first", "second", "both"))
    gate(project, out=first)
    gate(project, out=second)
    manifest, entries = merge([open_run(first), open_run(second)])
    write_run(both, manifest, entries, redact=plain)
    with pytest.raises(Refused, match="merged from several runs") as refused:
        read_report(both)
    assert refused.value.hint == f"llmops eval --offline --reuse {both}"


def test_equal_runs_print_equal_reports(running: Project) -> None:
    running.prompt(system="Next.")
    gate(running)
    assert json_report(gate(running).report) == json_report(gate(running).report)
