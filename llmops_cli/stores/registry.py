"""The registry in git: every version, its evidence, and what each environment runs.

    .llmops/versions/support@v3/version.json      the parsed target; its source files in files/
            log/production/support/000007.json    one event
            evidence/support@v3/                  see stores.evidence

Reads and writes `.llmops/` and nothing else: no network, no git. Everything that is read is checked
against the digest that names it. Everything that is written is complete or absent, and nothing that
exists is ever changed: a second writer of the same name is refused.

The events of a prompt in an environment are a chain. Files named by sequence number merge cleanly
for different prompts and conflict for the same one: git is the lock. Each event holds the digest of
the one before, so an event that was edited, or removed from the middle, is noticed by reading.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from llmops_cli.core.digest import InvalidRecord, Json, digest_bytes
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.prompt import Target
from llmops_cli.core.records import Event, Evidence, Measurement, Version
from llmops_cli.core.result import CaseResult, Completion
from llmops_cli.stores import evidence as evidence_files
from llmops_cli.stores.atomic import Redact, create_bytes, disk_error, sync_folder, write_bytes
from llmops_cli.stores.codec import from_bytes, seal, unseal
from llmops_cli.stores.registry_files import (
    FOLDER,
    FROM_GIT,
    children,
    exists,
    files_below,
    folders,
    read_record,
)

EVENT_FILES = "[0-9]" * 6 + ".json"
"""Matches the file of an event."""
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
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_VERSION = re.compile(r"(?P<name>[^@]+)@v[0-9]+/version\.json")
_SELECTOR = re.compile(r"v(?P<number>[1-9][0-9]*)|(?P<name>[a-z0-9._-]+)(~(?P<back>[0-9]+))?")
_MOVES = frozenset({"promote", "rollback", "override"})

ReadChain: TypeAlias = Callable[[Path], tuple[Event, ...]]
"""Returns the events in the folder of a chain. Raises `IntegrityBroken`."""


def read_chain(folder: Path) -> tuple[Event, ...]:
    """Return the events in `folder`, in order; none if there is no folder."""
    files = (path for path in children(folder) if path.match(EVENT_FILES))
    return chain_of((path, partial(read_record, path)) for path in files)


def chain_of(files: Iterable[tuple[Path, Callable[[], bytes]]]) -> tuple[Event, ...]:
    """Return the events in `files`, each with a function that reads it, in order of their names.

    Raises `IntegrityBroken` that names the file where the chain breaks.
    """
    events: list[Event] = []
    for path, read in files:
        try:
            event, seq = unseal(from_bytes(read()), Event.of), len(events) + 1
        except InvalidRecord as error:
            raise _broken(path, str(error)) from error
        if event.action in _MOVES and event.to_version is None:
            raise _broken(path, f"it is a {event.action} to no version")
        if path.name != f"{seq:06}.json" or event.seq != seq:
            raise _broken(path, f"event {seq} is missing before it")
        if event.previous != (events[-1].digest if events else None):
            raise _broken(path, "it does not follow from the event before it")
        events.append(event)
    return tuple(events)


def last_move(events: Sequence[Event]) -> Event | None:
    """Return the event of a chain that says what runs: the last one that moved the pointer."""
    return next((event for event in reversed(events) if event.action in _MOVES), None)


def move_before(events: Sequence[Event], steps: int) -> Event | None:
    """Return the last event that moved to the `steps`-th distinct version before the current one.

    None: there were not so many versions.
    """
    last_moves: dict[int, Event] = {}
    for event in reversed(events):
        if event.action in _MOVES and event.to_version is not None:
            last_moves.setdefault(event.to_version.number, event)
    return list(last_moves.values())[steps] if steps < len(last_moves) else None


class Registry:
    """The registry under `root`, which need not exist yet.

    `chains` reads its log: that of another revision, say, about the versions that are here.
    """

    def __init__(self, root: Path, chains: ReadChain = read_chain) -> None:
        self.folder = root / FOLDER
        self._read_chain = chains

    def prepare(self) -> None:
        """Write the files that make git treat the folder right, once."""
        for name, content in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
            if not exists(self.folder / name):
                write_bytes(self.folder / name, content.encode())

    # versions

    def names(self) -> tuple[str, ...]:
        """Return every prompt that was ever released."""
        versions = self.folder / "versions"
        paths = (file.relative_to(versions).as_posix() for file in files_below(versions))
        return tuple(sorted({match["name"] for match in map(_VERSION.fullmatch, paths) if match}))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers that `name` was released under, in order; nothing is checked."""
        first = self._version_folder(name, 0)
        start = first.name.removesuffix("0")
        numbers = (path.name.removeprefix(start) for path in children(first.parent))
        known = {int(number) for number in numbers if number.isdecimal()}
        return tuple(sorted(number for number in known if exists(self.version_file(name, number))))

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return the versions of `name`, oldest number first."""
        return tuple(self.version(name, number) for number in self.numbers(name))

    def version(self, name: str, number: int) -> Version:
        """Return `name@v<number>`, its snapshot and files checked. Raises `UnknownName`."""
        file = self.version_file(name, number)
        if not exists(file):
            numbers, address = self.numbers(name), f"{name}@v{number}"
            if not numbers:
                raise Refused(
                    f"unknown version '{address}': {name} was never released",
                    hint=f"llmops release {name}",
                )
            raise UnknownName("version", address, [f"{name}@v{known}" for known in numbers])
        try:
            version = version_of(from_bytes(read_record(file)), file)
        except InvalidRecord as error:
            raise _broken_version(file, str(error)) from error
        if (version.name, version.number) != (name, number):
            raise _broken_version(file, f"it says it is {version.address}")
        for path, digest in version.files.items():
            source = file.parent / "files" / path
            if digest_bytes(read_record(source)) != digest:
                raise _broken_version(source, "its content is not what was released")
        return version

    def add_version(self, version: Version, sources: Mapping[str, bytes]) -> None:
        """Write a new version; its folder appears in one step. Raises `Refused` if it exists."""
        self.prepare()
        folder = self._version_folder(version.name, version.number)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        except OSError as error:
            raise disk_error(folder, error) from error
        try:
            for path, content in sources.items():
                write_bytes(new / "files" / path, content)
            # keys stay in order: a model answers in the order of its schema's properties
            text = json.dumps(seal(version), indent=2, ensure_ascii=False)
            write_bytes(new / "version.json", text.encode() + b"\n")
            new.chmod(0o755)
            os.rename(new, folder)  # noqa: PTH104 - Path.rename would replace an empty folder silently
            sync_folder(folder.parent)
        except OSError as error:
            if not folder.exists():
                raise disk_error(folder, error) from error
            raise Refused(
                f"{version.address} was released by someone else meanwhile",
                hint=f"run llmops release {version.name} again: it takes the next number",
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _version_folder(self, name: str, number: int) -> Path:
        return self.folder / "versions" / f"{_checked('prompt', name)}@v{number}"

    def version_file(self, name: str, number: int) -> Path:
        """Return the file of a version, whether it exists or not."""
        return self._version_folder(name, number) / "version.json"

    # events

    def history(self, environment: str, name: str) -> tuple[Event, ...]:
        """Return every event of `name` in `environment`, oldest first; the chain is checked."""
        folder = self.chain_folder(environment, name)
        events = self._read_chain(folder)
        for event in events:
            if (event.environment, event.prompt) != (environment, name):
                why = f"it belongs to {event.prompt} in {event.environment}"
                raise _broken(folder / f"{event.seq:06}.json", why)
        return events

    def pointer(self, environment: str, name: str) -> Event | None:
        """Return the event that says what `environment` runs; None: it does not run `name`."""
        return last_move(self.history(environment, name))

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
        return tuple(path.name for path in folders(self.folder / "log"))

    def prompts_in(self, environment: str) -> tuple[str, ...]:
        """Return the prompts that have any event in `environment`; nothing is checked.

        What may hide events is among them, so that reading its history says what is wrong.
        """
        folder = self.folder / "log" / _checked("environment", environment)
        children(folder)  # raises if it can't be listed itself
        broken: list[Path] = []
        files = files_below(folder, on_error=lambda error: broken.append(Path(error.where or "")))
        chains = {path.parent for path in files if path.match(EVENT_FILES)}
        chains |= {path.parent if path.match(EVENT_FILES) else path for path in broken}
        return tuple(sorted(chain.relative_to(folder).as_posix() for chain in chains))

    def running(self, environment: str) -> tuple[str, ...]:
        """Return the prompts that `environment` runs."""
        names = self.prompts_in(environment)
        return tuple(name for name in names if self.pointer(environment, name) is not None)

    def quarantined(self, name: str) -> frozenset[int]:
        """Return the versions of `name` that may not be promoted, in any environment.

        An override lifts the quarantine of its own environment.
        """
        quarantined = set[int]()
        for environment in self.environments():
            numbers = set[int]()
            for event in self.history(environment, name):
                if event.action in {"rollback", "quarantine"} and event.from_version is not None:
                    numbers.add(event.from_version.number)
                if event.action == "override" and event.to_version is not None:
                    numbers.discard(event.to_version.number)
            quarantined |= numbers
        return frozenset(quarantined)

    def chain_folder(self, environment: str, name: str) -> Path:
        """Return the folder of the events of `name` in `environment`."""
        log = self.folder / "log" / _checked("environment", environment)
        return log / _checked("prompt", name)

    def event_file(self, event: Event) -> Path:
        """Return the file of `event`."""
        return self.chain_folder(event.environment, event.prompt) / f"{event.seq:06}.json"

    def append(self, event: Event) -> Path:
        """Write `event` as the next of its chain and return its file.

        Raises `Refused` if another one was first, with nothing written, and `IntegrityBroken`
        where it does not follow from the last one.
        """
        events, file = self.history(event.environment, event.prompt), self.event_file(event)
        is_next = event.seq == len(events) + 1
        if event.seq > len(events) + 1 or (
            is_next and event.previous != (events[-1].digest if events else None)
        ):
            why = f"event {event.seq} does not follow from the {len(events)} before it"
            raise _broken(file, why)
        self.prepare()
        try:
            create_bytes(file, json.dumps(seal(event), indent=2).encode() + b"\n")
        except FileExistsError as error:
            raise Refused(
                f"{event.prompt} was moved in {event.environment} by someone else meanwhile",
                hint="llmops status shows what runs now; then run the same command again",
            ) from error
        return file

    # evidence

    def evidence(self, name: str, number: int) -> tuple[Evidence, ...]:
        """Return everything measured about a version, newest last.

        Ordered by what was there when it was made, and by the clock only where two were made
        apart from each other.
        """

        def age(evidence: Evidence) -> tuple[int, str, str]:
            measurement = evidence.measurement
            return len(measurement.earlier), measurement.made.at, evidence.digest

        folder = self._evidence_folder(name, number)
        statements = (path for path in children(folder) if path.suffix == ".json")
        return tuple(sorted(map(self.evidence_at, statements), key=age))

    def all_evidence(self, name: str) -> list[Evidence]:
        """Return the evidence of every version of `name`."""
        return [piece for number in self.numbers(name) for piece in self.evidence(name, number)]

    def evidence_at(self, statement: Path) -> Evidence:
        """Return the evidence whose statement is at `statement`.

        Raises `IntegrityBroken`, also where it is about another version than its folder's.
        """
        evidence = evidence_files.read_evidence(statement)
        measurement = evidence.measurement
        if statement.parent != self._evidence_folder(measurement.name, measurement.number):
            why = f"it is evidence about {measurement.name}@v{measurement.number}"
            raise _broken(statement, why)
        return evidence

    def write_evidence(
        self,
        measurement: Measurement,
        rows: Iterable[CaseResult],
        texts: Iterable[Completion] | None,
        *,
        redact: Redact,
    ) -> Evidence:
        """Write a measurement of a version; `texts` None keeps digests only."""
        self.prepare()
        earlier = self.evidence(measurement.name, measurement.number)
        measurement = replace(measurement, earlier=tuple(evidence.digest for evidence in earlier))
        folder = self._evidence_folder(measurement.name, measurement.number)
        return evidence_files.write_evidence(folder, measurement, rows, texts, redact=redact)

    def _evidence_folder(self, name: str, number: int) -> Path:
        return self.folder / "evidence" / f"{_checked('prompt', name)}@v{number}"

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
        event = move_before(events, back)
        if event is not None:
            return self.moved_to(event).number
        if last_move(events) is not None:
            raise Refused(f"{environment} has not run {back + 1} distinct versions of {name}")
        known = self.environments()
        if environment not in known:
            raise UnknownName("version", f"{name}@{environment}", [*known, "latest"])
        raise Refused(
            f"{environment} does not run {name}",
            hint=f"llmops promote {name}@vN --to {environment} --initial -m WHY",
        )


def target_of(version: Version) -> Target:
    """Return the target exactly as it was released, from the snapshot alone."""
    return Target(prompt=version.prompt, model=version.model)


def version_of(record: Mapping[str, Json], file: Path) -> Version:
    """Return the version in `record`, which was read from `file`. Raises `IntegrityBroken`."""
    try:
        version = unseal(record, Version.of, was="released")
    except InvalidRecord as error:
        raise _broken_version(file, str(error)) from error
    if target_of(version).digest != version.target:
        raise _broken_version(file, "its content is not what was released")
    return version


def _broken(file: Path, why: str, hint: str = FROM_GIT) -> IntegrityBroken:
    return IntegrityBroken(why, where=str(file), hint=hint)


_broken_version = partial(
    _broken, hint="restore it from git: a version is never edited, release a new one"
)


def _checked(kind: str, name: str) -> str:
    """Return `name`, which cannot lead out of the registry. Raises `Refused`."""
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is not a name of a {kind}",
            hint="lowercase letters, digits, '.', '_' and '-'; '/' for folders",
        )
    return name
