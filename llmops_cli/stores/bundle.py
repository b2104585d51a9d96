"""A bundle: all that an application needs of one environment, in one file without git.

For every prompt that runs there: the version and the distinct one before it, the events from the
one that put it there to the last, and what is quarantined. The same registry makes the same
bytes. A bundle names itself by a digest over all it holds; `verify --bundle` holds it against the
registry that it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import Json, NotCanonical, digest
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.plain import Misshapen, from_plain, to_plain
from llmops_cli.core.release import Event, Version
from llmops_cli.stores.records import BadRecord, from_bytes
from llmops_cli.stores.versions import version_of, version_record

SCHEMA = "llmops/bundle/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """One prompt of a bundle."""

    versions: tuple[Version, ...]
    """What runs, and the distinct version before it where there is one."""
    events: tuple[Event, ...]
    """The end of the chain, from the event that put the first version there."""
    quarantined: tuple[int, ...] = ()
    """Numbers, in any environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What `environment` runs. Answers to addresses as a registry does, for what it holds."""

    environment: str
    prompts: Mapping[str, Bundled]

    def resolve(self, name: str, selector: str) -> int:
        """The number of the version that `name@selector` means. Raises `UnknownName`, `Refused`."""
        versions = self._of(name).versions
        known = {f"v{each.number}": each.number for each in versions}
        known[self.environment] = versions[0].number
        if len(versions) > 1:
            known[f"{self.environment}~1"] = versions[1].number
        if selector in known:
            return known[selector]
        if selector.startswith("sha256:"):
            found = [each.number for each in versions if each.target.startswith(selector)]
            if len(found) == 1:
                return found[0]
        addresses = ", ".join(f"{name}@{each}" for each in sorted(known))
        raise Refused(
            f"{name}@{selector} is not in this bundle of {self.environment}",
            hint=f"it holds {addresses}",
        )

    def version(self, name: str, number: int) -> Version:
        """`name@v<number>`, where the bundle holds it."""
        held = {each.number: each for each in self._of(name).versions}
        return held[self.resolve(name, f"v{number}")]

    def quarantined(self, name: str) -> frozenset[int]:
        """Versions of `name` that were under quarantine when the bundle was made."""
        return frozenset(self._of(name).quarantined)

    def to_bytes(self) -> bytes:
        """The file: ASCII JSON, and its own digest in it.

        Keys stay in order: a model answers in the order of its schema's properties.
        """
        content: dict[str, Json] = {
            "schema": SCHEMA,
            "environment": self.environment,
            "prompts": {name: _plain(each) for name, each in self.prompts.items()},
        }
        whole = {**content, "digest": digest(SCHEMA, content)}
        return json.dumps(whole, indent=1).encode() + b"\n"

    def _of(self, name: str) -> Bundled:
        if name not in self.prompts:
            raise UnknownName(f"prompt in the bundle of {self.environment}:", name, self.prompts)
        return self.prompts[name]


def bundle_of(content: bytes, path: Path) -> Bundle:
    """The bundle in `content`, which stood in `path`. Raises `IntegrityBroken`."""
    try:
        record: dict[str, Any] = from_bytes(content)
        stated = record.pop("digest", None)
        if stated != digest(SCHEMA, record):
            raise _broken(path, "its content is not what was bundled")
        return Bundle(
            environment=record["environment"],
            prompts={name: _bundled(each, path) for name, each in record["prompts"].items()},
        )
    except (BadRecord, Misshapen, NotCanonical, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"not a bundle: {error}") from error


def _plain(bundled: Bundled) -> Json:
    return {
        "versions": [version_record(each) for each in bundled.versions],
        "events": [{**_fields(each), "digest": each.digest} for each in bundled.events],
        "quarantined": list(bundled.quarantined),
    }


def _fields(event: Event) -> Mapping[str, Json]:
    plain = to_plain(event)
    assert isinstance(plain, dict)
    return plain


def _bundled(record: Mapping[str, Any], path: Path) -> Bundled:
    events = [{key: each[key] for key in each if key != "digest"} for each in record["events"]]
    if not record["versions"] or not events:
        raise Misshapen("a prompt without a version or without an event")
    return Bundled(
        versions=tuple(version_of(each, path) for each in record["versions"]),
        events=tuple(from_plain(Event, each) for each in events),
        quarantined=tuple(record["quarantined"]),
    )


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(why, where=str(path), hint="make it again: llmops bundle ENV --out FILE")
