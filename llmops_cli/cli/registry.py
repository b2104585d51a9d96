"""What moves environments: release, promote, roll back; and status, where everything stands.

`bundle`: what an application needs of an environment, in one file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from llmops_cli.cli import options
from llmops_cli.cli.formatting import moment, person
from llmops_cli.cli.output_paths import elsewhere

if TYPE_CHECKING:
    from llmops_cli.judges.index import JudgeStatus


NO_PROMPTS = "the project has no prompts: one is a file prompts/NAME.prompt.yml"


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(release)
    app.command()(promote)
    app.command()(rollback)
    app.command()(status)
    app.command()(bundle)


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
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> None:
    """Freeze prompts as versions. The same target is the same version, however often."""
    from llmops_cli.cli.output import Output
    from llmops_cli.core.digest import short
    from llmops_cli.core.errors import Refused
    from llmops_cli.registry.deliver import commit as git_commit
    from llmops_cli.registry.deliver import release_message
    from llmops_cli.registry.release import release as release_prompts
    from llmops_cli.registry.status import changed_prompts
    from llmops_cli.run.workspace import open_workspace

    if changed and prompts:
        raise Refused("--changed chooses the prompts itself", hint="leave out one of the two")
    output = Output(as_json=as_json)
    with open_workspace(context.obj) as workspace:
        names = changed_prompts(workspace, to) if changed else prompts
        releases = [] if changed and not names else release_prompts(workspace, names or ())
        new = [release.version for release in releases if release.new]
        if commit and new:
            git_commit(workspace.root, release_message(new))
    output.rows(
        ["version", "target", "state"],
        [
            (
                release.version.address,
                release.version.target if as_json else f"sha256:{short(release.version.target)}",
                "new" if release.new else "unchanged",
            )
            for release in releases
        ],
        empty="nothing to release: every prompt runs as it stands" if changed else NO_PROMPTS,
    )
    for version in new:
        output.say(f"next  llmops measure {version.address}")


def promote(
    context: typer.Context,
    version: options.Version,
    to: options.To = None,
    message: options.Message = None,
    measure: options.MeasureFirst = False,
    run: options.RunFiles = None,
    initial: options.Initial = False,
    accept_inconclusive: options.AcceptInconclusive = False,
    accept_breaking: options.AcceptBreaking = False,
    override: options.Override = False,
    commit: options.Commit = False,
    push: options.Push = False,
    as_json: options.AsJson = False,
) -> int:
    """Move an environment to a version, if its evidence lets it. Calls no model unless asked.

    Exit 0: promoted, or it runs there already. 1: the evidence says FAIL. 3: something has to be
    measured first, and the command for it is named. 4: inconclusive, and nobody accepted that.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.core.errors import ExitCode
    from llmops_cli.registry import measure as measuring
    from llmops_cli.registry.deliver import Delivery
    from llmops_cli.registry.promote import PromotionRequest
    from llmops_cli.registry.promote import promote as promote_version

    request = PromotionRequest(
        address=version,
        environment=to,
        reason=message,
        initial=initial,
        accept_inconclusive=accept_inconclusive,
        accept_breaking=accept_breaking,
        override=override,
        delivery=Delivery(commit=commit, push=push),
    )
    evidence = measuring.MeasureRequest(
        address=version, environment=to, runs=run or (), offline=bool(run)
    )
    output = Output(as_json=as_json)

    def make_evidence() -> measuring.Measured:
        with output.progress() as progress:
            return measuring.measure(context.obj, evidence, progress=progress)

    measured = make_evidence() if run else None
    promotion = promote_version(context.obj, request, environ=os.environ)
    if promotion.exit_code == ExitCode.INCOMPLETE and not run:
        cost = output.price(measuring.cost_of_measuring(context.obj, evidence))
        if measure or output.agreed(f"measure now? {cost}"):
            measured = make_evidence()
            promotion = promote_version(context.obj, request, environ=os.environ)
        else:
            promotion = promotion.with_cost(cost)
    output.promotion(version, promotion)
    if measured is not None and measured.evidence is None:
        output.say(f"note  no evidence was made: {output.unmeasured(measured.report)}")
    return promotion.exit_code


