"""GitHub: summary, annotations and outputs of a job (`--github`), and `comment` on pull requests.

Annotations are workflow commands on standard error, so that standard output stays the answer;
the runner reads both. Summary and outputs go where `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT`
point; without them nothing is written. None of it changes a verdict: a file that cannot be
written is reported, and the exit code stays.

`comment` reads what another job wrote as the input of a stranger: at most 32 MB, strict JSON, and
valid by `llmops schema report`, or it is refused. That makes it safe to render, not true: a fork's
pull request can make its own job say PASS, which is why the required check is the job and not the
comment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmops_cli.cli import options
from llmops_cli.cli.output import Output, redacted
from llmops_cli.core.errors import InvalidFiles, LlmopsError, Location, Refused

if TYPE_CHECKING:
    from llmops_cli.core.ci import Subject
    from llmops_cli.core.report import Report, SourceLocations
    from llmops_cli.registry.fsck import RegistryGrowth
    from llmops_cli.render.github import Annotation

SUMMARY_BYTES = 900_000
"""GitHub drops a step's summary over 1 MiB whole."""
PROBLEM = 6_000
"""Characters of what stopped a command."""
LARGEST = 32_000_000
"""Bytes of a file from another job."""
PROBLEMS = 1_000


@dataclass(frozen=True)
class Actions:
    """The runner of GitHub Actions."""

    start: Path
    """Where the command was started: in the project."""

    def report(self, report: Report, places: SourceLocations) -> None:
        """Show a finished run: annotations, summary and outputs."""
        from llmops_cli.render.github import remarks
        from llmops_cli.render.json import output_lines, outputs
        from llmops_cli.render.markdown import markdown_report

        self._annotate(remarks(report, places))
        _append("GITHUB_STEP_SUMMARY", markdown_report(report, limit_bytes=SUMMARY_BYTES))
        _append("GITHUB_OUTPUT", output_lines(outputs(report)))

    def registry_problems(self, growth: RegistryGrowth, *, strict: bool) -> None:
        """Show what is broken in a registry, each at its file."""
        from llmops_cli.render.github import Annotation
        from llmops_cli.render.safe_text import fenced

        broken = [problem for problem in growth.problems if strict or not problem.warning]
        if not broken:
            return
        self._annotate(
            Annotation(
                level="error",
                title="llmops fsck",
                message=problem.message,
                where=Location(path=problem.where),
            )
            for problem in broken
        )
        listed = "\n".join(f"{problem.where}: {problem.message}" for problem in broken)
        title = "### ❌ The registry is broken"
        _append("GITHUB_STEP_SUMMARY", f"{title}\n\n{fenced(listed, PROBLEM)}\n")

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Report why llmops stops before there is a verdict, and re-raise."""
        from llmops_cli.render.github import Annotation, problems
        from llmops_cli.render.json import output_lines
        from llmops_cli.render.safe_text import clip, fenced, terminal

        try:
            yield
        except LlmopsError as error:
            message = f"{error.message}\n{error.hint}" if error.hint else error.message
            if isinstance(error, InvalidFiles):
                self._annotate(problems(error.problems))
            else:
                self._annotate([Annotation(level="error", title="llmops", message=message)])
            page = f"### ⛔ No verdict\n\n{fenced(message, PROBLEM)}\n"
            _append("GITHUB_STEP_SUMMARY", page)
            values = {
                "verdict": "ERROR",
                "exit-code": str(int(error.exit_code)),
                "problem": terminal(clip(message, characters=PROBLEM).text),
            }
            _append("GITHUB_OUTPUT", output_lines(values))
            raise

    def _annotate(self, annotations: Iterable[Annotation]) -> None:
        """Show annotations at their places in the repository, which are what GitHub knows."""
        from llmops_cli.project.project import find_root

        try:
            root = find_root(self.start)
        except Refused:
            root = self.start
        checkout = Path(os.environ.get("GITHUB_WORKSPACE") or root).resolve()

        def placed(where: Location) -> Location:
            path = (root / where.path).resolve()
            inside = path.is_relative_to(checkout)
            return replace(where, path=path.relative_to(checkout).as_posix()) if inside else where

        _write_commands(
            [replace(one, where=placed(one.where)) if one.where else one for one in annotations]
        )


def _write_commands(annotations: Sequence[Annotation]) -> None:
    from llmops_cli.render.github import workflow_commands

    sys.stdout.flush()
    sys.stderr.write(redacted(workflow_commands(annotations)))


def _append(variable: str, text: str) -> None:
    """Add `text` to the file that an environment variable names."""
    path = os.environ.get(variable)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(redacted(text))
    except OSError as error:
        print(f"llmops: {variable} cannot be written: {error.strerror}", file=sys.stderr)


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
    from llmops_cli.core.ci import subject_of
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
    body = comment_body(
        published,
        problem=problem if refused is None else refused.message,
        registry_problems=registry_problems,
        name=name,
        page=subject.page,
        commit=subject.commit,
    )
    if out is not None:
        write_text(out, body, redact=redacted)
    _post(subject, redacted(body), mark=mark(name), author=author)
    if refused is not None:
        raise refused


def _post(subject: Subject, body: str, *, mark: str, author: str) -> None:
    """Post the comment where that is possible, and say so, or why not."""
    from llmops_cli.stores.comments import NotPosted, Repository

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if subject.repository is None or (subject.pull is None and subject.branch is None):
        Output().say("no comment: this job belongs to no pull request")
        return
    if subject.fork:
        Output().say(
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
            Output().say("no comment: no open pull request is at this commit any more")
            return
        Output().say(f"commented: {repository.put(pull, body, mark)}")
    except NotPosted as error:
        _warn(f"{error}; the job needs `pull-requests: write`, or the report is in its summary")


def _warn(why: str) -> None:
    """Warn GitHub and people that there is no comment; the command succeeds."""
    from llmops_cli.render.github import Annotation

    _write_commands([Annotation(level="warning", title="llmops", message=f"no comment: {why}")])


def read_report(path: Path) -> Report | None:
    """Return the report that `report --json` printed into `path`; None if there is none."""
    from jsonschema import Draft202012Validator

    from llmops_cli.core.digest import InvalidRecord, from_plain
    from llmops_cli.core.report import Report
    from llmops_cli.render.json import report_schema

    document = _document(path)
    if document is None:
        return None
    error = next(Draft202012Validator(report_schema()).iter_errors(document), None)
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        raise Refused(f"{path} is not a report: {where}: {error.message[:200]}")
    try:
        return from_plain(Report, document["report"], "report")
    except InvalidRecord as misshapen:
        raise Refused(f"{path} is not a report: {str(misshapen)[:200]}") from misshapen


def read_registry_problems(path: Path | None) -> list[tuple[str, str]]:
    """Return broken files, and why, as `fsck --json` printed them; empty without a file."""
    from llmops_cli.core.digest import InvalidRecord, from_plain
    from llmops_cli.registry.verify import RegistryProblem

    document = None if path is None else _document(path)
    if document is None:
        return []
    try:
        (growth,) = document
        problems = [from_plain(RegistryProblem, item) for item in growth["problems"][:PROBLEMS]]
    except (InvalidRecord, TypeError, ValueError, KeyError) as error:
        raise Refused(f"{path} is not what `fsck --json` prints") from error
    return [(problem.where, problem.message) for problem in problems if not problem.warning]


def _document(path: Path) -> Any:  # noqa: ANN401 - the file boundary
    """Return the JSON in a file; None if there is no file, or an empty one."""
    from llmops_cli.project.documents import NotPlain, load_json

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
        raise Refused(f"{path} is not JSON: {str(error)[:200]}") from error
