"""Moves what all cases of an evalset share up to it, so that a file reads as if written by hand.

A scorer that every case has becomes one of the evalset's. Where every case then has one scorer
left, of one kind with the same options apart from its value, that value becomes `expected`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from llmops_cli.core.catalogue import Catalogue

Case: TypeAlias = dict[str, Any]


def hoisted(cases: Sequence[Case], catalogue: Catalogue) -> tuple[list[Any], list[Case]]:
    """The evalset's scorers, and the cases with what is left of theirs."""
    shared = _shared(cases)
    rest = [
        {**case, "scorers": [each for each in case["scorers"] if _key(each) not in shared]}
        for case in cases
    ]
    scorers = list(shared.values())
    expecting = _expecting(rest, catalogue)
    if expecting is not None:
        kind, option, options = expecting
        entry: Any = {kind: options} if options else kind
        scorers.append(entry)
        rest = [_expects(case, kind, option) for case in rest]
    return _labelled(scorers, rest)


def _shared(cases: Sequence[Case]) -> dict[str, Any]:
    """Scorers of the first case that all others have too."""
    if not cases:
        return {}
    everywhere = [{_key(each) for each in case["scorers"]} for case in cases]
    return {
        _key(each): each
        for each in cases[0]["scorers"]
        if all(_key(each) in keys for keys in everywhere)
    }


def _expecting(
    cases: Sequence[Case], catalogue: Catalogue
) -> tuple[str, str, Mapping[str, Any]] | None:
    """The kind, its option for the value and the other options that all single scorers share."""
    found: tuple[str, str, Mapping[str, Any]] | None = None
    if len(cases) < 2:
        return None
    for case in cases:
        if len(case["scorers"]) != 1 or "not" in case["scorers"][0] or "expected" in case:
            return None
        ((kind, options),) = case["scorers"][0].items()
        option = catalogue.scorers[kind].expects
        if option is None or option not in options or "{%" in str(options[option]):
            return None
        this = (kind, option, {name: each for name, each in options.items() if name != option})
        if found is not None and found != this:
            return None
        found = this
    return found


def _expects(case: Case, kind: str, option: str) -> Case:
    return {**case, "expected": case["scorers"][0][kind][option], "scorers": []}


def _labelled(scorers: list[Any], cases: list[Case]) -> tuple[list[Any], list[Case]]:
    """Names of scorers made unique within the evalset and each of its cases."""
    taken: set[str] = set()
    labelled = [_unique(each, taken) for each in scorers]
    return labelled, [
        {**case, "scorers": [_unique(each, own) for each in case["scorers"]]}
        for case, own in ((case, set(taken)) for case in cases)
    ]


def _unique(entry: Any, taken: set[str]) -> Any:
    inner = entry.get("not", entry) if isinstance(entry, dict) else {}
    for kind, options in inner.items() if isinstance(inner, dict) else ():
        if not isinstance(options, dict) or "name" not in options:
            continue
        label = next(each for each in _numbered(options["name"]) if each not in taken)
        taken.add(label)
        named = {kind: {**options, "name": label}}
        return {"not": named} if "not" in entry else named
    return entry


def _numbered(label: str) -> Iterator[str]:
    yield label
    number = 2
    while True:
        yield f"{label} {number}"
        number += 1


def _key(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)
