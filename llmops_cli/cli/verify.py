"""What looks and proves: history, diff, verify, fsck; and gc, which leaves all that standing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.cli.formatting import moment, person
from llmops_cli.cli.options import AsJson, Commit, GitHub


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(history)
    app.command()(diff)
    app.command()(verify)
    app.command()(fsck)
    app.command()(gc)


def history(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="NAME[@ENV]", help="without @ENV: in every environment")
    ],
    as_json: AsJson = False,
) -> None:
    """What happened to a prompt: every event, newest first."""
    from llmops_cli.cli.output import Output
    from llmops_cli.registry.status import history as events_of

    rows = [
        (
            each.environment,
            each.seq,
            each.action,
            f"v{each.from_version.number}" if each.from_version else "–",
            f"v{each.to_version.number}" if each.to_version else "–",
            each.decision.value if each.decision else "",
            each.reason,
            each.actor if as_json else person(each.actor),
            each.at if as_json else moment(each.at),
        )
        for each in events_of(context.obj, address)
    ]
    headers = ["environment", "event", "action", "from", "to", "evidence", "why", "by", "at"]
    Output(as_json=as_json).rows(headers, rows, empty=f"{address} was never promoted")


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
    from llmops_cli.commands.diff import difference
    from llmops_cli.run.workspace import open_workspace

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
    from llmops_cli.registry.verify import verify as verify_registry

    verification = verify_registry(context.obj, environment, bundle)
    Output(as_json=as_json).verification(verification, strict=strict)
    return ExitCode.DONE if verification.passes(strict=strict) else ExitCode.REFUSED


def fsck(
    context: typer.Context,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="What was there: origin/main, HEAD^, FETCH_HEAD …; without it, the registry is "
            "only held against itself.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A policy changed in the same change does not pass.")
    ] = False,
    github: GitHub = False,
    as_json: AsJson = False,
) -> int:
    """Prove that the registry has only grown since a git revision.

    A clone of depth 1 will do.
    No version, evidence or event removed, edited or renumbered; nothing promoted under a policy
    that was weakened in the same change. Exit 2 where anything is not as it must be.
    """
    from llmops_cli.cli.github import Actions
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.registry.fsck import fsck as check_registry

    runner = Actions(start=context.obj, wanted=github)
    with runner.telling():
        growth = check_registry(context.obj, base)
    Output(as_json=as_json).growth(growth, strict=strict)
    runner.growth(growth, strict=strict)
    return ExitCode.DONE if growth.passes(strict=strict) else ExitCode.REFUSED


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
    from llmops_cli.registry.deliver import commit as git_commit
    from llmops_cli.registry.gc import anchored_versions
    from llmops_cli.registry.gc import gc as collect
    from llmops_cli.render.formatting import plural
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        files = collect(workspace.registry, anchored_versions(workspace), dry_run=dry_run)
        if commit and files and not dry_run:
            git_commit(workspace.root, "Delete evidence rows that nothing cites any more")
        root = workspace.root
    output = Output(as_json=as_json)
    rows = [(each.path.relative_to(root).as_posix(), each.size) for each in files]
    output.rows(["file", "bytes"], rows)
    total = sum(each.size for each in files)
    verb = "would be cleared away" if dry_run else "cleared away"
    output.say(f"{plural(len(files), 'file')}, {total / 1e6:.2f} MB {verb}")
