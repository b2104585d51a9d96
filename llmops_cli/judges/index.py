"""The calibration status of each judge, for `check` and `status`.

Offline, and nothing is refused here: `eval`, `measure` and `promote` do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.policy import Policy
from llmops_cli.core.prompt import Evalset
from llmops_cli.core.records import Calibration, instrument_of
from llmops_cli.core.result import Metric
from llmops_cli.gate.calibration import gates
from llmops_cli.project.paths import MAX_FILE
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import Project
from llmops_cli.run.scorers import Scorers
from llmops_cli.stores.calibrations import Calibrations

Status: TypeAlias = Literal[
    "GATE", "ADVISORY", "TOO_FEW_LABELS", "UNUSABLE", "outdated", "uncalibrated"
]
GATES_ANYWAY: Mapping[Status, str] = {
    "uncalibrated": "gates and is not calibrated",
    "TOO_FEW_LABELS": "gates and is not calibrated yet",
    "outdated": "gates, and its calibration is outdated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStatus:
    """One judged metric and the calibration status of its judge."""

    address: str
    """Its address, as `llmops calibrate` takes it."""
    status: Status
    why: str
    """In words; empty if it may gate."""
    advisory: bool = False
    """No decision depends on it."""
    unfit: bool = False
    """The policy is `judges: calibrated`, and this judge may not gate under it."""


@dataclass(frozen=True, kw_only=True)
class CalibrationIndex:
    """The calibrations of a project by instrument, read when the first judge is looked up."""

    root: Path
    broken: list[IntegrityBroken] = field(default_factory=list)
    """Files that are not valid calibrations."""

    def of(self, evalset: str, metric: Metric, policy: Policy) -> JudgeStatus:
        """Return the calibration status of the judge of `metric`."""
        address = f"{evalset}:{metric.label}"
        calibrations = self._by_instrument
        calibration = calibrations.get(instrument_of(metric))
        earlier = [known for known in calibrations.values() if known.address == address]
        status: Status = "uncalibrated"
        why = "accuracy unknown"
        if calibration is not None:
            status, why = calibration.status.value, "; ".join(calibration.why)
        elif earlier:
            status = "outdated"
            last = max(earlier, key=lambda known: known.made.at)
            changed = "threshold" if last.scorer == metric.scorer else "judge or criterion"
            why = f"the calibration of {last.made.at[:10]} was for another {changed}"
        elif metric.paired:
            why = "it compares two answers, and labels are about one"
        return JudgeStatus(
            address=address,
            status=status,
            why=why,
            advisory=not gates(metric, policy),
            unfit=policy.judges == "calibrated" and status != "GATE",
        )

    def warnings(
        self, evalset: str, judged: Iterable[Metric], policies: Iterable[Policy]
    ) -> Iterator[str]:
        """Yield a sentence for each judge that gates without a calibration; others are refused.

        `policies` are those of each environment.
        """
        for metric in {instrument_of(metric): metric for metric in judged}.values():
            known = self.of(evalset, metric, Policy())
            gated = any(gates(metric, policy) for policy in policies)
            if gated and (problem := GATES_ANYWAY.get(known.status)):
                command = "" if metric.paired else f": llmops calibrate {known.address}"
                yield f"the judge {known.address} {problem} ({known.why}){command}"

    @cached_property
    def _by_instrument(self) -> Mapping[str, Calibration]:
        calibrations = {}
        store = Calibrations(self.root)
        for file in store.files():
            try:
                calibration = store.at(file)
            except IntegrityBroken as error:
                self.broken.append(error)
            else:
                calibrations[calibration.instrument] = calibration
        return calibrations


def judge_warnings(
    project: Project, evalsets: Iterable[Evalset]
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return warnings about the judges of each evalset, and the errors of broken calibrations."""
    index, warnings = CalibrationIndex(root=project.root), {}

    def read(path: str, *, code: bool) -> bytes:  # noqa: ARG001 - without a base, all is read here
        return project.source.read(path, limit=MAX_FILE)

    for evalset in evalsets:
        policies = [
            policy_of(project.gate, evalset.gate, environment.gate)
            for environment in project.environments
        ]
        judged = Scorers(project.catalog, evalset, read, project.judge_of).judged_metrics
        warnings[evalset.name] = tuple(index.warnings(evalset.name, judged, policies))
    return warnings, tuple(error.message for error in index.broken)
