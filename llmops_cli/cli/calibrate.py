"""`calibrate`: may this judge be trusted with a gate?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmops_cli.cli import options

if TYPE_CHECKING:
    from llmops_cli.cli.output import Output


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(calibrate)


def calibrate(
    context: typer.Context,
    scorer: options.ScorerAddress,
    labels: options.Labels = None,
    draft: options.Draft = None,
    answers: options.Answers = 150,
    canaries: options.Canaries = False,
    require: options.Require = None,
    offline: options.Offline = False,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> int:
    """Say by people's labels whether a judge may gate.

    Every labelled answer is read twice. What is found is kept under .llmops/calibrations/ and
    looked up by eval, measure and promote. Exit 0: measured, whatever was found. 2: --require
    asks for more. 3: too many readings were not given.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode, Refused
    from llmops_cli.engine.budget import Budget
    from llmops_cli.judges import calibrate as flow
    from llmops_cli.registry import deliver as committing
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
    wish = flow.CalibrationRequest(
        scorer=scorer,
        labels=labels,
        canaries=canaries,
        offline=offline,
        budget=Budget(calls=max_calls, cost=max_cost),
    )
    with open_workspace(context.obj) as workspace, output.progress() as progress:
        done = flow.calibrate(workspace, wish, progress=progress)
        if commit and done.calibration is not None:
            committing.commit(workspace.root, f"Calibrate {done.calibration.address}")
    if done.calibration is None:
        output.say("interrupted: run the same command again, everything that was read is kept")
        return ExitCode.INTERRUPTED
    output.calibrated(done)
    return ExitCode.DONE if done.calibration.is_at_least(require) else ExitCode.REFUSED


def _draft(folder: Path, scorer: str, path: Path, answers: int, output: Output) -> None:
    from llmops_cli.judges.labels import write_draft
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(folder) as workspace:
        done = write_draft(workspace, scorer, path, size=answers)
    output.drafted(done)
