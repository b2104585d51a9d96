"""A bundle: all that an application needs of one environment, in one file without git.

For every prompt that runs there: the version and the distinct one before it, the events from the
one that put it there to the last, and what is quarantined. The same registry makes the same bytes.
Every prompt has a digest and the bundle has one over those, so that one prompt among hundreds is
checked and read alone; `llmops verify` compares all of it with the registry.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import InvalidRecord, Json, NotCanonical, digest
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.records import Event, Version
from llmops_cli.stores.codec import from_bytes, seal
from llmops_cli.stores.registry import Registry, move_before, version_of
from llmops_cli.stores.registry_files import read_record

SCHEMA = "llmops/bundle/v1"
PROMPT_SCHEMA = "llmops/bundle/prompt/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledPrompt:
    """One prompt of a bundle."""

    versions: tuple[Version, ...]
    """What runs, and the distinct version before it where there is one."""
    events: tuple[Event, ...]
    """The end of the chain, from the event that moved to the first version."""
    quarantined: tuple[int, ...] = ()
    """Numbers, in any environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What `environment` runs. Resolves addresses like a registry, for the prompts in it."""

    environment: str
    records: Mapping[str, Mapping[str, Any]]
    """Each prompt as it is in the file."""
    path: Path = field(default=Path(), compare=False)
    """The file."""

    def prompt(self, name: str) -> BundledPrompt:
        """Return one prompt. Raises `UnknownName`, and `IntegrityBroken` for its digest."""
        if name not in self.records:
            raise UnknownName(f"prompt in the bundle of {self.environment}:", name, self.records)
        record = self.records[name]
        try:
            if digest(PROMPT_SCHEMA, _without_digest(record)) != record["digest"]:
                raise _broken(self.path, f"{name} is not what was bundled")
            versions = tuple(version_of(version, self.path) for version in record["versions"])
            events = tuple(Event.of(_without_digest(event)) for event in record["events"])
            quarantined = tuple(record["quarantined"])
        except (InvalidRecord, NotCanonical, KeyError, TypeError, AttributeError) as error:
            raise _broken(self.path, f"{name}: {error}") from error
        if not versions or not events:
            raise _broken(self.path, f"{name}: it has no version or no event")
        return BundledPrompt(versions=versions, events=events, quarantined=quarantined)

    def resolve(self, name: str, selector: str) -> int:
        """Return the number of the version at `name@selector`. Raises `UnknownName`, `Refused`."""
        versions = self.prompt(name).versions
        numbers = {f"v{version.number}": version.number for version in versions}
        numbers[self.environment] = versions[0].number
        if len(versions) > 1:
            numbers[f"{self.environment}~1"] = versions[1].number
        if selector in numbers:
            return numbers[selector]
        if selector.startswith("sha256:"):
            matches = [v.number for v in versions if v.target.startswith(selector)]
            if len(matches) == 1:
                return matches[0]
        raise Refused(
            f"{name}@{selector} is not in this bundle of {self.environment}",
            hint=f"it holds {', '.join(f'{name}@{known}' for known in sorted(numbers))}",
        )

    def version(self, name: str, number: int) -> Version:
        """Return `name@v<number>`, where the bundle holds it."""
        versions = {version.number: version for version in self.prompt(name).versions}
        return versions[self.resolve(name, f"v{number}")]

    def quarantined(self, name: str) -> frozenset[int]:
        """Return the versions of `name` that were quarantined when the bundle was made."""
        return frozenset(self.prompt(name).quarantined)

    def to_bytes(self) -> bytes:
        """Return the file: ASCII JSON, with its own digest in it.

        Keys stay in order: a model answers in the order of its schema's properties.
        """
        record = {
            "schema": SCHEMA,
            "digest": _digest(self.environment, self.records),
            "environment": self.environment,
            "prompts": self.records,
        }
        return json.dumps(record, indent=1).encode() + b"\n"


def bundle(registry: Registry, environment: str) -> Bundle:
    """Return what `environment` runs and ran before. The same registry gives the same bundle.

    Raises `UnknownName`, `Refused` if nothing runs there, `IntegrityBroken`.
    """
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)
    records = {
        name: record_of(bundled_prompt(registry, registry.history(environment, name)))
        for name in registry.running(environment)
    }
    if not records:
        raise Refused(
            f"{environment} runs nothing yet", hint="llmops promote NAME@v1 --initial -m WHY"
        )
    return Bundle(environment=environment, records=records)


def bundled_prompt(registry: Registry, chain: Sequence[Event]) -> BundledPrompt:
    """Return what a bundle holds of the prompt of `chain`, whose pointer was moved at least once.

    Raises `IntegrityBroken`.
    """
    moves = [event for steps in (0, 1) if (event := move_before(chain, steps)) is not None]
    return BundledPrompt(
        versions=tuple(registry.moved_to(event) for event in moves),
        events=tuple(chain[moves[0].seq - 1 :]),
        quarantined=tuple(sorted(registry.quarantined(moves[0].prompt))),
    )


def record_of(prompt: BundledPrompt) -> dict[str, Json]:
    """Return `prompt` as it is in the file, with its digest."""
    content: dict[str, Json] = {
        "versions": [seal(version) for version in prompt.versions],
        "events": [seal(event) for event in prompt.events],
        "quarantined": list(prompt.quarantined),
    }
    return {"digest": digest(PROMPT_SCHEMA, content), **content}


def read_bundle(file: Path) -> Bundle:
    """Return the bundle in `file`, or where that links to. Raises `OSError`, `IntegrityBroken`."""
    return bundle_of(read_record(Path(os.path.realpath(file, strict=True))), file)


def bundle_of(content: bytes, path: Path) -> Bundle:
    """Return the bundle in `content`, which was read from `path`. Raises `IntegrityBroken`."""
    try:
        record = from_bytes(content)
        environment, prompts = record["environment"], record["prompts"]
        if record["digest"] != _digest(environment, prompts):
            raise _broken(path, "its content is not what was bundled")
    except (InvalidRecord, NotCanonical, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"not a bundle: {error}") from error
    return Bundle(environment=environment, records=prompts, path=path)


def _digest(environment: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    digests = {name: record["digest"] for name, record in records.items()}
    return digest(SCHEMA, {"environment": environment, "prompts": digests})


def _without_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "digest"}


def _broken(path: Path, why: str) -> IntegrityBroken:
    hint = "make it again: llmops bundle ENV --out FILE"
    return IntegrityBroken(why, where=str(path), hint=hint)
