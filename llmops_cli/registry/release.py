"""Freezes a prompt as an immutable version: a number for a target digest.

Releasing the same target again gives the same version, whatever changed in comments, description
or limits. What is frozen is the parsed target, so that a version is rebuilt without the loader
that read it, and beside it the files as people wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmops_cli.core.codec import to_plain
from llmops_cli.core.digest import digest_bytes
from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Limits, Target
from llmops_cli.core.release import Provenance, Version
from llmops_cli.stores.atomic import Redact
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The version of a target; `new` if it was made just now."""

    version: Version
    new: bool


def release(
    registry: Registry,
    target: Target,
    sources: Mapping[str, bytes],
    created: Provenance,
    *,
    redact: Redact,
) -> Released:
    """The version of `target`, made if there is none yet.

    `sources` are the prompt's files by path under `prompts/`. Raises `Refused` where a secret of
    the environment stands in one of them, or where another process took the number.
    """
    name = target.prompt.name
    versions = registry.versions(name)
    for version in versions:
        if version.target == target.digest:
            return Released(version=version, new=False)
    version = Version(
        name=name,
        number=max((each.number for each in versions), default=0) + 1,
        target=target.digest,
        prompt=target.prompt,
        model=replace(target.model, headers={}, limits=Limits(), price=None),
        files={path: digest_bytes(content) for path, content in sorted(sources.items())},
        created=created,
    )
    _refuse_secrets(version, sources, redact)
    registry.add_version(version, sources)
    return Released(version=version, new=True)


def _refuse_secrets(version: Version, sources: Mapping[str, bytes], redact: Redact) -> None:
    places = {**sources, "llmops.yaml": json.dumps(to_plain(version.model)).encode()}
    for path, content in places.items():
        text = content.decode("utf-8", errors="replace")
        if redact(text) != text:
            raise Refused(
                f"{path} holds a secret of this environment, and a version is for everyone's eyes",
                hint="take it out, change it where it is valid, and release again",
            )
