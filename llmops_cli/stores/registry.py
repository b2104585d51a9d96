"""The registry in git: every version, its evidence, and what each environment runs.

Reads and writes `.llmops/` and nothing else: no network, no git. Everything that is read is checked
against the digest that names it. Everything that is written is complete or absent, and nothing that
exists is ever changed: a second writer of the same name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.records import Event, Evidence, Measurement, Version
from llmops_cli.core.result import CaseResult, Completion, Score
from llmops_cli.stores import event_log
from llmops_cli.stores import evidence as evidence_files
from llmops_cli.stores.atomic import Redact, write_bytes
from llmops_cli.stores.versions import read_version, target_of, write_version

__all__ = ["Registry", "target_of"]

FOLDER = ".llmops"
_ATTRIBUTES = """\
# written by llmops: what digests name must not be rewritten by a checkout
* -text
evidence/**/*.cases.jsonl linguist-generated
evidence/**/*.gz binary linguist-generated
"""
_IGNORED = """\
# written by llmops: what a project ignores elsewhere (log/, *.jsonl) is not ignored here
!*
store/
.new-*
"""
_FROM_GIT = "restore it from git: git log --stat -- .llmops shows who changed it"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_SELECTOR = re.compile(r"v(?P<number>[1-9][0-9]*)|(?P<name>[a-z0-9._-]+)(~(?P<back>[0-9]+))?")

ReadChain: TypeAlias = Callable[[Path], tuple[Event, ...]]
"""Returns the events in the folder of a chain. Raises `IntegrityBroken`."""


class Registry:
    """The registry under `root`, which need not exist yet.

    `read_chain` reads its log: that of another revision, say, about the versions that are here.
    """

    def __init__(self, root: Path, read_chain: ReadChain = event_log.read_chain) -> None:
        self.folder = root / FOLDER
        self._read_chain = read_chain

    def prepare(self) -> None:
        """Write the files that make git treat the folder right, once."""
        for name, content in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
            if not (self.folder / name).exists():
                write_bytes(self.folder / name, content.encode())

    # versions

    def names(self) -> tuple[str, ...]:
        """Return every prompt that was ever released."""
        return tuple(sorted({name for name, _ in self._addresses("**/*")}))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers that `name` was released under, in order; nothing is checked."""
        addresses = self._addresses(_checked("prompt", name))
        return tuple(sorted(number for released, number in addresses if released == name))

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return the versions of `name`, oldest number first."""
        return tuple(self.version(name, number) for number in self.numbers(name))

    def version(self, name: str, number: int) -> Version:
        """Return `name@v<number>`, its snapshot and files checked. Raises `UnknownName`."""
        numbers, address = self.numbers(name), f"{name}@v{number}"
        if not numbers:
            raise Refused(
                f"unknown version '{address}': {name} was never released",
                hint=f"llmops release {name}",
            )
        if number not in numbers:
            raise UnknownName("version", address, [f"{name}@v{known}" for known in numbers])
        return read_version(self._version_folder(name, number), name, number)

    def add_version(self, version: Version, sources: Mapping[str, bytes]) -> None:
        """Write a new version. Raises `Refused` if the number is taken."""
        self.prepare()
        write_version(self._version_folder(version.name, version.number), version, sources)

    def _addresses(self, pattern: str) -> Iterator[tuple[str, int]]:
        versions = self.folder / "versions"
        for file in versions.glob(f"{pattern}@v*/version.json"):
            address = file.parent.relative_to(versions).as_posix()
            name, _, number = address.rpartition("@v")
            if number.isdecimal():
                yield name, int(number)

    def _version_folder(self, name: str, number: int) -> Path:
        return self.folder / "versions" / f"{_checked('prompt', name)}@v{number}"

    # events

    def history(self, environment: str, name: str) -> tuple[Event, ...]:
        """Return every event of `name` in `environment`, oldest first; the chain is checked."""
        folder = self.chain_folder(environment, name)
        events = self._read_chain(folder)
        for event in events:
            if (event.environment, event.prompt) != (environment, name):
                why = f"it belongs to {event.prompt} in {event.environment}"
                raise _broken(event_log.file_of(folder, event), why)
        return events

    def pointer(self, environment: str, name: str) -> Event | None:
        """Return the event that says what `environment` runs; None: it does not run `name`."""
        return event_log.pointer(self.history(environment, name))

    def moved_to(self, event: Event) -> Version:
        """Return the version that `event` moved the pointer to.

        Raises `IntegrityBroken` if another version has its number now.
        """
        assert event.to_version is not None
        version = self.version(event.prompt, event.to_version.number)
        if version.digest != event.to_version.digest:
            why = f"{version.address} is not the version that this event moved to"
            raise _broken(self.event_file(event), why)
        return version

    def environments(self) -> tuple[str, ...]:
        """Return every environment that a prompt was ever promoted to."""
        log = self.folder / "log"
        return tuple(sorted(path.name for path in log.glob("*") if path.is_dir()))

    def prompts_in(self, environment: str) -> tuple[str, ...]:
        """Return the prompts that have any event in `environment`; nothing is checked."""
        return event_log.prompts(self.folder / "log" / _checked("environment", environment))

    def running(self, environment: str) -> tuple[str, ...]:
        """Return the prompts that `environment` runs."""
        names = self.prompts_in(environment)
        return tuple(name for name in names if self.pointer(environment, name) is not None)

    def quarantined(self, name: str) -> frozenset[int]:
        """Return the versions of `name` that any environment has quarantined."""
        chains = (self.history(environment, name) for environment in self.environments())
        return frozenset().union(*map(event_log.quarantined, chains))

    def chain_folder(self, environment: str, name: str) -> Path:
        """Return the folder of the events of `name` in `environment`."""
        log = self.folder / "log" / _checked("environment", environment)
        return log / _checked("prompt", name)

    def event_file(self, event: Event) -> Path:
        """Return the file of `event`."""
        return event_log.file_of(self.chain_folder(event.environment, event.prompt), event)

    def append(self, event: Event) -> Path:
        """Write `event` as the next of its chain and return its file.

        Raises `Refused` if another one was first, `IntegrityBroken` where it does not follow
        from the last one.
        """
        events = self.history(event.environment, event.prompt)
        is_next = event.seq == len(events) + 1
        if event.seq > len(events) + 1 or (
            is_next and event.previous != (events[-1].digest if events else None)
        ):
            why = f"event {event.seq} does not follow from the {len(events)} before it"
            raise _broken(self.event_file(event), why)
        self.prepare()
        return event_log.append(self.chain_folder(event.environment, event.prompt), event)

    # evidence

    def evidence(self, name: str, number: int) -> tuple[Evidence, ...]:
        """Return everything measured about a version, newest last.

        Ordered by what was there when it was made, and by the clock only where two were made
        apart from each other.
        """
        statements = sorted(self._evidence_folder(name, number).glob("*.json"))
        return tuple(sorted(map(self.evidence_at, statements), key=_age))

    def all_evidence(self, name: str) -> list[Evidence]:
        """Return the evidence of every version of `name`."""
        return list(
            chain.from_iterable(self.evidence(name, number) for number in self.numbers(name))
        )

    def evidence_at(self, statement: Path) -> Evidence:
        """Return the evidence whose statement is at `statement`.

        Raises `IntegrityBroken`, also where it is about another version than its folder's.
        """
        evidence = evidence_files.read_evidence(statement)
        if statement.parent != self._folder_of(evidence):
            measurement = evidence.measurement
            why = f"it is evidence about {measurement.name}@v{measurement.number}"
            raise _broken(statement, why)
        return evidence

    def evidence_rows(self, evidence: Evidence) -> Iterator[CaseResult]:
        """Yield the rows of `evidence`."""
        return evidence_files.read_rows(self._folder_of(evidence), evidence)

    def evidence_texts(self, evidence: Evidence) -> Mapping[str, Completion]:
        """Return the answers of `evidence` by output digest; none if only digests are there."""
        return evidence_files.read_texts(self._folder_of(evidence), evidence)

    def evidence_results(
        self, evidence: Evidence
    ) -> tuple[list[tuple[TrialKey, Completion]], list[tuple[ScoreKey, Score]]]:
        """Return the completions and scores of `evidence`, for `ResultsStore.ingest`."""
        return evidence_files.read_results(self._folder_of(evidence), evidence)

    def evidence_file(self, evidence: Evidence) -> Path:
        """Return the file of the statement of `evidence`."""
        return self._folder_of(evidence) / f"{evidence.cases.name.partition('.')[0]}.json"

    def has_rows(self, evidence: Evidence) -> bool:
        """Return whether its rows are still here: `gc` deletes those that nothing cites."""
        return (self._folder_of(evidence) / evidence.cases.name).exists()

    def evidence_data(self, evidence: Evidence) -> tuple[Path, ...]:
        """Return its files of rows and texts that are here."""
        return tuple(
            path for path, _ in evidence_files.data_files(self._folder_of(evidence), evidence)
        )

    def damage(self, evidence: Evidence) -> tuple[IntegrityBroken, ...]:
        """Return what is wrong with its rows and texts; deleted ones are not damaged."""
        return tuple(evidence_files.damage(self._folder_of(evidence), evidence))

    def write_evidence(
        self,
        measurement: Measurement,
        rows: Iterable[CaseResult],
        texts: Iterable[Completion] | None,
        *,
        summary: str,
        redact: Redact,
    ) -> Evidence:
        """Write a measurement of a version; `texts` None keeps digests only."""
        self.prepare()
        earlier = self.evidence(measurement.name, measurement.number)
        measurement = replace(measurement, earlier=tuple(evidence.digest for evidence in earlier))
        folder = self._evidence_folder(measurement.name, measurement.number)
        return evidence_files.write_evidence(
            folder, measurement, rows, texts, summary=summary, redact=redact
        )

    def _evidence_folder(self, name: str, number: int) -> Path:
        return self.folder / "evidence" / f"{_checked('prompt', name)}@v{number}"

    def _folder_of(self, evidence: Evidence) -> Path:
        return self._evidence_folder(evidence.measurement.name, evidence.measurement.number)

    # addresses

    def resolve(self, name: str, selector: str) -> int:
        """Return the number of the version that `name@selector` means.

        `v3`, an environment, `production~1` (the distinct version before), `sha256:…` (a target
        digest or the beginning of one) or `latest`. Raises `UnknownName` or `Refused`.
        """
        numbers = self.numbers(name)
        if selector == "latest" and numbers:
            return numbers[-1]
        if selector.startswith("sha256:"):
            return self._resolve_digest(name, selector)
        match = _SELECTOR.fullmatch(selector)
        if match is None:
            raise Refused(
                f"{name}@{selector}: not a version",
                hint="v3, an environment, production~1, sha256:…, latest or working",
            )
        if match["number"] is not None:
            return self.version(name, int(match["number"])).number
        return self._resolve_environment(name, match["name"], int(match["back"] or 0))

    def _resolve_digest(self, name: str, prefix: str) -> int:
        versions = self.versions(name)
        numbers = [version.number for version in versions if version.target.startswith(prefix)]
        if len(numbers) == 1:
            return numbers[0]
        if numbers:
            raise Refused(f"{name}@{prefix} is the beginning of {len(numbers)} versions' digests")
        raise UnknownName("version", f"{name}@{prefix}", [version.target for version in versions])

    def _resolve_environment(self, name: str, environment: str, back: int) -> int:
        events = self.history(environment, name)
        event = event_log.before(events, back)
        if event is not None:
            return self.moved_to(event).number
        if event_log.pointer(events) is not None:
            raise Refused(f"{environment} has not run {back + 1} distinct versions of {name}")
        known = self.environments()
        if environment not in known:
            raise UnknownName("version", f"{name}@{environment}", [*known, "latest"])
        raise Refused(
            f"{environment} does not run {name}",
            hint=f"llmops promote {name}@vN --to {environment} --initial -m WHY",
        )


def _age(evidence: Evidence) -> tuple[int, str, str]:
    measurement = evidence.measurement
    return len(measurement.earlier), measurement.made.at, evidence.digest


def _broken(file: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(why, where=str(file), hint=_FROM_GIT)


def _checked(kind: str, name: str) -> str:
    """Return `name`, which cannot lead out of the registry. Raises `Refused`."""
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is not a name of a {kind}",
            hint="lowercase letters, digits, '.', '_' and '-'; '/' for folders",
        )
    return name
