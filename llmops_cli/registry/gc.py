"""Delete the rows and texts of evidence that no decision can need again.

Versions, events, statements and summaries are kept forever: who decided what on which verdict is
never lost. Rows and texts are a thousand times as large. They are kept where they are

- cited by the event that says what an environment runs, or ran before it, or
- the newest of a version that runs, ran before that, is an anchor of a policy, or may still be
  promoted (it is newer than what some environment runs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from llmops_cli.core.policy import Anchor
from llmops_cli.core.records import Event
from llmops_cli.project.policy import policy_of
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.evidence import data_files, has_rows
from llmops_cli.stores.registry import Registry, move_before


def gc(
    registry: Registry, anchors: Mapping[str, Collection[int]], *, dry_run: bool
) -> dict[Path, int]:
    """Delete what is not needed, and return the size of each file.

    `anchors` are of `anchored_versions`. Raises `IntegrityBroken` where the registry is broken,
    before anything is deleted.
    """
    files: dict[Path, int] = {}
    for name in registry.names():
        needed = needed_evidence(registry, name, anchors.get(name, ()))
        for evidence in registry.all_evidence(name):
            if evidence.digest not in needed:
                files.update((path, path.stat().st_size) for path, _ in data_files(evidence))
    for path in files if not dry_run else ():
        path.unlink(missing_ok=True)
    return files


def anchored_versions(workspace: Workspace) -> Mapping[str, set[int]]:
    """Return the versions that a policy of the project compares with, by prompt."""
    project, registry = workspace.project, workspace.registry
    anchors: dict[str, set[int]] = {}
    for header in project.evalsets.values():
        for environment in project.environments:
            policy = policy_of(project.gate, header.gate, environment.gate)
            selectors = [rule.version for rule in policy.rules if isinstance(rule, Anchor)]
            for name in filter(registry.numbers, header.prompts):
                numbers = {registry.resolve(name, selector) for selector in selectors}
                anchors.setdefault(name, set()).update(numbers)
    return anchors


def needed_evidence(registry: Registry, name: str, anchors: Collection[int] = ()) -> frozenset[str]:
    """Return the digests of the evidence of `name` whose rows are kept."""
    environments = registry.environments()
    moves = [
        event
        for environment in environments
        for event in _deciding_events(registry.history(environment, name))
    ]
    cited = {digest for event in moves for digest in (*event.evidence, *event.baseline_evidence)}
    pointers = (registry.pointer(environment, name) for environment in environments)
    current = [event.to_version.number for event in pointers if event and event.to_version]
    oldest = min(current, default=0)
    ran = {event.to_version.number for event in moves if event.to_version}
    newest = set[str]()
    for number in (version.number for version in registry.versions(name)):
        if number in ran or number in anchors or number > oldest:
            with_rows = filter(has_rows, registry.evidence(name, number))
            newest.update([evidence.digest for evidence in with_rows][-1:])
    return frozenset(cited | newest)


def _deciding_events(chain: tuple[Event, ...]) -> Iterator[Event]:
    """Yield the events that put the current and the previous distinct version there.

    Where one of them is a rollback, also the promotion that first let its version in.
    """
    for steps in (0, 1):
        event = move_before(chain, steps)
        if event is None:
            return
        yield event
        promotions = (
            promotion
            for promotion in reversed(chain)
            if promotion.action == "promote" and promotion.to_version == event.to_version
        )
        yield from islice(promotions, 1)
