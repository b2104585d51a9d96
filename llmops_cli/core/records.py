"""The registry's records: versions, their evidence, promotion events, and calibrations of judges.

A version freezes a target. Evidence is measured trials and the verdict they gave under a policy,
as an in-toto Statement (test-result/v0.1). Events form one chain per environment and prompt; the
last one that moves the pointer says what runs. Each value names itself by a digest over its own
content, so that an edit of one byte is seen without git and without a network.

A calibration says how well a judge's scores agree with human labels. It applies to one
*instrument*: a scorer's digest, which covers the judge's model and prompt, and the threshold that
turns scores into pass and fail. Only the counts are measured; the figures are computed from them
(`gate.calibration`) and stored next to them for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

from llmops_cli.core.digest import InvalidRecord, Json, digest, from_plain, to_plain
from llmops_cli.core.policy import Decision, Policy, Verdict
from llmops_cli.core.prompt import Model, Prompt
from llmops_cli.core.result import CANDIDATE, Metric

Action: TypeAlias = Literal["promote", "rollback", "quarantine", "override"]

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who made something, when (UTC, ISO 8601) and from which git commit, where there is one."""

    by: str
    at: str
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class RegistryRecord:
    """A record that names itself by a digest over its plain form."""

    SCHEMA: ClassVar[str]
    recorded: Mapping[str, Json] | None = field(default=None, init=False, compare=False)
    """What it was read from: a later llmops, with more fields, names it as it was written."""

    @cached_property
    def digest(self) -> str:
        return digest(self.SCHEMA, self.record())

    def record(self) -> Mapping[str, Json]:
        """Return its plain form, as it was read or as it is written."""
        return self.recorded or self.plain()

    def plain(self) -> dict[str, Json]:
        """Return its plain form as this version writes it."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return what `record`, which is without its digest, holds. Raises `InvalidRecord`."""
        return from_plain(cls, record).as_recorded(record)

    def as_recorded(self, record: Mapping[str, Json]) -> Self:
        """Return it with the digest of what it was read from; `replace` computes a new digest."""
        object.__setattr__(self, "recorded", record)
        return self


