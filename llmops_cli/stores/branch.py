"""The branch that the registry is committed to and pushed from: the only place that writes git.

Only what lies under `.llmops/` is ever committed. Nothing is forced, and nothing that somebody
else may have seen is rewritten: commits that were never pushed go on top of what was fetched, and
only where they hold nothing but the registry. Whatever git refuses, it refuses in its own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import git

from llmops_cli.core.errors import LlmopsError, Refused, Unmeasured
from llmops_cli.stores.git import demand_git

REGISTRY = ".llmops"
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C"}
_DECIDES = ("prompts", "evalsets", "llmops.yaml")
_RACES = ("[rejected]", "cannot lock ref", "incorrect old value", "failed to update ref")
"""What a push says where another one was quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The branch that is checked out around `root`, and where it is pushed to."""

    root: Path
    name: str | None
    """None: HEAD is detached."""
    remote: str | None
    """None: the repository has none."""
    upstream: str | None
    """The branch's name over there."""

    def head(self) -> str | None:
        """The commit that is checked out; None: there is none yet."""
        status, out, _ = self._try("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return None if status else out

    def uncommitted_inputs(self) -> tuple[str, ...]:
        """Files that decide, and are not as the commit that is checked out has them."""
        tracked = self._do("status", "--porcelain", "--untracked-files=no", "--", ".")
        decides = self._do("status", "--porcelain", "--untracked-files=all", "--", *_DECIDES)
        changed = [line for line in tracked.splitlines() if not line.startswith("A")]
        paths = {line[3:] for line in (*changed, *decides.splitlines())}
        mine = {path for path in paths if REGISTRY not in Path(path).parts}
        return tuple(sorted(mine | self._out_of_sight()))

    def _out_of_sight(self) -> set[str]:
        """Files that `git status` passes over: deciding ones that are ignored, and those that it
        was told to take as unchanged and that were changed, or taken away where they decide.
        """
        ignored = self._list("--others", "--ignored", "--exclude-standard", "--", *_DECIDES)
        found = {path for path in ignored if not any(map(_is_litter, Path(path).parts))}
        marked = (
            line for line in self._list("-v", "--", ".") if line[0].islower() or line[0] == "S"
        )
        for path in (line[2:] for line in marked):
            parts = Path(path).parts
            if parts[0] != REGISTRY and (parts[0] in _DECIDES or (self.root / path).is_file()):
                _, held, _ = self._try("rev-parse", f":./{path}")
                status, here, _ = self._try("hash-object", "--", path)
                if status or here != held:
                    found.add(path)
        return found

    def _list(self, *how: str) -> list[str]:
        return [each for each in self._do("ls-files", "-z", *how).split("\0") if each]

    def commit(self, message: str) -> str | None:
        """Commits everything under `.llmops/`; None where that is committed already.

        What else is staged stays staged. Raises `Refused` or `Unmeasured`, with nothing committed.
        """
        self._refuse_ignored()
        self._do("add", "--", REGISTRY)
        if not self._try("diff", "--cached", "--quiet", "--", REGISTRY)[0]:
            return None
        self._do("commit", "--quiet", "--only", "-m", message, "--", REGISTRY)
        return self.head()

    def _refuse_ignored(self) -> None:
        """What the project's own .gitignore hides would silently be no part of the commit."""
        hidden = [
            line[3:]
            for line in self._do(
                "status",
                "--porcelain",
                "--ignored=matching",
                "--untracked-files=all",
                "--",
                REGISTRY,
            ).splitlines()
            if line.startswith("!!") and not _is_meant(line[3:])
        ]
        if hidden:
            _, rule, _ = self._try("check-ignore", "--verbose", "--no-index", "--", hidden[0])
            raise Refused(
                f"git ignores {hidden[0]}, so that it would not be committed: "
                f"{rule.partition(chr(9))[0] or 'a rule of .gitignore'}",
                hint=f"write !{REGISTRY}/ below that rule, and !* first in {REGISTRY}/.gitignore",
            )

    def undo(self, commit: str | None) -> None:
        """Goes back to `commit`, before a commit of this process; every file stays as it is."""
        if commit is None:
            self._do("update-ref", "-d", "HEAD")
        else:
            self._do("reset", "--quiet", "--soft", commit)
        self._try("reset", "--quiet", "--", REGISTRY)

    def demand_remote(self) -> tuple[str, str, str]:
        """Branch, remote and the branch's name over there. Raises `Refused` where one lacks."""
        if self.name is None:
            raise Refused(
                "HEAD is detached: there is no branch to push",
                hint="git switch BRANCH (in CI: check the branch out, not a commit)",
            )
        if self.remote is None or self.upstream is None:
            raise Refused(
                f"{self.name} has nowhere to be pushed to",
                hint=f"git push -u REMOTE {self.name}, once",
            )
        return self.name, self.remote, self.upstream

    def catch_up(self) -> None:
        """Fetches, and puts what is here on top of what is there.

        Raises `Refused` where both hold what cannot stand together, `Unmeasured` where the other
        side cannot be reached.
        """
        _, remote, upstream = self.demand_remote()
        known = self._do("ls-remote", "--heads", remote, f"refs/heads/{upstream}")
        if not known:
            return  # a new branch: the push makes it
        self._do("fetch", "--quiet", remote, f"refs/heads/{upstream}")
        tip = self._do("rev-parse", "--verify", "FETCH_HEAD^{commit}")
        if self._is_ancestor(tip, "HEAD"):
            return
        if self._is_ancestor("HEAD", tip):
            self._do("merge", "--quiet", "--ff-only", tip)
        else:
            self._rebase(tip, f"{remote}/{upstream}")

    def push(self) -> bool:
        """Pushes the branch; False where another push was quicker. Never forced."""
        name, remote, upstream = self.demand_remote()
        ref = f"refs/heads/{name}:refs/heads/{upstream}"
        status, out, err = self._try("push", "--porcelain", "--set-upstream", remote, ref)
        if not status:
            return True
        refusals = [line for line in out.splitlines() if line.startswith("!")]
        if any(sign in f"{out}\n{err}" for sign in _RACES):
            return False
        if refusals:
            raise Refused(
                f"{remote} does not take {upstream}: {_remote_said(err) or refusals[0]}",
                hint="is it protected? git switch -c BRANCH, the same again, open a pull request",
            )
        raise _trouble("push", err)

    def _rebase(self, tip: str, known_as: str) -> None:
        own = self._do("log", "--format=", "--name-only", f"{tip}..HEAD").splitlines()
        if any(REGISTRY not in Path(path).parts for path in own if path):
            raise Refused(
                f"this branch has commits that {known_as} lacks, and lacks others",
                hint="git pull --rebase, then the same command again",
            )
        status, _, err = self._try("rebase", "--quiet", tip)
        if status:
            self._try("rebase", "--abort")
            raise Refused(
                f"{known_as} holds what this branch's own commits of {REGISTRY} contradict: "
                f"{_first(err)}",
                hint=f"somebody was quicker: git reset --keep {known_as}, then begin again",
            )

    def _is_ancestor(self, one: str, other: str) -> bool:
        return not self._try("merge-base", "--is-ancestor", one, other)[0]

    def _do(self, *arguments: str) -> str:
        status, out, err = self._try(*arguments)
        if status:
            raise _trouble(arguments[0], err or out)
        return out

    def _try(self, *arguments: str) -> tuple[int, str, str]:
        return _execute(self.root, *arguments)


def _is_litter(name: str) -> bool:
    """What desktops, editors and Python leave behind: nothing that a project is read from."""
    return name.startswith(".") or name.endswith("~") or name == "__pycache__"


def _is_meant(path: str) -> bool:
    """Whether a path under the registry is ignored by the registry's own rules."""
    parts = Path(path).parts
    below = parts[parts.index(REGISTRY) + 1 :] if REGISTRY in parts else ()
    return below[:1] == ("store",) or any(each.startswith(".new-") for each in below)


def open_branch(root: Path, *, purpose: str) -> Branch:
    """The branch around `root`. Raises `Refused` where there is no git."""
    demand_git(root, purpose=purpose)
    status, name, _ = _execute(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    if status:
        return Branch(root=root, name=None, remote=None, upstream=None)
    _, configured, _ = _execute(root, "config", "--get", f"branch.{name}.remote")
    _, merge, _ = _execute(root, "config", "--get", f"branch.{name}.merge")
    remotes = _execute(root, "remote")[1].split()
    fallback = "origin" if "origin" in remotes else (remotes[0] if len(remotes) == 1 else None)
    upstream = merge.removeprefix("refs/heads/") if configured else name
    return Branch(root=root, name=name, remote=configured or fallback, upstream=upstream)


def _execute(root: Path, *arguments: str) -> tuple[int, str, str]:
    found = git.Git(root).execute(
        ["git", *arguments], env=_ENVIRONMENT, with_extended_output=True, with_exceptions=False
    )
    status, out, err = found
    return int(status), str(out), str(err)


def _trouble(what: str, said: str) -> LlmopsError:
    """Whether the person can mend it, or only the world."""
    message = f"git {what}: {_first(said)}"
    if "tell me who you are" in said or "empty ident" in said:
        return Refused(message, hint="git config user.name NAME; git config user.email ADDRESS")
    if "would be overwritten" in said:
        hint = "somebody brought the same files: git status, then commit, stash or remove yours"
        return Refused(message, hint=hint)
    if what == "commit":
        return Refused(message, hint="git said no (a hook?); nothing was committed")
    if ".lock'" in said:
        hint = "if no git is at work, delete that file: one was killed"
        return Unmeasured(message, hint=hint)
    hint = "nothing was pushed; when git works again, run the same command"
    return Unmeasured(message, hint=hint)


def _first(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "CONFLICT"))]
    return (telling or lines or ["it failed and did not say why"])[0]


def _remote_said(said: str) -> str:
    remote = [line for line in said.splitlines() if line.startswith("remote:")]
    return remote[0].removeprefix("remote:").strip() if remote else ""
