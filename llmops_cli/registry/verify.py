"""Proves, with neither git nor network, that an environment runs what its evidence let in.

For every prompt that runs there: the chain of events, the digest of every file, and the verdict,
computed again from the scores of single cases. All problems are found at once, each with the file
at fault; one broken file hides no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from llmops_cli.core.calibration import Calibration, instrument_of
from llmops_cli.core.digest import short
from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.release import BASELINE, SUBJECT, Event, Evidence, Version, VersionRef
from llmops_cli.core.verdict import Decision
from llmops_cli.judges.gating import recorded, unproven
from llmops_cli.registry.recompute import BaselineCandidate, verdict_of
from llmops_cli.stores.event_log import pointer
from llmops_cli.stores.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that is not as it must be."""

    where: str
    """The file at fault."""
    message: str
    doubtful: bool = False
    """On the record and allowed, but no proof: an override, a quarantined version.
    `--strict` does not let it pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was looked at for one prompt."""

    prompt: str
    version: int | None
    """What runs; None: that could not be read."""
    events: int
    verdicts: int
    """Computed again."""
    flaws: tuple[Flaw, ...]
    judges: tuple[Calibration, ...] = ()
    """What was known of the judges that let in what runs."""
    uncalibrated: tuple[str, ...] = ()
    """Those of which nothing was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was looked at in one environment."""

    environment: str
    proofs: tuple[Proof, ...]
    shipped: tuple[Flaw, ...] = ()
    """What is wrong with the bundle that was held against it."""

    def holds(self, *, strict: bool) -> bool:
        """Whether everything is as it must be."""
        flaws = [flaw for proof in self.proofs for flaw in proof.flaws] + [*self.shipped]
        return not any(strict or not flaw.doubtful for flaw in flaws)


