"""`verify`, `fsck` and `history`: what the registry says, from its own files alone.

The project's files are asked only where no environment is named, and by `fsck` for the policy at
the base revision: what is broken elsewhere stops no proof.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmops_cli.core.errors import InvalidFiles, LlmopsError, Refused, UnknownName
from llmops_cli.core.release import Event
from llmops_cli.plugins import catalog
from llmops_cli.project.project import PROJECT_FILE, find_root, load_project
from llmops_cli.registry.base_policy_check import EarlierPolicy
from llmops_cli.registry.bundle import departures
from llmops_cli.registry.fsck import Fsck, Growth
from llmops_cli.registry.verify import Flaw, Verification, verify
from llmops_cli.run.revision import AtRevision, open_git
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import open_project
from llmops_cli.stores.bundle import bundle_of
from llmops_cli.stores.registry import Registry


def prove(start: Path, environment: str | None, bundle: Path | None) -> Verification:
    """Proves what an environment (None: the last) runs, and that `bundle` holds just that.

    Raises `Refused` where nothing runs there: an empty registry proves nothing.
    """
    root = find_root(start)
    registry = Registry(root)
    place = environment or environment_of(open_project(root), None).name
    known = registry.environments()
    if known and place not in known:
        raise Refused(
            f"{place} runs nothing: there is nothing to prove", hint=f"known: {', '.join(known)}"
        )
    if not known:
        raise Refused(
            "nothing was promoted yet: there is nothing to prove",
            hint="llmops promote NAME@v1 --initial -m WHY",
        )
    found = verify(registry, place)
    if bundle is None:
        return found
    return replace(found, shipped=_shipped(registry, place, bundle))


def _shipped(registry: Registry, environment: str, file: Path) -> tuple[Flaw, ...]:
    try:
        held = bundle_of(file.read_bytes(), file)
        if held.environment != environment:
            message = f"it is a bundle of {held.environment}, not of {environment}"
            return (Flaw(where=str(file), message=message),)
        return departures(registry, held, str(file))
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    except LlmopsError as error:
        return (Flaw(where=str(file), message=error.message),)


def compare_with(start: Path, base: str | None) -> Growth:
    """Whether the registry has only grown since the git revision `base`; None: whether it holds.

    Without a base, every version, statement and event that is there is read and must fit.
    """
    root = find_root(start)
    if base is None:
        return Fsck(Registry(root), {}, "the beginning").consistency()
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"fsck --base {base} needs git, and {root} is no git checkout",
            hint="llmops verify proves what runs without git",
        )
    revision, registry = checkout.at(base), Registry(root)
    source = AtRevision(revision, base)
    doubts: tuple[Flaw, ...] = ()
    judge = None
    if PROJECT_FILE in source.files("."):
        try:
            rules = load_project(root, catalog(), source=source)
            judge = EarlierPolicy(registry=registry, rules=rules, base=base).judge
        except InvalidFiles as error:
            message = f"cannot be read at {base}, so its policy is not asked: {error.problems[0]}"
            doubts = (Flaw(where=PROJECT_FILE, message=message, doubtful=True),)
    growth = Fsck(registry, revision.blobs, base).growth(judge or (lambda _event: ()))
    return replace(growth, flaws=(*growth.flaws, *doubts))


def history(start: Path, address: str) -> list[Event]:
    """Every event of a prompt, newest first: in one environment, or in all of them."""
    root = find_root(start)
    registry = Registry(root)
    name, _, place = address.partition("@")
    known = registry.environments()
    if place and place not in known:
        raise UnknownName("environment", place, known)
    environments = [place] if place else known
    events = [each for one in environments for each in registry.history(one, name)]
    if not events and name not in registry.names():
        prompts = {*registry.names(), *open_project(root).prompts}
        if name not in prompts:
            raise UnknownName("prompt", name, prompts)
    return events[::-1]
