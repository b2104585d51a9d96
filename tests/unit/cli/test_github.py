"""What another job wrote down is read as what a stranger may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.cli.github import LARGEST, read_registry_problems, read_report
from llmops_cli.core.ci import Branch, subject_of
from llmops_cli.core.errors import Refused
from llmops_cli.render.json import json_report
from tests import reports


def written(path: Path, change: Any = None) -> Path:
    document = json.loads(json_report(reports.failing()))
    if change is not None:
        change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_report(written(tmp_path / "report.json")) == reports.failing()


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("\n")
    for name in ("missing.json", "empty.json"):
        assert read_report(tmp_path / name) is None
        assert read_registry_problems(tmp_path / name) == []


def another_schema(document: Any) -> None:
    document["schema"] = "llmops/report/v9"


def another_key(document: Any) -> None:
    document["report"]["html"] = "<script>"


def a_missing_key(document: Any) -> None:
    del document["report"]["prompts"][0]["verdict"]["why"]


def another_type(document: Any) -> None:
    document["report"]["prompts"][0]["evalsets"][0]["changes"] = {"regressed": "many"}


@pytest.mark.parametrize(
    "change",
    [another_schema, another_key, a_missing_key, another_type, lambda document: document.clear()],
)
def test_what_is_no_report_is_refused(tmp_path: Path, change: Any) -> None:
    with pytest.raises(Refused, match="is not a report"):
        read_report(written(tmp_path / "report.json", change))


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b"[" * 60 + b"]" * 60,
        b'{"schema": 1, "schema": 2}',
        b'{"schema": NaN}',
        b"\xff\xfe",
        b"PK\x03\x04",
        b"[" + b"1," * (LARGEST // 2) + b"1]",
    ],
    ids=["a bomb", "deep", "twice the same key", "NaN", "no UTF-8", "a zip", "too large"],
)
def test_what_is_no_plain_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    for read in (read_report, read_registry_problems):
        with pytest.raises(Refused):
            read(path)


def test_a_job_knows_its_pull_request_and_whether_it_comes_from_a_fork() -> None:
    environ = {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_REPOSITORY": "acme/prompts",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "12",
    }
    event: Any = {"pull_request": {"number": 7, "head": {"sha": "a" * 40, "repo": None}}}
    lost_fork = subject_of(environ, event)
    assert (lost_fork.pull, lost_fork.fork, lost_fork.commit) == (7, True, "a" * 40)
    assert lost_fork.page == "https://github.com/acme/prompts/actions/runs/12"
    event["pull_request"]["head"]["repo"] = {"full_name": "acme/prompts"}
    assert subject_of(environ, event).fork is False


@pytest.mark.parametrize(
    "event", [None, {}, {"pull_request": {"number": "7; id"}}, {"pull_request": []}]
)
def test_an_event_without_a_pull_request_is_about_none(event: Any) -> None:
    subject = subject_of({"GITHUB_EVENT_NAME": "push", "GITHUB_REPOSITORY": "acme/prompts"}, event)
    assert (subject.pull, subject.branch, subject.fork) == (None, None, False)


def test_after_a_workflow_only_github_says_whose_branch_it_was() -> None:
    event: Any = {
        "pull_request": {"number": 1},  # nothing that the other job wrote is believed
        "workflow_run": {
            "head_branch": "patch-1",
            "head_sha": "b" * 40,
            "head_repository": {"owner": {"login": "mallory"}},
        },
    }
    subject = subject_of({"GITHUB_EVENT_NAME": "workflow_run"}, event)
    assert subject.pull is None
    assert subject.branch == Branch(owner="mallory", name="patch-1", commit="b" * 40)
