"""Find out which change a CI job runs for, and whether the project's own code may run in it.

Config is data; python scorers and targets and commands are code. They run only where a trust list
names them, and the caller reads that list at the base revision, so that a pull request cannot
trust itself. In CI, where secrets and a foreign head meet, nothing of the project runs, trusted
or not. A head that is not known to be ours is foreign: also under an event or a CI system that is
not known here, unless the job says that its branch is protected (`LLMOPS_CI_TRUSTED=true`).

A job on `pull_request` knows its number. A job on `workflow_run` runs with the repository's own
rights after one that may have run a foreign change; it believes nothing that the other job wrote
about itself, and names the change by what GitHub says: whose branch, which commit.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.core.digest import Json
from llmops_cli.core.globs import is_plain, matches

PRIVILEGED = frozenset(
    {"pull_request_target", "workflow_run", "issue_comment", "pull_request_review_comment"}
)
"""GitHub events that run with the base repository's secrets, set off by anyone."""
OWN_EVENTS = frozenset(
    {"push", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group", "release"}
    | {"create", "deployment", "web", "webide", "api", "trigger", "pipeline"}
)
"""Events of GitHub and GitLab that only those who may write to the repository set off."""
TRUSTED = "LLMOPS_CI_TRUSTED"
"""The variable with which a job of another CI system says that its branch is protected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CiContext:
    """The change that a CI job runs for."""

    event: str
    """`push`, `pull_request`, `pull_request_target`, `merge_request` …"""
    proposed: bool
    """Whether it runs for a change that isn't merged, whose author may be anyone."""
    head: str | None = None
    """The repository that the change comes from; None: not known."""
    base: str | None = None
    """The repository that it is to be merged into."""

    @property
    def foreign(self) -> bool:
        """Whether the code may come from outside: a head not known to be ours is not ours."""
        return self.proposed and (self.head is None or self.head != self.base)


def ci_context(environ: Mapping[str, str], event: Mapping[str, Json] | None) -> CiContext | None:
    """Return the CI job, from its variables and GitHub's parsed event payload; None: no CI.

    `event` is the content of the file at `GITHUB_EVENT_PATH`, None if it cannot be read.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        name = environ.get("GITHUB_EVENT_NAME", "unknown")
        return CiContext(
            event=name,
            proposed=name not in OWN_EVENTS,
            head=_text(event, "pull_request.head.repo.full_name"),
            base=environ.get("GITHUB_REPOSITORY") or None,
        )
    if environ.get("GITLAB_CI") == "true":
        name = environ.get("CI_PIPELINE_SOURCE", "unknown")
        external = "CI_EXTERNAL_PULL_REQUEST_IID" in environ
        kind = "CI_EXTERNAL_PULL_REQUEST" if external else "CI_MERGE_REQUEST"
        what = "REPOSITORY" if external else "PROJECT_PATH"
        target = "TARGET_REPOSITORY" if external else "PROJECT_PATH"
        return CiContext(
            event=name,
            proposed=name not in OWN_EVENTS or f"{kind}_IID" in environ,
            head=environ.get(f"{kind}_SOURCE_{what}") or None,
            base=environ.get(f"{kind}_{target}") or None,
        )
    if environ.get("CI", "").lower() in ("", "0", "false") and not {*environ} & {*OTHER_SYSTEMS}:
        return None
    trusted = environ.get(TRUSTED) == "true"
    system = next((name for name in OTHER_SYSTEMS if name in environ), None)
    if trusted or system is None:
        return CiContext(event="unknown", proposed=not trusted)
    proposed, own = OTHER_SYSTEMS[system](environ)
    base = "this repository"
    return CiContext(
        event="pull_request" if proposed else "push",
        proposed=proposed,
        head=base if own else None,
        base=base,
    )


def _circleci(environ: Mapping[str, str]) -> tuple[bool, bool]:
    of_fork = "CIRCLE_PR_USERNAME" in environ or environ.get("CIRCLE_BRANCH", "").startswith(
        "pull/"
    )
    return of_fork or bool(environ.get("CIRCLE_PULL_REQUEST")), not of_fork


def _buildkite(environ: Mapping[str, str]) -> tuple[bool, bool]:
    proposed = environ.get("BUILDKITE_PULL_REQUEST", "false") not in ("", "false")
    head = environ.get("BUILDKITE_PULL_REQUEST_REPO")
    return proposed, bool(head) and _repository(head) == _repository(environ["BUILDKITE_REPO"])


def _repository(url: str | None) -> str:
    """Return `github.com/owner/name` of any URL of a repository."""
    return re.sub(r"^(?:[a-z+]+://)?(?:[^@/]*@)?|\.git/?$", "", url or "").replace(":", "/").lower()


OTHER_SYSTEMS: Mapping[str, Callable[[Mapping[str, str]], tuple[bool, bool]]] = {
    "CIRCLECI": _circleci,
    "BUILDKITE": _buildkite,
    "JENKINS_URL": lambda environ: ("CHANGE_ID" in environ, "CHANGE_FORK" not in environ),
    "TF_BUILD": lambda environ: (
        environ.get("BUILD_REASON") == "PullRequest",
        environ.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "false",
    ),
}
"""Other CI systems by a variable of theirs: whether a job is for a proposed change, and whether
that comes from the repository itself."""


def may_run(ci: CiContext | None, *, replaying: bool) -> str | None:
    """Say why nothing at all may run here; None: it may.

    A privileged event hands the base repository's secrets to whatever it runs, so it is refused
    unless every answer is replayed, which needs no secret.
    """
    if ci is None or ci.event not in PRIVILEGED or replaying:
        return None
    return (
        f"this job runs on `{ci.event}`, which hands secrets to a change that anyone may propose; "
        "run on `pull_request`, or replay recorded answers"
    )


def may_run_code(
    path: str, *, trusted: Sequence[str], ci: CiContext | None, secrets: bool
) -> str | None:
    """Say why the project file `path` may not run as code; None: it may.

    `path` is relative to the project, with forward slashes. `trusted` are the globs of
    `llmops.yaml` at the base revision: `*` stays within a folder, `**` crosses folders.
    `secrets`: whether keys are within reach of this process.
    """
    if (why := _no_code(path, ci, secrets=secrets)) is not None:
        return why
    if not is_plain(path):
        return f"{path!r} is not a plain path inside the project"
    if not any(matches(path, glob) for glob in trusted):
        return f"{path} is code, and `trust` in llmops.yaml at the base revision does not name it"
    return None


def may_run_command(
    command: Sequence[str], *, trusted: Sequence[str], ci: CiContext | None, secrets: bool
) -> str | None:
    """Say why the program and arguments `command` may not run; None: they may.

    A program of the project is trusted by its path, like a function's file. Any other is trusted as
    a whole line: a different argument could make it run anything.
    """
    line = " ".join(command)
    if (why := _no_code(f"`{line}`", ci, secrets=secrets)) is not None:
        return why
    program = command[0]
    of_project = "/" in program and is_plain(program)
    if of_project and any(matches(program, glob) for glob in trusted):
        return None
    if line in trusted and "://" not in program:  # that entry is a server
        return None
    return (
        f"`{line}` is a command, and `trust` in llmops.yaml at the base revision does not name it"
    )


def _no_code(what: str, ci: CiContext | None, *, secrets: bool) -> str | None:
    """Say why no code at all may run here; None: what is trusted may."""
    if ci is not None and ci.event in PRIVILEGED:
        return f"{what} is code, and code does not run on `{ci.event}`"
    if ci is not None and ci.foreign and secrets:
        return f"{what} is code of a change {_origin(ci)}, and there are secrets within its reach"
    return None


def may_call(ci: CiContext | None, *, secrets: bool) -> str | None:
    """Say why no model may be called here; None: those may that the base revision knows.

    A foreign change decides what is sent, and could send the keys along.
    """
    if ci is None or not ci.foreign or not secrets:
        return None
    why = f"this change is {_origin(ci)}, and there are secrets within its reach"
    if ci.event == "unknown":
        return f"{why} (set {TRUSTED}=true if only people who may write to it start this job)"
    return f"{why} (if you trust it, push it to a branch of {ci.base})" if ci.base else why


def _origin(ci: CiContext) -> str:
    return f"from {ci.head}" if ci.head else "from a repository that is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch at a commit, in a repository of `owner`."""

    owner: str
    name: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The pull request and commit that a job is about."""

    repository: str | None = None
    """`owner/name`."""
    pull: int | None = None
    branch: Branch | None = None
    """Where the number is not known: the branch whose pull request it is."""
    fork: bool = False
    """The job runs a change from a fork, with a token that may only read."""
    commit: str | None = None
    """What was measured."""
    page: str | None = None
    """Address of the run that measured."""


def subject_of(environ: Mapping[str, str], event: Mapping[str, Json] | None) -> Subject:
    """Return the subject of a job; `event` is the content of the file at `GITHUB_EVENT_PATH`."""
    repository = environ.get("GITHUB_REPOSITORY") or None
    if environ.get("GITHUB_EVENT_NAME") == "workflow_run":
        owner = _text(event, "workflow_run.head_repository.owner.login")
        name = _text(event, "workflow_run.head_branch")
        commit = _text(event, "workflow_run.head_sha")
        branch = None
        if owner and name and commit:
            branch = Branch(owner=owner, name=name, commit=commit)
        page = _text(event, "workflow_run.html_url")
        return Subject(repository=repository, branch=branch, commit=commit, page=page)
    number = _at(event, "pull_request.number")
    run, server = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_SERVER_URL")
    known_page = run and server and repository
    return Subject(
        repository=repository,
        pull=number if type(number) is int else None,
        fork=type(number) is int and _text(event, "pull_request.head.repo.full_name") != repository,
        commit=_text(event, "pull_request.head.sha") or environ.get("GITHUB_SHA"),
        page=f"{server}/{repository}/actions/runs/{run}" if known_page else None,
    )


def _at(event: Json, path: str) -> Json:
    """Return the value at a dotted `path` of a parsed payload; None: there is none."""
    for name in path.split("."):
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def _text(event: Json, path: str) -> str | None:
    text = _at(event, path)
    return text if isinstance(text, str) and text else None


# The local store: cached answers and scores, the last reports, logs of engines.

STORE_VARIABLE = "LLMOPS_STORE"
_RUN = re.compile(r"(.*_)?(RUN|BUILD|PIPELINE|WORKFLOW)_?(ID|NUMBER|NUM|TAG|SLUG)")
"""Matches the variables that say which run this is: `GITHUB_RUN_ID`, `CI_PIPELINE_ID`,
`CIRCLE_WORKFLOW_ID`, Jenkins' `BUILD_TAG`, Azure's `BUILD_BUILDID` and those of other systems.
"""


def store_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the store's folder of the project in `root`, absolute; it need not exist.

    On a laptop that is `.llmops/store`, which git ignores. A CI job works on a checkout whose
    author may be anyone, so its store lies outside of the work tree, and another run has another
    one: on a machine that is used again, no answer of one change serves the next. `LLMOPS_STORE`
    names another folder.

    `run.workspace.checked_store` says whether it may be opened.
    """
    named = environ.get(STORE_VARIABLE)
    if not named and ci_context(environ, None) is None:
        return root / ".llmops" / "store"
    if not named:
        run = [environ[name] for name in sorted(environ) if _RUN.fullmatch(name)]
        key = hashlib.sha256("\0".join([str(root.resolve()), *run]).encode()).hexdigest()[:12]
        cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
        named = f"{cache}/llmops/{key}"
    # not `Path.expanduser`, which raises where nobody has a home; not `resolve`: links stay
    return Path(os.path.abspath(root / os.path.expanduser(named)))  # noqa: PTH100, PTH111
