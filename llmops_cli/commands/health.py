"""What an evalset's cases say about themselves: alike, contradicting, or given away by the prompt.

Two cases are near-duplicates if the sets of their words overlap by `NEAR` or more (Jaccard). They
are found by MinHash signatures in bands (Broder 1997), which miss a pair at the threshold about
once in 700 times, and are then compared exactly. 10,000 cases take less than a second.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case, Evalset, Prompt
from llmops_cli.gate.wording import cases as count_of
from llmops_cli.gate.wording import listed

NEAR = 0.75
"""Share of common words from which on two inputs are called alike."""
BANDS, ROWS = 12, 3
"""A pair at `NEAR` shares a band with probability 1 - (1 - 0.75^3)^12 = 0.9986."""
FEWEST = 3
"""Words: shorter inputs are alike by chance."""
MOST_IN_A_BUCKET = 50
"""Cases with one signature that are compared with each other."""
WORD = re.compile(r"\w+")


def health_notes(evalset: Evalset, prompts: Sequence[Prompt]) -> Iterator[str]:
    """Yield what a person should look at, each in a sentence with the cases' ids."""
    cases = list(evalset.cases)
    words = [words_of(case) for case in cases]
    contradicting = list(_contradicting(cases, words))
    if contradicting:
        yield _note(evalset, contradicting, "with the same input expect different answers")
    owners = [prompt for prompt in prompts for _ in prompt.messages]
    texts = [words_in(message.content) for prompt in prompts for message in prompt.messages]
    near, leaked = set[int](), set[tuple[int, str]]()
    for one, other in near_duplicates([*words, *texts]):
        if other < len(cases) and not _grouped(cases[one], cases[other]):
            near |= {one, other}
        elif one < len(cases) <= other:
            leaked.add((one, owners[other - len(cases)].name))
    if near:
        ids = [cases[at].id for at in sorted(near)]
        yield _note(evalset, ids, "nearly alike: give those of one kind a common `group`")
    for prompt in prompts:
        everything = f" {' '.join(' '.join(words_in(item.content)) for item in prompt.messages)} "
        ids = [
            case.id
            for at, (case, key) in enumerate(zip(cases, words, strict=True))
            if (at, prompt.name) in leaked
            or (len(set(key)) >= FEWEST and f" {' '.join(key)} " in everything)
        ]
        if ids:
            yield _note(evalset, ids, f"given away by the messages of {prompt.name}")


def words_of(case: Case) -> tuple[str, ...]:
    """Return the words of a case's inputs and earlier turns, in lower case."""
    texts = [*_texts(list(case.inputs.values())), *(str(turn.content) for turn in case.messages)]
    return words_in(" ".join(texts))


def words_in(content: object) -> tuple[str, ...]:
    """Return the words of a text, or of a message's parts, in lower case."""
    return tuple(WORD.findall(str(content).lower()))


def near_duplicates(words: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions whose words are nearly the same."""
    long = [at for at, item in enumerate(words) if len(set(item)) >= FEWEST]
    if len(long) < 2:
        return
    sets = [frozenset(words[at]) for at in long]
    signatures = _signatures(sets)
    seen: set[tuple[int, int]] = set()
    for band in range(BANDS):
        part = np.ascontiguousarray(signatures[:, band * ROWS : (band + 1) * ROWS])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * ROWS))).ravel()
        _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(place, kind="stable")
        starts = np.cumsum(counts) - counts
        for bucket in np.flatnonzero(counts > 1):
            members = order[starts[bucket] : starts[bucket] + counts[bucket]][:MOST_IN_A_BUCKET]
            for one, other in combinations(map(int, members), 2):
                if (one, other) in seen:
                    continue
                seen.add((one, other))
                shared = len(sets[one] & sets[other])
                if shared >= NEAR * len(sets[one] | sets[other]):
                    yield long[one], long[other]


def _signatures(sets: Sequence[frozenset[str]]) -> NDArray[np.uint64]:
    """Return the MinHash signature of each set of words: multiply-shift hashes (Dietzfelbinger)."""
    hashes = np.array([zlib.crc32(word.encode()) for item in sets for word in item], np.uint64)
    starts = np.cumsum([0, *(len(item) for item in sets[:-1])])
    rng = np.random.default_rng(1)
    factors = rng.integers(0, 1 << 63, BANDS * ROWS, np.uint64) * 2 + 1
    offsets = rng.integers(0, 1 << 63, BANDS * ROWS, np.uint64)
    columns = [  # multiplication wraps around: the high bits are the hash
        np.minimum.reduceat((hashes * factor + offset) >> np.uint64(32), starts)
        for factor, offset in zip(factors, offsets, strict=True)
    ]
    return np.stack(columns, axis=1)


def _contradicting(cases: Sequence[Case], words: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the ids of cases that expect something else than another one with the same words."""
    first: dict[tuple[str, ...], Case] = {}
    for case, key in zip(cases, words, strict=True):
        other = first.setdefault(key, case)
        differ = other.expected != case.expected and None not in (other.expected, case.expected)
        if key and other is not case and differ:
            yield from (other.id, case.id)


def _grouped(one: Case, other: Case) -> bool:
    return one.group is not None and one.group == other.group


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))


def _note(evalset: Evalset, ids: Sequence[str], what: str) -> str:
    distinct = tuple(dict.fromkeys(ids))
    return f"{evalset.name}: {count_of(len(distinct))} {what} ({listed(distinct, at_most=3)})"
