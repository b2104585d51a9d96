"""`promote` and `rollback` as a person asks for them: measured if asked, and brought into git.

What must work at two in the morning asks the registry alone: a rollback needs no valid project,
and a broken prompt file does not stop it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmops_cli.core.errors import LlmopsError, UnknownName
from llmops_cli.core.plan import Plan
from llmops_cli.core.ports import Progress
from llmops_cli.core.release import Version
from llmops_cli.engine.budget import Budget
from llmops_cli.project.project import find_root
from llmops_cli.registry import service as ledger
from llmops_cli.registry.deliver import Chain, Delivery, move
from llmops_cli.registry.measure import Measured, MeasureTarget, measure, needs, number_of
from llmops_cli.registry.promote import Promotion
from llmops_cli.registry.rollback import RollbackRequest, RolledBack, rollback
from llmops_cli.run.reuse import reuse_runs
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import Workspace, actor, now, open_project, open_workspace, run_url
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteOptions:
    """Which version a person wants where, and how they want it done."""

    address: str
    """`support@v3`."""
    environment: str | None = None
    """None: the last."""
    word: ledger.PromotionFlags = field(default_factory=ledger.PromotionFlags)
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def name(self) -> str:
        """The prompt."""
        return self.address.partition("@")[0]


def promote(start: Path, ask: PromoteOptions, *, environ: Mapping[str, str]) -> Promotion:
    """Promotes, or says why not; calls no model.

    Raises what `flows.promote` raises, `Refused` where git says that somebody else was quicker,
    `Unmeasured` where git cannot be reached. Then nothing was promoted.
    """
    root = find_root(start)
    place = environment_of(open_project(root), ask.environment)

    def act() -> Promotion:
        with open_workspace(root, environ=environ) as workspace:
            return ledger.promote(workspace, ask.address, environment=place.name, word=ask.word)

    chain = Chain(registry=Registry(root), environment=place.name, name=ask.name)
    return move(root, ask.delivery, chain, act, decides=True)


def measure_first(
    start: Path,
    ask: PromoteOptions,
    *,
    progress: Progress,
    environ: Mapping[str, str],
    runs: Sequence[Path] = (),
) -> Measured:
    """Makes the evidence that a promotion lacks; from `runs` (run files) alone where some are
    given: then nothing is called over a network.
    """
    with open_workspace(start, environ=environ) as workspace:
        reuse_runs(workspace, runs)
        subject = _subject(workspace, ask)
        return measure(workspace, subject, progress=progress, budget=Budget(), offline=bool(runs))


def price(start: Path, ask: PromoteOptions, *, environ: Mapping[str, str]) -> Plan:
    """What `measure_first` would call."""
    with open_workspace(start, environ=environ) as workspace:
        return needs(workspace, _subject(workspace, ask))


def _subject(workspace: Workspace, ask: PromoteOptions) -> MeasureTarget:
    name, _, selector = ask.address.partition("@")
    number = number_of(workspace, name, selector)
    return MeasureTarget(name=name, number=number, environment=ask.environment)


def carried(start: Path, version: Version, *, environ: Mapping[str, str]) -> bool:
    """Whether the working copy still is what `version` froze; False where it cannot be read."""
    try:
        with open_workspace(start, environ=environ) as workspace:
            return ledger.carries(workspace, version)
    except LlmopsError:
        return False


def retreat(
    start: Path, ask: PromoteOptions, *, to: str | None, environ: Mapping[str, str]
) -> RolledBack:
    """Moves the environment in `ask.address` (`support@production`) back to `to`, at once.

    Raises what `flows.rollback` raises, and what git brings as in `promote`.
    """
    root = find_root(start)
    registry = Registry(root)
    name, _, place = ask.address.partition("@")
    environment = place or environment_of(open_project(root), None).name
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)

    def act() -> RolledBack:
        wish = RollbackRequest(
            name=name,
            environment=environment,
            to=None if to is None else registry.resolve(name, to),
            reason=ask.word.reason,
            actor=actor(root, environ),
            at=now(),
            run_url=run_url(environ),
        )
        return rollback(registry, wish)

    chain = Chain(registry=registry, environment=environment, name=name)
    return move(root, ask.delivery, chain, act, decides=False)
