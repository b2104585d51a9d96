"""Read files and history from git, and commit and push the registry: all that runs git.

Reading fetches nothing and runs no hook. Only what is under `.llmops/` is committed. Nothing is
forced, and nothing that others may have seen is rewritten: commits that were never pushed go on top
of what was fetched, and only if they hold nothing but the registry. Errors quote what git said.
Without git, or outside a repository, `open_git` returns None, and whatever needs no history still
works.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import new
from pathlib import Path, PurePosixPath

from llmops_cli.core.errors import LlmopsError, Refused, Unmeasured

REGISTRY = ".llmops"
_INPUTS = ("prompts", "evalsets", "llmops.yaml")
"""Paths whose files decide a promotion, whether git tracks them or not."""
_FILE, _LINK = "100", "120000"
"""The start of the modes of files (100644, 100755), and the mode of links; submodules are 160000.
"""
_MAX_LINKS = 40
"""Links on the way to one file, as Linux allows."""
_DERIVED = re.compile(r"[~^@:]|^HEAD\b|^(?!.{40}$)[0-9a-f]{7,64}$")
"""A revision that no server can be asked for: derived from another one, or part of an id."""
_LITTER = re.compile(r"(^|/)\.|~(/|$)|(^|/)__pycache__(/|$)")
"""Matches what desktops, editors or Python leave, from which no project is read."""
_IGNORED_BY_REGISTRY = re.compile(rf"(^|/){re.escape(REGISTRY)}/(store(/|$)|(.*/)?\.new-)")
"""Matches what the registry's own .gitignore ignores."""
_LOST_RACES = ("[rejected]", "cannot lock ref", "incorrect old value", "failed to update ref")
"""What a push prints where another one was first."""

_READ = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # git before 2.45 doesn't know that: it may use no transport, so it runs no remote helper
    "GIT_ALLOW_PROTOCOL": "none",
    # `git replace` shows another commit's content under a commit's id
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_WRITE = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"}


@dataclass(frozen=True, slots=True)
class Output:
    """What a git command printed."""

    status: int
    content: bytes
    errors: str

    @property
    def text(self) -> str:
        """Return standard output without the newline at its end."""
        return self.content.decode("utf-8", "surrogateescape").removesuffix("\n")

    @property
    def reason(self) -> str:
        """Return the line that says why git failed."""
        lines = [line for line in f"{self.errors}\n{self.text}".splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "CONFLICT"))]
        return (telling or lines or ["it failed and did not say why"])[0]


def _git(root: Path, *arguments: str, environment: Mapping[str, str] = _READ) -> Output:
    """Run git in `root` with GitPython. Raises `FileNotFoundError` if git is missing."""
    try:
        # 95 ms, and most commands read no history. The import itself looks for a git program.
        from git import Git, GitCommandNotFound  # noqa: PLC0415
    except ImportError as error:
        raise FileNotFoundError("git") from error
    try:
        status, content, errors = Git(root).execute(
            ["git", *arguments],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            env=dict(environment),
        )
    except GitCommandNotFound as error:
        raise FileNotFoundError("git") from error
    assert isinstance(content, bytes)
    return Output(status, content, errors)