@dataclass(frozen=True, kw_only=True)
class Version(RegistryRecord):
    """An immutable released prompt: a number for a target digest, with all that rebuilds it."""

    SCHEMA = "llmops/version/v1"
    name: str
    number: int
    target: str
    """Digest of the target."""
    prompt: Prompt
    model: Model
    """Without headers, limits and prices: those come from llmops.yaml when it is called."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digest of each source file, by its path under `prompts/`."""
    created: Provenance

    @property
    def address(self) -> str:
        """Return `support@v3`."""
        return f"{self.name}@v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """A version as events cite it."""

    number: int
    digest: str
    """Of the version, and through it of the target."""


@dataclass(frozen=True, kw_only=True)
class Event(RegistryRecord):
    """One link of the chain of an environment and a prompt. Its order is seq, never the clock."""

    SCHEMA = "llmops/event/v1"
    seq: int
    environment: str
    prompt: str
    action: Action
    from_version: VersionRef | None
    to_version: VersionRef | None
    """None: a quarantine, which moves nothing."""
    previous: str | None
    """Digest of the event before in this chain; None: the first."""
    evidence: tuple[str, ...] = ()
    """Digests."""
    baseline_evidence: tuple[str, ...] = ()
    """Digests of the evidence whose baseline trials decided, where `evidence` has none."""
    came_from: str | None = None
    """Digest of the event in the environment that had to run it before (`after:`)."""
    decision: Decision | None = None
    """The verdict under this environment's policy; None: nothing was decided."""
    judged_by: tuple[EvalsetFacts, ...] = ()
    """The policies and thresholds that decided."""
    initial: bool = False
    accept_inconclusive: bool = False
    reason: str | None = None
    actor: str
    run_url: str | None = None
    """The CI run."""
    at: str
    """UTC, ISO 8601: for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """Which target a side of the evidence is."""

    version: int | None
    target: str
    """Digest."""
    model: str
    """`provider/model`."""
    served_models: tuple[str, ...] = ()
    oldest: str | None = None
    """UTC time of the oldest trial; None: unknown."""
    newest: str | None = None
    deterministic: bool = False
    """Its provider gives the same request the same answer, so its trials never age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetFacts:
    """One evalset of the evidence: what was measured, and how it was judged."""

    evalset: str
    digest: str
    """Over ids, facts and due scorers of its cases."""
    cases: int
    policy: Policy
    metrics: tuple[Metric, ...]
    retired: Mapping[str, str] = field(default_factory=dict)
    look: int = 1
    """Which look it was under `on_inconclusive: rerun`: error rates are spent over the looks."""
    shrinkage: Mapping[str, float] = field(default_factory=dict)
    """J by metric, for those that rest on one calibrated judge: what `scale_margin` applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What `measure` found, before it is written as a statement."""

    name: str
    number: int
    environment: str
    llmops: str
    sides: Mapping[str, SideFacts]
    """By role: `candidate`, `own baseline`, `baseline`, and `anchor v1` for each anchor."""
    evalsets: tuple[EvalsetFacts, ...]
    verdict: Verdict
    counts: Mapping[str, int] = field(default_factory=dict)
    judges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The models that judged, as they call themselves, by `evalset:label`."""
    calibrations: Mapping[str, Json] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    """Digests of the evidence of this version that was there already: its order, not the clock."""
    made: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A file next to the statement: its name and the digest of its bytes."""

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Evidence(RegistryRecord):
    """A measurement with its rows and texts, as an in-toto Statement: what a promotion cites."""

    SCHEMA = "llmops/evidence/v2"
    measurement: Measurement
    cases: FileRef
    texts: FileRef | None = None

    file: Path = field(default=Path(), compare=False)
    """The statement's file; rows and texts are next to it."""

    @property
    def candidate(self) -> SideFacts:
        return self.measurement.sides[CANDIDATE]

    def plain(self) -> dict[str, Json]:
        """Return the in-toto Statement: readable by any tool that knows test-result/v0.1."""
        measurement = self.measurement
        results = {Decision.PASS: "PASSED", Decision.FAIL: "FAILED"}
        files = [self.cases, *([self.texts] if self.texts else [])]
        return {
            "_type": STATEMENT,
            "subject": [
                {
                    "name": f"{measurement.name}@v{measurement.number}",
                    "digest": _in_toto(measurement.sides[CANDIDATE].target),
                }
            ],
            "predicateType": PREDICATE,
            "predicate": {
                "result": results.get(measurement.verdict.decision, "WARNED"),
                "configuration": [
                    {"name": f"evalset:{facts.evalset}", "digest": _in_toto(facts.digest)}
                    for facts in measurement.evalsets
                ]
                + [{"name": file.name, "digest": _in_toto(file.digest)} for file in files],
                "llmops": {
                    "measurement": to_plain(measurement),
                    "cases": to_plain(self.cases),
                    "texts": to_plain(self.texts),
                },
            },
        }

    @classmethod
    def of_statement(cls, statement: Mapping[str, Any], file: Path) -> Evidence:
        """Return the evidence in `statement`, read from `file`. Raises `InvalidRecord`."""
        try:
            ours = statement["predicate"]["llmops"]
            evidence = cls(
                measurement=from_plain(Measurement, ours["measurement"], "measurement"),
                cases=from_plain(FileRef, ours["cases"], "cases"),
                texts=None
                if ours["texts"] is None
                else from_plain(FileRef, ours["texts"], "texts"),
                file=file,
            )
            consistent = CANDIDATE in evidence.measurement.sides and (
                _for_anyone(evidence.plain()) == _for_anyone(statement)
            )
        except (KeyError, TypeError) as error:
            raise InvalidRecord(f"not evidence: {error}") from error
        if not consistent:
            raise InvalidRecord("the statement contradicts the measurement inside it")
        return evidence.as_recorded(statement)


def _for_anyone(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a statement that tools other than llmops read."""
    predicate = {name: value for name, value in statement["predicate"].items() if name != "llmops"}
    return {**statement, "predicate": predicate}


def _in_toto(full: str) -> dict[str, Json]:
    return {"sha256": full.removeprefix("sha256:")}


class CalibrationStatus(Enum):
    """What a judge may be used for. Best first."""

    GATE = "GATE"
    ADVISORY = "ADVISORY"
    TOO_FEW = "TOO_FEW_LABELS"
    """Not calibrated yet: it counts as a judge without a calibration does."""
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
class Calibration(RegistryRecord):
    """The result of one calibration."""

    SCHEMA = "llmops/calibration/v2"
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
        best_first = [status.value for status in CalibrationStatus]
        rank = best_first.index(self.status.value)
        return required is None or rank <= best_first.index(required.upper())

    @property
    def instrument(self) -> str:
        """Return what names the calibrated scorer."""
        return instrument_of(self)


def instrument_of(read: Metric | Calibration) -> str:
    """Return what names a scorer and how its values are read: what a calibration is about."""
    named: dict[str, Json] = {
        "scorer": read.scorer,
        "minimum": read.minimum,
        "maximum": read.maximum,
        "negate": read.negate,
    }
    return digest("llmops/instrument/v1", named)
