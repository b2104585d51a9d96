"""Where an application finds its prompts: a bundle it was given, one in a package, or `.llmops/`.

In this order: the argument `source`, the variable `LLMOPS_BUNDLE`, the argument `resource`
(`package:file`, what the application ships), the nearest `.llmops/` from here upwards. Neither
git nor a network is asked.

`load_prompt`: the one call by which an application gets the prompt that its environment runs.

Loaded once per process and place: an application keeps the prompt it has started with until it is
started again, whatever is written meanwhile. `LLMOPS_PIN=support=v3,other=v1` puts other versions
in the place of those asked for, without a deploy.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pkgutil import get_data
from typing import Protocol

from llmops_cli.core.errors import Refused
from llmops_cli.core.release import Version
from llmops_cli.runtime.prompt import Prompt
from llmops_cli.stores.bundle import bundle_of
from llmops_cli.stores.registry import FOLDER, Registry

MAKE_ONE = "llmops bundle ENV --out FILE makes one"


class Source(Protocol):
    """What answers to addresses: a registry, or a bundle."""

    def resolve(self, name: str, selector: str) -> int: ...

    def version(self, name: str, number: int) -> Version: ...

    def quarantined(self, name: str) -> frozenset[int]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A path (of a bundle, or of a folder with `.llmops/`), or `package:file`."""

    path: Path | None = None
    resource: str | None = None

    def open(self) -> Source:
        """What stands there. Raises `Refused`, and `IntegrityBroken` for a bundle's digest."""
        if self.path is None:
            return _of_package(self.resource or "")
        if self.path.is_dir():
            return _of_folder(self.path)
        try:
            return bundle_of(self.path.read_bytes(), self.path)
        except OSError as error:
            raise Refused(f"no bundle: {self.path}: {error.strerror}", hint=MAKE_ONE) from error


def place(
    source: str | os.PathLike[str] | None, resource: str | None, environ: Mapping[str, str]
) -> Place:
    """The first source there is. Raises `Refused` where there is none."""
    given = source or environ.get("LLMOPS_BUNDLE")
    if given:
        return Place(path=Path(given).absolute())
    if resource is not None:
        return Place(resource=resource)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return Place(path=folder)
    raise Refused(
        f"no {FOLDER}/ in {here} or above it, and no bundle was given",
        hint=f"set LLMOPS_BUNDLE to a bundle; {MAKE_ONE}",
    )


def _of_folder(path: Path) -> Source:
    root = path.parent if path.name == FOLDER else path
    if not (root / FOLDER).is_dir():
        raise Refused(f"no {FOLDER}/ in {path}", hint=f"name a bundle; {MAKE_ONE}")
    return Registry(root)


def _of_package(resource: str) -> Source:
    package, _, name = resource.partition(":")
    try:
        content = get_data(package, name)
    except (ImportError, OSError, ValueError) as error:
        raise _no_resource(resource, str(error)) from error
    if content is None:
        raise _no_resource(resource, "there is no such package")
    return bundle_of(content, Path(resource))


def _no_resource(resource: str, why: str) -> Refused:
    hint = "write resource='package:file'"
    return Refused(f"no bundle in the package: {resource}: {why}", hint=hint)


PIN = "LLMOPS_PIN"
UNRELEASED = frozenset({"", "working", "latest"})
_ONE_AT_A_TIME = threading.Lock()


class QuarantinedVersion(UserWarning):
    """A version was loaded that an environment has taken back: it runs, and should not for long."""


def load_prompt(
    address: str,
    *,
    source: str | os.PathLike[str] | None = None,
    resource: str | None = None,
) -> Prompt:
    """The version at `address`: `support@production`, `support@production~1`, `support@v3`.

    `source` is a bundle or a folder with `.llmops/`; without it the variable `LLMOPS_BUNDLE`
    counts, then `resource` (`package:file`: the bundle that an application ships), then the
    nearest `.llmops/`. Raises `IntegrityBroken` where it is not what was released, `UnknownName`
    and `Refused`. A version under quarantine is loaded, with a `QuarantinedVersion` warning.
    """
    name, _, asked = address.partition("@")
    selector = _pins(os.environ).get(name, asked)
    if selector in UNRELEASED:
        raise Refused(
            f"{address}: an application runs what was promoted",
            hint=f"{name}@production, or another environment or version",
        )
    where = place(source, resource, os.environ)
    with _ONE_AT_A_TIME:
        return _loaded(name, selector, where)


@cache
def _loaded(name: str, selector: str, where: Place) -> Prompt:
    source = _opened(where)
    version = source.version(name, source.resolve(name, selector))
    if version.number in source.quarantined(name):
        warnings.warn(
            f"{version.address} is quarantined: llmops history {name} says why",
            QuarantinedVersion,
            stacklevel=3,
        )
    return Prompt(_version=version)


@cache
def _opened(where: Place) -> Source:
    """One bundle serves many prompts: it is read and checked once."""
    return where.open()


def _pins(environ: Mapping[str, str]) -> dict[str, str]:
    pins = {}
    for each in filter(None, (part.strip() for part in environ.get(PIN, "").split(","))):
        name, equals, selector = each.partition("=")
        if not (name and equals and selector):
            raise Refused(f"{PIN}: {each!r} is no pin", hint=f"{PIN}=support=v3,other=v1")
        pins[name.strip()] = selector.strip()
    return pins
