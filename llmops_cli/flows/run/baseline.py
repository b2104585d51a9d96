"""What a candidate is compared with: what was named, or what the environment runs without it.

A change may release, measure and promote at once. Held against what it promotes, it would be
compared with itself, whoever promoted it and how. So with a base revision, an environment runs
what the log says there: events that the change adds do not count for its own baseline. What they
cite does: the answers of that evidence are not asked for again.
"""

from __future__ import annotations

from dataclasses import replace

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Environment
from llmops_cli.core.prompt import Model
from llmops_cli.core.release import Event
from llmops_cli.flows.contenders import Contender, contender_at_base, contender_of
from llmops_cli.flows.reuse import reuse_evidence
from llmops_cli.flows.run.selection import Selection
from llmops_cli.flows.workspace import Workspace


def baseline_of(
    workspace: Workspace, selection: Selection, name: str, environment: Environment
) -> tuple[Contender | None, tuple[str, ...]]:
    """What `name` is compared with in `environment`, and what there is to say about it.

    Raises `Refused` where the base revision runs a version that is not here.
    """
    if selection.baseline_model is not None:
        model = workspace.project.resolve_model(selection.baseline_model)
        return on_model(contender_of(workspace, name, "working"), model), ()
    if selection.baseline is not None:
        other, _, selector = selection.baseline.partition("@")
        return contender_of(workspace, other or name, selector or "working", before=True), ()
    moved = moved_here(workspace, environment.name, name)
    told = None if moved is None else _told(moved)
    if workspace.before.pointer(environment.name, name) is not None:
        running = _running(workspace, environment.name, name)
        compared = f"compared with {running.name}, which ran there before"
        return running, () if told is None else (f"{told}: {compared}",)
    missing = told or f"{environment.name} does not run {name} yet"
    before = contender_at_base(workspace, name) if selection.environment is None else None
    if before is None:
        return None, (f"no baseline: {missing}",)
    here = told or f"{environment.name} does not run it yet"
    return before, (f"{here}: compared with what the base holds",)


def moved_here(workspace: Workspace, environment: str, name: str) -> Event | None:
    """The last event by which this change moves what `environment` runs of `name`, if it does.

    The evidence of the version that it moves to is taken over.
    """
    last = workspace.registry.pointer(environment, name)
    chain = workspace.before.history(environment, name)
    if last is None or last.to_version is None or last.seq <= len(chain):
        return None
    reuse_evidence(workspace, name, last.to_version.number)
    return last


def _running(workspace: Workspace, environment: str, name: str) -> Contender:
    try:
        return contender_of(workspace, name, environment, before=True)
    except UnknownName as error:
        event = workspace.before.pointer(environment, name)
        assert event is not None
        assert event.to_version is not None
        raise Refused(
            f"at {workspace.base}, {environment} runs {name}@v{event.to_version.number}, and this "
            "branch does not have it",
            hint=f"update your branch: git merge {workspace.base}",
        ) from error


def _told(moved: Event) -> str:
    assert moved.to_version is not None
    version = f"{moved.prompt}@v{moved.to_version.number}"
    if moved.action == "rollback":
        return f"this change rolls {moved.environment} back to {version}"
    by, first = " by override" if moved.action == "override" else "", ""
    if moved.from_version is None:
        first = ", the first that runs there"
    return f"this change promotes {version} to {moved.environment}{by}{first}"


def on_model(side: Contender, model: Model) -> Contender:
    """The same prompt answered by another model: that is no version."""
    return Contender(name=f"{side.name} on {model.name}", target=replace(side.target, model=model))
