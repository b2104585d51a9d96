"""The calibration of a judge: how its scores compare with the labels that people gave.

A calibration belongs to an *instrument*: a scorer's digest, which includes the judge's, and the
threshold that turns its values into pass and fail. Another judge, prompt or threshold is another
instrument, and needs a calibration of its own.

The counts are what was measured. Every figure follows from them (`gate.calibration`), and is
written beside them for readers.
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
    """How first scores agree with the labels, and how the two scores of an output agree."""

    both_pass: int = 0
    only_people_pass: int = 0
    only_judge_passes: int = 0
    both_fail: int = 0
    read_twice: int = 0
    """Outputs with two scores."""
    differing: int = 0
    """Those of which one score passes and the other fails."""
    unscored: int = 0
    """Scores, of two per output, that the judge did not give."""

    @property
    def n(self) -> int:
        """Return the number of labeled outputs with a first score."""
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
    """What the counts say. None: they cannot say it, because a label or a score is missing."""

    kappa: Figure | None
    """Cohen's kappa of judge and people, 95%."""
    tpr: Figure | None
    """Share of what people pass that the judge passes, 95%."""
    tnr: Figure | None
    """Share of what people fail that the judge fails, 95%."""
    j: Figure | None
    """Youden's J = TPR + TNR − 1, 90%."""
    disagreement: Figure | None
    """Share of outputs whose two scores differ, 95%."""
    corrected: Figure | None
    """The judge's pass rate over the labeled outputs, corrected for its mistakes, 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Where labels are grades or named classes: how often each was given by whom."""

    names: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    """Rows: the label; columns: the judge's first score; in the order of `names`."""
    kappa: Figure | None
    """Cohen's kappa over all classes, unweighted, 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Answers that people and judge failed, with an instruction to the judge appended."""

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
    """Digest of the scorer, which includes the judge's."""
    minimum: float | None
    maximum: float | None
    negate: bool
    judge: str | None
    """`provider/model` of the judge; None: the scorer calls no model."""
    served: tuple[str, ...] = ()
    """What the provider says answered under that name."""
    labels: FileRef
    """The file of labels: its name and the digest of its bytes."""
    unlabeled: int = 0
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

    def is_at_least(self, required: str | None) -> bool:
        """Return whether its status is `required` (`gate`, `advisory`; None: any) or better."""
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
