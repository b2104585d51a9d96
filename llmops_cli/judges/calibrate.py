"""People's labels beside a scorer's two readings, counted.

`llmops calibrate`: the judge reads every labelled answer twice, and is compared with people.

Any scorer can be calibrated: what a model judges, what a library measures, and code of the
project. A reading that was not given is counted; where more than 2 % are, nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from llmops_cli import __version__
from llmops_cli.core.calibration import Calibration, Canaries, Classes, Counts
from llmops_cli.core.case_result import Metric
from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.ports import Progress
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.engine.budget import Budget
from llmops_cli.gate.calibration import LEVEL, UNSCORED, figures, kappa, ruling
from llmops_cli.judges.canaries import canaries
from llmops_cli.judges.judge_runs import Job, read
from llmops_cli.judges.labels import Found, find
from llmops_cli.project.labels import Label, Labels, Wanted, read_labels
from llmops_cli.run.scorers import judge_of
from llmops_cli.run.workspace import Workspace, provenance
from llmops_cli.stores.calibrations import Calibrations


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRequest:
    """What to calibrate, and how."""

    scorer: str
    """`evalset:label`, or a label that only one evalset has."""
    labels: Path
    canaries: bool = False
    offline: bool = False
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What came of it."""

    calibration: Calibration | None
    """None: it was interrupted, and nothing was written."""
    path: str | None = None
    """Where it is kept, in the project."""
    replaced: Calibration | None = None
    """What was known before."""
    causes: Mapping[str, int]
    """Why readings were not given, and how often."""
    calls: int
    reused: int
    cost: float | None


def calibrate(workspace: Workspace, wish: CalibrationRequest, *, progress: Progress) -> Calibrated:
    """Reads every labelled answer twice, and keeps what that says of the scorer.

    Raises `UnknownName`, `InvalidFiles` or another `Refused` before any call, and `Unmeasured`
    where too many readings are missing.
    """
    found = find(workspace, wish.scorer)
    labels = read_labels(wish.labels, _wanted(workspace, found), workspace.project)
    if not labels.rows:
        raise Refused(
            f"{wish.labels}: no row has a label ({labels.unlabelled} without one)",
            hint="fill in the column `label`: pass or fail, or a grade or class of the scorer",
        )
    answers = [(label, _completion(label)) for label in labels.rows]
    jobs = [
        Job(case=label.case, completion=completion, again=again)
        for again in (False, True)
        for label, completion in answers
    ]
    readings = read(
        workspace, found.bound, jobs, budget=wish.budget, offline=wish.offline, progress=progress
    )
    half = len(answers)
    read_twice = [
        ReadTwice(label, readings.scores[at], readings.scores[at + half])
        for at, (label, _) in enumerate(answers)
    ]
    causes = Counter(each.why for each in readings.scores if isinstance(each, Unscored))
    told = Calibrated(
        calibration=None,
        causes=causes,
        calls=readings.calls,
        reused=readings.reused,
        cost=readings.cost,
    )
    if readings.cut_short():
        return told
    _demand_readings(causes, len(jobs))
    tried = None
    if wish.canaries:
        failed = list(failed_by_both(read_twice, found.metric))
        tried = canaries(
            workspace, found, failed, readings, offline=wish.offline, progress=progress
        )
    if readings.cut_short():
        return told
    made = _calibration(workspace, found, labels, read_twice, tried)
    store = Calibrations(workspace.root)
    before = store.of(made.instrument)
    workspace.registry.prepare()
    path = store.keep(made, redact=workspace.redact)
    return replace(
        told,
        calibration=made,
        path=path.relative_to(workspace.root).as_posix(),
        replaced=before,
        calls=readings.calls,
        cost=readings.cost,
    )


def _wanted(workspace: Workspace, found: Found) -> Wanted:
    prompts = workspace.project.prompts
    return Wanted(
        evalset=found.evalset.name,
        spec=found.bound.spec,
        kind=found.bound.kind,
        cases=found.evalset.cases,
        schemas=[prompts[name].inputs for name in found.evalset.prompts],
    )


def _completion(label: Label) -> Completion:
    return Completion(text=label.output, contexts=label.contexts)


def _demand_readings(causes: Mapping[str, int], planned: int) -> None:
    """Raises `Unmeasured` where too many readings are missing to say anything."""
    lacking = sum(causes.values())
    if lacking <= UNSCORED * planned:
        return
    told = "; ".join(f"{count}× {why}" for why, count in Counter(causes).most_common(3))
    raise Unmeasured(
        f"{lacking:,} of {planned:,} readings were not given, and at most {UNSCORED:.0%} may be "
        f"missing: {told}",
        hint="mend that and run the same command again: what was read is kept",
    )


def _calibration(
    workspace: Workspace,
    found: Found,
    labels: Labels,
    read_twice: Sequence[ReadTwice],
    tried: Canaries | None,
) -> Calibration:
    metric = found.metric
    counts = counts_of(read_twice, metric)
    sides: dict[str, list[ReadTwice]] = {}
    for each in read_twice:
        if each.label.side is not None:
            sides.setdefault(each.label.side, []).append(each)
    ruled = ruling(counts)
    model = found.bound.judge.target.model if found.bound.judge else None
    scores = [each.first for each in read_twice if isinstance(each.first, Score)]
    values = {each.value for each in scores}
    return Calibration(
        evalset=found.evalset.name,
        label=found.bound.label,
        scorer=found.bound.digest,
        minimum=metric.minimum,
        maximum=metric.maximum,
        negate=metric.negate,
        judge=None if model is None else f"{model.provider}/{model.model}",
        served=tuple(sorted({who for each in scores if (who := judge_of(each)) is not None})),
        labels=labels.file,
        unlabelled=labels.unlabelled,
        graded=not values <= {0.0, 1.0},
        counts=counts,
        sides={side: counts_of(those, metric) for side, those in sides.items()},
        classes=classes_read(read_twice, labels.names),
        canaries=tried,
        figures=figures(counts),
        standing=ruled.standing,
        why=ruled.why,
        llmops=__version__,
        made=provenance(workspace.root, workspace.environ),
    )
