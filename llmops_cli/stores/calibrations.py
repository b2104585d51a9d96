"""What is known about judges, one file per instrument: `.llmops/calibrations/<12 digits>.json`.

A newer calibration of the same instrument replaces the older one; git keeps both, and evidence
embeds the one that counted. Reading checks the digest, and that every figure and the ruling
follow from the counts: nobody gates by an edited line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_cli.core.calibration import Calibration, Figure, Figures
from llmops_cli.core.codec import Misshapen, from_plain
from llmops_cli.core.digest import short
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.gate.calibration import figures, ruling
from llmops_cli.stores.atomic import Redact, write_text
from llmops_cli.stores.codec import BadRecord, from_bytes

FOLDER = Path(".llmops") / "calibrations"


class Calibrations:
    """The calibrations of the project in `root`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def places(self) -> list[Path]:
        """Where calibrations stand."""
        return sorted(self.folder.glob("*.json"))

    def at(self, place: Path) -> Calibration:
        """The calibration at `place`. Raises `IntegrityBroken`."""
        found = _read(place)
        if place != self.place(found.instrument):
            raise _broken(
                place, f"it is of another instrument: {self.place(found.instrument).name}"
            )
        return found

    def of(self, instrument: str) -> Calibration | None:
        """The calibration of an instrument; None: it has none. Raises `IntegrityBroken`."""
        path = self.place(instrument)
        return self.at(path) if path.exists() else None

    def place(self, instrument: str) -> Path:
        """Where the calibration of an instrument stands."""
        return self.folder / f"{short(instrument)}.json"

    def keep(self, calibration: Calibration, *, redact: Redact) -> Path:
        """Write `calibration` in place of an older one of the same instrument."""
        path = self.place(calibration.instrument)
        record = {**calibration.plain(), "digest": calibration.digest}
        text = json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True)
        write_text(path, text + "\n", redact=redact)
        return path


def follows(calibration: Calibration) -> bool:
    """Whether the figures and the ruling of `calibration` are what its counts give."""
    ruled = ruling(calibration.counts)
    found = figures(calibration.counts)
    names = Figures.__dataclass_fields__
    alike = all(_same(getattr(calibration.figures, name), getattr(found, name)) for name in names)
    return alike and (ruled.standing, ruled.why) == (calibration.standing, calibration.why)


def _same(one: Figure | None, other: Figure | None) -> bool:
    """Equal but for the last bits, in which machines may differ."""
    if one is None or other is None:
        return one is other
    pairs = ((one.value, other.value), (one.lower, other.lower), (one.upper, other.upper))
    return all(math.isclose(mine, yours, abs_tol=1e-9) for mine, yours in pairs)


def calibration_of(record: Mapping[str, Any], path: Path) -> Calibration:
    """The calibration in `record`, which stood in `path`. Raises `IntegrityBroken`."""
    try:
        plain = {name: value for name, value in record.items() if name != "digest"}
        calibration = from_plain(Calibration, plain)
    except Misshapen as error:
        raise _broken(path, str(error)) from error
    if calibration.digest != record.get("digest"):
        raise _broken(path, "its content is not what was written")
    if not follows(calibration):
        raise _broken(path, "its figures do not follow from its counts")
    return calibration


def _read(path: Path) -> Calibration:
    try:
        return calibration_of(from_bytes(path.read_bytes()), path)
    except (OSError, BadRecord) as error:
        raise _broken(path, str(error)) from error


def _broken(path: Path, why: str) -> IntegrityBroken:
    hint = "restore it from git, or calibrate again: llmops calibrate EVALSET:LABEL --labels FILE"
    return IntegrityBroken(why, where=str(path), hint=hint)