@dataclass(frozen=True, slots=True)
class Revision:
    """The project's files as a commit holds them."""

    root: Path
    commit: str
    """Full id."""
    blobs: Mapping[str, str]
    """Blob id of every plain file, by path relative to the project's root."""
    links: Mapping[str, str]
    """Blob id of the target of every link, by path; empty for submodules."""

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at `path`, which `resolve` gave; None: there is none."""
        return self._content(self.blobs[path]) if path in self.blobs else None

    def holds(self, path: str, content: bytes) -> bool:
        """Whether the file at `path`, links followed, has this content; nothing is read."""
        blob = self.blobs.get(self.resolve(path) or "", "")
        algorithm = "sha256" if len(blob) == 64 else "sha1"
        header = b"blob %d\0" % len(content)
        return blob == new(algorithm, header + content, usedforsecurity=False).hexdigest()

    def resolve(self, path: str) -> str | None:
        """Return the path that the links in `path` lead to.

        None: they lead out of the project, into a submodule or in a circle.
        """
        links = 0
        ahead, passed = list(reversed(PurePosixPath(path).parts)), list[str]()
        while ahead:
            part = ahead.pop()
            place = "/".join((*passed, part))
            if part == "..":
                if not passed:
                    return None
                passed.pop()
            elif place not in self.links:
                passed.append(part)
            else:
                blob, links = self.links[place], links + 1
                target = self._content(blob).decode("utf-8", "surrogateescape") if blob else "/"
                if target.startswith("/") or links > _MAX_LINKS:
                    return None
                ahead.extend(reversed(PurePosixPath(target).parts))
        return "/".join(passed)

    def write_to(self, folder: Path) -> Path:
        """Write the files of the commit below the empty `folder`, and return the project there.

        Index and work tree are of its own, so that the checkout stays as it is, and its
        .gitattributes convert nothing.
        """
        prefix = _git(self.root, "rev-parse", "--show-prefix")
        (tree := folder / "tree").mkdir()
        own = {
            **_READ,
            "GIT_DIR": _git(self.root, "rev-parse", "--absolute-git-dir").text,
            "GIT_WORK_TREE": str(tree),
            "GIT_INDEX_FILE": str(folder / "index"),
        }
        for command in (("read-tree", self.commit), ("checkout-index", "--all")):
            output = _git(tree, *command, environment=own)
            if output.status:
                raise _error(f"git {command[0]}", output)
        root = tree / prefix.text
        root.mkdir(parents=True, exist_ok=True)
        return root

    def _content(self, blob_id: str) -> bytes:
        blob = _git(self.root, "cat-file", "blob", blob_id)
        if blob.status:
            raise Unmeasured(
                f"git does not have the content of a file here: {blob.reason}",
                hint="a partial clone leaves it out: git fetch --refetch --filter=blob:limit=10m",
            )
        return blob.content

    def files(self, folder: str) -> tuple[str, ...]:
        """Return every file and link under `folder` (`.`: the root), sorted.

        Links to folders, and submodules, end in `/`.
        """
        below = PurePosixPath(folder)
        paths = (path for path in self.blobs if below in PurePosixPath(path).parents)
        links = (path for path in self.links if below in PurePosixPath(path).parents)
        return tuple(sorted((*paths, *(path + self._ending(path) for path in links))))

    def _ending(self, link: str) -> str:
        folder = f"{self.resolve(link)}/"
        is_folder = not self.links[link] or any(path.startswith(folder) for path in self.blobs)
        return "/" if is_folder else ""


@dataclass(frozen=True)
class Checkout:
    """A git work tree, seen from a folder in it, and the branch that is checked out."""

    root: Path

    def head(self) -> str | None:
        """Return the commit that is checked out; None: there is none yet."""
        head = _git(self.root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return None if head.status else head.text

    def actor(self) -> str | None:
        """Return `Ada Lovelace <ada@example.org>`, as git would sign a commit; None: unknown."""
        identity = _git(self.root, "var", "GIT_COMMITTER_IDENT")
        return None if identity.status else re.sub(r" \d+ [+-]\d{4}$", "", identity.text)

    def at(self, revision: str) -> Revision:
        """Return the files of `root` at `revision`. Raises `Refused` if git does not have it."""
        commit = self._commit(revision)
        listing = _git(self.root, "ls-tree", "-r", "-z", commit, "--", ".")
        if listing.status:
            raise Unmeasured(
                f"git cannot list the files of {revision}: {listing.reason}",
                hint="git fsck says what is missing; fetch it again",
            )
        blobs, links = dict[str, str](), dict[str, str]()
        for entry in filter(None, listing.text.split("\0")):
            details, _, path = entry.partition("\t")
            mode, _, blob = details.split()
            if mode.startswith(_FILE):
                blobs[path] = blob
            else:
                links[path] = blob if mode == _LINK else ""
        return Revision(self.root, commit, blobs, links)

    def files(self) -> list[str]:
        """Return the files and links that are tracked here or could be: none that are ignored."""
        options = ("--cached", "--others", "--exclude-standard")
        return self._do("ls-files", "-z", *options, "--", ".").rstrip("\0").split("\0")

    def merge_base(self, revision: str) -> Revision:
        """Return the files of `root` at the last commit that HEAD and `revision` share.

        Raises `Refused` if git knows none, which is also so in a shallow clone.
        """
        base = _git(self.root, "merge-base", self._commit(revision), "HEAD")
        if base.status:
            raise Refused(
                f"git knows no commit that {revision!r} and this branch share",
                hint="this clone is shallow: fetch-depth: 0 in the checkout step, or "
                "git fetch --unshallow"
                if self._is_shallow()
                else "name a branch or commit that this branch started from",
            )
        return self.at(base.text)

    def _is_shallow(self) -> bool:
        return _git(self.root, "rev-parse", "--is-shallow-repository").text == "true"

    def _commit(self, revision: str) -> str:
        name = f"{revision}^{{commit}}"
        commit = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if commit.status:
            raise Refused(
                f"git knows no revision {revision!r} here",
                hint=f"this clone is shallow: fetch-depth: 0 in the checkout step, or "
                f"{_fetch_command(revision)}"
                if self._is_shallow()
                else "git fetch origin, or name a commit, branch or tag that git log shows",
            )
        return commit.text

    def uncommitted_inputs(self) -> tuple[str, ...]:
        """Return the files that may decide a promotion and are not as HEAD has them."""
        tracked = self._do("status", "--porcelain", "--untracked-files=no", "--", ".")
        inputs = self._do("status", "--porcelain", "--untracked-files=all", "--", *_INPUTS)
        changed = [line for line in tracked.splitlines() if not line.startswith("A")]
        paths = {line[3:] for line in (*changed, *inputs.splitlines())}
        own = {path for path in paths if REGISTRY not in Path(path).parts}
        return tuple(sorted(own | self._hidden_inputs()))

    def _hidden_inputs(self) -> set[str]:
        """Return the inputs that `git status` does not show.

        Those are ignored files, and files that were changed or removed while git was told to
        assume that they are unchanged.
        """
        options = ("--others", "--ignored", "--exclude-standard")
        ignored = self._do("ls-files", "-z", *options, "--", *_INPUTS).split("\0")
        hidden = {path for path in ignored if path and not _LITTER.search(path)}
        for entry in self._do("ls-files", "-z", "-v", "--", ".").split("\0"):
            flag, path = entry[:1], entry[2:]
            if not (flag.islower() or flag == "S"):
                continue
            top = Path(path).parts[0]
            if top != REGISTRY and (top in _INPUTS or (self.root / path).is_file()):
                file = self._try("hash-object", "--", path)
                if file.status or file.text != self._try("rev-parse", f":./{path}").text:
                    hidden.add(path)
        return hidden

    def commit(self, message: str) -> str | None:
        """Commit everything under `.llmops/`; None if that is committed already.

        What else is staged stays staged. Raises `Refused` or `Unmeasured`, with nothing committed.
        """
        self._refuse_ignored()
        self._do("add", "--", REGISTRY)
        if not self._try("diff", "--cached", "--quiet", "--", REGISTRY).status:
            return None
        self._do("commit", "--quiet", "--only", "-m", message, "--", REGISTRY)
        return self.head()

    def _refuse_ignored(self) -> None:
        """Raise `Refused` if the project's .gitignore would leave files out of the commit."""
        status = ("status", "--porcelain", "--ignored=matching", "--untracked-files=all")
        for line in self._do(*status, "--", REGISTRY).splitlines():
            path = line[3:]
            if line.startswith("!!") and not _IGNORED_BY_REGISTRY.search(path):
                rule = self._try("check-ignore", "--verbose", "--no-index", "--", path).text
                raise Refused(
                    f"git ignores {path}, so it would not be committed: "
                    f"{rule.partition(chr(9))[0] or 'a rule of .gitignore'}",
                    hint=f"add !{REGISTRY}/ below that rule, and !* first in {REGISTRY}/.gitignore",
                )

    def undo(self, commit: str | None) -> None:
        """Go back to `commit`, from a commit of this process; every file stays as it is."""
        if commit is None:
            self._do("update-ref", "-d", "HEAD")
        else:
            self._do("reset", "--quiet", "--soft", commit)
        self._try("reset", "--quiet", "--", REGISTRY)

    @cached_property
    def upstream(self) -> tuple[str, str, str]:
        """Return branch, remote and the branch's name there. Raises `Refused` if one is missing."""
        head = _git(self.root, "symbolic-ref", "--quiet", "--short", "HEAD")
        if head.status:
            raise Refused(
                "HEAD is detached: there is no branch to push",
                hint="git switch BRANCH (in CI: check the branch out, not a commit)",
            )
        name = head.text
        remote = _git(self.root, "config", "--get", f"branch.{name}.remote").text
        if remote:
            merge = _git(self.root, "config", "--get", f"branch.{name}.merge").text
            upstream = merge.removeprefix("refs/heads/")
        else:
            remotes, upstream = _git(self.root, "remote").text.split(), name
            if "origin" not in remotes and len(remotes) != 1:
                raise Refused(
                    f"{name} has no remote to push to", hint=f"git push -u REMOTE {name}, once"
                )
            remote = "origin" if "origin" in remotes else remotes[0]
        return name, remote, upstream

    def catch_up(self) -> None:
        """Fetch, and put this branch's commits on top of what was fetched.

        Raises `Refused` if the two conflict, `Unmeasured` where the remote cannot be reached.
        """
        _, remote, upstream = self.upstream
        if not self._do("ls-remote", "--heads", remote, f"refs/heads/{upstream}"):
            return  # a new branch: the push makes it
        self._do("fetch", "--quiet", remote, f"refs/heads/{upstream}")
        tip = self._do("rev-parse", "--verify", "FETCH_HEAD^{commit}")
        if not self._try("merge-base", "--is-ancestor", tip, "HEAD").status:
            return
        if not self._try("merge-base", "--is-ancestor", "HEAD", tip).status:
            self._do("merge", "--quiet", "--ff-only", tip)
        else:
            self._rebase(tip, f"{remote}/{upstream}")

    def push(self) -> bool:
        """Push the branch; False if another push was first. Never forced."""
        name, remote, upstream = self.upstream
        ref = f"refs/heads/{name}:refs/heads/{upstream}"
        push = self._try("push", "--porcelain", "--set-upstream", remote, ref)
        if not push.status:
            return True
        if any(sign in f"{push.text}\n{push.errors}" for sign in _LOST_RACES):
            return False
        refusals = [line for line in push.text.splitlines() if line.startswith("!")]
        if refusals:
            remote_lines = (line for line in push.errors.splitlines() if line.startswith("remote:"))
            reason = next(remote_lines, "").removeprefix("remote:").strip() or refusals[0]
            raise Refused(
                f"{remote} refuses {upstream}: {reason}",
                hint="is it protected? git switch -c BRANCH, run the same command again, and open "
                "a pull request",
            )
        raise _error("push", push)

    def _rebase(self, tip: str, upstream: str) -> None:
        own = self._do("log", "--format=", "--name-only", f"{tip}..HEAD").splitlines()
        if any(REGISTRY not in Path(path).parts for path in own if path):
            raise Refused(
                f"this branch has commits that {upstream} lacks, and the other way around",
                hint="git pull --rebase, then the same command again",
            )
        rebase = self._try("rebase", "--quiet", tip)
        if rebase.status:
            self._try("rebase", "--abort")
            raise Refused(
                f"{upstream} conflicts with this branch's own commits of {REGISTRY}: "
                f"{rebase.reason}",
                hint=f"another push was first: git reset --keep {upstream}, then start again",
            )

    def _do(self, *arguments: str) -> str:
        output = self._try(*arguments)
        if output.status:
            raise _error(arguments[0], output)
        return output.text

    def _try(self, *arguments: str) -> Output:
        return _git(self.root, *arguments, environment=_WRITE)


