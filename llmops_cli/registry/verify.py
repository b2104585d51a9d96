"""Verify, with neither git nor network, that an environment runs what its evidence allowed.

For every prompt that runs there: the chain of events, the digest of every file, and the verdict,
recomputed from the scores of single cases. All problems are reported at once, each with the file
at fault; one broken file hides no other. A bundle of the environment is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

from llmops_cli.core.digest import short
from llmops_cli.core.errors import IntegrityBroken, LlmopsError, Refused
from llmops_cli.core.policy import Decision
from llmops_cli.core.records import Calibration, Event, Evidence, Version, VersionRef, instrument_of
from llmops_cli.core.result import BASELINE, OWN_BASELINE
from llmops_cli.gate.calibration import unfit_labels
from llmops_cli.project.project import find_root
from llmops_cli.registry.recompute import BaselineRows, verdict_of
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import open_project
from llmops_cli.stores.bundle import Bundle, BundledPrompt, bundled_prompt, read_bundle
from llmops_cli.stores.calibrations import evidence_calibrations
from llmops_cli.stores.evidence import damage, has_rows
from llmops_cli.stores.registry import Registry, last_move
from llmops_cli.stores.registry_files import FOLDER

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryProblem:
    """One thing in the registry, or in a bundle of it, that is not as it must be."""

    where: str
    """The path of the broken file in the project."""
    message: str
    warning: bool = False
    """Recorded and allowed, but no proof: an override, a quarantined version. Fails `--strict`."""
    past: bool = False
    """A warning about what no longer runs: shown, and nothing fails."""

    def fails(self, *, strict: bool) -> bool:
        """Return whether a check fails by it; `strict` counts warnings about what runs."""
        return not self.warning or (strict and not self.past)


def pass_check(problems: Iterable[RegistryProblem], *, strict: bool) -> bool:
    """Return whether there is no problem; `strict` counts warnings too."""
    return not any(problem.fails(strict=strict) for problem in problems)


class ProblemCollector:
    """Reads files of the project in `root` and collects what is wrong with them.

    `where` is the file or folder to name where an error names none.
    """

    def __init__(self, root: Path, where: Path) -> None:
        self._root = root
        self._where = where
        self._problems: dict[RegistryProblem, None] = {}

    @property
    def problems(self) -> tuple[RegistryProblem, ...]:
        """Every problem so far, each once."""
        return tuple(self._problems)

    def add(
        self, where: Path | str, message: str, *, warning: bool = False, past: bool = False
    ) -> None:
        """Add a problem of the file `where`."""
        problem = RegistryProblem(
            where=self._name(where), message=message, warning=warning, past=past
        )
        self._problems[problem] = None

    def add_error(self, error: IntegrityBroken) -> None:
        """Add `error`, unless a problem of its file is known already."""
        where = self._name(error.where or "")
        if not any(problem.where == where for problem in self._problems):
            self.add(where, error.why)

    def read(self, read: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | None:
        """Return what `read` gives; None if something is broken or missing, which is a problem."""
        try:
            return read(*arguments, **options)
        except IntegrityBroken as error:
            self.add_error(error)
        except Refused as error:
            self.add(self._where, error.message)
        return None

    def _name(self, where: Path | str) -> str:
        inside = Path(where).is_relative_to(self._root)
        return Path(where).relative_to(self._root).as_posix() if inside else str(where)


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
    if all(prompt.version is None and not prompt.problems for prompt in verification.prompts):
        raise Refused(
            f"{name} runs nothing, so there is nothing to verify",
            hint=f"llmops history shows its events; git log -- {FOLDER}/log/{name} who removed any",
        )
    if bundle is None:
        return verification
    return replace(verification, bundle=_bundle_problems(registry, name, bundle))


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
        chain = registry.chain_folder(environment, name)
        self._collector = ProblemCollector(registry.folder.parent, chain)
        self._read = self._collector.read
        self._verdicts = 0
        self._let_in: Event | None = None
        self._judges: tuple[Calibration, ...] = ()
        self._uncalibrated: tuple[str, ...] = ()

    def verify(self) -> PromptVerification:
        """Check every event, version and piece of evidence."""
        events = self._read(self._registry.history, self._environment, self._name) or ()
        moves = list(self._moves(events))
        self._let_in = _let_in(events)
        evidence = self._evidence({event.to_version.number for event in events if event.to_version})
        ran_before = set[VersionRef | None]()
        for move in moves:
            ran_before.add(move.ran)
            self._check_link(move, ran_before)
            if move.event.action == "promote":
                self._check_decision(move.event, initial=move.ran is None)
                self._check_citations(move, events, evidence)
        current = next((move.version for move in moves if move.current), None)
        quarantined = self._read(self._registry.quarantined, self._name) or frozenset()
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
        version = self._read(self._registry.version, self._name, cited.number)
        if version is not None and version.digest != cited.digest:
            self._add(event, f"{version.address} is not the version that this event moved to")
            return None
        return version

    def _evidence(self, numbers: set[int]) -> Mapping[str, Evidence]:
        """Return the evidence of some versions by digest, and check its files."""
        by_digest: dict[str, Evidence] = {}
        for number in sorted(numbers):
            for evidence in self._read(self._registry.evidence, self._name, number) or ():
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
        if event.came_from and (event.came_from, event.to_version) not in self._moves_elsewhere:
            self._add(event, "the event of another environment that it cites is not here")
        if event.action == "override":
            self._add(event, f"promoted by override: {event.reason}", warning=True)

    @cached_property
    def _moves_elsewhere(self) -> AbstractSet[tuple[str, VersionRef | None]]:
        """The events of all other environments, and the versions that they moved to."""
        environments = set(self._registry.environments()) - {self._environment}
        return {
            (event.digest, event.to_version)
            for environment in sorted(environments)
            for event in self._read(self._registry.history, environment, self._name) or ()
        }

    def _check_decision(self, event: Event, *, initial: bool) -> None:
        """Check that the recorded verdict allowed the promotion."""
        allowed = {Decision.PASS}
        if event.accept_inconclusive or (event.initial and initial):
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
            self._add(event, message + _uncited(event, events, known))
        if not event.evidence:
            self._add(event, "it cites no evidence")
        if not missing:
            others = [known[digest] for digest in event.baseline_evidence]
            for digest in event.evidence:
                self._check_evidence(move, known[digest], others)

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
        calibrations = self._read(evidence_calibrations, evidence)
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
        verdict = self._read(verdict_of, evidence, against, event.judged_by)
        if verdict is None:
            return
        self._verdicts += 1
        if verdict.decision is not event.decision:
            self._add(
                event,
                f"it was promoted on {_decision(event)}, and its evidence gives "
                f"{verdict.decision.value}: {verdict.why}",
            )

    def _add(self, event: Event, message: str, *, warning: bool = False) -> None:
        past = warning and event.action in LET_IN and event is not self._let_in
        file = self._registry.event_file(event)
        self._collector.add(file, message, warning=warning, past=past)


LET_IN = ("promote", "override")
"""The actions by which a version comes to an environment; a rollback goes back to one."""


def _let_in(events: Sequence[Event]) -> Event | None:
    """Return the event that last let in the version that runs."""
    last = last_move(events)
    came = (
        event
        for event in reversed(events)
        if last and event.action in LET_IN and event.to_version == last.to_version
    )
    return next(came, None)


def _uncited(event: Event, events: Sequence[Event], known: Mapping[str, Evidence]) -> str:
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


def _number(event: Event) -> int | None:
    return event.to_version.number if event.to_version else None


def _decision(event: Event) -> str:
    return event.decision.value if event.decision else "no verdict"


def _bundle_problems(
    registry: Registry, environment: str, file: Path
) -> tuple[RegistryProblem, ...]:
    """Return what is wrong with the bundle in `file`. Raises `Refused` if it cannot be read."""
    try:
        shipped = read_bundle(file)
        if shipped.environment == environment:
            return compare_bundle(registry, shipped, str(file))
        message = f"it is a bundle of {shipped.environment}, not of {environment}"
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    except LlmopsError as error:
        message = error.message
    return (RegistryProblem(where=str(file), message=message),)


def compare_bundle(registry: Registry, shipped: Bundle, where: str) -> tuple[RegistryProblem, ...]:
    """Return how the bundle in the file `where` differs from its environment in `registry`.

    A bundle that is only behind is a warning: all that it holds once ran there. One that holds
    what never ran there is a problem. Raises `IntegrityBroken` if either was tampered with.
    """
    environment = shipped.environment
    missing = sorted(set(registry.running(environment)) - set(shipped.records))
    problems = [
        RegistryProblem(
            where=where, message=f"{name} runs in {environment} and is not in it", warning=True
        )
        for name in missing
    ]
    for name in sorted(shipped.records):
        bundled = shipped.prompt(name)
        chain = registry.history(environment, name)
        chain_then = chain[: bundled.events[-1].seq]
        # quarantines may come later, so they are not compared with today's
        moves = bundled_prompt(registry, chain_then) if last_move(chain_then) else None
        if moves is None or replace(moves, quarantined=bundled.quarantined) != bundled:
            message = f"{_describe(bundled)} is not what the log of {environment} says"
            problems.append(RegistryProblem(where=where, message=message))
        elif (today := bundled_prompt(registry, chain)) != bundled:
            message = (
                f"it is behind: {_describe(bundled)}, and {environment} has {_describe(today)}"
            )
            problems.append(RegistryProblem(where=where, message=message, warning=True))
    return tuple(problems)


def _describe(bundled: BundledPrompt) -> str:
    quarantined = "".join(f", v{number} quarantined" for number in bundled.quarantined)
    return f"{bundled.versions[0].address} (event {bundled.events[-1].seq}{quarantined})"