def status(
    context: typer.Context,
    as_json: options.AsJson = False,
) -> None:
    """Show what every environment runs, since when and by whom. And whether the files are ahead.

    Of every judged metric of what runs it says what is known of the judge today.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.registry.status import status as registry_status
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        prompts = registry_status(workspace)
    rows = [
        (
            prompt.prompt,
            each.environment,
            f"v{each.version}" if each.version else "–",
            each.since if as_json else moment(each.since),
            each.by if as_json else person(each.by),
            ", ".join((each.decision.value if each.decision else "", *each.remarks)).strip(", "),
            _working(prompt.removed, prompt.working, prompt.latest),
        )
        for prompt in prompts
        for each in prompt.environments
    ]
    headers = ["prompt", "environment", "runs", "since", "by", "evidence", "working copy"]
    statuses = [(prompt.prompt, each) for prompt in prompts for each in prompt.environments]
    output = Output(as_json=as_json)
    judges = {"judges": [each.judges for _, each in statuses]}
    output.rows(headers, rows, beside=judges, empty=NO_PROMPTS)
    for name, each in statuses:
        for judge in each.judges:
            output.say(f"judge  {name}@{each.environment}  {_known(judge, each.environment)}")


def _known(judge: JudgeStatus, environment: str) -> str:
    """`support:tone  uncalibrated: accuracy unknown`."""
    told = f"{judge.address}  {judge.status}" + (f": {judge.why}" if judge.why else "")
    required = f"; {environment} requires `judges: calibrated`" if judge.unfit else ""
    return told + ("  (advisory)" if judge.advisory else required)


def _working(removed: bool, equal: int | None, latest: int | None) -> str:
    if removed:
        return "removed"
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
    message: options.Message = None,
    commit: options.Commit = False,
    push: options.Push = False,
    as_json: options.AsJson = False,
) -> None:
    """Move an environment back, at once. The version it leaves is quarantined.

    Nothing is measured and nothing is called; broken project files stop nothing.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.registry.deliver import Delivery
    from llmops_cli.registry.rollback import RollbackRequest
    from llmops_cli.registry.rollback import rollback as roll_back

    request = RollbackRequest(
        address=address, to=to, reason=message, delivery=Delivery(commit=commit, push=push)
    )
    Output(as_json=as_json).rolled_back(roll_back(context.obj, request, environ=os.environ))


def bundle(
    context: typer.Context,
    environment: Annotated[str, typer.Argument(metavar="ENV", help="for example production")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=elsewhere,
            help="Where to; default: ENV.bundle.json; - prints it.",
        ),
    ] = None,
) -> None:
    """Write what ENV runs as one file, for applications.

    Holds the current and the previous version of every prompt. The same registry makes the same
    bytes. An application reads it with load_prompt("NAME@ENV"), without git and network.
    """
    import sys

    from llmops_cli.cli.output import Output
    from llmops_cli.project.project import find_root
    from llmops_cli.registry.bundle import bundle as bundle_of
    from llmops_cli.stores.atomic import write_bytes
    from llmops_cli.stores.registry import Registry

    made = bundle_of(Registry(find_root(context.obj)), environment)
    if out == Path("-"):
        sys.stdout.write(made.to_bytes().decode())
        return
    path = out or Path(f"{environment}.bundle.json")
    write_bytes(path, made.to_bytes())
    output = Output()
    for name in made.records:
        held = " and ".join(f"v{version.number}" for version in made.prompt(name).versions)
        output.say(f"{name}  {held}")
    output.say(f"wrote {path}")
    output.say(f"next  LLMOPS_BUNDLE={path}")
