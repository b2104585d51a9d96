"""`calibrate`: whether a judge may gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmops_cli.cli import options

if TYPE_CHECKING:
    from llmops_cli.cli.output import Output
    from llmops_cli.judges.labels import Draft


def calibrate(
    context: typer.Context,
    scorer: options.ScorerAddress,
    labels: options.Labels = None,
    draft: options.Draft = None,
    answers: options.Answers = 150,
    canaries: options.Canaries = False,
    require: options.Require = None,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    offline: options.Offline = False,
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> int:
    """Validate a judge against human labels.

    Reads every labeled answer twice. The result is stored under .llmops/calibrations/ and used by
    eval, measure and promote. Exit 0: calibrated, whatever the rating. 2: --require asks for a
    better one. 3: too many answers were not judged.

    Examples:
      llmops calibrate support:tone --draft labels.jsonl
      llmops calibrate support:tone --labels labels.jsonl --canaries --commit
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode, Refused
    from llmops_cli.engine.budget import Budget
    from llmops_cli.judges.calibrate import CalibrationRequest
    from llmops_cli.judges.calibrate import calibrate as calibrate_judge
    from llmops_cli.registry.deliver import commit as git_commit
    from llmops_cli.render.calibration import console_calibration
    from llmops_cli.render.formatting import calls, money
    from llmops_cli.run.workspace import open_workspace

    if (labels is None) == (draft is None):
        raise Refused(
            "calibrate takes either --labels or --draft",
            hint=f"llmops calibrate {scorer} --draft labels.jsonl, then --labels labels.jsonl",
        )
    output = Output(as_json=as_json)
    if labels is None:
        assert draft is not None
        _draft(context.obj, scorer, draft, answers, output)
        return ExitCode.DONE
    request = CalibrationRequest(
        scorer=scorer,
        labels=labels,
        canaries=canaries,
        offline=offline,
        budget=Budget(calls=max_calls, cost=max_cost),
    )
    with open_workspace(context.obj) as workspace, output.progress() as progress:
        result = calibrate_judge(workspace, request, progress=progress)
        calibration = result.calibration
        if commit and calibration is not None:
            git_commit(workspace.root, f"Calibrate {calibration.address}")
    if calibration is None:
        output.say("interrupted: run the same command again, judged answers are cached")
        return ExitCode.INTERRUPTED
    shown = console_calibration(
        calibration,
        causes=result.causes,
        spent=f"{calls(result.calls, result.reused)}, {money(result.cost)}",
        replaced=result.replaced,
    )
    output.show(result, shown)
    return ExitCode.DONE if calibration.is_at_least(require) else ExitCode.REFUSED


def _draft(folder: Path, scorer: str, path: Path, answers: int, output: Output) -> None:
    from llmops_cli.judges.labels import write_draft
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(folder) as workspace:
        drafted = write_draft(workspace, scorer, path, size=answers)
    output.show(drafted, _drafted(drafted))


def _drafted(drafted: Draft) -> Iterator[str]:
    from llmops_cli.render.formatting import plural
    from llmops_cli.render.safe_text import terminal

    yield (
        f"{drafted.path}: {drafted.answers:,} of {plural(drafted.stored, 'cached answer')}, of "
        f"{terminal(' and '.join(drafted.sides))}"
    )
    yield "  fill in `label` in every row: pass or fail, or a grade or class of the scorer"
    yield f"next: llmops calibrate {drafted.address} --labels {drafted.path}"
