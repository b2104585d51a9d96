"""A run as a file, and reports that are shown again."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.result import CaseResult, Completion, Score
from llmops_cli.render.json import json_report
from llmops_cli.report.finished_run import KEPT, REPORTS, read_report, store_report
from llmops_cli.stores.run_file import merge, open_run, write_run
from tests.projects import Project
from tests.servers.faulty import Server, status
from tests.unit.gated_project import CASES, gate
from tests.unit.stores.values import plain


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
    assert read_report(project.root, file) == ran.report


def test_the_last_report_is_kept_and_a_kept_one_can_be_named(project: Project) -> None:
    first = gate(project).report
    project.prompt(system="Next.")
    second = gate(project).report
    assert read_report(project.root, None) == second
    assert read_report(project.root, project.root / REPORTS / "000001.json") == first


def test_the_oldest_reports_go(project: Project) -> None:
    made = gate(project).report
    for _ in range(KEPT + 3):
        store_report(project.root, made, redact=plain)
    kept = sorted(path.name for path in (project.root / REPORTS).iterdir())
    assert (len(kept), kept[-1]) == (KEPT, f"{KEPT + 4:06}.json")


def test_a_report_that_cannot_be_kept_is_not_missed(project: Project) -> None:
    made = gate(project).report
    folder = project.root / "elsewhere"
    folder.write_text("a file, where a folder should be")
    store_report(folder, made, redact=plain)


def test_before_the_first_run_there_is_no_report(project: Project) -> None:
    with pytest.raises(Refused, match="there is no report yet"):
        read_report(project.root, None)


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
        read_report(tmp_path, tmp_path / name)


def test_a_merged_run_has_no_report_of_its_own_and_says_how_to_get_one(
    project: Project, tmp_path: Path
) -> None:
    first, second, both = (tmp_path / f"{name}.jsonl" for name in ("first", "second", "both"))
    gate(project, out=first)
    gate(project, out=second)
    manifest, entries = merge([open_run(first), open_run(second)])
    write_run(both, manifest, entries, redact=plain)
    with pytest.raises(Refused, match="merged from several runs") as refused:
        read_report(project.root, both)
    assert refused.value.hint == f"llmops eval --offline --reuse {both}"


def test_equal_runs_print_equal_reports(running: Project) -> None:
    running.prompt(system="Next.")
    gate(running)
    assert json_report(gate(running).report) == json_report(gate(running).report)