def open_git(root: Path) -> Checkout | None:
    """Return the git work tree around `root`; None: there is none, or no git.

    Raises `Refused` if there is one that git will not read.
    """
    try:
        inside = _git(root, "rev-parse", "--is-inside-work-tree")
    except FileNotFoundError:
        return None
    if inside.status and "not a git repository" not in inside.errors:
        raise Refused(f"git will not read {root}: {inside.reason}")
    return Checkout(root) if inside.text == "true" else None


def tracked_paths(root: Path, folder: str, *, or_at_head: bool) -> tuple[str, ...]:
    """Return the paths at or below `folder` in the index, or at HEAD too; none without git.

    Letters count in either case: some disks do not tell them apart. Raises `Refused` if git will
    not read `root`.
    """
    paths = ("-z", "--", f":(icase,literal){folder}")
    listing = _ask(root, "ls-files", *(["--with-tree=HEAD"] if or_at_head else []), *paths)
    if "tree-ish HEAD not found" in listing.errors:  # before the first commit
        listing = _ask(root, "ls-files", *paths)
    if listing.status and "not a git repository" not in listing.errors:
        raise Refused(f"git will not read {root}: {listing.reason}")
    return tuple(path for path in listing.text.split("\0") if path)


def _ask(root: Path, *arguments: str) -> Output:
    """Run git as `_git` does, without GitPython: its import takes longer than most commands."""
    try:
        done = subprocess.run(  # noqa: S603 - no word of it comes from a file
            ["git", *arguments],  # noqa: S607 - the one that GitPython runs
            cwd=root,
            env={**os.environ, **_READ},
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return Output(0, b"", "")
    return Output(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def require_git(root: Path, *, purpose: str) -> Checkout:
    """Return the git work tree around `root`.

    Raises `Refused` if there is none, and `purpose` (`--base main`) needs it.
    """
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"{purpose} needs git history, and {root} is in no git work tree (or git is missing)",
            hint="install git and run this in the repository, not in a copy of its files",
        )
    return checkout


def _fetch_command(revision: str) -> str:
    """Return the command after which a shallow clone knows `revision`."""
    remote, _, branch = revision.partition("/")
    if _DERIVED.search(revision):
        return "git fetch --unshallow"
    if remote == "origin" and branch:
        return f"git fetch --depth=1 origin {branch}:refs/remotes/origin/{branch}"
    return f"git fetch --depth=1 origin {revision}, and FETCH_HEAD in its place"


def _error(command: str, output: Output) -> LlmopsError:
    """Return the error of a failed command: one that the person can fix, or not."""
    message, errors = f"git {command}: {output.reason}", output.errors
    if "tell me who you are" in errors or "empty ident" in errors:
        return Refused(message, hint="git config user.name NAME; git config user.email ADDRESS")
    if "would be overwritten" in errors:
        hint = "someone else pushed the same files: git status, then commit, stash or remove yours"
        return Refused(message, hint=hint)
    if command == "commit":
        return Refused(message, hint="git refused (a hook?); nothing was committed")
    if ".lock'" in errors:
        hint = "if no git is running, delete that file: a git was killed"
        return Unmeasured(message, hint=hint)
    return Unmeasured(message, hint="nothing was pushed; when git works again, run it again")
