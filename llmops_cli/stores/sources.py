"""Where stored answers and scores come from, and which sources count in this run.

Every row of a results store names its sources: the model that was called, with its address and the
names of its secrets; a run file; evidence of a version; or llmops, which computed it. Several
sources may vouch for one row.

With a base revision, only the sources that the base names count: nothing that a change brought is
reused. Evidence of a version never answers for another one: each of its answers has a source of its
own for each request, and counts once the version was found to make that request.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

OWN = "llmops"
"""Of scores that llmops computes by itself, from the answer and the case."""
UNKNOWN = ""
"""Of rows that were written before sources were."""
_EVIDENCE = "evidence "
_SEVERAL = ","


class Sources:
    """The sources that count in a run."""

    def __init__(self, known: Iterable[str] | None = None) -> None:
        """Count `known` and what is accepted later; None: any, but of evidence what is accepted."""
        self._any = known is None
        self._accepted = {OWN, *(known or ())}

    def accept(self, *sources: str) -> None:
        """Let `sources` count."""
        self._accepted.update(sources)

    def accept_evidence(self, evidence: str, requests: Iterable[str]) -> None:
        """Let evidence count for `requests`: those that its version makes."""
        self.accept(*(of_evidence(evidence, request) for request in ("", *requests)))

    def count(self, source: str) -> bool:
        """Return whether a row from `source` counts."""
        if source in self._accepted:
            return True
        if _SEVERAL in source:
            return any(map(self.count, source.split(_SEVERAL)))
        return self._any and not source.startswith(_EVIDENCE)

    def may_count(self, source: str) -> bool:
        """Return whether a row from `source` counts, or may once evidence is accepted."""
        return self.count(source) or _EVIDENCE in source


def merged(source: str, other: str) -> str:
    """Return what names both."""
    return _SEVERAL.join(dict.fromkeys((*source.split(_SEVERAL), *other.split(_SEVERAL))))


def of_evidence(evidence: str, request: str = "") -> str:
    """Return the source of an answer to `request` in evidence; of its scores, without one."""
    content = f"{evidence} {request}".encode()
    return _EVIDENCE + blake2b(content, digest_size=16).hexdigest()


def of_run(digest: str) -> str:
    """Return the source of what a run file holds."""
    return f"run {digest}"
