"""A bundle: all that an application needs of one environment, in one file without git.

For every prompt that runs there: the version and the distinct one before it, the events from the
one that put it there to the last, and what is quarantined. The same registry makes the same bytes.
Every prompt has a digest and the bundle has one over those, so that one prompt among hundreds is
checked and read alone; `registry.verify` compares all of it with the registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import InvalidRecord, Json, NotCanonical, digest
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.records import Event, Version, event_from
from llmops_cli.stores.codec import from_bytes, seal
from llmops_cli.stores.registry import version_of

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

    @classmethod
    def of(cls, environment: str, prompts: Mapping[str, BundledPrompt]) -> Bundle:
        """Return the bundle of `prompts`."""
        records = {name: _record(prompt) for name, prompt in prompts.items()}
        return cls(environment=environment, records=records)

    def prompt(self, name: str) -> BundledPrompt:
        """Return one prompt. Raises `UnknownName`, and `IntegrityBroken` for its digest."""
        if name not in self.records:
            raise UnknownName(f"prompt in the bundle of {self.environment}:", name, self.records)
        record = self.records[name]
        try:
            if digest(PROMPT_SCHEMA, _without_digest(record)) != record["digest"]:
                raise _broken(self.path, f"{name} is not what was bundled")
            return _bundled_prompt(record, self.path)
        except (InvalidRecord, NotCanonical, KeyError, TypeError, AttributeError) as error:
            raise _broken(self.path, f"{name}: {error}") from error

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


def _record(prompt: BundledPrompt) -> dict[str, Json]:
    content: dict[str, Json] = {
        "versions": [seal(version) for version in prompt.versions],
        "events": [seal(event) for event in prompt.events],
        "quarantined": list(prompt.quarantined),
    }
    return {"digest": digest(PROMPT_SCHEMA, content), **content}


def _bundled_prompt(record: Mapping[str, Any], path: Path) -> BundledPrompt:
    versions = tuple(version_of(version, path) for version in record["versions"])
    events = tuple(event_from(_without_digest(event)) for event in record["events"])
    if not versions or not events:
        raise InvalidRecord("it has no version or no event")
    quarantined = tuple(record["quarantined"])
    return BundledPrompt(versions=versions, events=events, quarantined=quarantined)


def _without_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "digest"}


def _broken(path: Path, why: str) -> IntegrityBroken:
    hint = "make it again: llmops bundle ENV --out FILE"
    return IntegrityBroken(why, where=str(path), hint=hint)
