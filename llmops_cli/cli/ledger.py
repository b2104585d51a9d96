"""The commands around what environments run: release, promote, roll back, look, prove."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from llmops_cli.cli.options import AsJson, Version


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(release)
    app.command()(promote)
    app.command()(rollback)
    app.command()(status)
    app.command()(history)
    app.command()(diff)
    app.command()(verify)


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
            each.since if as_json else _moment(each.since),
            each.by if as_json else _person(each.by),
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


def rollback(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="NAME@ENV", help="for example support@production")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="v2; default: the distinct one before.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="WHY", help="Why: recorded.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move an environment back, at once. The version it leaves is quarantined.

    Nothing is measured and nothing is called.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        done = ledger.rollback(workspace, address, to=to, reason=message)
        still = ledger.carries(workspace, done.left)
    Output(as_json=as_json).rolled_back(done, still_here=still)


def history(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="NAME[@ENV]", help="default: every environment")],
    as_json: AsJson = False,
) -> None:
    """What happened to a prompt: every event, newest first."""
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        events = ledger.history(workspace, address)
    rows = [
        (
            each.environment,
            each.seq,
            each.action,
            f"v{each.from_version.number}" if each.from_version else "–",
            f"v{each.to_version.number}" if each.to_version else "–",
            each.decision.value if each.decision else "",
            each.reason,
            each.actor if as_json else _person(each.actor),
            each.at if as_json else _moment(each.at),
        )
        for each in events
    ]
    headers = ["environment", "event", "action", "from", "to", "evidence", "why", "by", "at"]
    Output(as_json=as_json).rows(headers, rows)


def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(metavar="A", help="name, name@v2, name@production")],
    after: Annotated[
        str, typer.Argument(metavar="[B]", help="the same, or only v3; default: working")
    ] = "working",
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions: texts by words, parameters, inputs, scores."""
    from llmops_cli.cli.output import Output
    from llmops_cli.flows.difference import difference
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        found = difference(workspace, before, after)
    Output(as_json=as_json).difference(found)


def verify(
    context: typer.Context,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="default: the last")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Overrides and quarantined versions do not pass.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Prove, without git and network, that what runs has passed.

    The chain of events, every digest, and each verdict computed again from the scores of single
    cases. Exit 2 where anything is not as it must be.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.flows import ledger
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        found = ledger.verify(workspace, environment)
    Output(as_json=as_json).verification(found, strict=strict)
    return ExitCode.DONE if found.holds(strict=strict) else ExitCode.REFUSED


def _moment(at: str | None) -> str | None:
    """A UTC time as tables show it: `2026-11-20 22:54`."""
    return None if at is None else at[:16].replace("T", " ")


def _person(identity: str | None) -> str | None:
    """`Ada Lovelace` of `Ada Lovelace <ada@example.org>`."""
    return None if identity is None else identity.partition(" <")[0]
