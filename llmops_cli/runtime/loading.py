"""`load_prompt`: the one call by which an application gets the prompt that its environment runs.

A prompt is looked for in the argument `source`, the variable `LLMOPS_BUNDLE`, the argument
`resource` (`package:file`, which the application ships), and the nearest `.llmops/` from here
upwards, in this order, without git or a network.

Loaded once per process and source: an application keeps the prompt it has started with until it is
restarted, whatever is written meanwhile. `LLMOPS_PIN=support=v3,other=v1` replaces the versions
asked for, without a deploy.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from pkgutil import get_data
from typing import Protocol, TypeAlias

from llmops_cli.core.errors import Refused
from llmops_cli.core.records import Version
from llmops_cli.runtime.prompt import Prompt
from llmops_cli.stores.bundle import bundle_of
from llmops_cli.stores.registry import FOLDER, Registry

PIN = "LLMOPS_PIN"
UNRELEASED = frozenset({"", "working", "latest"})
MAKE_ONE = "llmops bundle ENV --out FILE makes one"
_LOCK = threading.Lock()

SourceName: TypeAlias = Path | str
"""The path of a bundle or of a folder with `.llmops/`, or the text `package:file`."""


class Source(Protocol):
    """Resolves addresses: a registry or a bundle."""

    def resolve(self, name: str, selector: str) -> int: ...

    def version(self, name: str, number: int) -> Version: ...

    def quarantined(self, name: str) -> frozenset[int]: ...


class QuarantinedVersion(UserWarning):
    """Warns that a loaded version was rolled back in an environment and should be replaced soon."""


def load_prompt(
    address: str,
    *,
    source: str | os.PathLike[str] | None = None,
    resource: str | None = None,
) -> Prompt:
    """Return the version at `address`: `support@production`, `support@production~1`, `support@v3`.

    `source` is a bundle or a folder with `.llmops/`; without it the variable `LLMOPS_BUNDLE`
    counts, then `resource` (`package:file`: the bundle that an application ships), then the
    nearest `.llmops/`. Raises `IntegrityBroken` if it is not what was released, `UnknownName`
    and `Refused`. A version under quarantine is loaded, with a `QuarantinedVersion` warning.
    """
    name, _, selector = address.partition("@")
    selector = _pins(os.environ).get(name, selector)
    if selector in UNRELEASED:
        raise Refused(
            f"{address}: an application runs what was promoted",
            hint=f"{name}@production, or another environment or version",
        )
    source_name = find_source(source, resource, os.environ)
    with _LOCK:
        return _load(name, selector, source_name)


def find_source(
    source: str | os.PathLike[str] | None, resource: str | None, environ: Mapping[str, str]
) -> SourceName:
    """Return the first source there is. Raises `Refused` if there is none."""
    path = source or environ.get("LLMOPS_BUNDLE")
    if path:
        return Path(path).absolute()
    if resource is not None:
        return resource
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder
    raise Refused(
        f"no {FOLDER}/ in {here} or above it, and no bundle was given",
        hint=f"set LLMOPS_BUNDLE to a bundle; {MAKE_ONE}",
    )


@cache
def _load(name: str, selector: str, source_name: SourceName) -> Prompt:
    source = _open(source_name)
    version = source.version(name, source.resolve(name, selector))
    if version.number in source.quarantined(name):
        warnings.warn(
            f"{version.address} is quarantined: llmops history {name} says why",
            QuarantinedVersion,
            stacklevel=3,
        )
    return Prompt(_version=version)


@cache  # one bundle serves many prompts: it is read and checked once
def _open(source: SourceName) -> Source:
    """Open a source. Raises `Refused`, and `IntegrityBroken` for a bundle's digest."""
    if isinstance(source, str):
        return bundle_of(_package_data(source), Path(source))
    if source.is_dir():
        root = source.parent if source.name == FOLDER else source
        if not (root / FOLDER).is_dir():
            raise Refused(f"no {FOLDER}/ in {source}", hint=f"name a bundle; {MAKE_ONE}")
        return Registry(root)
    try:
        return bundle_of(source.read_bytes(), source)
    except OSError as error:
        raise Refused(f"no bundle: {source}: {error.strerror}", hint=MAKE_ONE) from error


def _package_data(resource: str) -> bytes:
    package, _, name = resource.partition(":")
    try:
        content = get_data(package, name)
        problem = "there is no such package"
    except (ImportError, OSError, ValueError) as error:
        content, problem = None, str(error)
    if content is None:
        raise Refused(
            f"no bundle in the package: {resource}: {problem}",
            hint="write resource='package:file'",
        )
    return content


def _pins(environ: Mapping[str, str]) -> dict[str, str]:
    pins = {}
    for pin in filter(None, (part.strip() for part in environ.get(PIN, "").split(","))):
        name, equals, selector = pin.partition("=")
        if not (name and equals and selector):
            raise Refused(f"{PIN}: {pin!r} is no pin", hint=f"{PIN}=support=v3,other=v1")
        pins[name.strip()] = selector.strip()
    return pins
