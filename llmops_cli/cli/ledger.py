"""`release`, `promote` and `status`: the commands that move what environments run."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from llmops_cli.cli.options import AsJson, Version


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(release)
    app.command()(promote)
    app.command()(status)


def release(
    context: typer.Context,
    prompts: Annotated[
        Optional[list[str]], typer.Argument(metavar="[PROMPT]...", help="default: all")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze prompts as versions: the same target is the same version, however often."""
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    output = Output(as_json=as_json)
    with open_workspace(context.obj) as workspace:
        made = ledger.release(workspace, prompts or ())
    output.rows(
        ["version", "target", "state"],
        [
            (each.version.address, each.version.target, "new" if each.new else "unchanged")
            for each in made
        ],
    )
    for each in made:
        if each.new:
            output.say(f"next  llmops measure {each.version.address}")


def promote(
    context: typer.Context,
    version: Version,
    to: Annotated[
        Optional[str], typer.Option(metavar="ENV", help="The environment; default: the last.")
    ] = None,
    message: Annotated[
        Optional[str], typer.Option("--message", "-m", metavar="WHY", help="Why: recorded.")
    ] = None,
    initial: Annotated[
        bool, typer.Option("--initial", help="The first version there: nothing to compare with.")
    ] = False,
    accept_inconclusive: Annotated[
        bool, typer.Option("--accept-inconclusive", help="Answer for what the gate cannot tell.")
    ] = False,
    accept_breaking: Annotated[
        bool, typer.Option("--accept-breaking", help="Callers have to pass other inputs.")
    ] = False,
    override: Annotated[
        bool, typer.Option("--override", help="Whatever the evidence says: loud ever after.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Move an environment to a version, if its evidence lets it. Calls no model.

    Exit 0: promoted, or it runs there already. 1: the evidence says FAIL. 3: something has to be
    measured first, and the command for it is named. 4: inconclusive, and nobody accepted that.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    word = ledger.Word(
        reason=message,
        initial=initial,
        accept_inconclusive=accept_inconclusive,
        accept_breaking=accept_breaking,
        override=override,
    )
    with open_workspace(context.obj) as workspace:
        done = ledger.promote(workspace, version, environment=to, word=word)
    Output(as_json=as_json).promotion(version, done)
    return done.exit_code


def status(
    context: typer.Context,
    as_json: AsJson = False,
) -> None:
    """What every environment runs, since when, by whom, and where the working copy is ahead."""
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        prompts = ledger.status(workspace)
    rows = [
        (
            prompt.prompt,
            each.environment,
            f"v{each.version}" if each.version else "–",
            each.since,
            each.by,
            ", ".join((each.decision.value if each.decision else "", *each.remarks)).strip(", "),
            _working(prompt.gone, prompt.working, prompt.latest),
        )
        for prompt in prompts
        for each in prompt.standings
    ]
    headers = ["prompt", "environment", "runs", "since", "by", "evidence", "working copy"]
    Output(as_json=as_json).rows(headers, rows)


def _working(gone: bool, equal: int | None, latest: int | None) -> str:
    if gone:
        return "gone"
    if equal is not None:
        return f"is v{equal}"
    return "ahead: not released" if latest else "never released"
