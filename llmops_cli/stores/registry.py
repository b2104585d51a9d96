"""The registry in git: every version, its evidence, and what each environment runs.

Reads and writes `.llmops/` and nothing else: no network, no git. Whatever is read is checked
against the digest that names it. Whatever is written is there wholly or not at all, and
nothing that is there is ever changed: a second writer of the same name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.case_result import CaseResult
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.release import Event, Evidence, Measurement, Version
from llmops_cli.core.result import Completion, Score
from llmops_cli.stores import event_log as log
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
_FROM_GIT = "restore what was there from git: git log --stat -- .llmops shows who touched it"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_SELECTOR = re.compile(r"v(?P<number>[1-9][0-9]*)|(?P<name>[a-z0-9._-]+)(~(?P<back>[0-9]+))?")


Chains: TypeAlias = Callable[[Path], tuple[Event, ...]]
"""The events of the folder of a chain. Raises `IntegrityBroken`."""


class Registry:
    """The registry under `root`, which need not exist yet.

    `chains` reads its log: that of another revision, say, about the versions that are here.
    """

    def __init__(self, root: Path, chains: Chains = log.read_chain) -> None:
        self.folder = root / FOLDER
        self._chains = chains

    # versions

    def names(self) -> tuple[str, ...]:
        """Every prompt that was ever released."""
        return tuple(sorted({name for name, _ in self._version_folders()}))

    def versions(self, name: str) -> tuple[Version, ...]:
        """The versions of `name`, oldest number first."""
        return tuple(self.version(name, number) for number in self._numbers(name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers that `name` was released under, in order; nothing is checked."""
        return tuple(self._numbers(name))

    def version(self, name: str, number: int) -> Version:
        """`name@v<number>`, its snapshot and files checked. Raises `UnknownName`."""
        numbers = self._numbers(name)
        if number not in numbers:
            if not numbers:
                raise Refused(
                    f"unknown version '{name}@v{number}': {name} was never released",
                    hint=f"llmops release {name}",
                )
            raise UnknownName("version", f"{name}@v{number}", [f"{name}@v{n}" for n in numbers])
        return read_version(self._version_folder(name, number), name, number)

    def sources(self, version: Version) -> Mapping[str, bytes]:
        """The source files of `version` as they were written, by path under `prompts/`."""
        folder = self._version_folder(version.name, version.number) / "files"
        return {path: (folder / path).read_bytes() for path in version.files}

    def add_version(self, version: Version, sources: Mapping[str, bytes]) -> None:
        """Write a new version. Raises `Refused` where the number is taken."""
        self.prepare()
        write_version(self._version_folder(version.name, version.number), version, sources)

    # events

    def history(self, environment: str, name: str) -> tuple[Event, ...]:
        """Every event of `name` in `environment`, oldest first; the chain is checked."""
        events = self._chains(self.chain_folder(environment, name))
        for event in events:
            if (event.environment, event.prompt) != (environment, name):
                raise IntegrityBroken(
                    f"it belongs to {event.prompt} in {event.environment}",
                    where=str(log.place_of(self.chain_folder(environment, name), event)),
                    hint=_FROM_GIT,
                )
        return events

    def pointer(self, environment: str, name: str) -> Event | None:
        """The event that says what `environment` runs; None: it does not run `name`."""
        return log.pointer(self.history(environment, name))

    def moved_to(self, event: Event) -> Version:
        """The version that `event`, which moved the pointer, put there.

        Raises `IntegrityBroken` where another one stands under its number now.
        """
        assert event.to_version is not None
        version = self.version(event.prompt, event.to_version.number)
        if version.digest != event.to_version.digest:
            raise IntegrityBroken(
                f"{version.address} is not the version that this event moved to",
                where=str(self.event_file(event)),
                hint=_FROM_GIT,
            )
        return version

    def environments(self) -> tuple[str, ...]:
        """Every environment that a prompt was ever promoted to."""
        logs = self.folder / "log"
        found = (each.name for each in logs.iterdir() if each.is_dir()) if logs.is_dir() else ()
        return tuple(sorted(found))

    def prompts_in(self, environment: str) -> tuple[str, ...]:
        """The prompts that have any event in `environment`; nothing is checked."""
        return log.prompts(self.folder / "log" / _checked("environment", environment))

    def running(self, environment: str) -> tuple[str, ...]:
        """The prompts that `environment` runs."""
        names = self.prompts_in(environment)
        return tuple(name for name in names if self.pointer(environment, name) is not None)

    def quarantined(self, name: str) -> frozenset[int]:
        """Versions of `name` that an environment has put under quarantine."""
        found = (log.quarantined(self.history(each, name)) for each in self.environments())
        return frozenset().union(*found)

    def event_file(self, event: Event) -> Path:
        """Where `event` stands."""
        return log.place_of(self.chain_folder(event.environment, event.prompt), event)

    def append(self, event: Event) -> Path:
        """Write `event` as the next of its chain and return its file.

        Raises `Refused` where another one was quicker, `IntegrityBroken` where it does not
        follow from the last one.
        """
        chain = self.history(event.environment, event.prompt)
        if event.seq > len(chain) + 1 or (
            event.seq == len(chain) + 1 and event.previous != (chain[-1].digest if chain else None)
        ):
            raise IntegrityBroken(
                f"event {event.seq} does not follow from the {len(chain)} before it",
                where=str(self.event_file(event)),
            )
        self.prepare()
        return log.append(self.chain_folder(event.environment, event.prompt), event)

    # evidence

    def evidence(self, name: str, number: int) -> tuple[Evidence, ...]:
        """Everything measured about a version, newest last: by what was there when it was made,
        and by the clock only where two were made apart from each other.
        """
        folder = self._evidence_folder(name, number)
        found = [self.evidence_at(path) for path in sorted(folder.glob("*.json"))]
        return tuple(sorted(found, key=_age))

    def all_evidence(self, name: str) -> list[Evidence]:
        """Return the evidence of every version of `name`."""
        return [each for number in self.numbers(name) for each in self.evidence(name, number)]

    def evidence_at(self, statement: Path) -> Evidence:
        """The evidence whose statement is at `statement`. Raises `IntegrityBroken`, also where it
        is about another version than the one in whose folder it stands.
        """
        evidence = evidence_files.read_evidence(statement)
        about = evidence.measurement
        address = f"{about.name}@v{about.number}"
        if statement.parent != self.folder / "evidence" / address:
            raise IntegrityBroken(
                f"it is evidence about {address}", where=str(statement), hint=_FROM_GIT
            )
        return evidence

    def evidence_rows(self, evidence: Evidence) -> Iterator[CaseResult]:
        """The rows of `evidence`, streamed."""
        return evidence_files.read_rows(self._folder_of(evidence), evidence)

    def evidence_texts(self, evidence: Evidence) -> Mapping[str, Completion]:
        """The answers of `evidence` by output digest; none where only digests were committed."""
        return evidence_files.read_texts(self._folder_of(evidence), evidence)

    def evidence_held(
        self, evidence: Evidence
    ) -> tuple[list[tuple[TrialKey, Completion]], list[tuple[ScoreKey, Score]]]:
        """What `evidence` offers a results store: `store.ingest(evidence.digest, *held)`."""
        return evidence_files.held(self._folder_of(evidence), evidence)

    def evidence_file(self, evidence: Evidence) -> Path:
        """Where the statement of `evidence` stands."""
        return self._folder_of(evidence) / f"{evidence.cases.name.partition('.')[0]}.json"

    def has_rows(self, evidence: Evidence) -> bool:
        """Whether its rows are still here: `gc` drops those that nothing cites."""
        return (self._folder_of(evidence) / evidence.cases.name).exists()

    def evidence_data(self, evidence: Evidence) -> tuple[Path, ...]:
        """Its files of rows and texts that are here."""
        files = [each for each in (evidence.cases, evidence.texts) if each is not None]
        paths = (self._folder_of(evidence) / each.name for each in files)
        return tuple(path for path in paths if path.exists())

    def damage(self, evidence: Evidence) -> tuple[IntegrityBroken, ...]:
        """What is wrong with its rows and texts; those that were cleared away are not damaged."""
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
        folder = self._evidence_folder(measurement.name, measurement.number)
        earlier = self.evidence(measurement.name, measurement.number)
        measurement = replace(measurement, earlier=tuple(each.digest for each in earlier))
        return evidence_files.write_evidence(
            folder, measurement, rows, texts, summary=summary, redact=redact
        )

    # addressing

    def resolve(self, name: str, selector: str) -> int:
        """The number of the version that `name@selector` means.

        `v3`, an environment, `production~1` (the distinct version before), `sha256:…` (a target
        digest or the beginning of one) and `latest`. Raises `UnknownName` or `Refused`.
        """
        numbers = self._numbers(name)
        if selector == "latest" and numbers:
            return numbers[-1]
        if selector.startswith("sha256:"):
            return self._by_target(name, selector)
        match = _SELECTOR.fullmatch(selector)
        if match is None:
            raise Refused(
                f"{name}@{selector}: not a version",
                hint="v3, an environment, production~1, sha256:…, latest or working",
            )
        if match["number"] is not None:
            return self.version(name, int(match["number"])).number
        return self._in_environment(name, match["name"], int(match["back"] or 0))

    def _by_target(self, name: str, prefix: str) -> int:
        found = [each.number for each in self.versions(name) if each.target.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Refused(f"{name}@{prefix} is the beginning of {len(found)} versions' digests")
        raise UnknownName(
            "version", f"{name}@{prefix}", [each.target for each in self.versions(name)]
        )

    def _in_environment(self, name: str, environment: str, back: int) -> int:
        event = log.before(self.history(environment, name), back)
        if event is not None and event.to_version is not None:
            return self.moved_to(event).number
        if self.pointer(environment, name) is not None:
            raise Refused(f"{environment} has not run {back + 1} distinct versions of {name}")
        known = self.environments()
        if environment not in known:
            raise UnknownName("version", f"{name}@{environment}", [*known, "latest"])
        raise Refused(
            f"{environment} does not run {name}",
            hint=f"llmops promote {name}@vN --to {environment} --initial -m WHY",
        )

    # places

    def _numbers(self, name: str) -> list[int]:
        return sorted(number for each, number in self._version_folders(name) if each == name)

    def _version_folders(self, name: str | None = None) -> Iterator[tuple[str, int]]:
        folder = self.folder / "versions"
        pattern = (
            "**/*@v*/version.json"
            if name is None
            else f"{_checked('prompt', name)}@v*/version.json"
        )
        for path in folder.glob(pattern):
            address = path.parent.relative_to(folder).as_posix()
            stem, _, number = address.rpartition("@v")
            if number.isdecimal():
                yield stem, int(number)

    def _version_folder(self, name: str, number: int) -> Path:
        return self.folder / "versions" / f"{_checked('prompt', name)}@v{number}"

    def _evidence_folder(self, name: str, number: int) -> Path:
        return self.folder / "evidence" / f"{_checked('prompt', name)}@v{number}"

    def _folder_of(self, evidence: Evidence) -> Path:
        return self._evidence_folder(evidence.measurement.name, evidence.measurement.number)

    def chain_folder(self, environment: str, name: str) -> Path:
        """Where the events of `name` in `environment` stand."""
        log_of = self.folder / "log" / _checked("environment", environment)
        return log_of / _checked("prompt", name)

    def prepare(self) -> None:
        """What makes git treat the folder right, written once."""
        for name, content in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
            if not (self.folder / name).exists():
                write_bytes(self.folder / name, content.encode())


def _age(evidence: Evidence) -> tuple[int, str, str]:
    found = evidence.measurement
    return len(found.earlier), found.made.at, evidence.digest


def _checked(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is not a name of a {what}",
            hint="lower case letters, digits, '.', '_' and '-'; '/' for folders",
        )
    return name
