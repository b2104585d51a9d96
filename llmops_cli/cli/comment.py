"""`comment`: the results of a run as one comment on a pull request."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from llmops_cli.cli import options

if TYPE_CHECKING:
    from llmops_cli.core.ci import Subject


def comment(
    context: typer.Context,
    report: options.PublishedReport,
    registry: options.PublishedFlaws = None,
    problem: options.Problem = "",
    name: options.GateName = "llmops",
    author: options.Author = "github-actions[bot]",
    out: options.CommentFile = None,
) -> None:
    """Post the results as a pull request comment: one comment, kept up to date.

    For a GitHub Actions job with GITHUB_TOKEN, of `pull_request`, or of `workflow_run` after one.
    The files are read as untrusted input. If GitHub refuses the comment, that is a warning: a
    comment changes no verdict.
    """
    from llmops_cli.cli.artifact_reader import read_registry_problems, read_report
    from llmops_cli.core.ci import subject_of
    from llmops_cli.core.errors import Refused
    from llmops_cli.core.redact import Redactor
    from llmops_cli.render.markdown import comment_body, mark
    from llmops_cli.run.workspace import github_event
    from llmops_cli.stores.atomic import write_text

    del context
    subject = subject_of(os.environ, github_event(os.environ))
    published, registry_problems, refused = None, [], None
    try:
        published, registry_problems = read_report(report), read_registry_problems(registry)
    except Refused as error:  # an older comment must not be left standing
        refused = error
    redact = Redactor.of(os.environ)
    body = redact(
        comment_body(
            published,
            problem=problem if refused is None else refused.message,
            registry_problems=registry_problems,
            name=name,
            page=subject.page,
            commit=subject.commit,
        )
    )
    if out is not None:
        write_text(out, body, redact=redact)
    _post(subject, body, mark=mark(name), author=author)
    if refused is not None:
        raise refused


def _post(subject: Subject, body: str, *, mark: str, author: str) -> None:
    """Post the comment where that is possible, and say so, or why not."""
    from llmops_cli.stores.comments import NotPosted, Repository

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if subject.repository is None or (subject.pull is None and subject.branch is None):
        _say("no comment: this job belongs to no pull request")
        return
    if subject.fork:
        _say(
            "no comment: the change comes from a fork, and the token of its job may only read; "
            "a job on `workflow_run` posts it (docs/ci.md)"
        )
        return
    if not token:
        _warn("GITHUB_TOKEN is not in the environment")
        return
    repository = Repository(
        name=subject.repository,
        token=token,
        api=os.environ.get("GITHUB_API_URL") or "https://api.github.com",
        author=author,
    )
    try:
        pull = subject.pull
        if pull is None and subject.branch is not None:
            branch = subject.branch
            pull = repository.pull_of(branch.owner, branch.name, branch.commit)
        if pull is None:
            _say("no comment: no open pull request is at this commit any more")
            return
        _say(f"commented: {repository.put(pull, body, mark)}")
    except NotPosted as error:
        _warn(f"{error}; the job needs `pull-requests: write`, or the report is in its summary")


def _say(line: str) -> None:
    from llmops_cli.cli.output import Output

    Output().say(line)


def _warn(why: str) -> None:
    """Warn GitHub and people that there is no comment; the command succeeds."""
    from llmops_cli.core.redact import Redactor
    from llmops_cli.render.github import Annotation, workflow_commands

    warning = Annotation(level="warning", title="llmops", message=f"no comment: {why}")
    sys.stderr.write(Redactor.of(os.environ)(workflow_commands([warning])))
