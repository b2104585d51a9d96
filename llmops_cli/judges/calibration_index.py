"""What is known today of judges, for those who only look: `check` and `status`.

Offline, and nothing is refused here: `eval`, `measure` and `promote` do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from llmops_cli.core.calibration import Calibration, instrument_of
from llmops_cli.core.case import Evalset
from llmops_cli.core.case_result import Metric
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.policy import Policy
from llmops_cli.core.release import EvalsetFacts
from llmops_cli.judges.gating import gates, gating_metrics
from llmops_cli.project.paths import MAX_FILE
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import Project
from llmops_cli.run.scorers import Scorers
from llmops_cli.stores.calibrations import Calibrations

Standing: TypeAlias = Literal["GATE", "ADVISORY", "UNUSABLE", "outdated", "uncalibrated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownJudge:
    """One judged metric, and what is known of its judge."""

    address: str
    """As `llmops calibrate` takes it."""
    standing: Standing
    why: str
    """In words; empty where it may gate."""
    advisory: bool = False
    """Nothing rests on it."""
    demanded: bool = False
    """Whether the policy is `judges: calibrated`, and this one is not fit by it."""


@dataclass(kw_only=True)
class CalibrationIndex:
    """The calibrations of a project, read where somebody asks for the first judge."""

    root: Path
    broken: list[IntegrityBroken] = field(default_factory=list)
    """Files that are no calibrations."""
    _kept: dict[str, Calibration] | None = None

    def of(self, evalset: str, metric: Metric, policy: Policy) -> KnownJudge:
        """What is known of the judge of `metric`."""
        address = f"{evalset}:{metric.label}"
        found = self._all().get(instrument_of(metric))
        before = [each for each in self._all().values() if each.address == address]
        standing: Standing = "uncalibrated"
        why = "nobody knows how often it errs"
        if found is not None:
            standing, why = found.standing.value, "; ".join(found.why)
        elif before:
            standing = "outdated"
            why = _outdated(max(before, key=lambda each: each.made.at), metric)
        elif metric.paired:
            why = "it compares two answers, and labels are about one"
        return KnownJudge(
            address=address,
            standing=standing,
            why=why,
            advisory=not gates(metric, policy),
            demanded=policy.judges == "calibrated" and standing != "GATE",
        )

    def of_facts(self, asked: EvalsetFacts) -> tuple[KnownJudge, ...]:
        """What is known of every judged metric of what was measured."""
        judged = (metric for metric in asked.metrics if metric.judged)
        return tuple(self.of(asked.evalset, metric, asked.policy) for metric in judged)

    def doubts(
        self, evalset: str, scorers: Scorers, policies: Mapping[str, Policy]
    ) -> Iterator[str]:
        """A sentence for each judge that gates under one of `policies`, which go by environment,
        and that no calibration lets gate.
        """
        gating: dict[str, tuple[Metric, list[str]]] = {}
        for environment, policy in policies.items():
            for name, metric in gating_metrics(scorers, policy).items():
                demanding = gating.setdefault(name, (metric, []))[1]
                demanding += [environment] if policy.judges == "calibrated" else []
        for metric, demanding in gating.values():
            known = self.of(evalset, metric, Policy())
            if known.standing != "GATE":
                yield _doubt(known, metric, demanding)

    def _all(self) -> Mapping[str, Calibration]:
        if self._kept is None:
            self._kept = {}
            kept = Calibrations(self.root)
            for place in kept.places():
                try:
                    found = kept.at(place)
                except IntegrityBroken as error:
                    self.broken.append(error)
                else:
                    self._kept[found.instrument] = found
        return self._kept


class Look(Protocol):
    """What `doubts` is to those who load it where a model judges."""

    def __call__(
        self, project: Project, evalsets: Iterable[Evalset], /
    ) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
        """By evalset, what is to be known of its judges; and what is wrong with calibrations."""


def doubts(
    project: Project, evalsets: Iterable[Evalset]
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """By evalset, what is to be known of its judges; and what is wrong with calibrations."""

    def read(path: str) -> bytes:
        return project.source.read(path, limit=MAX_FILE)

    known, found = CalibrationIndex(root=project.root), {}
    for each in evalsets:
        policies = {
            environment.name: policy_of(project.gate, each.gate, environment.gate)
            for environment in project.environments
        }
        scorers = Scorers(project.catalog, each, read, project.judges.of)
        found[each.name] = tuple(known.doubts(each.name, scorers, policies))
    return found, tuple(error.message for error in known.broken)


def _outdated(then: Calibration, now: Metric) -> str:
    """Why the calibration of a scorer's label is not of what stands there now."""
    changed = "another threshold" if then.scorer == now.scorer else "another judge or criterion"
    return f"what was calibrated on {then.made.at[:10]} had {changed}"


def _doubt(known: KnownJudge, metric: Metric, demanding: Sequence[str]) -> str:
    told = {
        "uncalibrated": "gates and is not calibrated",
        "outdated": "gates, and its calibration is outdated",
    }.get(known.standing, f"may not gate: its calibration says {known.standing}")
    refused = f"; {' and '.join(demanding)} demands `judges: calibrated`" if demanding else ""
    mend = "" if metric.paired else f": llmops calibrate {known.address}"
    return f"the judge {known.address} {told} ({known.why}){refused}{mend}"
