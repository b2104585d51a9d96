"""Holds the registry against an earlier revision of itself: it may only have grown since.

Versions, statements of evidence and events of every environment: none removed, none edited, none
renumbered. Rows and texts may have been cleared away, not changed. One revision is enough, so a
clone of depth 1 can tell. What was promoted since is judged a second time, by the policy at that
revision: a policy cannot be weakened and made use of in one and the same change.

All problems are found at once, each with the file at fault.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.release import Event, Evidence
from llmops_cli.registry.gc import needed_evidence
from llmops_cli.registry.verify import Flaw
from llmops_cli.stores.calibrations import Calibrations
from llmops_cli.stores.registry import FOLDER, Registry

T = TypeVar("T")

_MAY_GO = (".cases.jsonl", ".texts.jsonl.gz")
_VERSION = re.compile(r"versions/(?P<name>.+)@v(?P<number>[0-9]+)/(?P<file>.+)")
_EVENT = re.compile(r"log/(?P<place>[^/]+)/(?P<name>.+)/(?P<seq>[0-9]{6})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What came since a revision, and what is not as it must be."""

    base: str | None
    """The revision's name; None: the registry was held against itself alone."""
    versions: int
    evidence: int
    events: tuple[Event, ...]
    """Those that are new."""
    flaws: tuple[Flaw, ...]

    def holds(self, *, strict: bool) -> bool:
        """Whether the registry has only grown."""
        return not any(strict or not flaw.doubtful for flaw in self.flaws)


