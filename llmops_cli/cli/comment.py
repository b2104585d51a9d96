"""Reads what another job wrote down about a run as what it may be: a stranger's work.

A report is at most 32 MB, strict JSON, and what `llmops schema report` says, or it is none. That
makes it safe to render, not true: a fork's pull request can make its own job say PASS, which is
why the required check is the job and not the comment.

`comment`: tells a pull request on GitHub what a run came to, in one comment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from jsonschema import Draft202012Validator

from llmops_cli.cli import options
from llmops_cli.core.codec import Misshapen, from_plain
from llmops_cli.core.errors import Refused
from llmops_cli.core.report import Report
from llmops_cli.project.documents import NotPlain, load_json
from llmops_cli.registry.verify import RegistryProblem
from llmops_cli.render.report_schema import report_schema

if TYPE_CHECKING:
    from llmops_cli.core.ci import Subject


LARGEST = 32_000_000
"""Bytes."""
FLAWS = 1_000


def published_report(path: Path) -> Report | None:
    """The report that `report --json` printed into `path`; None where there is none.

    Raises `Refused` for a file that is anything else.
    """
    document = _document(path)
    if document is None:
        return None
    problem = next(Draft202012Validator(report_schema()).iter_errors(document), None)
    if problem is not None:
        where = "/".join(map(str, problem.absolute_path)) or "the document"
        raise Refused(f"{path} is no report: {where}: {problem.message[:200]}")
    try:
        return from_plain(Report, document["report"], "report")
    except Misshapen as error:
        raise Refused(f"{path} is no report: {str(error)[:200]}") from error


def published_flaws(path: Path | None) -> list[tuple[str, str]]:
    """Files that are broken, and why, as `fsck --json` printed them; empty: none, or no file.

    Raises `Refused` for a file that is anything else.
    """
    document = None if path is None else _document(path)
    if document is None:
        return []
    try:
        (growth,) = document
        flaws = [from_plain(RegistryProblem, each) for each in growth["problems"][:FLAWS]]
    except (Misshapen, TypeError, ValueError, KeyError) as error:
        raise Refused(f"{path} is not what `fsck --json` prints") from error
    return [(each.where, each.message) for each in flaws if not each.warning]


def _document(path: Path) -> Any:  # noqa: ANN401 - the file boundary
    """The JSON in a file; None where there is no file, or an empty one."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise Refused(f"{path} is larger than {LARGEST // 1_000_000} MB")
    if not content.strip():
        return None
    try:
        return load_json(content.decode("utf-8"))
    except (NotPlain, ValueError) as error:
        raise Refused(f"{path} is no JSON that can be relied on: {str(error)[:200]}") from error


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

    from llmops_cli.core.ci import subject_of
    from llmops_cli.core.errors import Refused
    from llmops_cli.core.redact import Redactor
    from llmops_cli.render import comment as page
    from llmops_cli.run.workspace import github_event
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
    from llmops_cli.render.github import Annotation, workflow_commands

    warning = Annotation(level="warning", title="llmops", message=f"no comment: {why}")
    sys.stderr.write(Redactor.of(os.environ)(workflow_commands([warning])))
