"""Select the prompts that a change affects: `eval --changed BASE`, for repositories with many
prompts.

A prompt is affected if its requests, its model, or the cases, scorers or policy of the evalsets
that gate it differ from those at the branch point. Parsed files are compared, so a comment affects
no prompt, and an included file, a judge's prompt or a schema affects all prompts that use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.prompt import Evalset
from llmops_cli.project.project import load_project
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison, policy_in
from llmops_cli.run.evalset_run import evalset_facts
from llmops_cli.run.revision import AtRevision
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.git import open_git


def changed_prompts(
    workspace: Workspace, comparisons: Sequence[PromptComparison], revision: str
) -> tuple[list[PromptComparison], str]:
    """Return those of `comparisons` that changed since the branch left `revision`, and a note.

    All of them where the files there cannot be read. Raises `Refused` if git does not know how
    the work here and `revision` are related.
    """
    if any(comparison.candidate.version is not None for comparison in comparisons):
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
        change = _Change(before=replace(workspace, project=before), now=workspace)
        changed = [comparison for comparison in comparisons if change.concerns(comparison)]
    except InvalidFiles as error:
        return list(comparisons), f"the files {since}, cannot be read: {error.problems[0]}"
    if not changed:
        return [], f"no prompt changed {since}"
    total, left_out = len(comparisons), len(comparisons) - len(changed)
    return changed, f"{len(changed)} of {total} prompts changed {since}; {left_out} left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """The project before and after a change."""

    before: Workspace
    now: Workspace

    def concerns(self, comparison: PromptComparison) -> bool:
        """Whether anything about `comparison` changed."""
        if comparison.moves_environment:
            return True
        name, project = comparison.prompt, self.before.project
        prompt = project.prompts.get(name)
        gating = [selected.evalset.name for selected in comparison.evalsets]
        earlier = project.evalsets_of(name)
        # an evalset that is new, or that is gone or gates other prompts now
        if prompt is None or {*gating} - {*earlier} or {*earlier} - {*self._evalsets(name)}:
            return True
        target, ours = project.target(prompt), comparison.candidate.target
        if (target.digest, target.model) != (ours.digest, ours.model):
            return True
        return any(
            _gate(self.now, selected.evalset, comparison.environment)
            != _gate(self.before, evalset, comparison.environment)
            for selected, evalset in zip(comparison.evalsets, project.load(gating), strict=True)
        )

    def _evalsets(self, prompt: str) -> Sequence[str]:
        return self.now.project.evalsets_of(prompt)


def _gate(workspace: Workspace, evalset: Evalset, environment: str) -> object:
    """Return everything in the files that affects the verdict of an evalset."""
    policy = policy_in(workspace.project, evalset, environment)
    selected = EvalsetSelection(evalset=evalset, cases=evalset.cases, policy=policy)
    organization = [
        (case.id, case.tags, case.critical, case.group, case.known_failing)
        for case in evalset.cases
    ]
    return evalset_facts(selected, workspace.scorers(evalset)), evalset.repeats, organization
