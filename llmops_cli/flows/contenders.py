"""Who can be compared: names and addresses, and the targets that they mean here today.

A version's snapshot says what was released. Where its model is reached, with which key, limits
and price, is today's; what answers stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmops_cli.core.digest import short
from llmops_cli.core.errors import UnknownName
from llmops_cli.core.prompt import Model, Target
from llmops_cli.files.models import local_identity
from llmops_cli.files.weights import Weights
from llmops_cli.flows.reuse import reuse_evidence
from llmops_cli.flows.workspace import Workspace
from llmops_cli.stores.registry import target_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A target with the name people know it by: `support@working`, `support@v3`."""

    name: str
    target: Target
    version: int | None = None
    undrawable: str | None = None
    """Why it cannot be drawn here: the application that it was released with is another one now."""
    at_base: bool = False
    """Whether it is what stands at the base revision, and so are its recorded answers."""


def contender_of(
    workspace: Workspace, name: str, selector: str, *, before: bool = False
) -> Contender:
    """The target that `name@selector` means (docs/words.md).

    `before`: with the log as it stood at the base revision, where one was named.
    """
    if selector == "working":
        if name not in workspace.project.prompts:
            raise UnknownName("prompt", name, sorted(workspace.project.prompts))
        prompt = workspace.project.prompts[name]
        return Contender(name=f"{name}@working", target=workspace.project.target(prompt))
    registry = workspace.before if before else workspace.registry
    number = registry.resolve(name, selector)
    reuse_evidence(workspace, name, number)
    target = target_of(workspace.registry.version(name, number))
    address = f"{name}@v{number}"
    return Contender(
        name=address,
        target=_connected(workspace, target),
        version=number,
        undrawable=_undrawable(workspace, address, target.model),
    )


def contender_at_base(workspace: Workspace, name: str) -> Contender | None:
    """The prompt `name` as it stands at the base revision; None: no base, or not there."""
    if workspace.rules is workspace.project or name not in workspace.rules.prompts:
        return None
    target, address = workspace.rules.target(workspace.rules.prompts[name]), f"{name}@base"
    return Contender(
        name=address,
        target=_connected(workspace, target),
        undrawable=_undrawable(workspace, address, target.model),
        at_base=True,
    )


def _connected(workspace: Workspace, target: Target) -> Target:
    """A snapshot's target with today's way to reach its model: URL, key, limits, price."""
    frozen = target.model
    same = _same(workspace, frozen)
    alias = workspace.project.models.get(frozen.name)
    if not same and alias is not None:  # the alias means another model now
        return replace(target, model=replace(frozen, name=f"{frozen.provider}/{frozen.model}"))
    if not same:
        return target
    today = next((model for model in same if model.name == frozen.name), same[0])
    reached = replace(
        frozen,
        name=today.name,
        base_url=today.base_url,
        api_key_env=today.api_key_env,
        headers=today.headers,
        options=today.options if _has_identity(workspace, frozen) else frozen.options,
        limits=today.limits,
        price=today.price,
    )
    return replace(target, model=reached)


def _same(workspace: Workspace, frozen: Model) -> list[Model]:
    """The models of llmops.yaml that answer as `frozen` did; applications and local models,
    by identity.
    """
    return [
        model
        for model in workspace.project.models.values()
        if (model.provider, model.model) == (frozen.provider, frozen.model)
        and (model.identity == frozen.identity or not _has_identity(workspace, frozen))
    ]


def _has_identity(workspace: Workspace, model: Model) -> bool:
    """Whether its name alone does not say what answers."""
    kind = workspace.provider(model)
    return kind.application or kind.weights


def _undrawable(workspace: Workspace, address: str, frozen: Model) -> str | None:
    """Why a version's application or local model cannot be asked: another one stands here.

    Its answers are then those that were measured: never are they drawn from other code, nor
    from other weights.
    """
    if not _has_identity(workspace, frozen) or _same(workspace, frozen):
        return None
    kind = workspace.provider(frozen)
    if kind.weights and frozen.identity == local_identity(frozen, kind, Weights(workspace.root)):
        return None  # served with other options today, but its files are as they were
    today = workspace.project.models.get(frozen.name)
    now = short(today.identity) if today and today.identity else "none"
    return (
        f"{address} cannot be drawn: what it ran is not here (identity "
        f"{short(frozen.identity or 'none')} ≠ {now}). Where it is, run "
        f"`llmops measure {address}`: its evidence holds no such answer"
    )
