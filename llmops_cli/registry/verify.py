"""Verify, with neither git nor network, that an environment runs what its evidence allowed.

For every prompt that runs there: the chain of events, the digest of every file, and the verdict,
recomputed from the scores of single cases. All problems are reported at once, each with the file
at fault; one broken file hides no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from llmops_cli.core.digest import short
from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision
from llmops_cli.core.records import Calibration, Event, Evidence, Version, VersionRef, instrument_of
from llmops_cli.core.result import BASELINE, OWN_BASELINE
from llmops_cli.gate.calibration import unfit_labels
from llmops_cli.project.project import find_root
from llmops_cli.registry.bundle import bundle_problems
from llmops_cli.registry.problems import ProblemCollector, RegistryProblem, pass_check
from llmops_cli.registry.recompute import BaselineRows, verdict_of
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import open_project
from llmops_cli.stores.calibrations import evidence_calibrations
from llmops_cli.stores.evidence import damage, has_rows
from llmops_cli.stores.registry import Registry, last_move

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptVerification:
    """What was checked for one prompt."""

    prompt: str
    version: int | None
    """What runs; None: that could not be read."""
    events: int
    verdicts: int
    """How many were recomputed."""
    problems: tuple[RegistryProblem, ...]
    judges: tuple[Calibration, ...] = ()
    """The calibrations of the judges that let in what runs."""
    uncalibrated: tuple[str, ...] = ()
    """The judges without a calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked in one environment."""

    environment: str
    prompts: tuple[PromptVerification, ...]
    bundle: tuple[RegistryProblem, ...] = ()
    """What is wrong with the bundle that was compared with it."""

    def passes(self, *, strict: bool) -> bool:
        """Return whether there is no problem; `strict` counts warnings too."""
        problems = [problem for prompt in self.prompts for problem in prompt.problems]
        return pass_check([*problems, *self.bundle], strict=strict)


def verify(start: Path, environment: str | None, bundle: Path | None) -> Verification:
    """Verify what an environment (None: the last) runs, and that the file `bundle` holds just that.

    Raises `Refused` if nothing runs there: an empty registry proves nothing.
    """
    root = find_root(start)
    registry = Registry(root)
    name = environment or environment_of(open_project(root), None).name
    known = registry.environments()
    if not known:
        raise Refused(
            "nothing was promoted yet, so there is nothing to verify",
            hint="llmops promote NAME@v1 --initial -m WHY",
        )
    if name not in known:
        raise Refused(
            f"{name} runs nothing, so there is nothing to verify",
            hint=f"known: {', '.join(known)}",
        )
    verification = verify_environment(registry, name)
    if bundle is None:
        return verification
    return replace(verification, bundle=bundle_problems(registry, name, bundle))


def verify_environment(registry: Registry, environment: str) -> Verification:
    """Check every prompt that has events in `environment`; what is broken is in the result."""
    names = registry.prompts_in(environment)
    prompts = tuple(_PromptVerifier(registry, environment, name).verify() for name in names)
    return Verification(environment=environment, prompts=prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """An event with what ran before it."""

    event: Event
    version: Version | None
    """What it moved to; None: nothing, or the version is not as it was released."""
    ran: VersionRef | None
    """What ran before it, by the events."""
    running: Version | None
    """The same; None also where the version is not as it was released."""
    current: bool
    """Whether it says what runs now."""


class _PromptVerifier:
    """Checks one prompt of an environment."""

    def __init__(self, registry: Registry, environment: str, name: str) -> None:
        self._registry = registry
        self._environment = environment
        self._name = name
        self._collector = ProblemCollector(registry.folder.parent)
        self._verdicts = 0
        self._judges: tuple[Calibration, ...] = ()
        self._uncalibrated: tuple[str, ...] = ()

    def verify(self) -> PromptVerification:
        """Check every event, version and piece of evidence."""
        read_events = partial(self._registry.history, self._environment, self._name)
        events = self._read(read_events) or ()
        moves = list(self._moves(events))
        evidence = self._evidence({event.to_version.number for event in events if event.to_version})
        ran_before = set[VersionRef | None]()
        for move in moves:
            ran_before.add(move.ran)
            self._check_link(move, ran_before)
            if move.event.action == "promote":
                self._check_decision(move)
                self._check_citations(move, events, evidence)
        current = next((move.version for move in moves if move.current), None)
        quarantined = self._read(partial(self._registry.quarantined, self._name)) or frozenset()
        if current is not None and current.number in quarantined:
            self._add(events[-1], f"{current.address} runs, and is quarantined", warning=True)
        return PromptVerification(
            prompt=self._name,
            version=current.number if current else None,
            events=len(events),
            verdicts=self._verdicts,
            problems=self._collector.problems,
            judges=self._judges,
            uncalibrated=self._uncalibrated,
        )

    def _moves(self, events: Sequence[Event]) -> Iterator[_Move]:
        last, ran = last_move(events), None
        running: Version | None = None
        for event in events:
            version = self._version(event)
            yield _Move(
                event=event, version=version, ran=ran, running=running, current=event is last
            )
            if event.action != "quarantine":
                ran, running = event.to_version, version

    def _version(self, event: Event) -> Version | None:
        cited = event.to_version
        if cited is None:
            return None
        version = self._read(partial(self._registry.version, self._name, cited.number))
        if version is not None and version.digest != cited.digest:
            self._add(event, f"{version.address} is not the version that this event moved to")
            return None
        return version

    def _evidence(self, numbers: set[int]) -> Mapping[str, Evidence]:
        """Return the evidence of some versions by digest, and check its files."""
        by_digest: dict[str, Evidence] = {}
        for number in sorted(numbers):
            read_evidence = partial(self._registry.evidence, self._name, number)
            for evidence in self._read(read_evidence) or ():
                by_digest[evidence.digest] = evidence
                for error in damage(evidence):
                    self._collector.add_error(error)
        return by_digest

    def _check_link(self, move: _Move, ran_before: AbstractSet[VersionRef | None]) -> None:
        """Check that the event starts from what ran, and goes where its action may go."""
        event = move.event
        if event.action != "quarantine" and event.from_version != move.ran:
            started = f"v{event.from_version.number}" if event.from_version else "nothing"
            self._add(event, f"it moves from {started}, which is not what ran then")
        if event.action == "rollback" and event.to_version not in ran_before:
            self._add(event, f"it goes back to v{_number(event)}, which never ran there")
        if event.came_from is not None and not self._cites_other_environment(event):
            self._add(event, "the event of another environment that it cites is not here")
        if event.action == "override":
            self._add(event, f"promoted by override: {event.reason}", warning=True)

    def _cites_other_environment(self, event: Event) -> bool:
        """Return whether the event that `event` cites moved another environment to its version."""
        return (event.came_from, event.to_version) in self._moves_elsewhere

    @cached_property
    def _moves_elsewhere(self) -> AbstractSet[tuple[str | None, VersionRef | None]]:
        """The events of all other environments, and the versions that they moved to."""
        environments = set(self._registry.environments()) - {self._environment}
        chains = (
            self._read(partial(self._registry.history, environment, self._name))
            for environment in sorted(environments)
        )
        return {(event.digest, event.to_version) for chain in chains for event in chain or ()}

    def _check_decision(self, move: _Move) -> None:
        """Check that the recorded verdict allowed the promotion."""
        event, allowed = move.event, {Decision.PASS}
        if event.accept_inconclusive or (event.initial and move.ran is None):
            allowed.add(Decision.INCONCLUSIVE)
        if event.decision not in allowed:
            self._add(event, f"it was promoted on {_decision(event)}")
        if event.accept_inconclusive:
            message = f"an inconclusive verdict was accepted: {event.reason}"
            self._add(event, message, warning=True)

    def _check_citations(
        self, move: _Move, events: Sequence[Event], known: Mapping[str, Evidence]
    ) -> None:
        """Check that the evidence that a promotion cites is here and still gives its verdict."""
        event = move.event
        cited = (*event.evidence, *event.baseline_evidence)
        missing = [digest for digest in cited if digest not in known]
        for digest in missing:
            message = f"the evidence {short(digest)}… that it cites is not here"
            self._add(event, message + self._uncited(event, events, known))
        if not event.evidence:
            self._add(event, "it cites no evidence")
        if not missing:
            others = [known[digest] for digest in event.baseline_evidence]
            for digest in event.evidence:
                self._check_evidence(move, known[digest], others)

    def _uncited(self, event: Event, events: Sequence[Event], known: Mapping[str, Evidence]) -> str:
        """Name the statements of the version that no event cites: one may have been edited."""
        cited = {
            digest for citing in events for digest in (*citing.evidence, *citing.baseline_evidence)
        }
        files = [
            str(evidence.file)
            for digest, evidence in known.items()
            if digest not in cited and evidence.measurement.number == _number(event)
        ]
        return f"; nothing cites {', '.join(files)}: was it edited?" if files else ""

    def _check_evidence(self, move: _Move, evidence: Evidence, others: Sequence[Evidence]) -> None:
        """Check that `evidence` is about the version, is complete and gives the verdict."""
        all_evidence = (evidence, *others)
        self._check_judges(move, evidence)
        if move.version is not None and evidence.candidate.target != move.version.target:
            self._add(move.event, f"its evidence is not about {move.version.address}")
        elif not all(map(has_rows, all_evidence)):
            if move.current:
                self._add(move.event, "the rows behind its verdict are not here")
        elif not any(map(damage, all_evidence)):
            self._check_verdict(move, evidence, others)

    def _check_judges(self, move: _Move, evidence: Evidence) -> None:
        """Check the calibrations in the evidence, and what the policy demands of the judges."""
        calibrations = self._read(partial(evidence_calibrations, evidence))
        if calibrations is None:
            return
        for facts in move.event.judged_by:
            for label in unfit_labels(calibrations, facts):
                message = f"the judge {label} of {facts.evalset} gates, and is not calibrated"
                self._add(move.event, message)
        if move.current:
            calibrated = {calibration.instrument for calibration in calibrations}
            self._judges = calibrations
            self._uncalibrated = tuple(
                f"{facts.evalset}:{metric.label}"
                for facts in move.event.judged_by
                for metric in facts.metrics
                if metric.judged and metric.counts and instrument_of(metric) not in calibrated
            )

    def _check_verdict(self, move: _Move, evidence: Evidence, others: Sequence[Evidence]) -> None:
        """Check that the scores of single cases still give the recorded verdict."""
        event, running = move.event, move.running
        if running is None and move.ran is not None:
            return  # reported already: what ran is not as it was released
        rows = BaselineRows(others[0], OWN_BASELINE) if others else BaselineRows(evidence, BASELINE)
        baseline = rows.evidence.measurement.sides.get(rows.role)
        if running is not None and (baseline is None or baseline.target != running.target):
            self._add(event, f"its evidence does not compare with {running.address}, which ran")
            return
        against = None if running is None else rows
        verdict = self._read(lambda: verdict_of(evidence, against, event.judged_by))
        if verdict is None:
            return
        self._verdicts += 1
        if verdict.decision is not event.decision:
            self._add(
                event,
                f"it was promoted on {_decision(event)}, and its evidence gives "
                f"{verdict.decision.value}: {verdict.why}",
            )

    def _read(self, read: Callable[[], T]) -> T | None:
        chain = self._registry.chain_folder(self._environment, self._name)
        return self._collector.read(read, chain)

    def _add(self, event: Event, message: str, *, warning: bool = False) -> None:
        self._collector.add(self._registry.event_file(event), message, warning=warning)


def _number(event: Event) -> int | None:
    return event.to_version.number if event.to_version else None


def _decision(event: Event) -> str:
    return event.decision.value if event.decision else "no verdict"
