"""Which contests a change concerns: `eval --changed BASE`, for repositories with many prompts.

A prompt is concerned where anything that it is, or that decides about it, is not what it was where
the branch left BASE: what it sends, the model that answers, and the cases, scorers and policy of
the evalsets that gate it. Files are compared by what they mean, so a comment concerns nobody, and
an included file, a judge's prompt or a schema all those who use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmops_cli.core.case import Evalset
from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.project.project import Project, load_project
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison, policy_in
from llmops_cli.run.evalset_facts import evalset_facts
from llmops_cli.run.revision import AtRevision
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.git import open_git


def concerned(
    workspace: Workspace, contests: Sequence[PromptComparison], revision: str
) -> tuple[list[PromptComparison], str]:
    """Those of `contests` that changed since the branch left `revision`, and a note that says so.

    All of them where the files there cannot be read. Raises `Refused` where git does not know how
    the work here and `revision` are related.
    """
    if any(each.candidate.version is not None for each in contests):
        raise Refused(
            "--changed asks what changed in the files, and a version never does",
            hint="name prompts without @version, or leave --changed away",
        )
    checkout = open_git(workspace.root)
    if checkout is None:
        raise Refused(
            f"--changed {revision} needs git, and {workspace.root} is no git checkout",
            hint="in CI, check the repository out; or leave --changed away",
        )
    left = checkout.merge_base(revision)
    since = f"since {left.commit[:12]}, where this branch left {revision}"
    source = AtRevision(left, left.commit[:12])
    try:
        before = load_project(workspace.root, workspace.catalog, source=source)
        then = _Then(replace(workspace, project=before), before)
        found = [each for each in contests if then.concerns(workspace, each)]
    except InvalidFiles as error:
        return list(contests), f"the files {since}, cannot be read: {error.problems[0]}"
    if not found:
        return [], f"no prompt changed {since}"
    left_out = len(contests) - len(found)
    return found, f"{len(found)} of {len(contests)} prompts changed {since}; {left_out} left out"


class _Then:
    """The project as it was."""

    def __init__(self, workspace: Workspace, project: Project) -> None:
        self._workspace = workspace
        self._project = project

    def concerns(self, now: Workspace, contest: PromptComparison) -> bool:
        """Whether anything of `contest` is not what it was."""
        if contest.moved:
            return True
        prompt = self._project.prompts.get(contest.prompt)
        gating = [each.evalset.name for each in contest.rounds]
        if prompt is None or {*gating} - {*self._project.evalsets_of(contest.prompt)}:
            return True
        then, here = (each.evalsets_of(contest.prompt) for each in (self._project, now.project))
        if {*then} - {*here}:
            return True  # an evalset that gated it is gone, or gates others now
        target, ours = self._project.target(prompt), contest.candidate.target
        if (target.digest, target.model) != (ours.digest, ours.model):
            return True
        earlier = self._project.load(gating)
        return any(
            _asked(now, this.evalset, contest.environment)
            != _asked(self._workspace, each, contest.environment)
            for this, each in zip(contest.rounds, earlier, strict=True)
        )


def _asked(workspace: Workspace, evalset: Evalset, environment: str) -> object:
    """Everything by which an evalset decides, as far as it stands in files."""
    policy = policy_in(workspace.project, evalset, environment)
    whole = EvalsetSelection(evalset=evalset, cases=evalset.cases, policy=policy)
    organised = [
        (case.id, case.tags, case.critical, case.group, case.known_failing)
        for case in evalset.cases
    ]
    return evalset_facts(whole, workspace.scorers(evalset)), evalset.repeats, organised
