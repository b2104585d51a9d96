"""The commands that check the registry: `verify`, `fsck`; and `gc`, which makes it smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli import options
from llmops_cli.cli.options import option

if TYPE_CHECKING:
    from llmops_cli.registry.fsck import RegistryGrowth
    from llmops_cli.registry.verify import RegistryProblem, Verification


def verify(
    context: typer.Context,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Default: the last.")
    ] = None,
    bundle: Annotated[
        Path | None, option("Options", "Compare this bundle with the registry.", metavar="FILE")
    ] = None,
    strict: Annotated[
        bool,
        option("Options", "Overrides and quarantined versions fail too.", "--strict"),
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Check, without git or network, that what runs has passed the gate.

    Checks the chain of events and every digest, and computes each verdict again from the scores
    of single cases. Exit 2 if anything is wrong.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.registry.verify import verify as verify_registry

    verification = verify_registry(context.obj, environment, bundle)
    Output(as_json=as_json).show(verification, _verification(verification, strict=strict))
    return ExitCode.DONE if verification.passes(strict=strict) else ExitCode.REFUSED


def _verification(verification: Verification, *, strict: bool) -> Iterator[str]:
    from llmops_cli.render.calibration import calibration_line
    from llmops_cli.render.formatting import plural

    for prompt in verification.prompts:
        version = "?" if prompt.version is None else f"v{prompt.version}"
        verdicts = plural(prompt.verdicts, "verdict")
        yield (
            f"{prompt.prompt}@{version}  {plural(prompt.events, 'event')}, {verdicts} recomputed"
        )
        for judge in prompt.judges:
            yield f"  judge {judge.address}: {calibration_line(judge)}"
        for name in prompt.uncalibrated:
            yield f"  judge {name}: not calibrated"
        yield from _problems(prompt.problems, strict=strict)
    yield from _problems(verification.bundle, strict=strict)
    verified = "verified" if verification.passes(strict=strict) else "NOT verified"
    prompts = plural(len(verification.prompts), "prompt")
    yield f"{verification.environment} {verified}: {prompts}"


def _problems(problems: Iterable[RegistryProblem], *, strict: bool) -> Iterator[str]:
    for problem in problems:
        word = "warning" if problem.warning and not strict else "BROKEN"
        yield f"  {word}  {problem.where}: {problem.message}"


def fsck(
    context: typer.Context,
    base: Annotated[
        str | None,
        option(
            "Options",
            "Compare with this git revision: origin/main, HEAD^, FETCH_HEAD. Without it, the "
            "registry is only checked by itself.",
            metavar="REV",
        ),
    ] = None,
    strict: Annotated[
        bool, option("Options", "A policy weakened in the same change fails too.", "--strict")
    ] = False,
    github: options.GitHub = False,
    as_json: options.AsJson = False,
) -> int:
    """Check that the registry has only grown since a git revision.

    No version, evidence or event may be removed, edited or renumbered, and nothing promoted under
    a policy that was weakened in the same change. Exit 2 if anything is wrong. A clone of depth 1
    is enough.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.registry.fsck import fsck as check_registry

    actions = None
    if github:
        from llmops_cli.cli.github import Actions

        actions = Actions(start=context.obj)
    with nullcontext() if actions is None else actions.refusals():
        growth = check_registry(context.obj, base)
    Output(as_json=as_json).show(growth, _growth(growth, strict=strict))
    if actions is not None:
        actions.registry_problems(growth, strict=strict)
    return ExitCode.DONE if growth.passes(strict=strict) else ExitCode.REFUSED


def _growth(growth: RegistryGrowth, *, strict: bool) -> Iterator[str]:
    from llmops_cli.render.formatting import plural

    since = "in all" if growth.base is None else f"since {growth.base}"
    evidence = plural(growth.evidence, "evidence file")
    events = plural(len(growth.events), "event")
    yield f"{since}: {plural(growth.versions, 'version')}, {evidence}, {events}"
    for event in growth.events if growth.base is not None else ():
        version = f"{event.prompt}@v{event.to_version.number}" if event.to_version else ""
        why = f": {event.reason}" if event.reason else ""
        yield f"  {event.action}  {version} in {event.environment}{why}"
    yield from _problems(growth.problems, strict=strict)
    passes = growth.passes(strict=strict)
    if growth.base is None:
        yield "the registry is intact" if passes else "the registry is NOT intact"
        return
    yield "the registry has only grown" if passes else "the registry has NOT only grown"
    if not passes:
        yield (
            f"next: if this branch is behind {growth.base}: git merge {growth.base}; "
            f"else git checkout {growth.base} -- FILE"
        )


def gc(
    context: typer.Context,
    dry_run: Annotated[
        bool, option("Options", "Only print what would be deleted.", "--dry-run")
    ] = False,
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete rows and texts of evidence that are no longer needed.

    Evidence of what runs, of the version before it and of an anchor is kept. Versions, events,
    statements and summaries are never deleted.
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
            git_commit(workspace.root, "Delete evidence rows that are no longer needed")
        root = workspace.root
    output = Output(as_json=as_json)
    rows = [(file.path.relative_to(root).as_posix(), file.size) for file in files]
    output.rows(["file", "bytes"], rows)
    total = sum(file.size for file in files)
    verb = "would be deleted" if dry_run else "deleted"
    output.say(f"{plural(len(files), 'file')}, {total / 1e6:.2f} MB {verb}")


COMMANDS: Mapping[str, Callable[..., object]] = {
    "verify": verify,
    "fsck": fsck,
    "gc": gc,
}
