"""The commands around what environments run: release, promote, roll back, look, prove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from llmops_cli.cli.options import AsJson, Commit, Message, Push, Version


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(release)
    app.command()(promote)
    app.command()(rollback)
    app.command()(status)
    app.command()(history)
    app.command()(diff)
    app.command()(verify)
    app.command()(fsck)
    app.command()(gc)


def release(
    context: typer.Context,
    prompts: Annotated[
        Optional[list[str]], typer.Argument(metavar="[PROMPT]...", help="default: all")
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only prompts that the environment does not run so.")
    ] = False,
    to: Annotated[
        Optional[str], typer.Option(metavar="ENV", help="For --changed; default: the last.")
    ] = None,
    commit: Commit = False,
    as_json: AsJson = False,
) -> None:
    """Freeze prompts as versions. The same target is the same version, however often."""
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import Refused
    from llmops_cli.flows import committing, ledger
    from llmops_cli.flows.workspace import open_workspace

    if changed and prompts:
        raise Refused("--changed chooses the prompts itself", hint="leave out one of the two")
    output = Output(as_json=as_json)
    with open_workspace(context.obj) as workspace:
        wanted = ledger.changed(workspace, to) if changed else prompts
        made = [] if changed and not wanted else ledger.release(workspace, wanted or ())
        new = [each.version for each in made if each.new]
        if commit and new:
            committing.commit(workspace.root, committing.release_message(new))
    output.rows(
        ["version", "target", "state"],
        [
            (each.version.address, each.version.target, "new" if each.new else "unchanged")
            for each in made
        ],
    )
    for version in new:
        output.say(f"next  llmops measure {version.address}")


def promote(
    context: typer.Context,
    version: Version,
    to: Annotated[
        Optional[str], typer.Option(metavar="ENV", help="The environment; default: the last.")
    ] = None,
    message: Message = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Draw what the evidence lacks first: calls models.")
    ] = False,
    run: Annotated[
        Optional[list[Path]],
        typer.Option(metavar="FILE", help="Make the evidence of this run file of `measure --out`."),
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
    commit: Commit = False,
    push: Push = False,
    as_json: AsJson = False,
) -> int:
    """Move an environment to a version, if its evidence lets it. Calls no model unless asked.

    Exit 0: promoted, or it runs there already. 1: the evidence says FAIL. 3: something has to be
    measured first, and the command for it is named. 4: inconclusive, and nobody accepted that.
    """
    import os

    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.flows import moving
    from llmops_cli.flows.committing import Delivery
    from llmops_cli.flows.ledger import Word

    ask = moving.Ask(
        address=version,
        environment=to,
        word=Word(
            reason=message,
            initial=initial,
            accept_inconclusive=accept_inconclusive,
            accept_breaking=accept_breaking,
            override=override,
        ),
        delivery=Delivery(commit=commit, push=push),
    )
    output = Output(as_json=as_json)
    measured = None
    if run:
        with output.progress() as progress:
            measured = moving.measure_first(
                context.obj, ask, progress=progress, environ=os.environ, runs=run
            )
    done = moving.promote(context.obj, ask, environ=os.environ)
    if done.exit_code == ExitCode.INCOMPLETE and not run:
        price = moving.price(context.obj, ask, environ=os.environ)
        if measure or output.agreed(f"measure now? {output.price(price)}"):
            with output.progress() as progress:
                measured = moving.measure_first(
                    context.obj, ask, progress=progress, environ=os.environ
                )
            done = moving.promote(context.obj, ask, environ=os.environ)
        else:
            done = done.priced(output.price(price))
    output.promotion(version, done)
    if measured is not None and measured.evidence is None:
        output.say(f"note  no evidence was made: {output.unmeasured(measured.report)}")
    return done.exit_code


def status(
    context: typer.Context,
    as_json: AsJson = False,
) -> None:
    """Show what every environment runs, since when and by whom. And whether the files are ahead."""
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
    message: Message = None,
    commit: Commit = False,
    push: Push = False,
    as_json: AsJson = False,
) -> None:
    """Move an environment back, at once. The version it leaves is quarantined.

    Nothing is measured and nothing is called; broken project files stop nothing.
    """
    import os

    from llmops_cli.cli.output import Output
    from llmops_cli.flows import moving
    from llmops_cli.flows.committing import Delivery
    from llmops_cli.flows.ledger import Word

    ask = moving.Ask(
        address=address, word=Word(reason=message), delivery=Delivery(commit=commit, push=push)
    )
    done = moving.retreat(context.obj, ask, to=to, environ=os.environ)
    still = moving.carried(context.obj, done.left, environ=os.environ)
    Output(as_json=as_json).rolled_back(done, still_here=still)


def history(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="NAME[@ENV]", help="default: every environment")
    ],
    as_json: AsJson = False,
) -> None:
    """What happened to a prompt: every event, newest first."""
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import proving

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
        for each in proving.history(context.obj, address)
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
    """Show what changed between two versions. Texts by words, parameters, inputs and scores."""
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
    bundle: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Hold this bundle against the registry.")
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
    from llmops_cli.flows import proving

    found = proving.prove(context.obj, environment, bundle)
    Output(as_json=as_json).verification(found, strict=strict)
    return ExitCode.DONE if found.holds(strict=strict) else ExitCode.REFUSED


def fsck(
    context: typer.Context,
    base: Annotated[
        str, typer.Option(metavar="REV", help="What was there: origin/main, HEAD^, FETCH_HEAD …")
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="A policy changed in the same change does not pass.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Prove that the registry has only grown since a git revision.

    A clone of depth 1 will do.
    No version, evidence or event removed, edited or renumbered; nothing promoted under a policy
    that was weakened in the same change. Exit 2 where anything is not as it must be.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.flows import proving

    found = proving.compare_with(context.obj, base)
    Output(as_json=as_json).growth(found, strict=strict)
    return ExitCode.DONE if found.holds(strict=strict) else ExitCode.REFUSED


def gc(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be cleared away.")
    ] = False,
    commit: Commit = False,
    as_json: AsJson = False,
) -> None:
    """Clear away rows and texts of evidence that nothing needs.

    What a pointer, a predecessor or an anchor cites is needed. Versions, events, statements and
    summaries stay for ever.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.flows import committing, ledger
    from llmops_cli.flows.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        cleared = ledger.clear(workspace, dry_run=dry_run)
        if commit and cleared and not dry_run:
            committing.commit(workspace.root, "Clear away evidence that nothing cites any more")
        root = workspace.root
    output = Output(as_json=as_json)
    rows = [(each.path.relative_to(root).as_posix(), each.size) for each in cleared]
    output.rows(["file", "bytes"], rows)
    total = sum(each.size for each in cleared)
    verb = "would be cleared away" if dry_run else "cleared away"
    output.say(f"{len(cleared)} files, {total / 1e6:.2f} MB {verb}")


def _moment(at: str | None) -> str | None:
    """A UTC time as tables show it: `2026-11-20 22:54`."""
    return None if at is None else at[:16].replace("T", " ")


def _person(identity: str | None) -> str | None:
    """`Ada Lovelace` of `Ada Lovelace <ada@example.org>`."""
    return None if identity is None else identity.partition(" <")[0]
