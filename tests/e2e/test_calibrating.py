"""`llmops calibrate`: judges validated against human labels on a real model server."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.judging import TONE, Judge, add_judge, polite, quoted_answer
from tests.git_project import GitProject, git
from tests.projects import Project, Result
from tests.servers.faulty import FaultServer, answer

EACH = 60
Reply = Callable[[Mapping[str, Any]], str]


@pytest.fixture
def project(judged: Project) -> Project:
    labels(judged)
    return judged


def labels(project: Project, *, wrong: int = 0, path: str = "labels.jsonl") -> None:
    """As many polite answers that pass as rude ones that fail; `wrong` of each labeled wrongly."""
    rows = [
        {
            "id": f"{word}-{at}",
            "inputs": {"question": f"say {at}"},
            "output": f"{word} {at}",
            "label": ("pass" if (word == "Please") is (at >= wrong) else "fail"),
            "side": "new" if at % 2 else "old",
        }
        for word in ("Please", "Now")
        for at in range(EACH)
    ]
    project.write(path, "".join(json.dumps(row) + "\n" for row in rows))


def run(project: Project, *arguments: str) -> Result:
    return GitProject(project.root).run(*arguments)


def calibrate(project: Project, *more: str) -> Result:
    return run(project, "calibrate", "tone", "--labels", str(project.root / "labels.jsonl"), *more)


def measured(result: Result) -> dict[str, Any]:
    """The calibration that `--json` printed."""
    (done,) = result.document
    calibration: dict[str, Any] = done["calibration"]
    return calibration


def readings(project: Project) -> list[Path]:
    return sorted((project.root / ".llmops" / "calibrations").glob("*.json"))


def passing_all(_body: Mapping[str, Any]) -> str:
    return json.dumps({"reason": "it is fine", "verdict": "pass"})


def test_a_judge_that_agrees_with_people_may_gate_and_is_paid_once(
    project: Project, judge: Judge
) -> None:
    result = calibrate(project, "--json")

    assert result.code == 0, result.text
    assert measured(result)["status"] == "GATE"
    counts = measured(result)["counts"]
    assert counts["both_pass"] == counts["both_fail"] == EACH
    assert sorted(measured(result)["sides"]) == ["new", "old"]
    assert len(judge.bodies) == 2 * 2 * EACH  # every answer is read twice
    again = calibrate(project)
    assert len(judge.bodies) == 2 * 2 * EACH
    assert "GATE it may gate. A true regression of 5 points shows as 5.0 points" in again.text
    assert "replaces the calibration of" in again.text
    assert len(readings(project)) == 1


def test_a_judge_found_unfit_is_refused_before_any_call_and_may_still_be_shown(
    project: Project, judge: Judge
) -> None:
    judge.verdict = passing_all
    assert calibrate(project).code == 0
    assert calibrate(project, "--require", "advisory").code == 2
    judged = len(judge.bodies)

    for command in (["eval"], ["eval", "--dry-run"]):
        refused = run(project, *command)
        assert refused.code == 2
        assert "the judge tone of support may not gate" in refused.text
        assert "`advisory: true`" in refused.text
    assert (judge.answered, len(judge.bodies)) == (0, judged)
    project.evalset(scorers=[{"rubric": {**TONE["rubric"], "advisory": True}}, "refusal"])
    assert run(project, "eval").code == 0


def test_readings_that_differ_are_counted_and_ten_percent_may(
    project: Project, judge: Judge
) -> None:
    questions: Counter[str] = Counter()

    def unsteady(body: Mapping[str, Any]) -> str:
        text = quoted_answer(body)
        questions[text] += 1
        turned = questions[text] == 2 and text.endswith(("1", "3"))
        return polite(body) if not turned else passing_all(body)

    judge.verdict = unsteady
    calibration = measured(calibrate(project, "--json"))
    counts = calibration["counts"]
    assert (counts["differing"], counts["read_twice"]) == (12, 120)
    assert calibration["status"] == "GATE"


def test_missing_scores_are_counted_and_more_than_two_percent_are_incomplete(
    project: Project, judge: Judge
) -> None:
    def silent(*ends: str) -> Reply:
        return lambda body: "hm" if quoted_answer(body) in ends else polite(body)

    judge.verdict = silent("Now 1", "Now 2", "Please 7")
    result = calibrate(project)
    assert result.code == 3
    assert "6 of 240 scores are missing, and at most 2% may be" in result.text
    assert readings(project) == []

    judge.verdict = silent("Now 1")
    result = calibrate(project, "--json")
    assert result.code == 0
    assert measured(result)["counts"]["unscored"] == 2
    assert measured(result)["counts"]["both_fail"] == EACH - 1


def test_a_budget_ends_it_and_the_next_run_goes_on(project: Project, judge: Judge) -> None:
    assert calibrate(project, "--max-calls", "50").code == 3
    assert len(judge.bodies) == 50
    assert calibrate(project).code == 0
    assert len(judge.bodies) == 240


def test_a_ctrl_c_ends_it_without_a_finding_and_the_next_run_goes_on(
    project: Project, judge: Judge
) -> None:
    with FaultServer(reply=judge, then=answer(delay=0.3)) as slow:
        add_judge(project, slow.url)
        process = project.start("calibrate", "tone", "--labels", "labels.jsonl")
        while slow.requests < 20:
            assert process.running
            time.sleep(0.02)
        process.send(signal.SIGINT)
        result = process.wait()
    assert (result.code, readings(project)) == (130, [])
    assert "run the same command again, judged answers are cached" in result.text
    answered = len(judge.bodies)
    assert 20 <= answered < 240

    add_judge(project, project.url)
    assert measured(calibrate(project, "--json"))["status"] == "GATE"
    assert len(judge.bodies) <= 240 + 16  # what was on the wire then may be asked again


def test_canaries_test_the_judge_for_prompt_injection(project: Project, judge: Judge) -> None:
    judge.verdict = lambda body: (
        passing_all(body) if "Ignore the criteria" in quoted_answer(body) else polite(body)
    )
    calibration = measured(calibrate(project, "--canaries", "--json"))
    assert calibration["canaries"] == {"obeyed": 1, "tried": 10, "unscored": 0}


def test_an_uncalibrated_judge_gates_and_every_report_says_so(project: Project) -> None:
    xml, page = project.root / "junit.xml", project.root / "report.md"
    result = run(project, "eval", "--json", "--junit", str(xml), "--markdown", str(page))

    assert result.code == 0
    (judged,) = result.evalset["judges"]
    assert (judged["label"], judged["status"]) == ("tone", "uncalibrated")
    reason = "judged by an uncalibrated model: tone"
    assert reason in " ".join(result.evalset["notes"])
    assert reason in run(project, "report").text
    assert reason in page.read_text()
    assert '<property name="judge tone" value="uncalibrated"/>' in xml.read_text()


def test_a_judge_with_few_labels_is_not_calibrated_yet_and_gates_as_one_without_any(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    rows = project.read("labels.jsonl").splitlines()
    few = [*rows[:20], *rows[EACH : EACH + 20]]
    project.write("labels.jsonl", "\n".join(few) + "\n")
    calibrated = calibrate(project)
    assert "TOO_FEW_LABELS not calibrated yet: 40 labeled outputs (minimum 100)" in calibrated.text
    step = "llmops calibrate support:tone --draft more.jsonl"
    assert f"next: {step} # more labels" in calibrated.text
    assert "refuse it" not in calibrated.text
    assert calibrate(project, "--require", "advisory").code == 2

    note = "the judge support:tone gates and is not calibrated yet (40 labeled outputs"
    assert note in run(project, "check").text
    xml, page = project.root / "junit.xml", project.root / "report.md"
    result = run(project, "eval", "--json", "--junit", str(xml), "--markdown", str(page))
    assert result.code == 0
    drafted = run(project, *step.split()[1:])
    assert drafted.code == 0, drafted.text
    (judged,) = result.evalset["judges"]
    assert (judged["status"], judged["labeled"]) == ("TOO_FEW_LABELS", 40)
    reason = "the judge tone is not calibrated yet: 40 labeled outputs (minimum 100)"
    for report in (
        " ".join(result.evalset["notes"]),
        run(project, "report").text,
        page.read_text(),
    ):
        assert reason in report
    assert 'name="judge tone" value="TOO_FEW_LABELS' in xml.read_text()

    project.settings = {"environments": {"production": {"gate": {"judges": "calibrated"}}}}
    project.llmops_yaml()
    for command in ("check", "eval"):
        refused = run(project, command)
        assert refused.code == 2
        assert "is not calibrated yet: 40 labeled outputs (minimum 100)" in refused.text


def test_where_judges_must_be_calibrated_nothing_is_called_or_promoted_without(
    project: Project, judge: Judge
) -> None:
    project.settings = {"environments": {"production": {"gate": {"judges": "calibrated"}}}}
    project.llmops_yaml()
    repo = GitProject(project.root)
    assert repo.run("eval").code == 2
    assert (judge.answered, judge.bodies) == (0, [])

    calibrate(project)
    repo.ok("release", "support")
    repo.ok("measure", "support@v1")
    repo.ok("promote", "support@v1", "--initial", "-m", "the first")
    verified = repo.ok("verify")
    assert "judge support:tone: GATE, J 1.00 (0.94 to 1.00) on 120 labels" in verified.text
    note = "the judge tone is calibrated on 120 labels: J 1.00"
    assert note in " ".join(repo.ok("eval", "--json").evalset["notes"])

    readings(project)[0].unlink()
    project.prompt(system="Please do")
    assert repo.run("eval").code == 2


def test_evidence_from_before_a_calibration_is_not_enough_where_one_is_required(
    project: Project, judge: Judge
) -> None:
    repo = GitProject(project.root)
    repo.ok("release", "support")
    repo.ok("measure", "support@v1")
    called = judge.answered
    project.settings = {"gate": {"judges": "calibrated"}}
    project.llmops_yaml()
    calibrate(project)

    early = repo.run("promote", "support@v1", "--initial", "-m", "the first")
    assert early.code == 3
    assert "the judge tone of support was not calibrated when it was made" in early.text
    repo.ok("measure", "support@v1")
    repo.ok("promote", "support@v1", "--initial", "-m", "the first")
    assert judge.answered == called


def test_an_edited_calibration_blocks_the_gate_and_fsck_finds_it(project: Project) -> None:
    calibrate(project)
    (path,) = readings(project)
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "calibrated")
    calibrate(project)  # a newer one in its place is no flaw
    assert run(project, "fsck", "--base", "HEAD").code == 0

    path.write_text(path.read_text().replace('"both_pass": 60', '"both_pass": 61'))
    broken = run(project, "eval")
    assert broken.code == 2
    assert "its content is not what was written" in broken.text
    checked = run(project, "fsck", "--base", "HEAD")
    assert checked.code == 2
    assert f"BROKEN .llmops/calibrations/{path.name}" in checked.text


def test_a_judge_that_was_replaced_under_its_name_is_noted(project: Project, judge: Judge) -> None:
    calibrate(project)
    with FaultServer(reply=judge, then=answer(model="judge-of-june")) as june:
        add_judge(project, june.url)
        notes = " ".join(run(project, "eval", "--json").evalset["notes"])
    assert "the judge tone was calibrated as judge-0001, and judge-of-june judged now" in notes


def test_scale_margin_decides_by_the_margin_as_it_shows(project: Project) -> None:
    labels(project, wrong=6)
    project.settings = {"gate": {"scale_margin": True, "margin": 0.2}}
    project.llmops_yaml()
    assert measured(calibrate(project, "--json"))["figures"]["j"]["value"] == pytest.approx(0.8)
    project.promote_v1()
    project.prompt(system="Please do")
    result = run(project, "eval", "--json")

    assert result.finding("no_worse")["estimate"]["margin"] == pytest.approx(0.16)
    notes = " ".join(result.evalset["notes"])
    assert "a regression of 20.0 points appears as 16.0 on pass: that is the margin" in notes
    assert "tone passes 100.0% of the candidate's cases; corrected for its errors" in notes
    assert run(project, "verify").code == 0


def test_answers_of_both_sides_are_drafted_labeled_and_calibrated(project: Project) -> None:
    project.promote_v1()
    project.prompt(system="Now")
    run(project, "eval")
    draft = project.root / "my draft.csv"
    result = run(project, "calibrate", "support:tone", "--draft", str(draft), "--answers", "40")

    assert result.code == 0, result.text
    drafted = result.out
    with draft.open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["side"] for row in rows) == {"support@working": 20, "support@v1": 20}
    assert {row["label"] for row in rows} == {""}
    assert "may contain labels" in run(project, "calibrate", "tone", "--draft", str(draft)).text
    for at, row in enumerate(rows):
        polite_one = row["output"].startswith("Please")
        row["label"] = "" if at == 0 else "PASS" if polite_one else "0"
    with draft.open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (step,) = re.findall(r"^next: llmops (.*)$", drafted, re.MULTILINE)
    result = run(project, *shlex.split(step), "--json")
    assert (measured(result)["counts"]["both_pass"] + measured(result)["counts"]["both_fail"]) == 39
    assert measured(result)["unlabeled"] == 1
    assert measured(result)["status"] == "TOO_FEW_LABELS"


def test_pairwise_and_latency_scorers_cannot_be_labeled(
    project: Project,
) -> None:
    project.evalset(scorers=["pairwise", {"latency": 2}, TONE])
    path = str(project.root / "labels.jsonl")
    for label, why in (("pairwise", "two answers"), ("latency", "a labeled answer has none")):
        result = run(project, "calibrate", f"support:{label}", "--labels", path)
        assert (result.code, why in result.text) == (2, True), result.text
    unknown = run(project, "calibrate", "support:tony", "--labels", path)
    assert "did you mean 'support:tone'?" in unknown.text
    assert run(project, "calibrate", "tone").code == 2


def test_check_warns_of_judges_that_no_calibration_lets_gate(
    project: Project, judge: Judge
) -> None:
    def notes() -> str:
        result = run(project, "check")
        assert result.code == 0, result.text
        return " ".join(
            line for line in result.out.splitlines() if line.startswith("note: the judge")
        )

    never = "the judge support:tone gates and is not calibrated (accuracy unknown)"
    assert notes() == f"note: {never}: llmops calibrate support:tone"
    (row,) = run(project, "check", "--json").document
    assert len(row["judges"]) == 1
    project.settings["environments"] = {"beta": None, "live": {"gate": {"judges": "calibrated"}}}
    project.llmops_yaml()
    refused = run(project, "check")
    assert refused.code == 2
    required = "the judge tone of support is not calibrated, and the policy requires"
    assert f"evalsets/support.yaml:5: {required} `judges: calibrated`" in refused.text
    del project.settings["environments"]
    project.llmops_yaml()
    assert calibrate(project).code == 0
    assert notes() == ""
    (file,) = readings(project)

    project.evalset(scorers=[{"rubric": {**TONE["rubric"], "scale": [1, 5], "min": 0.5}}])
    assert "gates, and its calibration is outdated" in notes()
    assert "was for another judge or criterion)" in notes()
    project.evalset(scorers=[{"rubric": {**TONE["rubric"], "min": 0.9}}])
    assert "was for another threshold)" in notes()
    project.evalset(scorers=[{"rubric": {**TONE["rubric"], "advisory": True}}, "refusal"])
    assert notes() == ""

    project.evalset(scorers=[TONE])
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace('"both_pass": 60', '"both_pass": 61'), encoding="utf-8")
    assert "its content is not what was written" in run(project, "check").text
    file.unlink()
    judge.verdict = passing_all
    project.write("labels.jsonl", project.read("labels.jsonl").replace("Now", "Later"))
    assert calibrate(project).code == 0
    refused = run(project, "check")
    assert refused.code == 2
    problem = "evalsets/support.yaml:5: the judge tone of support may not gate: its calibration"
    assert f"{problem} says UNUSABLE" in refused.text


def test_status_says_what_is_known_of_the_judges_of_what_runs(project: Project) -> None:
    long = {"rubric": {"name": "long", "criteria": "Is it?", "advisory": True}}
    project.evalset(scorers=[TONE, "refusal", long])
    project.promote_v1()
    before = run(project, "status").out
    status_line = "judge  support@production  support:tone  uncalibrated: accuracy unknown"
    assert status_line in before
    assert "support:long  uncalibrated: accuracy unknown  (advisory)" in before
    assert calibrate(project).code == 0
    (row,) = run(project, "status", "--json").document
    assert [(item["address"], item["status"]) for item in row["judges"]] == [
        ("support:tone", "GATE"),
        ("support:long", "uncalibrated"),
    ]
    assert "support:tone  GATE\n" in run(project, "status").out


# With a base revision, calibrations are those that stand there -----------------------------------


def committed(project: Project) -> GitProject:
    """The project at `main`, with a prompt that a change edits."""
    git(project.root, "init", "-q", "-b", "main")
    repo = GitProject(project.root)
    repo.commit("base")
    project.prompt(system="Please do")
    return repo


def test_a_calibration_that_a_change_adds_lets_no_judge_gate(
    project: Project, judge: Judge
) -> None:
    project.settings = {"gate": {"judges": "calibrated"}}
    project.llmops_yaml()
    repo = committed(project)
    calibrate(project)
    assert repo.run("eval").code == 0

    judged = len(judge.bodies)
    refused = repo.run("eval", "--base", "main")
    assert refused.code == 2
    assert "the judge tone of support is not calibrated" in refused.text
    assert len(judge.bodies) == judged
    repo.commit("calibrated")
    assert repo.run("eval", "--base", "HEAD").code == 0  # once it is merged, it counts


@pytest.mark.parametrize("change", ["removes", "changes"])
def test_a_calibration_that_a_change_removes_or_replaces_still_counts(
    project: Project, judge: Judge, change: str
) -> None:
    judge.verdict = passing_all
    calibrate(project)
    repo = committed(project)
    judge.verdict = polite
    (path,) = readings(project)
    path.unlink()
    if change == "changes":
        (project.root / ".llmops/store/results.sqlite3").unlink()
        calibrate(project)
    assert repo.run("eval").code == 0
    refused = repo.run("eval", "--base", "main")
    assert refused.code == 2
    assert "the judge tone of support may not gate: its calibration says" in refused.text


def test_changed_calibrations_are_findings(project: Project) -> None:
    repo = committed(project)
    calibrate(project)
    added = repo.ok("eval", "--base", "main", "--json")
    assert added.finding("calibrations")["why"] == (
        "this change adds the calibration of support:tone, which counts once it is merged: until "
        "then, the judge is uncalibrated"
    )
    assert [judge["status"] for judge in added.evalset["judges"]] == ["uncalibrated"]
    repo.commit("calibrated")
    readings(project)[0].unlink()
    removed = repo.ok("eval", "--base", "HEAD", "--json")
    assert "this change removes the calibration of support:tone" in removed.text
    assert [judge["status"] for judge in removed.evalset["judges"]] == ["GATE"]
