"""Release a prompt as an immutable version: a number for a target digest.

Releasing the same target again gives the same version, whatever changed in comments, description
or limits. The version holds the parsed target, so it can be rebuilt without the loader that read
it, and beside it the source files as people wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llmops_cli.core.digest import digest_bytes, to_plain
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Limits, Target
from llmops_cli.core.records import Provenance, Version
from llmops_cli.project.paths import MAX_FILE
from llmops_cli.run.workspace import Workspace, provenance
from llmops_cli.stores.atomic import Redact
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The version of a target; `new` if it was made just now."""

    version: Version
    new: bool


def release(workspace: Workspace, names: Sequence[str]) -> list[Release]:
    """Release the prompts `names` of the working copy, or all of them where none is named.

    Raises `UnknownName`, and `Refused` as `release_target` does or where an application has no
    identity.
    """
    project = workspace.project
    unknown = [name for name in names if name not in project.prompts]
    if unknown:
        raise UnknownName("prompt", unknown[0], sorted(project.prompts))
    created = provenance(workspace.root, workspace.environ)
    releases = []
    for name in names or sorted(project.prompts):
        prompt = project.prompts[name]
        target = project.target(prompt)
        if workspace.provider(target.model).application and target.model.identity is None:
            raise Refused(
                f"{target.model.where}: {target.model.name!r} has no `identity`, so a version "
                "could not say what ran",
                hint="identity: {files: [app/**/*.py]}, or {revision: …} where it runs elsewhere",
            )
        paths = [prompt.path.removeprefix("prompts/"), *prompt.includes]
        sources = {path: project.source.read(f"prompts/{path}", limit=MAX_FILE) for path in paths}
        releases.append(
            release_target(workspace.registry, target, sources, created, redact=workspace.redact)
        )
    return releases


def release_target(
    registry: Registry,
    target: Target,
    sources: Mapping[str, bytes],
    created: Provenance,
    *,
    redact: Redact,
) -> Release:
    """Return the version of `target`, made if there is none yet.

    `sources` are the prompt's files by path under `prompts/`. Raises `Refused` if one of them
    contains a secret of the environment, or where another process took the number.
    """
    name = target.prompt.name
    versions = registry.versions(name)
    for version in versions:
        if version.target == target.digest:
            return Release(version=version, new=False)
    version = Version(
        name=name,
        number=max((version.number for version in versions), default=0) + 1,
        target=target.digest,
        prompt=target.prompt,
        model=replace(target.model, headers={}, limits=Limits(), price=None),
        files={path: digest_bytes(content) for path, content in sorted(sources.items())},
        created=created,
    )
    files = {**sources, "llmops.yaml": json.dumps(to_plain(version.model)).encode()}
    for path, content in files.items():
        text = content.decode("utf-8", errors="replace")
        if redact(text) != text:
            raise Refused(
                f"{path} contains a secret of this environment, and versions are committed",
                hint="remove the secret, revoke it, and release again",
            )
    registry.add_version(version, sources)
    return Release(version=version, new=True)


def released_number(registry: Registry, address: str) -> int:
    """Return the number of the version at `address` (`support@v3`, `support@latest`).

    Raises `UnknownName` or `Refused`, also for the working copy: it has no evidence.
    """
    name, _, selector = address.partition("@")
    if selector in {"", "working"}:
        raise Refused(
            f"{name!r} names no version: only a released version has evidence",
            hint=f"llmops release {name}, then llmops measure {name}@latest",
        )
    return registry.resolve(name, selector)
