"""Calibrations of judges, one file per instrument: `.llmops/calibrations/<12 digits>.json`.

A newer calibration of the same instrument replaces the older one; git keeps both, and evidence
embeds the one that counted. Reading checks the digest, and that every figure and the status follow
from the counts: an edited line lets no judge gate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import InvalidRecord, from_plain, short
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.records import Calibration, CalibrationStatus, Evidence, Figure, Figures
from llmops_cli.gate.calibration import figures, ruling
from llmops_cli.stores.atomic import Redact, write_text
from llmops_cli.stores.codec import from_bytes, unseal
from llmops_cli.stores.registry_files import children, exists, read_record

FOLDER = Path(".llmops") / "calibrations"


def read_here(file: Path) -> bytes | None:
    """Return the content of a file; None: there is none. Raises `IntegrityBroken`."""
    return read_record(file) if exists(file) else None


class Calibrations:
    """The calibrations of the project in `root`."""

    def __init__(self, root: Path, read: Callable[[Path], bytes | None] = read_here) -> None:
        """Take how a file is read: as it is here, or as another revision has it."""
        self.folder = root / FOLDER
        self.read = read

    def files(self) -> list[Path]:
        """Return the files of all calibrations."""
        return [path for path in children(self.folder) if path.suffix == ".json"]

    def at(self, file: Path) -> Calibration:
        """Return the calibration in `file`. Raises `IntegrityBroken`."""
        return self._parsed(file, read_record(file))

    def _parsed(self, file: Path, content: bytes) -> Calibration:
        try:
            calibration = calibration_of(from_bytes(content), file)
        except InvalidRecord as error:
            raise _broken(file, str(error)) from error
        expected = self.file_of(calibration.instrument)
        if file != expected:
            raise _broken(file, f"it is of another instrument: {expected.name}")
        return calibration

    def of(self, instrument: str) -> Calibration | None:
        """Return the calibration of an instrument; None: it has none. Raises `IntegrityBroken`."""
        file = self.file_of(instrument)
        content = self.read(file)
        return None if content is None else self._parsed(file, content)

    def file_of(self, instrument: str) -> Path:
        """Return the file of the calibration of an instrument, whether it exists or not."""
        return self.folder / f"{short(instrument)}.json"

    def write(self, calibration: Calibration, *, redact: Redact) -> Path:
        """Write `calibration` in place of an older one of the same instrument."""
        file = self.file_of(calibration.instrument)
        exists(file)  # raises for a link, through which something else would be overwritten
        record = {**calibration.plain(), "digest": calibration.digest}
        text = json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True)
        write_text(file, text + "\n", redact=redact)
        return file


def evidence_calibrations(evidence: Evidence) -> tuple[Calibration, ...]:
    """Return the calibrations in `evidence`. Raises `IntegrityBroken`."""
    records = evidence.measurement.calibrations.values()
    return tuple(
        calibration_of(record, evidence.file) for record in records if isinstance(record, Mapping)
    )


def calibration_of(record: Mapping[str, Any], file: Path) -> Calibration:
    """Return the calibration in `record`, which was read from `file`. Raises `IntegrityBroken`."""
    try:
        calibration = unseal(record, partial(from_plain, Calibration))
    except InvalidRecord as error:
        raise _broken(file, str(error)) from error
    if not follows_from_counts(calibration):
        raise _broken(file, "its figures do not follow from its counts")
    return calibration


def follows_from_counts(calibration: Calibration) -> bool:
    """Return whether the figures and the status of `calibration` are what its counts give."""
    expected = figures(calibration.counts)
    same_figures = all(
        _is_close(getattr(calibration.figures, name), getattr(expected, name))
        for name in Figures.__dataclass_fields__
    )
    status, why = ruling(calibration.counts)
    ruled = {status}
    if status is CalibrationStatus.TOO_FEW:  # earlier versions wrote these instead
        ruled |= {CalibrationStatus.ADVISORY, CalibrationStatus.UNUSABLE}
    return same_figures and calibration.status in ruled and calibration.why == why


def _is_close(figure: Figure | None, other: Figure | None) -> bool:
    """Return whether both are equal but for the last bits, in which machines may differ."""
    if figure is None or other is None:
        return figure is other
    pairs = zip(astuple(figure), astuple(other), strict=True)
    return all(math.isclose(left, right, abs_tol=1e-9) for left, right in pairs)


def _broken(file: Path, why: str) -> IntegrityBroken:
    hint = "restore it from git, or calibrate again: llmops calibrate EVALSET:LABEL --labels FILE"
    return IntegrityBroken(why, where=str(file), hint=hint)
