"""`load_prompt`: the one call by which an application gets the prompt that its environment runs.

Loaded once per process and place: an application keeps the prompt it has started with until it is
started again, whatever is written meanwhile. `LLMOPS_PIN=support=v3,other=v1` puts other versions
in the place of those asked for, without a deploy.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from functools import cache

from llmops_cli.core.errors import Refused
from llmops_cli.runtime.prompt import Prompt
from llmops_cli.runtime.sources import Place, Source, place

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
