"""Only what is missing is called: real runs against a server that counts every request."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project, make_cases, make_project
from tests.servers.faulty import FaultServer, Server, answer

CASES = 60
BASELINE_TRIALS = 3
"""Per case, of a model that may answer differently every time."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves its project for the others."""
    return tmp_path_factory.mktemp("template") / "project"


@pytest.fixture
def project(template: Path, tmp_path: Path, server: Server) -> Project:
    """A project whose first version production runs; `server` has seen no request yet."""
    if not template.exists():
        with FaultServer() as first:
            make_project(template, first.url, cases=CASES).promote_v1()
            assert first.requests == CASES * (1 + BASELINE_TRIALS)
    built = Project(root=tmp_path / "project", url=server.url)
    shutil.copytree(template, built.root)
    built.llmops_yaml()
    return built


def rows(project: Project, table: str) -> int:
    """Rows of a table of the store."""
    with closing(sqlite3.connect(project.root / ".llmops/store/results.sqlite3")) as store:
        (count,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
    return int(count)


# Nothing is called ---------------------------------------------------------------------------


def comment(project: Project) -> None:
    path = "prompts/support.prompt.yml"
    text = project.read(path).replace("\n", "\r\n")
    project.write(path, "# new\r\ndescription: as before, in other words\r\n" + text)


def expect_another_answer_six_times(project: Project) -> None:
    cases = make_cases(CASES)
    project.cases([*({**case, "expected": "other"} for case in cases[:6]), *cases[6:]])


def score_by_a_digit(project: Project) -> None:
    project.evalset(scorers=[{"contains": "1"}])


def remove_a_case(project: Project) -> None:
    project.cases(make_cases(CASES - 1))


def retire_a_case(project: Project) -> None:
    remove_a_case(project)
    project.evalset(retired={f"c{CASES - 1:03}": "the product is gone"})


def lose_the_store(project: Project) -> None:
    shutil.rmtree(project.root / ".llmops/store")


def lose_the_store_and_score_by_a_digit(project: Project) -> None:
    lose_the_store(project)
    score_by_a_digit(project)


WITH_A_1 = sum("1" in str(at) for at in range(CASES)) / CASES


@pytest.mark.parametrize(
    ("change", "decision", "rate"),
    [
        (comment, "PASS", 1.0),
        (expect_another_answer_six_times, "PASS", 0.9),
        (score_by_a_digit, "PASS", WITH_A_1),
        (remove_a_case, "FAIL", 1.0),
        (retire_a_case, "PASS", 1.0),
        (lose_the_store, "PASS", 1.0),
        (lose_the_store_and_score_by_a_digit, "PASS", WITH_A_1),
    ],
)
def test_what_leaves_the_requests_alone_calls_nothing(
    project: Project,
    server: Server,
    change: Callable[[Project], None],
    decision: str,
    rate: float,
) -> None:
    change(project)
    result = project.eval()
    assert (result.decision, server.requests) == (decision, 0)
    passed = result.metric()
    assert (passed["candidate"], passed["baseline"]) == pytest.approx((rate, rate))


@pytest.mark.parametrize("arguments", [[], ["--offline"], ["production"]])
def test_an_unchanged_prompt_costs_nothing_and_passes(
    project: Project, server: Server, arguments: list[str]
) -> None:
    result = project.eval(*arguments)
    assert (result.code, result.decision, server.requests) == (0, "PASS", 0)
    assert arguments or f"unchanged: all {CASES} requests match" in result.verdict["why"]


def test_a_renamed_alias_and_another_base_url_call_nothing(
    project: Project, server: Server
) -> None:
    with FaultServer() as elsewhere:
        project.url = elsewhere.url
        project.model = {"timeout": 7, "max_concurrency": 3}
        project.llmops_yaml(alias="quick")
        project.prompt(model="quick")
        assert project.eval().decision == "PASS"
        assert (server.requests, elsewhere.requests) == (0, 0)


def test_changed_tags_groups_and_criticals_call_and_score_nothing(
    project: Project, server: Server
) -> None:
    project.eval()
    before = rows(project, "scores"), rows(project, "completions")
    more = {"tags": ["new"], "critical": True, "group": "all"}
    project.cases([{**case, **more} for case in make_cases(CASES)])
    assert project.eval().code == 0
    assert server.requests == 0
    assert (rows(project, "scores"), rows(project, "completions")) == before


# Only what is new is called ------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"system": "Answer well."}, {"temperature": 0.5}])
@pytest.mark.parametrize("clone", [False, True])
def test_a_changed_prompt_is_called_and_its_baseline_is_not(
    project: Project, server: Server, change: dict[str, Any], clone: bool
) -> None:
    project.prompt(**change)
    if clone:
        lose_the_store(project)
    result = project.eval()
    sides = result.evalset["candidate"], result.evalset["baseline"]
    assert (result.code, result.decision, server.requests) == (0, "PASS", CASES)
    assert [side["called"] for side in sides] == [CASES, 0]
    project.eval()
    assert server.requests == CASES


def test_a_new_case_is_called_for_both_sides_and_nothing_else_is(
    project: Project, server: Server
) -> None:
    project.prompt(system="Answer well.")
    project.eval()
    before = server.requests
    project.cases(make_cases(CASES + 1))
    result = project.eval()
    assert server.requests == before + 1 + BASELINE_TRIALS
    assert result.evalset["candidate"]["called"] == 1
    assert result.evalset["baseline"]["called"] == BASELINE_TRIALS
    assert result.finding("no_worse")["estimate"]["n"] == CASES + 1


# Ways to run ---------------------------------------------------------------------------------


def test_offline_with_something_missing_is_incomplete(project: Project) -> None:
    project.prompt(system="Answer well.")
    with FaultServer(then=answer(model="tiny-0002")) as updated:  # a silent update
        project.url = updated.url
        project.llmops_yaml()
        nothing = project.eval("--offline")
        assert updated.requests == 0
        project.run("eval", "--max-calls", str(CASES))  # the candidate's, and no baseline
        before = updated.requests
        half = project.eval("--offline")
        assert updated.requests == before
    for result in (nothing, half):
        assert (result.code, result.decision) == (3, "INCOMPLETE")
    assert nothing.evalset["candidate"]["measured"] == 0


def test_a_dry_run_calls_nothing_and_counts_the_calls(project: Project, server: Server) -> None:
    project.prompt(system="Answer well.")
    result = project.run("eval", "--dry-run")
    assert result.code == 0
    assert server.requests == 0
    assert str(CASES) in result.out


def test_no_cache_reruns_both_sides(project: Project, server: Server) -> None:
    project.prompt(system="Answer well.")
    project.eval()
    before = server.requests
    result = project.eval("--no-cache")
    assert server.requests == before + CASES * (1 + BASELINE_TRIALS)
    assert result.evalset["candidate"]["called"] == CASES
    assert result.evalset["baseline"]["called"] == CASES * BASELINE_TRIALS


def test_a_repeated_run_is_byte_identical_in_every_format(project: Project) -> None:
    cases = [
        {**case, "expected": "other"} if at % 7 == 0 else case
        for at, case in enumerate(make_cases(CASES))
    ]
    project.cases(cases)
    project.prompt(system="Answer well.")
    project.run("eval")
    kinds = ["--junit", "--markdown"]
    seen = []
    for at in range(2):
        paths = [project.root / f"{at}{kind}" for kind in kinds]
        options = [word for pair in zip(kinds, map(str, paths), strict=True) for word in pair]
        result = project.eval(*options)
        plain = re.sub(r" · [\d.]+ s$", "", project.run("eval", "--verbose").out, flags=re.M)
        seen.append((result.out, plain, *(path.read_bytes() for path in paths)))
    assert seen[0] == seen[1]
    assert all(seen[0])


# Watching production -------------------------------------------------------------------------


def test_watching_production_without_the_cache_calls_the_candidate_alone(
    project: Project, server: Server
) -> None:
    result = project.eval("production", "--no-cache")
    assert server.requests == CASES
    assert result.evalset["baseline"]["called"] == 0
    assert (result.code, result.decision) == (0, "PASS")
