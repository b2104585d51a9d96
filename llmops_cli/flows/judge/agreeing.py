"""People's labels beside a scorer's two readings, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from llmops_cli.core.calibration import Classes, Counts
from llmops_cli.core.result import Score, Unscored
from llmops_cli.core.row import Metric
from llmops_cli.files.labels import Label
from llmops_cli.gate.agreement import kappa
from llmops_cli.gate.calibration import LEVEL


class ReadTwice(NamedTuple):
    """A labelled answer with both readings."""

    label: Label
    first: Score | Unscored
    second: Score | Unscored


def counts_of(read_twice: Iterable[ReadTwice], metric: Metric) -> Counts:
    """How people and the first reading meet, and how the two readings do."""
    met: Counter[tuple[bool, bool]] = Counter()
    twice = differing = unscored = 0
    for label, first, second in read_twice:
        unscored += isinstance(first, Unscored) + isinstance(second, Unscored)
        if isinstance(first, Unscored):
            continue
        judged = metric.passes(first.value)
        met[passed(label, metric), judged] += 1
        if isinstance(second, Score):
            twice += 1
            differing += judged != metric.passes(second.value)
    return Counts(
        both_pass=met[True, True],
        only_people_pass=met[True, False],
        only_judge_passes=met[False, True],
        both_fail=met[False, False],
        read_twice=twice,
        differing=differing,
        unscored=unscored,
    )


def passed(label: Label, metric: Metric) -> bool:
    """What people say; a grade or class passes where the judge's would."""
    return label.given if isinstance(label.given, bool) else metric.passes(label.given)


def classes_read(read_twice: Iterable[ReadTwice], names: Mapping[str, float]) -> Classes | None:
    """Who gave which class how often; classes of one score are one."""
    if not names:
        return None
    places: dict[float, list[str]] = {}
    for name, value in names.items():
        places.setdefault(value, []).append(name)
    order = list(places)
    table = [[0] * len(order) for _ in order]
    for label, first, _ in read_twice:
        if isinstance(first, Score):
            table[_nearest(order, float(label.given))][_nearest(order, first.value)] += 1
    return Classes(
        names=tuple(" / ".join(each) for each in places.values()),
        table=tuple(map(tuple, table)),
        kappa=kappa(table, LEVEL),
    )


def _nearest(order: Sequence[float], value: float) -> int:
    return min(range(len(order)), key=lambda at: abs(order[at] - value))


def failed_by_both(read_twice: Iterable[ReadTwice], metric: Metric) -> Iterator[Label]:
    for label, first, _ in read_twice:
        if (
            isinstance(first, Score)
            and not metric.passes(first.value)
            and not passed(label, metric)
        ):
            yield label
