"""Calibrations: how well a judge's scores agree with human labels.

A calibration applies to one *instrument*: a scorer's digest, which covers the judge's model and
prompt, and the threshold that turns scores into pass and fail. A different judge, prompt or
threshold is a different instrument and needs its own calibration.

Only the counts are measured. The figures are computed from them (`gate.calibration`) and stored
next to them for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from llmops_cli.core.case_result import Metric
from llmops_cli.core.codec import to_plain
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.release import FileRef, Provenance

CALIBRATION_SCHEMA = "llmops/calibration/v2"


class CalibrationStatus(Enum):
    """What a judge may be used for. Best first."""

    GATE = "GATE"
    ADVISORY = "ADVISORY"
    UNUSABLE = "UNUSABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An estimate and its interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of the judge's first reading against the label, and of its two readings against each
    other.
    """

    both_pass: int = 0
    only_people_pass: int = 0
    only_judge_passes: int = 0
    both_fail: int = 0
    read_twice: int = 0
    """Outputs with two readings."""
    differing: int = 0
    """Outputs that pass in one reading and fail in the other."""
    unscored: int = 0
    """Missing readings, of two per output."""

    @property
    def n(self) -> int:
        """Return the number of labeled outputs with a first reading."""
        return self.people_pass + self.people_fail

    @property
    def people_pass(self) -> int:
        return self.both_pass + self.only_people_pass

    @property
    def people_fail(self) -> int:
        return self.both_fail + self.only_judge_passes

    @property
    def judge_passes(self) -> int:
        return self.both_pass + self.only_judge_passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures computed from the counts; None if they need a missing label or reading."""

    kappa: Figure | None
    """Cohen's kappa of judge and humans, 95%."""
    tpr: Figure | None
    """True positive rate: the share of human passes that the judge passes, 95%."""
    tnr: Figure | None
    """True negative rate: the share of human fails that the judge fails, 95%."""
    j: Figure | None
    """Youden's J = TPR + TNR − 1, 90%."""
    disagreement: Figure | None
    """Share of outputs whose two readings differ, 95%."""
    corrected: Figure | None
    """The judge's pass rate over the labeled outputs, corrected for its errors, 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Confusion matrix, for labels that are grades or named classes."""

    names: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    """Rows: the label; columns: the judge's first reading; in the order of `names`."""
    kappa: Figure | None
    """Cohen's kappa over all classes, unweighted, 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Prompt injection test: failed answers with an instruction to the judge appended."""

    tried: int
    obeyed: int
    """How many of them the judge then passed."""
    unscored: int = 0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The result of one calibration."""

    evalset: str
    label: str
    scorer: str
    """Digest of the scorer, which covers the judge's."""
    minimum: float | None
    maximum: float | None
    negate: bool
    judge: str | None
    """`provider/model` of who judged; None: the scorer asks no model."""
    served: tuple[str, ...] = ()
    """The models that answered under that name, as the provider reports them."""
    labels: FileRef
    """The file of labels: its name and the digest of its bytes."""
    unlabeled: int = 0
    """Rows without a label, which were skipped."""
    graded: bool = False
    """Whether the scorer gave other values than 0 and 1."""
    counts: Counts
    sides: Mapping[str, Counts] = field(default_factory=dict)
    """Counts by side, if the labels name sides."""
    classes: Classes | None = None
    canaries: Canaries | None = None
    figures: Figures
    status: CalibrationStatus
    why: tuple[str, ...]
    """Reasons why it isn't `GATE`, one sentence each."""
    llmops: str
    made: Provenance

    @property
    def address(self) -> str:
        """Return the scorer's address, as `llmops calibrate` takes it."""
        return f"{self.evalset}:{self.label}"

    def is_at_least(self, required: str | None) -> bool:
        """Whether its status is `required` (`gate`, `advisory`; None: anything) or better."""
        best_first = [status.value.casefold() for status in CalibrationStatus]
        rank = best_first.index(self.status.value.casefold())
        return required is None or rank <= best_first.index(required)

    @property
    def instrument(self) -> str:
        """Return what names the calibrated scorer."""
        return _instrument(self.scorer, self.minimum, self.maximum, negate=self.negate)

    @property
    def digest(self) -> str:
        return digest(CALIBRATION_SCHEMA, self.plain())

    def plain(self) -> dict[str, Json]:
        """Return its plain form."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain


def instrument_of(metric: Metric) -> str:
    """Return the name of the scorer of `metric` and of how its values are read."""
    return _instrument(metric.scorer, metric.minimum, metric.maximum, negate=metric.negate)


def _instrument(scorer: str, minimum: float | None, maximum: float | None, *, negate: bool) -> str:
    named: dict[str, Json] = {
        "scorer": scorer,
        "minimum": minimum,
        "maximum": maximum,
        "negate": negate,
    }
    return digest("llmops/instrument/v1", named)
