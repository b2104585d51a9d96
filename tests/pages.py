"""Pages of the report to open in a browser, and records of cases to put into them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import (
    CaseStream,
    Change,
    Report,
    ShownCase,
    ShownScore,
    ShownSide,
    ShownTrial,
)
from llmops_cli.render.html.cases import PageLimits
from llmops_cli.render.html.page import html_report
from llmops_cli.report.finished_run import stream_report
from tests import reports

KIND = {
    "regressed": (1.0, 0.0),
    "improved": (0.0, 1.0),
    "failing": (0.0, 0.0),
    "critical": (1.0, 0.0),
}


def side(*texts: str, passed: float | None, reason: str = "", label: str = "tone") -> ShownSide:
    """Trials with one score each, that of `label`."""
    right = passed is not None and passed >= 0.5
    score = ShownScore(label=label, value=float(right), passed=right, reason=reason)
    trials = (ShownTrial(text=text, scores=(score,)) for text in texts)
    return ShownSide(passed=passed, trials=tuple(trials))


def record(case: str, change: Change | None = None, **more: Any) -> ShownCase:
    """A case whose answer before and after says little."""
    before, after = KIND.get(change or "", (1.0, 1.0))
    parts: dict[str, Any] = {
        "inputs": {"question": f"What about {case}?"},
        "expected": "fine",
        "baseline": side("All is fine with it.", passed=before),
        "candidate": side("All is well with it.", passed=after),
        "critical": change == "critical",
    }
    return ShownCase(prompt="intent", evalset="banking77", case=case, change=change, **parts | more)


def mixed(count: int) -> Iterator[ShownCase]:
    """One critical, a tenth lost, one gained, one unmeasured; the others pass."""
    failed = ShownSide(passed=None, trials=(ShownTrial(failure="the server was down"),))
    yield record("critical-0", "critical", tags=("fraud",))
    for at in range(count // 10):
        yield record(f"regressed-{at}", "regressed", tags=("card",))
    yield record("unmeasured-0", "unmeasured", candidate=failed)
    yield record("improved-0", "improved", tags=("cash",))
    for at in range(count - count // 10 - 3):
        yield record(f"passing-{at}")


def page(
    path: Path,
    report: Report,
    records: Iterable[ShownCase] | None = None,
    *,
    secrets: Iterable[str] = (),
    room: PageLimits | None = None,
) -> Path:
    """Writes the page of `report` with `records`, or with the cases that it shows."""
    every = None if records is None else list(records)
    taken = stream_report(report) if every is None else CaseStream(len(every), iter(every))
    pieces = html_report(report, taken, redact=Redactor(secrets), room=room)
    path.write_text("".join(pieces), encoding="utf-8")
    return path


def cases_in(file: Path) -> list[dict[str, Any]]:
    """Every case that a page holds, without what answering took."""
    blocks = re.findall(r'class="block">(.*?)</script>', file.read_text(encoding="utf-8"))
    cases: list[dict[str, Any]] = [case for block in blocks for case in json.loads(block)]
    for case in cases:
        for name in ("baseline", "candidate"):
            for trial in case.get(name, {}).get("trials", ()):
                trial.pop("facts", None)
    return cases


def many_prompts() -> tuple[Report, Iterator[ShownCase]]:
    """Sixty prompts of which two fail and one cannot be decided, with some cases of the worst."""
    good, bad, open_ = (
        item().prompts[0] for item in (reports.passing, reports.failing, reports.inconclusive)
    )
    names = ("billing/refunds", "billing/charges")
    worst = [replace(bad, prompt=name, candidate=f"{name}@working") for name in names]
    others = [
        replace(good, prompt=f"team-{at % 7}/prompt-{at:02}", candidate=f"prompt-{at:02}@working")
        for at in range(57)
    ]
    cases = (replace(item, prompt=names[0]) for item in mixed(200))
    return reports.report(*others, *worst, open_), cases
