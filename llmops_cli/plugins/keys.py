"""Compute the digest of a scorer: the part of a score's key that is neither case nor answer.

In it: name, revision, options, bytes of the files it names, the judge, library version.
Not in it: label, threshold, negation and `advisory`, which decide about a raw value later; nor
where a file stands, since its bytes say what it is.
"""

from __future__ import annotations

from collections.abc import Callable

from llmops_cli.core.digest import Json, digest, digest_bytes
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.literals import with_literals
from llmops_cli.core.ports import ScorerKind
from llmops_cli.core.prompt import ScorerSpec

JUDGE_OPTIONS = frozenset({"model", "prompt", "embeddings"})
"""Options of a judged scorer that name its judge: the judge's digest stands for them."""

ReadFile = Callable[[str], bytes]
"""The bytes of a project file, by its path relative to the project's folder."""


def scorer_digest(
    kind: ScorerKind, spec: ScorerSpec, read: ReadFile, *, judge: str | None = None
) -> str:
    """Return the scorer's digest; `judge` is the digest of its judge (`core.judge.Judge`).

    Raises `MissingExtra` if the scorer's library is not installed, and what `read` raises.
    """
    named = set(kind.files)
    judge_options = JUDGE_OPTIONS if kind.judged else frozenset()
    options: dict[str, Json] = {
        name: _by_content(value, read) if name in named else value
        for name, value in spec.options.items()
        if name not in judge_options
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
    """Return whether scores are only valid for one run: code without declared inputs."""
    return kind.code and spec.options.get("identity") is None


def _by_content(value: Json, read: ReadFile) -> Json:
    """Return a file option with a digest of its bytes for each path; `path:name` keeps `name`."""
    if isinstance(value, str):
        path, colon, name = value.partition(":")
        return digest_bytes(read(path)) + colon + name
    if isinstance(value, (list, tuple)):
        return [_by_content(item, read) for item in value]
    return value


def _version(kind: ScorerKind) -> str:
    """Return the version of the scorer's library."""
    from importlib.metadata import version  # noqa: PLC0415 - 30 ms at start

    assert kind.library is not None
    try:
        return version(kind.library)
    except ModuleNotFoundError as error:  # PackageNotFoundError is one
        if kind.extra:
            raise MissingExtra(f"the scorer {kind.name!r}", extra=kind.extra) from error
        raise Refused(f"{kind.library} is not installed", hint="reinstall llmops") from error