class Fsck:
    """One comparison of a registry with `before`: git's blob of each file, by path."""

    def __init__(self, registry: Registry, before: Mapping[str, str], base: str) -> None:
        self._registry = registry
        self._root = registry.folder.parent
        self._base = base
        self._before = {
            path: blob for path, blob in before.items() if _concerns(path.partition("/")[2])
        }
        self._flaws: list[Flaw] = []

    def growth(self, judge: Callable[[Event], Iterable[Flaw]]) -> Growth:
        """What was found. `judge` looks at every promotion that is new."""
        here = set(self._here())
        for path, blob in sorted(self._before.items()):
            self._compare(path, blob)
        added = sorted(here - set(self._before))
        self._refuse_added_to_versions(added)
        self._read_versions()
        self._read_evidence(path for path in here if _is_statement(path))
        self._read_calibrations()
        new = tuple(self._new_events(set(added)))
        for event in new:
            self._demand_rows(event)
            self._flaws.extend(judge(event))
        return Growth(
            base=self._base,
            versions=sum(path.endswith("/version.json") for path in added),
            evidence=sum(map(_is_statement, added)),
            events=new,
            flaws=tuple(dict.fromkeys(self._flaws)),
        )

    def consistency(self) -> Growth:
        """What is there, held against itself alone: it is read, and its chains and digests fit."""
        here = sorted(self._here())
        self._read_versions()
        self._read_evidence(path for path in here if _is_statement(path))
        self._read_calibrations()
        events = tuple(self._new_events(set(here)))
        return Growth(
            base=None,
            versions=sum(path.endswith("/version.json") for path in here),
            evidence=sum(map(_is_statement, here)),
            events=events,
            flaws=tuple(dict.fromkeys(self._flaws)),
        )

    def _here(self) -> Iterator[str]:
        for path in self._registry.folder.rglob("*"):
            below = path.relative_to(self._registry.folder).as_posix()
            if _concerns(below) and ".new-" not in below and not path.is_dir():
                yield f"{FOLDER}/{below}"

    def _compare(self, path: str, blob: str) -> None:
        full = self._root / path
        if not full.exists():
            if not path.endswith(_MAY_GO):
                self._flaw(path, self._gone(path))
        elif full.is_symlink() or _blob(full.read_bytes(), like=blob) != blob:
            self._flaw(path, self._edited(path))

    def _gone(self, path: str) -> str:
        event = _EVENT.fullmatch(path.partition("/")[2])
        if event is None:
            return f"it was there at {self._base} and is removed"
        following = f"{int(event['seq']) + 1:06}.json"
        if str(Path(path).with_name(following)) in self._before:
            return f"an event was removed from the chain since {self._base}"
        return (
            f"the last event of {self._base} is removed (git revert?): what was promoted is taken "
            f"back by `llmops rollback {event['name']}@{event['place']}`"
        )

    def _edited(self, path: str) -> str:
        below = path.partition("/")[2]
        event, version = _EVENT.fullmatch(below), _VERSION.fullmatch(below)
        if event is not None:
            return (
                f"it is not the event of {self._base}: it was edited, or two branches moved "
                f"{event['name']} in {event['place']} and one took the other's number"
            )
        if version is not None and version["file"] == "version.json":
            return (
                f"it is not the v{version['number']} of {self._base}: it was edited, or two "
                "branches released this number; release again to get the next one"
            )
        return f"its content is not what it was at {self._base}"

    def _refuse_added_to_versions(self, added: Iterable[str]) -> None:
        for path in added:
            match = _VERSION.fullmatch(path.partition("/")[2])
            if match and path.removesuffix(match["file"]) + "version.json" in self._before:
                self._flaw(path, f"it was added to a version that {self._base} has already")

    def _read_versions(self) -> None:
        for name in self._registry.names():
            numbers = self._registry.numbers(name)
            for last, following in pairwise((0, *numbers)):
                if following > last + 1:
                    place = f"{FOLDER}/versions/{name}@v{last + 1}/version.json"
                    self._flaw(place, f"{name} has a v{following} and no v{last + 1}")
            for number in numbers:
                self._read(partial(self._registry.version, name, number))

    def _read_evidence(self, statements: Iterable[str]) -> None:
        for path in sorted(statements):
            evidence = self._read(partial(self._registry.evidence_at, self._root / path))
            if evidence is not None:
                for broken in self._registry.damage(evidence):
                    self._broken(broken)

    def _read_calibrations(self) -> None:
        """What is known of judges may be replaced, and must be whole."""
        known = Calibrations(self._root)
        for place in known.places():
            self._read(partial(known.at, place))

    def _new_events(self, added: set[str]) -> Iterator[Event]:
        for place in self._registry.environments():
            for name in self._registry.prompts_in(place):
                chain = self._read(partial(self._registry.history, place, name))
                for event in chain or ():
                    if self._path(event) in added:
                        if event.to_version is not None:
                            self._read(partial(self._registry.moved_to, event))
                        yield event

    def _demand_rows(self, event: Event) -> None:
        """A promotion brings the rows it was decided on: without them nobody can check it."""
        needed = self._read(lambda: needed_evidence(self._registry, event.prompt))
        cited = {*event.evidence, *event.baseline_evidence} & (needed or frozenset())
        for evidence in self._read(lambda: self._evidence_of(event.prompt)) or ():
            if evidence.digest in cited and not self._registry.has_rows(evidence):
                file = self._registry.evidence_file(evidence)
                self._flaw(
                    file.relative_to(self._root).as_posix(),
                    f"event {event.seq} in {event.environment} rests on it, and its rows are "
                    "not here",
                )

    def _evidence_of(self, name: str) -> list[Evidence]:
        numbers = self._registry.numbers(name)
        return [each for number in numbers for each in self._registry.evidence(name, number)]

    def _path(self, event: Event) -> str:
        return self._registry.event_file(event).relative_to(self._root).as_posix()

    def _read(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except IntegrityBroken as broken:
            self._broken(broken)
        except Refused as refused:
            self._flaw(FOLDER, refused.message)
        return None

    def _broken(self, broken: IntegrityBroken) -> None:
        where = Path(broken.where or FOLDER)
        inside = where.is_relative_to(self._root)
        place = where.relative_to(self._root).as_posix() if inside else str(where)
        if not any(flaw.where == place for flaw in self._flaws):
            self._flaw(place, broken.why)

    def _flaw(self, path: str, message: str) -> None:
        self._flaws.append(Flaw(where=path, message=message))


def _concerns(below: str) -> bool:
    """Whether a path below `.llmops/` is part of what may only grow."""
    return below.startswith(("versions/", "evidence/", "log/"))


def _is_statement(path: str) -> bool:
    return path.startswith(f"{FOLDER}/evidence/") and path.endswith(".json")


def _blob(content: bytes, *, like: str) -> str:
    """Git's id of a file with this content, by the hash that `like` was made with."""
    whole = b"blob %d\0%b" % (len(content), content)
    if len(like) == 64:
        return hashlib.sha256(whole).hexdigest()
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()
