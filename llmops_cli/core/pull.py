"""Which pull request a job of GitHub Actions is about: a pure reading of what the runner says.

A job on `pull_request` knows its number. A job on `workflow_run` runs with the repository's own
rights after one that may have run a stranger's change; it believes nothing that the other job
wrote down about itself, and names the change by what GitHub says: whose branch, which commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmops_cli.core.digest import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch at a commit, in a repository of `owner`."""

    owner: str
    name: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a job is about."""

    repository: str | None = None
    """`owner/name`."""
    pull: int | None = None
    branch: Branch | None = None
    """Where the number is not known: the branch whose pull request it is."""
    fork: bool = False
    """The job runs a stranger's change, with a token that may only read."""
    commit: str | None = None
    """What was measured."""
    page: str | None = None
    """Address of the run that measured."""


def subject_of(environ: Mapping[str, str], event: Mapping[str, Json] | None) -> Subject:
    """The subject of a job; `event` is the content of the file at `GITHUB_EVENT_PATH`."""
    repository = environ.get("GITHUB_REPOSITORY") or None
    known = event or {}
    if environ.get("GITHUB_EVENT_NAME") == "workflow_run":
        return Subject(
            repository=repository,
            branch=_branch(known),
            commit=_text(known, "workflow_run", "head_sha"),
            page=_text(known, "workflow_run", "html_url"),
        )
    number = _at(known, "pull_request", "number")
    head = _text(known, "pull_request", "head", "repo", "full_name")
    return Subject(
        repository=repository,
        pull=number if type(number) is int else None,
        fork=type(number) is int and head != repository,
        commit=_text(known, "pull_request", "head", "sha") or environ.get("GITHUB_SHA"),
        page=_page(environ, repository),
    )


def _branch(event: Mapping[str, Json]) -> Branch | None:
    run = "workflow_run"
    owner = _text(event, run, "head_repository", "owner", "login")
    name, commit = _text(event, run, "head_branch"), _text(event, run, "head_sha")
    if owner is None or name is None or commit is None:
        return None
    return Branch(owner=owner, name=name, commit=commit)


def _page(environ: Mapping[str, str], repository: str | None) -> str | None:
    run, server = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_SERVER_URL")
    return f"{server}/{repository}/actions/runs/{run}" if run and server and repository else None


def _at(value: Json, *path: str) -> Json:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Json, *path: str) -> str | None:
    found = _at(value, *path)
    return found if isinstance(found, str) and found else None
