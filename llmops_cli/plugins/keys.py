"""What names a scorer: the half of a score's key that is not the case and not the answer.

In it: name, revision, options, bytes of the files it names, the judge, library version.
Not in it: label, threshold, negation and `advisory`, which decide about a raw value later; nor
where a file stands, since its bytes say what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from llmops_cli.core.case import ScorerSpec
from llmops_cli.core.catalog import ScorerKind
from llmops_cli.core.digest import Json, digest, digest_bytes
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.number import with_literals
from llmops_cli.plugins.loading import load

ASKED = frozenset({"model", "prompt", "embeddings"})
"""Options of a judged scorer that name its judge: the judge's digest stands for them."""

ReadFile = Callable[[str], bytes]
"""The bytes of a project file, by its path relative to the project's folder."""


def scorer_digest(
    kind: ScorerKind, spec: ScorerSpec, read: ReadFile, *, judge: str | None = None
) -> str:
    """The scorer's digest; `judge` is the digest of its judge (`core.judge.Judge`).

    Raises `MissingExtra` where the scorer's library is not installed, and what `read` raises.
    """
    named = set(kind.files)
    asked = ASKED if kind.judged else frozenset()
    options: dict[str, Json] = {
        name: _by_content(value, read) if name in named else value
        for name, value in spec.options.items()
        if name not in asked
    }
    return digest(
        "llmops/scorer/v1",
        with_literals(
            {
                "name": kind.name,
                "revision": kind.revision,
                "options": options,
                "judge": judge,
                "library": None if kind.library is None else [kind.library, _version(kind)],
            }
        ),
    )


def volatile(kind: ScorerKind, spec: ScorerSpec) -> bool:
    """Whether scores live for one run: project code that does not say what it depends on."""
    return kind.code and spec.options.get("identity") is None


def _by_content(value: Json, read: ReadFile) -> Json:
    """A file option with each path replaced by what stands there; `path:name` keeps the name."""
    if isinstance(value, str):
        path, colon, name = value.partition(":")
        return digest_bytes(read(path)) + colon + name
    if isinstance(value, (list, tuple)):
        return [_by_content(each, read) for each in value]
    return value


def _version(kind: ScorerKind) -> str:
    """The version of the scorer's library; importlib.metadata alone would cost 30 ms at start."""
    version = cast("Callable[[str], str]", load("importlib.metadata:version"))
    assert kind.library is not None
    try:
        return version(kind.library)
    except ModuleNotFoundError as error:  # PackageNotFoundError is one
        if kind.extra:
            raise MissingExtra(f"the scorer {kind.name!r}", extra=kind.extra) from error
        raise Refused(f"{kind.library} is not installed", hint="reinstall llmops") from error