def verify(registry: Registry, environment: str) -> Verification:
    """Looks at every prompt that has events in `environment`. Raises nothing that it can tell."""
    names = registry.prompts_in(environment)
    proofs = tuple(_Inquiry(registry, environment, name).proof() for name in names)
    return Verification(environment=environment, proofs=proofs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """An event with what is known about it."""

    event: Event
    version: Version | None
    """What it moved to; None: nothing, or that is not here as it was."""
    ran: VersionRef | None
    """What the events before it say ran."""
    running: Version | None
    """The same; None also where it is not here as it was."""
    current: bool
    """It says what runs now."""


class _Inquiry:
    """Looks at one prompt, and gathers what is wrong."""

    def __init__(self, registry: Registry, environment: str, name: str) -> None:
        self._registry = registry
        self._environment = environment
        self._name = name
        self._flaws: list[Flaw] = []
        self._verdicts = 0
        self._judges: tuple[Calibration, ...] = ()
        self._uncalibrated: tuple[str, ...] = ()

    def proof(self) -> Proof:
        place = self._environment
        events = self._read(lambda: self._registry.history(place, self._name)) or ()
        moves = list(self._moves(events))
        known = self._evidence({each.to_version.number for each in events if each.to_version})
        ran = set[VersionRef | None]()
        for move in moves:
            ran.add(move.ran)
            self._link(move, ran)
            if move.event.action == "promote":
                self._admitted(move)
                self._cited(move, known)
        current = next((each.version for each in moves if each.current), None)
        self._quarantine(events, current)
        return Proof(
            prompt=self._name,
            version=current.number if current else None,
            events=len(events),
            verdicts=self._verdicts,
            flaws=tuple(self._flaws),
            judges=self._judges,
            uncalibrated=self._uncalibrated,
        )

    def _moves(self, events: Sequence[Event]) -> Iterator[_Move]:
        last, before = pointer(events), None
        running: Version | None = None
        for event in events:
            version = self._version(event)
            current = event is last
            yield _Move(event=event, version=version, ran=before, running=running, current=current)
            if event.action != "quarantine":
                before, running = event.to_version, version

    def _version(self, event: Event) -> Version | None:
        cited = event.to_version
        if cited is None:
            return None
        version = self._read(lambda: self._registry.version(self._name, cited.number))
        if version is not None and version.digest != cited.digest:
            self._flaw(event, f"{version.address} is not the version that this event moved to")
            return None
        return version

    def _evidence(self, numbers: set[int]) -> Mapping[str, Evidence]:
        known: dict[str, Evidence] = {}
        for number in sorted(numbers):
            found = self._read(partial(self._registry.evidence, self._name, number)) or ()
            known.update({each.digest: each for each in found})
            for broken in (broken for each in found for broken in self._registry.damage(each)):
                self._flaws.append(Flaw(where=broken.where or "", message=broken.why))
        return known

    def _link(self, move: _Move, ran: Collection[VersionRef | None]) -> None:
        """Whether the event starts from what ran, and goes where it says it may.

        `ran`: what ran there at any time before.
        """
        event = move.event
        if event.action != "quarantine" and event.from_version != move.ran:
            started = f"v{event.from_version.number}" if event.from_version else "nothing"
            self._flaw(event, f"it moves from {started}, which is not what ran then")
        if event.action == "rollback" and event.to_version not in ran:
            self._flaw(event, f"it goes back to v{_number(event)}, which never ran there")
        if event.came_from is not None and not self._ran_before(event):
            self._flaw(event, "the event of another environment that it cites is not here")
        if event.action == "override":
            self._doubt(event, f"promoted by override: {event.reason}")

    def _ran_before(self, event: Event) -> bool:
        """Whether the event that `event` cites moved another environment to the same version."""
        return (event.came_from, event.to_version) in self._elsewhere

    @cached_property
    def _elsewhere(self) -> AbstractSet[tuple[str | None, VersionRef | None]]:
        """The events of every other environment, and the versions that they moved it to."""
        others = [each for each in self._registry.environments() if each != self._environment]
        chains = (self._read(partial(self._registry.history, each, self._name)) for each in others)
        return {(each.digest, each.to_version) for chain in chains for each in chain or ()}

    def _admitted(self, move: _Move) -> None:
        """Whether a verdict that lets nothing in has let it in."""
        event, allowed = move.event, {Decision.PASS}
        if event.accept_inconclusive or (event.initial and move.ran is None):
            allowed.add(Decision.INCONCLUSIVE)
        if event.decision not in allowed:
            self._flaw(event, f"it was promoted on {_said(event)}")
        if event.accept_inconclusive:
            self._doubt(event, f"an inconclusive verdict was accepted: {event.reason}")

    def _cited(self, move: _Move, known: Mapping[str, Evidence]) -> None:
        """Whether the evidence that a promotion cites is here, is about it, and says so still."""
        event = move.event
        for cited in (*event.evidence, *event.baseline_evidence):
            if cited not in known:
                told = f"the evidence {short(cited)}… that it cites is not here"
                self._flaw(event, told + self._suspects(event, known))
        if not event.evidence:
            self._flaw(event, "it cites no evidence")
        if all(cited in known for cited in (*event.evidence, *event.baseline_evidence)):
            others = [known[each] for each in event.baseline_evidence]
            for each in event.evidence:
                self._speaks(move, known[each], others)

    def _suspects(self, event: Event, known: Mapping[str, Evidence]) -> str:
        """The statements of the version that no event cites: one of them may have been edited."""
        chain = self._registry.history(self._environment, self._name)
        cited = {each for one in chain for each in (*one.evidence, *one.baseline_evidence)}
        files = [
            str(self._registry.evidence_file(each))
            for digest, each in known.items()
            if digest not in cited and each.measurement.number == _number(event)
        ]
        return f"; nothing cites {', '.join(files)}: was that edited?" if files else ""

    def _speaks(self, move: _Move, evidence: Evidence, others: Sequence[Evidence]) -> None:
        """Whether `evidence` is about the version, is whole, and says what the event says."""
        pieces = (evidence, *others)
        self._judged(move, evidence)
        if move.version is not None and evidence.subject.target != move.version.target:
            self._flaw(move.event, f"its evidence is not about {move.version.address}")
        elif not all(self._registry.has_rows(each) for each in pieces):
            if move.current:
                self._flaw(move.event, "the rows behind its verdict are not here")
        elif not any(self._registry.damage(each) for each in pieces):
            self._recompute(move, evidence, others)

    def _judged(self, move: _Move, evidence: Evidence) -> None:
        """Whether what was known of its judges is whole, and what the policy demands of them."""
        place = self._registry.evidence_file(evidence)
        known = self._read(lambda: recorded(evidence, place))
        if known is None:
            return
        for facts in move.event.judged_by:
            for label in unproven(known, facts):
                self._flaw(
                    move.event, f"the judge {label} of {facts.evalset} gates, and is not calibrated"
                )
        if move.current:
            names = {each.instrument for each in known}
            self._judges = known
            self._uncalibrated = tuple(
                f"{facts.evalset}:{metric.label}"
                for facts in move.event.judged_by
                for metric in facts.metrics
                if metric.judged and metric.counts and instrument_of(metric) not in names
            )

    def _recompute(self, move: _Move, evidence: Evidence, others: Sequence[Evidence]) -> None:
        """Whether the scores of single cases still give the verdict."""
        opponent = (
            BaselineCandidate(others[0], SUBJECT)
            if others
            else BaselineCandidate(evidence, BASELINE)
        )
        against = opponent.evidence.measurement.sides.get(opponent.role)
        ran = move.running
        if ran is None and move.ran is not None:
            return  # told already: what ran is not here as it was
        if ran is not None and (against is None or against.target != ran.target):
            self._flaw(move.event, f"its evidence does not compare with {ran.address}, which ran")
            return
        verdict = self._read(
            lambda: verdict_of(
                self._registry, evidence, None if ran is None else opponent, move.event.judged_by
            )
        )
        if verdict is None:
            return
        self._verdicts += 1
        if verdict.decision is not move.event.decision:
            self._flaw(
                move.event,
                f"it was promoted on {_said(move.event)}, and its evidence gives "
                f"{verdict.decision.value}: {verdict.why}",
            )

    def _quarantine(self, events: Sequence[Event], current: Version | None) -> None:
        quarantined = self._read(lambda: self._registry.quarantined(self._name)) or frozenset()
        if current is not None and current.number in quarantined:
            self._doubt(events[-1], f"{current.address} runs, and is quarantined")

    def _read(self, read: Callable[[], T]) -> T | None:
        """What `read` gives; None where something is broken or missing, which is noted."""
        try:
            return read()
        except IntegrityBroken as broken:
            flaw = Flaw(where=broken.where or "", message=broken.why)
        except Refused as refused:
            chain = self._registry.chain_folder(self._environment, self._name)
            flaw = Flaw(where=str(chain), message=refused.message)
        if flaw not in self._flaws:
            self._flaws.append(flaw)
        return None

    def _flaw(self, event: Event, message: str) -> None:
        file = str(self._registry.event_file(event))
        self._flaws.append(Flaw(where=file, message=message))

    def _doubt(self, event: Event, message: str) -> None:
        file = str(self._registry.event_file(event))
        self._flaws.append(Flaw(where=file, message=message, doubtful=True))


def _number(event: Event) -> int | None:
    return event.to_version.number if event.to_version else None


def _said(event: Event) -> str:
    return event.decision.value if event.decision else "no verdict"
