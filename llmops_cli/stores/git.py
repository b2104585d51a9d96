"""What llmops asks git: where the work stands, who works, and how files were at another revision.

Reading only, one short `git` command per question; nothing here fetches, and no hook runs.
Without git, or outside a repository, `open_git` is None, and whatever needs no history works on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import git

from llmops_cli.core.errors import Refused, Unmeasured

if TYPE_CHECKING:
    from collections.abc import Mapping


_AS_WRITTEN = {"GIT_NO_REPLACE_OBJECTS": "1"}
"""`git replace` puts another commit in the place of one: what is asked about is the one."""
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    **_AS_WRITTEN,
}
_RECKONED = re.compile(r"[~^@:]|^HEAD\b|^(?!.{40}$)[0-9a-f]{7,64}$")
"""A revision that no server can be asked for: reckoned from another one, or a part of an id."""
_FILE = "100"  # of 100644 and 100755; a link is 120000


@dataclass(frozen=True, slots=True)
class Revision:
    """The project's files as a commit holds them: a `files.paths.Source` in all but its errors."""

    checkout: Checkout
    commit: str
    """Full id."""
    blobs: Mapping[str, str]
    """Blob id of every plain file, by path relative to the project's root."""

    def read(self, path: str) -> bytes | None:
        """The content of the file at `path`; None: there is none, or it is a link."""
        blob = self.blobs.get(path)
        return None if blob is None else self.checkout.blob(blob)

    def files(self, folder: str) -> tuple[str, ...]:
        """Every file under `folder` (`.`: the root), sorted."""
        below = PurePosixPath(folder)
        return tuple(sorted(path for path in self.blobs if below in PurePosixPath(path).parents))


@dataclass(frozen=True, slots=True)
class Checkout:
    """A git work tree, seen from a folder in it."""

    root: Path

    def head(self) -> str | None:
        """The commit that is checked out; None: there is none yet."""
        try:
            return self._ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except git.GitCommandError:
            return None

    def dirty(self, *paths: str) -> bool:
        """Whether anything under `paths` (relative to `root`; none: all of it) is uncommitted."""
        return bool(self._ask("status", "--porcelain", "--", *(paths or (".",))))

    def actor(self) -> str | None:
        """`Ada Lovelace <ada@example.org>`, as git would sign a commit; None: it does not know."""
        try:
            identity = self._ask("var", "GIT_COMMITTER_IDENT")
        except git.GitCommandError:
            return None
        return re.sub(r" \d+ [+-]\d{4}$", "", identity)

    def at(self, revision: str) -> Revision:
        """The files of `root` at `revision`. Raises `Refused` where it is not here."""
        commit = self._commit(revision)
        try:
            listing = self._ask("ls-tree", "-r", "-z", commit, "--", ".")
        except git.GitCommandError as error:
            raise Unmeasured(
                f"git cannot list the files of {revision}: {_said(error)}",
                hint="git fsck says what is missing; fetch it again",
            ) from error
        entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
        blobs = {path: about.split()[2] for about, _, path in entries if about.startswith(_FILE)}
        return Revision(self, commit, blobs)

    def where_it_left(self, revision: str) -> Revision:
        """The files of `root` at the last commit that HEAD and `revision` have in common.

        Raises `Refused` where git knows none: also where a shallow clone holds none.
        """
        commit = self._commit(revision)
        try:
            return self.at(self._ask("merge-base", commit, "HEAD"))
        except git.GitCommandError as error:
            hint = (
                "this clone is shallow: fetch-depth: 0 in the checkout step, or "
                "git fetch --unshallow"
                if self.shallow()
                else "name a branch or commit that this branch started from"
            )
            message = f"git knows no commit that {revision!r} and this branch have in common"
            raise Refused(message, hint=hint) from error

    def blob(self, name: str) -> bytes:
        """The content of the blob `name`."""
        try:
            content = self._git().cat_file(
                "blob",
                name,
                env=_AS_WRITTEN,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except git.GitCommandError as error:
            raise Unmeasured(
                f"git does not hold a file's content here: {_said(error)}",
                hint="a partial clone leaves it out: git fetch --refetch --filter=blob:limit=10m",
            ) from error
        assert isinstance(content, bytes)
        return content

    def shallow(self) -> bool:
        """Whether history was cut off by a shallow clone."""
        return self._ask("rev-parse", "--is-shallow-repository") == "true"

    def _commit(self, revision: str) -> str:
        try:
            return self._ask(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except git.GitCommandError as error:
            hint = (
                f"this clone is shallow: fetch-depth: 0 in the checkout step, or {_fetch(revision)}"
                if self.shallow()
                else "git fetch origin, or name a commit, branch or tag that git log shows"
            )
            raise Refused(f"git knows no revision {revision!r} here", hint=hint) from error

    def _ask(self, *arguments: str) -> str:
        return str(self._git().execute(["git", *arguments], env=_QUIET))

    def _git(self) -> git.Git:
        return git.Git(self.root)


def open_git(root: Path) -> Checkout | None:
    """The git work tree around `root`; None: there is none, or no git.

    Raises `Refused` where there is one that git will not read.
    """
    checkout = Checkout(root)
    try:
        inside = git.Git(root).execute(["git", "rev-parse", "--is-inside-work-tree"], env=_QUIET)
    except git.GitCommandNotFound:
        return None
    except git.GitCommandError as error:
        if "not a git repository" in str(error.stderr):
            return None
        raise Refused(f"git will not read {root}: {_said(error)}") from error
    return checkout if inside == "true" else None


def demand_git(root: Path, *, purpose: str) -> Checkout:
    """As `open_git`, where `purpose` (`--base main`) cannot do without. Raises `Refused`."""
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"{purpose} needs git history, and {root} is in no git work tree (or git is missing)",
            hint="install git and run this in the repository, not in a copy of its files",
        )
    return checkout


def _fetch(revision: str) -> str:
    """The command after which a shallow clone knows `revision`."""
    remote, _, branch = revision.partition("/")
    if _RECKONED.search(revision):
        return "git fetch --unshallow"
    if remote == "origin" and branch:
        return f"git fetch --depth=1 origin {branch}:refs/remotes/origin/{branch}"
    return f"git fetch --depth=1 origin {revision}, and FETCH_HEAD in its place"


def _said(error: git.GitCommandError) -> str:
    lines = str(error.stderr).strip().removeprefix("stderr: ").strip("' \n").splitlines()
    return lines[0] if lines else f"exit {error.status}"
