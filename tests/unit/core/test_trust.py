from __future__ import annotations

from collections.abc import Mapping

import pytest

from llmops_cli.core.ci import (
    CiContext,
    ci_context,
    may_call,
    may_run,
    may_run_code,
    may_run_command,
)
from llmops_cli.core.digest import Json
from llmops_cli.core.globs import matches

OURS = "acme/bank"
THEIRS = "mallory/bank"


def a_pull_request(head: str | None) -> Mapping[str, Json]:
    return {"pull_request": {"head": {"repo": head and {"full_name": head}}}}


def github(event: str, head: str | None = None, *, payload: bool = True) -> CiContext | None:
    return ci_context(
        {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_REPOSITORY": OURS},
        a_pull_request(head) if payload else None,
    )


def gitlab(source: str | None, **more: str) -> CiContext | None:
    merge = {
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": source or "",
        "CI_MERGE_REQUEST_PROJECT_PATH": OURS,
        "CI_PIPELINE_SOURCE": "merge_request_event",
    }
    return ci_context({"GITLAB_CI": "true", **merge, **more}, None)


def other(**environ: str) -> CiContext | None:
    return ci_context({"CI": "true", **environ}, None)


def external(source: str) -> CiContext | None:
    return other(
        GITLAB_CI="true",
        CI_PIPELINE_SOURCE="external_pull_request_event",
        CI_EXTERNAL_PULL_REQUEST_IID="7",
        CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY=source,
        CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY=OURS,
    )


def buildkite(pull: str, source: str) -> CiContext | None:
    return other(
        BUILDKITE="true",
        BUILDKITE_PULL_REQUEST=pull,
        BUILDKITE_PULL_REQUEST_REPO=source,
        BUILDKITE_REPO="git@github.com:acme/bank.git",
    )


def azure(fork: str) -> CiContext | None:
    return other(TF_BUILD="True", BUILD_REASON="PullRequest", SYSTEM_PULLREQUEST_ISFORK=fork)


@pytest.mark.parametrize(
    ("where", "ci", "secrets", "runs"),
    [
        ("a desk", None, True, True),
        ("a push", github("push"), True, True),
        ("a schedule", github("schedule"), True, True),
        ("our own pull request", github("pull_request", OURS), True, True),
        ("a fork, no secrets", github("pull_request", THEIRS), False, True),
        ("a fork, secrets", github("pull_request", THEIRS), True, False),
        ("a deleted fork", github("pull_request", None), True, False),
        ("an unreadable event", github("pull_request", OURS, payload=False), True, False),
        ("a review of a fork", github("pull_request_review", THEIRS), True, False),
        ("pull_request_target, ours", github("pull_request_target", OURS), True, False),
        ("pull_request_target, a fork", github("pull_request_target", THEIRS), False, False),
        ("workflow_run", github("workflow_run"), True, False),
        ("a comment", github("issue_comment"), True, False),
        ("our own merge request", gitlab(OURS), True, True),
        ("a merge request of a fork", gitlab(THEIRS), True, False),
        ("a merge request from nowhere", gitlab(None), True, False),
        ("an unknown event of GitHub", github("discussion"), True, False),
        ("a merge queue", github("merge_group"), True, True),
        ("GitLab for a GitHub fork", external(THEIRS), True, False),
        ("GitLab for our own on GitHub", external(OURS), True, True),
        ("GitLab on a push", other(GITLAB_CI="true", CI_PIPELINE_SOURCE="push"), True, True),
        (
            "GitLab's child pipeline",
            other(GITLAB_CI="true", CI_PIPELINE_SOURCE="parent_pipeline"),
            True,
            False,
        ),
        ("a CI that is not known", other(), True, False),
        ("a CI whose branch is protected", other(LLMOPS_CI_TRUSTED="true"), True, True),
        ("CircleCI, a branch", other(CIRCLECI="true", CIRCLE_BRANCH="main"), True, True),
        ("CircleCI, ours", other(CIRCLECI="true", CIRCLE_PULL_REQUEST="https://x/7"), True, True),
        ("CircleCI, a fork", other(CIRCLECI="true", CIRCLE_BRANCH="pull/7"), True, False),
        ("Jenkins, a branch", other(JENKINS_URL="x"), True, True),
        ("Jenkins, ours", other(JENKINS_URL="x", CHANGE_ID="7"), True, True),
        ("Jenkins, a fork", other(JENKINS_URL="x", CHANGE_ID="7", CHANGE_FORK="m"), True, False),
        ("Buildkite, a branch", buildkite("false", ""), True, True),
        ("Buildkite, ours", buildkite("7", "https://github.com/acme/bank"), True, True),
        ("Buildkite, a fork", buildkite("7", "https://github.com/mallory/bank.git"), True, False),
        ("Azure, a branch", other(TF_BUILD="True", BUILD_REASON="IndividualCI"), True, True),
        ("Azure, ours", azure("False"), True, True),
        ("Azure, a fork", azure("True"), True, False),
        ("GitHub without an event", ci_context({"GITHUB_ACTIONS": "true"}, None), True, False),
    ],
)
def test_trusted_code_runs_unless_secrets_and_a_foreign_head_are_together(
    where: str,
    ci: CiContext | None,
    secrets: bool,
    runs: bool,
) -> None:
    why = may_run_code("scorers/own.py", trusted=["scorers/*.py"], ci=ci, secrets=secrets)
    assert (why is None) == runs, (where, why)


@pytest.mark.parametrize("ci", [None, github("push"), github("pull_request", OURS)])
def test_code_that_is_not_trusted_never_runs(ci: CiContext | None) -> None:
    assert may_run_code("scorers/own.py", trusted=[], ci=ci, secrets=False) == (
        "scorers/own.py is code, and `trust` in llmops.yaml at the base revision does not name it"
    )


@pytest.mark.parametrize(
    ("ci", "secrets", "why"),
    [
        (None, True, None),
        (github("push"), True, None),
        (github("pull_request", OURS), True, None),
        (github("pull_request", THEIRS), False, None),
        (
            github("pull_request", THEIRS),
            True,
            "secrets within its reach (if you trust it, push it to a branch of acme/bank)",
        ),
        (github("pull_request", None), True, "from a repository that is not known, and there are"),
        (ci_context({"CI": "true"}, None), True, "(set LLMOPS_CI_TRUSTED=true if only people who"),
        (ci_context({"CI": "true", "LLMOPS_CI_TRUSTED": "true"}, None), True, None),
    ],
)
def test_a_strangers_change_makes_no_calls_beside_secrets_and_is_told_what_to_do(
    ci: CiContext | None, secrets: bool, why: str | None
) -> None:
    reason = may_call(ci, secrets=secrets)
    assert reason is None if why is None else why in str(reason)


def test_the_reason_names_the_foreign_repository() -> None:
    ci = github("pull_request", THEIRS)
    assert may_run_code("a.py", trusted=["a.py"], ci=ci, secrets=True) == (
        "a.py is code of a change from mallory/bank, and there are secrets within its reach"
    )


@pytest.mark.parametrize(
    ("event", "replaying", "runs"),
    [
        ("push", False, True),
        ("pull_request", False, True),
        ("pull_request_target", False, False),
        ("pull_request_target", True, True),
        ("workflow_run", False, False),
        ("workflow_run", True, True),
    ],
)
def test_a_privileged_event_runs_only_what_is_replayed(
    event: str, replaying: bool, runs: bool
) -> None:
    why = may_run(github(event, THEIRS), replaying=replaying)
    assert (why is None) == runs
    assert why is None or event in why


def test_the_scoring_context_runs_everything() -> None:
    assert may_run(None, replaying=False) is None


@pytest.mark.parametrize(
    ("environ", "inside"),
    [({}, False), ({"CI": "false"}, False), ({"CI": "0"}, False), ({"CI": "1"}, True)],
)
def test_ci_is_where_the_environment_says_so(environ: Mapping[str, str], inside: bool) -> None:
    assert (ci_context(environ, None) is not None) == inside


@pytest.mark.parametrize(
    ("path", "glob", "named"),
    [
        ("own.py", "own.py", True),
        ("scorers/own.py", "scorers/*.py", True),
        ("scorers/deep/own.py", "scorers/*.py", False),
        ("scorers/deep/own.py", "scorers/**", True),
        ("scorers/deep/own.py", "**/*.py", True),
        ("own.py", "**/*.py", True),
        ("scorers", "scorers/**", True),
        ("Scorers/own.py", "scorers/*.py", False),
        ("scorers/own.py", "*", False),
        ("own.py", "../**", False),
        ("own.py", "", False),
    ],
)
def test_a_glob_names_files_folder_by_folder(path: str, glob: str, named: bool) -> None:
    assert matches(path, glob) == named


@pytest.mark.parametrize("path", ["../own.py", "/own.py", "a//b.py", "./a.py", "a\\b.py", "C:/a"])
def test_a_path_that_does_not_say_where_it_leads_is_no_code_to_run(path: str) -> None:
    assert may_run_code(path, trusted=["**"], ci=None, secrets=False) == (
        f"{path!r} is not a plain path inside the project"
    )


@pytest.mark.parametrize(
    ("command", "trusted", "runs"),
    [
        (["app/answer", "--fast"], ["app/answer"], True),
        (["app/answer", "anything", "at all"], ["app/**"], True),
        (["app/other"], ["app/answer"], False),
        (["app/../bin/sh", "-c", "x"], ["app/**"], False),
        (["/bin/sh", "-c", "x"], ["**"], False),
        (["python", "app/main.py"], ["python app/main.py"], True),
        (["python", "-c", "evil"], ["python app/main.py"], False),
        (["python", "app/main.py"], ["app/main.py"], False),
        (["python", "app/main.py"], ["python", "app/**"], False),
        (["python", "app/main.py"], ["*"], False),
        (["answer"], ["answer"], True),
        (["https://gateway.example"], ["https://gateway.example"], False),
        (["app", "https://gateway.example"], ["app https://gateway.example"], True),
    ],
)
def test_a_command_runs_as_a_program_of_the_project_or_as_a_whole_line_that_is_trusted(
    command: list[str], trusted: list[str], runs: bool
) -> None:
    why = may_run_command(command, trusted=trusted, ci=None, secrets=True)
    assert (why is None) is runs


@pytest.mark.parametrize(
    ("ci", "secrets", "runs"),
    [
        (None, True, True),
        (github("push"), True, True),
        (github("pull_request", OURS), True, True),
        (github("pull_request", THEIRS), False, True),
        (github("pull_request", THEIRS), True, False),
        (github("pull_request", None), True, False),
        (github("pull_request_target", OURS), False, False),
        (github("issue_comment"), False, False),
        (gitlab(THEIRS), True, False),
    ],
)
def test_a_trusted_command_runs_unless_secrets_and_a_foreign_head_are_together(
    ci: CiContext | None, secrets: bool, runs: bool
) -> None:
    why = may_run_command(["app/answer"], trusted=["app/*"], ci=ci, secrets=secrets)
    assert (why is None) is runs
