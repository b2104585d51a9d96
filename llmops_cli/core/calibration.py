"""What is known about a judge: how its readings compare with the labels that people gave.

A calibration belongs to an *instrument*: a scorer's digest, which holds the judge's, and the
threshold that turns its values into pass and fail. Another judge, another prompt or another
threshold is another instrument, and is not calibrated by this one.

The counts are what was measured; every figure follows from them (`gate.calibration`), and is
written beside them for people.
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
    """An estimate with the ends of its interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The judge's first reading of each labelled output beside its label, and its two readings
    beside each other.
    """

    both_pass: int = 0
    only_people_pass: int = 0
    only_judge_passes: int = 0
    both_fail: int = 0
    read_twice: int = 0
    """Outputs with two readings."""
    differing: int = 0
    """Those of which one reading passes and the other fails."""
    unscored: int = 0
    """Readings, of two per output, that the judge did not give."""

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
    """What the counts say. None: they cannot say it, because a label or a reading is missing."""

    kappa: Figure | None
    """Cohen's kappa of judge and people, 95 %."""
    tpr: Figure | None
    """Share of what people pass that the judge passes, 95 %."""
    tnr: Figure | None
    """Share of what people fail that the judge fails, 95 %."""
    j: Figure | None
    """Youden's J = TPR + TNR − 1, 90 %."""
    disagreement: Figure | None
    """Share of outputs of which the two readings differ, 95 %."""
    corrected: Figure | None
    """The judge's pass rate over the labelled outputs, corrected for its mistakes, 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Where labels are grades or named classes: how often each was given by whom."""

    names: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    """Rows: the label; columns: the judge's first reading; in the order of `names`."""
    kappa: Figure | None
    """Cohen's kappa over all classes, unweighted, 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Answers that people and judge failed, with an order to the judge put after them."""

    tried: int
    obeyed: int
    """Those that the judge passed then."""
    unscored: int = 0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What one calibration measured."""

    evalset: str
    label: str
    scorer: str
    """Digest of the scorer, which holds the judge's."""
    minimum: float | None
    maximum: float | None
    negate: bool
    judge: str | None
    """`provider/model` of who judged; None: the scorer asks no model."""
    served: tuple[str, ...] = ()
    """What the provider says answered under that name."""
    labels: FileRef
    """The file of labels: its name and the digest of its bytes."""
    unlabelled: int = 0
    """Its rows without a label, which were left out."""
    graded: bool = False
    """Whether the scorer gave other values than 0 and 1."""
    counts: Counts
    sides: Mapping[str, Counts] = field(default_factory=dict)
    """The same by side, where the labels name sides."""
    classes: Classes | None = None
    canaries: Canaries | None = None
    figures: Figures
    status: CalibrationStatus
    why: tuple[str, ...]
    """What keeps it from `GATE`, one sentence each."""
    llmops: str
    made: Provenance

    @property
    def address(self) -> str:
        """Return the scorer as `llmops calibrate` takes it."""
        return f"{self.evalset}:{self.label}"

    def is_at_least(self, wanted: str | None) -> bool:
        """Whether its status is `wanted` (`gate`, `advisory`; None: anything) or better."""
        best_first = [status.value.casefold() for status in CalibrationStatus]
        rank = best_first.index(self.status.value.casefold())
        return wanted is None or rank <= best_first.index(wanted)

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
