"""An incomplete run says its cause first, and tells what failed from what was not attempted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.judging import TONE, add_judge
from tests.projects import Project, Result, make_project
from tests.servers.faulty import FaultServer, status

CASES = 60
UNREACHABLE = "http://127.0.0.1:9/v1"


def made(root: Path, url: str) -> Project:
    return make_project(root / "project", url, cases=CASES, retries=0)


def headline(result: Result) -> str:
    """All that comes before the details of the prompt."""
    assert result.code == 3, result.text
    return " ".join(result.out.partition("support@working")[0].split())


def counts(text: str) -> tuple[int, int]:
    found = re.search(r": (\d+) calls? made, (\d+) not attempted$", text)
    assert found, text
    return int(found[1]), int(found[2])


def test_a_rejected_key_is_the_headline_and_stops_the_calls(tmp_path: Path) -> None:
    with FaultServer(then=status(401)) as server:
        result = made(tmp_path, server.url).run("eval", env={"OPENAI_API_KEY": "sk-wrong"})
        first = headline(result)
        assert first.startswith("INCOMPLETE support the API key was rejected (401) by 127.0.0.1:")
        assert counts(first) == (server.requests, CASES - server.requests)
    failed, skipped = counts(first)
    why = f"{failed} of {CASES} candidate calls failed, "
    assert f"{why}{100 * failed / CASES:.1f}%: {failed} authentication; {skipped} not att" in (
        result.text
    )
    notes = [line for line in result.out.splitlines() if line.startswith("note: ")]
    assert notes[0].startswith(f"note: support: {failed} candidate trials failed: the server")
    assert notes[1].startswith(f"note: support: {skipped} candidate trials not attempted: tiny:")


def test_a_server_that_does_not_answer_is_the_headline(tmp_path: Path) -> None:
    first = headline(made(tmp_path, UNREACHABLE).run("eval"))
    assert first.startswith(f"INCOMPLETE support no server answers at {UNREACHABLE}")
    assert sum(counts(first)) == CASES


def test_a_budget_is_the_headline_and_what_it_stopped_was_not_attempted(tmp_path: Path) -> None:
    with FaultServer() as server:
        result = made(tmp_path, server.url).run("eval", "--max-calls", "12")
    assert headline(result) == (
        "INCOMPLETE support the budget is used up: --max-calls 12: 12 calls made, 48 not attempted"
    )
    assert "(not attempted: the budget is used up: --max-calls 12)" in result.text
    assert "(failed:" not in result.text


@pytest.mark.parametrize("key", [{}, {"OPENAI_API_KEY": "sk-wrong"}])
def test_a_judge_that_cannot_be_asked_is_the_headline(tmp_path: Path, key: dict[str, str]) -> None:
    with FaultServer() as server, FaultServer(then=status(401)) as judge:
        project = made(tmp_path, server.url)
        add_judge(project, judge.url)
        project.evalset(scorers=[TONE])
        first = headline(project.run("eval", env=key))
    expected = f"INCOMPLETE support {CASES} candidate answers not scored by tone: the judge gave no"
    assert first.startswith(expected)
    assert "the server answered 401" in first
