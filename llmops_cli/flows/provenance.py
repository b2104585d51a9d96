"""Who is at work, when, and in which CI run: what versions, evidence and events are signed with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from llmops_cli.core.release import Provenance
from llmops_cli.flows.revision import open_git


def actor(root: Path, environ: Mapping[str, str]) -> str:
    """As git would sign, or the user's name."""
    checkout = open_git(root)
    known = checkout.actor() if checkout else None
    return known or environ.get("USER") or environ.get("USERNAME") or "unknown"


def provenance(root: Path, environ: Mapping[str, str]) -> Provenance:
    """Who makes something now, from which commit."""
    checkout = open_git(root)
    commit = checkout.head() if checkout else None
    return Provenance(by=actor(root, environ), at=now(), commit=commit)


def run_url(environ: Mapping[str, str]) -> str | None:
    """The page of the CI run, where there is one."""
    if environ.get("GITHUB_RUN_ID"):
        server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
        return f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL")


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
