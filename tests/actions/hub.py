"""A repository on GitHub with production running, its pull requests, and machines that run them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.actions.runner import ROOT, Runner
from tests.git_project import GitProject, git

HERE = "acme/prompts"
Change = Callable[[GitProject], None]


@dataclass(kw_only=True)
class Hub:
    """The repository `acme/prompts`."""

    bare: Path
    folder: Path
    """For the machines: temporary files, caches and artefacts, shared by all runs."""
    api: str = "http://127.0.0.1:9"
    env: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def pull(
        self, change: Change | None, *, number: int = 7, head: str = HERE, thin: bool = False
    ) -> Runner:
        """A machine for the pull request `number`, with `change` on top of what it was."""
        branch, base = f"pull-{number}", git(self.bare, "rev-parse", "main")
        repo = self._checkout(f"author-{self.runs}")
        known = git(self.bare, "branch", "--list", branch)
        repo.git("switch", "-q", *([branch] if known else ["-c", branch]))
        if change is not None:
            change(repo)
            repo.commit(f"a change of #{number}")
        repo.git("push", "-q", "origin", branch)
        tip = repo.git("rev-parse", "HEAD")
        repo.git("switch", "-q", "--detach", base)
        repo.git("merge", "-q", "--no-ff", "-m", "merged", tip)
        repo.git("push", "-q", "-f", "origin", f"HEAD:refs/pull/{number}/merge")
        event = {
            "pull_request": {
                "number": number,
                "base": {"sha": base},
                "head": {"sha": tip, "repo": {"full_name": head}},
            }
        }
        return self._machine("pull_request", f"refs/pull/{number}/merge", event, thin=thin)

    def queued(self, number: int = 7) -> Runner:
        """A machine for the merge group of that pull request."""
        base, head = git(self.bare, "rev-parse", "main"), f"refs/pull/{number}/merge"
        ref = f"refs/heads/gh-readonly-queue/main/pr-{number}"
        git(self.bare, "update-ref", ref, head)
        event = {"merge_group": {"base_sha": base, "base_ref": "refs/heads/main"}}
        return self._machine("merge_group", ref, event)

    def push(self, change: Change) -> Runner:
        """A machine for a push to `main`."""
        before = git(self.bare, "rev-parse", "main")
        repo = self._checkout(f"pusher-{self.runs}")
        change(repo)
        repo.commit("on main")
        repo.git("push", "-q", "origin", "main")
        return self._machine("push", "refs/heads/main", {"before": before})

    def after(self, earlier: Runner, *, owner: str) -> Runner:
        """A machine for `workflow_run`, after a run for a pull request from a fork of `owner`."""
        pull: Mapping[str, Any] = earlier.event["pull_request"]
        event = {
            "workflow_run": {
                "id": earlier.run,
                "event": "pull_request",
                "head_branch": "patch-1",
                "head_sha": pull["head"]["sha"],
                "head_repository": {"full_name": f"{owner}/prompts", "owner": {"login": owner}},
                "html_url": f"https://github.com/{HERE}/actions/runs/{earlier.run}",
            }
        }
        return self._machine("workflow_run", "refs/heads/main", event)

    def _machine(
        self, name: str, ref: str, event: Mapping[str, Any], *, thin: bool = False
    ) -> Runner:
        self.runs += 1
        workspace = self.folder / f"workspace-{self.runs}"
        git(self.folder, "init", "-q", str(workspace))
        git(workspace, "remote", "add", "origin", f"file://{self.bare}")
        git(workspace, "fetch", "-q", *(["--depth=1"] if thin else []), "origin", ref)
        if not thin:
            git(workspace, "fetch", "-q", "origin")
        git(workspace, "checkout", "-q", "--detach", git(self.bare, "rev-parse", ref))
        return Runner(
            workspace=workspace,
            folder=self.folder,
            event_name=name,
            event={**event, "repository": {"default_branch": "main"}},
            ref=ref,
            env={"PATH": self.env["PATH"], "PYTHONPATH": str(ROOT), **self.env},
            api=self.api,
            run=self.runs,
        )

    def _checkout(self, name: str) -> GitProject:
        git(self.folder, "clone", "-q", f"file://{self.bare}", name)
        return GitProject(self.folder / name)


def programs(folder: Path, **more: str) -> Path:
    """A folder for PATH: llmops as it stands in this checkout, and `more` scripts by name."""
    folder.mkdir(parents=True)
    for name, body in {"llmops": f'exec {sys.executable} -m llmops_cli "$@"', **more}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder
