"""`comment`: tells a pull request on GitHub what a run came to, in one comment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from llmops_cli.cli import options

if TYPE_CHECKING:
    from llmops_cli.core.pull import Subject


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(comment)


def comment(
    report: options.PublishedReport,
    registry: options.PublishedFlaws = None,
    problem: options.Problem = "",
    name: options.GateName = "llmops",
    author: options.Author = "github-actions[bot]",
    out: options.CommentFile = None,
) -> None:
    """Tell a pull request on GitHub what a run came to. One comment, kept up to date.

    For a job of GitHub Actions, with GITHUB_TOKEN: of `pull_request`, or of `workflow_run` after
    one. The files are checked as what a stranger may have written. Where GitHub does not take the
    comment, that is said, and no more: a comment changes no verdict.
    """
    import os

    from llmops_cli.cli.published import published_flaws, published_report
    from llmops_cli.core.errors import Refused
    from llmops_cli.core.pull import subject_of
    from llmops_cli.core.redact import Redactor
    from llmops_cli.flows.event import github_event
    from llmops_cli.render import comment as page
    from llmops_cli.stores.atomic import write_text

    subject = subject_of(os.environ, github_event(os.environ))
    found, flaws, broken = None, [], None
    try:
        found, flaws = published_report(report), published_flaws(registry)
    except Refused as error:  # an older comment must not be left standing
        broken = error
    told = page.Told(
        report=found,
        problem=problem if broken is None else broken.message,
        flaws=flaws,
        name=name,
        page=subject.page,
        commit=subject.commit,
    )
    redact = Redactor.of(os.environ)
    body = redact(page.comment(told))
    if out is not None:
        write_text(out, body, redact=redact)
    _post(subject, body, mark=page.mark(name), author=author)
    if broken is not None:
        raise broken


def _post(subject: Subject, body: str, *, mark: str, author: str) -> None:
    """Posts where that is possible, and says what came of it."""
    import os

    from llmops_cli.stores.comments import NotPosted, Repository

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if subject.repository is None or (subject.pull is None and subject.branch is None):
        _say("no comment: this job is about no pull request")
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
    where = Repository(
        name=subject.repository,
        token=token,
        api=os.environ.get("GITHUB_API_URL") or "https://api.github.com",
        author=author,
    )
    try:
        pull = subject.pull
        if pull is None and subject.branch is not None:
            branch = subject.branch
            pull = where.pull_of(branch.owner, branch.name, branch.commit)
        if pull is None:
            _say("no comment: no open pull request stands at this commit any more")
            return
        _say(f"commented: {where.put(pull, body, mark)}")
    except NotPosted as error:
        _warn(f"{error}; the job needs `pull-requests: write`, or the report is in its summary")


def _say(line: str) -> None:
    from llmops_cli.cli.output import Output

    Output().say(line)


def _warn(why: str) -> None:
    """Says to GitHub and to people that there is no comment: a warning, and no failure."""
    import os
    import sys

    from llmops_cli.core.redact import Redactor
    from llmops_cli.render.annotations import Annotation, workflow_commands

    warning = Annotation(level="warning", title="llmops", message=f"no comment: {why}")
    sys.stderr.write(Redactor.of(os.environ)(workflow_commands([warning])))
