"""The commands of the registry: they change environments, show their status, and check them.

`release`, `promote`, `rollback`; `status` and `history`; `bundle` for applications; `verify` and
`fsck` for audits; `gc` makes the registry smaller.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli import options
from llmops_cli.cli.options import argument, file_option, option
from llmops_cli.cli.output import Output, actions_of
from llmops_cli.core.errors import ExitCode, Refused

if TYPE_CHECKING:
    from llmops_cli.core.report import Plan
    from llmops_cli.judges.index import JudgeStatus
    from llmops_cli.registry.fsck import RegistryGrowth
    from llmops_cli.registry.promote import Promotion, Rollback
    from llmops_cli.registry.verify import RegistryProblem, Verification

NO_PROMPTS = "the project has no prompts: one is a file prompts/NAME.prompt.yml"


def release(
    context: typer.Context,
    prompts: Annotated[list[str] | None, argument("[PROMPT]...", "Default: all.")] = None,
    changed: Annotated[
        bool, option("Options", "Only prompts that differ from what's deployed.", "--changed")
    ] = False,
    to: Annotated[
        str | None, option("Options", "Environment of --changed. Default: the last.", metavar="ENV")
    ] = None,
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> None:
    """Save prompts as versions. An unchanged prompt keeps its version.

    Examples:
      llmops release intent
      llmops release --changed --commit
    """
    from llmops_cli.core.digest import short
    from llmops_cli.registry.deliver import commit as git_commit
    from llmops_cli.registry.deliver import release_message
    from llmops_cli.registry.release import release as release_prompts
    from llmops_cli.registry.status import prompts_to_release
    from llmops_cli.run.comparison import destination
    from llmops_cli.run.workspace import open_workspace

    if changed and prompts:
        raise Refused("--changed selects the prompts itself", hint="leave out one of the two")
    output = Output(as_json=as_json)
    with open_workspace(context.obj) as workspace:
        names = prompts_to_release(workspace, to) if changed else prompts
        releases = [] if changed and not names else release_prompts(workspace, names or ())
        new = [release.version for release in releases if release.new]
        last = workspace.project.environments[-1].name
        ways = [(it, destination(workspace, it.name, it.number, last)) for it in new]
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
        empty="nothing to release: every prompt is deployed as it is" if changed else NO_PROMPTS,
    )
    for version, way in ways:
        flag = "" if way.environment == last else f" --to {way.environment}"
        output.say(f"next: llmops measure {version.address}{flag}")


def promote(
    context: typer.Context,
    version: Annotated[
        str, argument("NAME[@VERSION]", "A name alone: the working copy, released first.")
    ],
    to: options.Environment = None,
    message: options.Message = None,
    measure: Annotated[
        bool,
        option(
            "Options",
            "First evaluate what the evidence lacks (calls models).",
            "--measure",
            "--yes",
            "-y",
        ),
    ] = False,
    run: Annotated[
        list[Path] | None,
        option("Options", "Use a run file of `measure --out` as evidence.", metavar="FILE"),
    ] = None,
    commit: options.Commit = False,
    push: options.Push = False,
    initial: Annotated[
        bool, option("Gate", "First version there: nothing to compare with.", "--initial")
    ] = False,
    accept_inconclusive: Annotated[
        bool, option("Gate", "Promote despite an inconclusive result.", "--accept-inconclusive")
    ] = False,
    accept_breaking: Annotated[
        bool, option("Gate", "Callers must pass other inputs.", "--accept-breaking")
    ] = False,
    override: Annotated[
        bool, option("Gate", "Bypass the gate (permanently recorded).", "--override")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Deploy a version to an environment, if its evidence passes. Calls no model unless asked.

    With a name alone, releases the working copy and evaluates what is missing first. It asks
    before it calls a model, or needs --yes. If it stops, the same command goes on.

    Examples:
      llmops promote support -m "shorter answers" --yes
      llmops promote support@v3 -m "shorter answers"
      llmops promote support@v3 --to staging --measure --push

    Exit codes: 0 promoted, or deployed already; 1 the evidence says FAIL; 3 evidence is
    missing, and the command for it is shown; 4 inconclusive, and not accepted.
    """
    from llmops_cli.registry import measure as measuring
    from llmops_cli.registry.deliver import Delivery
    from llmops_cli.registry.promote import PromotionRequest
    from llmops_cli.registry.promote import promote as promote_version
    from llmops_cli.render.formatting import plural
    from llmops_cli.run.selection import EvalOptions, Selection

    output = Output(as_json=as_json)
    name, _, selector = version.partition("@")
    from_working_copy = selector in {"", "working"}
    if from_working_copy:
        version = _released(context.obj, name, output)
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
    missing = EvalOptions(
        selection=Selection(prompts=[version], environment=to),
        reuse=run or (),
        offline=bool(run),
    )

    def make_evidence() -> measuring.Measured:
        with output.progress() as progress:
            measured = measuring.measure(context.obj, missing, progress=progress)
        if from_working_copy:
            (prompt,) = measured.report.prompts
            calls = plural(measured.report.calls, "call")
            output.say(f"measured {version}: {prompt.verdict.decision.value} ({calls})")
        return measured

    measured = make_evidence() if run else None
    promotion = promote_version(context.obj, request, environ=os.environ)
    if promotion.exit_code == ExitCode.INCOMPLETE and not run:
        plan = measuring.cost_of_measuring(context.obj, missing)
        cost = _price(plan)
        free = from_working_copy and not plan.calls
        if measure or free or output.confirmed(f"measure now? {cost}"):
            measured = make_evidence()
            if measured.run.interrupted:
                output.say("interrupted: run the same command again, every answer is stored")
                return ExitCode.INTERRUPTED
            promotion = promote_version(context.obj, request, environ=os.environ)
        else:
            hint = _same_command(context, "--yes") if from_working_copy else promotion.hint
            promotion = replace(promotion, hint=hint and f"{hint}   # {cost}")
    output.show(promotion, _promotion(version, promotion))
    if measured is not None and not measured.evidence:
        why = "; ".join(prompt.verdict.why for prompt in measured.report.prompts)
        output.say(f"note: no evidence recorded: {why}")
    return promotion.exit_code


def _released(start: Path, name: str, output: Output) -> str:
    """Release the working copy of a prompt, and return the address of its version."""
    from llmops_cli.registry.release import release as release_prompts
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(start) as workspace:
        (made,) = release_prompts(workspace, [name])
    address = made.version.address
    same = f"{address} is released: the working copy is the same"
    output.say(f"released {address}" if made.new else same)
    return address


def _same_command(context: typer.Context, *more: str) -> str:
    """Return the command that is running, with the words `more`."""
    words = ["llmops", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if value is True:
            words.append(parameter.opts[-1])
        elif isinstance(value, str):
            words += [option for option in parameter.opts[-1:] if option.startswith("-")]
            words.append(value)
    return shlex.join([*words, *more])


def _price(plan: Plan) -> str:
    """Return what a plan would call: `120 calls, about $0.03`."""
    cost = "price unknown" if plan.cost is None else f"about ${plan.cost:.2f}"
    return f"{plan.calls} calls, {cost}"


def _promotion(address: str, promotion: Promotion) -> Iterator[str]:
    event = promotion.event
    if event is not None and promotion.exit_code == 0:
        yield f"{event.environment} runs {address}  (event {event.seq})"
    else:
        yield f"not promoted: {address}"
    yield f"  {promotion.why}"
    if promotion.hint:
        yield f"next: {promotion.hint}"


def rollback(
    context: typer.Context,
    address: Annotated[str, argument("NAME@ENV", "Example: support@production.")],
    to: Annotated[
        str | None,
        option("Options", "v2. Default: the previous different version.", metavar="VERSION"),
    ] = None,
    message: options.Message = None,
    commit: options.Commit = False,
    push: options.Push = False,
    as_json: options.AsJson = False,
) -> None:
    """Deploy the previous version again. The version rolled back is quarantined.

    Nothing is evaluated or called, and broken project files do not stop it.

    Examples:
      llmops rollback support@production -m "wrong refunds" --push
    """
    from llmops_cli.registry.deliver import Delivery
    from llmops_cli.registry.promote import RollbackRequest
    from llmops_cli.registry.promote import rollback as roll_back

    request = RollbackRequest(
        address=address, to=to, reason=message, delivery=Delivery(commit=commit, push=push)
    )
    result = roll_back(context.obj, request, environ=os.environ)
    Output(as_json=as_json).show(result, _rollback(result))


def _rollback(rollback: Rollback) -> Iterator[str]:
    event, left = rollback.event, rollback.left
    yield f"{event.environment} runs {rollback.now.address}  (event {event.seq})"
    yield f"  {left.address} is quarantined: {event.reason}"
    for change in rollback.breaking:
        yield f"note: {change}: tell the callers of {left.address}"
    if rollback.still_in_working_copy:
        yield f"note: the working copy is still {left.address}: revert or fix {left.name}"


def date_and_time(at: str | None) -> str | None:
    """Return a UTC time as tables show it: `2026-11-20 22:54Z`."""
    return None if at is None else at[:16].replace("T", " ") + "Z"


def person(identity: str | None) -> str | None:
    """Return `Ada Lovelace` of `Ada Lovelace <ada@example.org>`."""
    return None if identity is None else identity.partition(" <")[0]


def status(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show what every environment runs, since when and by whom, and what is not released.

    Lists the judges behind what runs, and whether they are calibrated today.
    """
    from llmops_cli.registry.status import status as registry_status
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        prompts = registry_status(workspace)
    statuses = [(prompt, place) for prompt in prompts for place in prompt.environments]
    rows = [
        (
            prompt.prompt,
            place.environment,
            f"v{place.version}" if place.version else "–",
            place.since if as_json else date_and_time(place.since),
            place.by if as_json else person(place.by),
            ", ".join([*([place.decision.value] if place.decision else []), *place.remarks]),
            _working_copy(prompt.removed, prompt.working, prompt.latest),
        )
        for prompt, place in statuses
    ]
    headers = ["prompt", "environment", "runs", "since", "by", "evidence", "working copy"]
    output = Output(as_json=as_json)
    judges = {"judges": [place.judges for _, place in statuses]}
    output.rows(headers, rows, beside=judges, empty=NO_PROMPTS)
    for prompt, place in statuses:
        for judge in place.judges:
            where = f"{prompt.prompt}@{place.environment}"
            output.say(f"judge  {where}  {_judge(judge, place.environment)}")


def _judge(judge: JudgeStatus, environment: str) -> str:
    """Return `support:tone  uncalibrated: accuracy unknown`."""
    status = f"{judge.address}  {judge.status}" + (f": {judge.why}" if judge.why else "")
    required = f"; {environment} requires `judges: calibrated`" if judge.unfit else ""
    return status + ("  (advisory)" if judge.advisory else required)


def _working_copy(removed: bool, equal: int | None, latest: int | None) -> str:
    if removed:
        return "removed"
    if equal is not None:
        return f"is v{equal}"
    return "ahead: not released" if latest else "never released"


def history(
    context: typer.Context,
    address: Annotated[str, argument("NAME[@ENV]", "Without @ENV: all environments.")],
    as_json: options.AsJson = False,
) -> None:
    """Show all promotions and rollbacks of a prompt, newest first."""
    from llmops_cli.registry.status import history as events_of

    rows = [
        (
            event.environment,
            event.seq,
            event.action,
            f"v{event.from_version.number}" if event.from_version else "–",
            f"v{event.to_version.number}" if event.to_version else "–",
            event.decision.value if event.decision else "",
            event.reason,
            event.actor if as_json else person(event.actor),
            event.at if as_json else date_and_time(event.at),
        )
        for event in events_of(context.obj, address)
    ]
    headers = ["environment", "event", "action", "from", "to", "evidence", "why", "by", "at"]
    Output(as_json=as_json).rows(headers, rows, empty=f"{address} was never promoted")


def bundle(
    context: typer.Context,
    environment: Annotated[str, argument("ENV", "Example: production.")],
    out: Annotated[
        Path | None, file_option("Options", "Default: ENV.bundle.json; - prints it.")
    ] = None,
) -> None:
    """Write what ENV runs as one file, for applications.

    Contains the current and the previous version of every prompt. The same registry gives the
    same bytes. An application reads it with load_prompt("NAME@ENV"), without git or network.
    """
    from llmops_cli.project.project import find_root
    from llmops_cli.stores.atomic import write_bytes
    from llmops_cli.stores.bundle import bundle as bundle_of
    from llmops_cli.stores.registry import Registry

    made = bundle_of(Registry(find_root(context.obj)), environment)
    if out == Path("-"):
        sys.stdout.write(made.to_bytes().decode())
        return
    path = out or Path(f"{environment}.bundle.json")
    write_bytes(path, made.to_bytes())
    output = Output()
    for name in made.records:
        versions = " and ".join(f"v{version.number}" for version in made.prompt(name).versions)
        output.say(f"{name}  {versions}")
    output.say(f"wrote {path}")
    output.say(f"next: export LLMOPS_BUNDLE={shlex.quote(str(path))}")


def verify(
    context: typer.Context,
    environment: Annotated[str | None, argument("[ENV]", "Default: the last.")] = None,
    bundle: Annotated[
        Path | None, option("Options", "Compare this bundle with the registry.", metavar="FILE")
    ] = None,
    strict: Annotated[
        bool, option("Options", "Overrides and quarantined versions fail too.", "--strict")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Check, without git or network, that what runs has passed the gate.

    Checks the chain of events and every digest, and computes each verdict again from the scores
    of single cases. Exit 2 if anything is wrong.
    """
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
        warning = "no longer runs" if problem.past else "warning"
        word = "BROKEN" if problem.fails(strict=strict) else warning
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
    from llmops_cli.registry.fsck import fsck as check_registry

    output = Output(as_json=as_json, actions=actions_of(context.obj, github=github))
    with output.refusals():
        growth = check_registry(context.obj, base)
    output.show(growth, _growth(growth, strict=strict))
    if output.actions is not None:
        output.actions.registry_problems(growth, strict=strict)
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
            f"note: if this branch is behind {growth.base}: git merge {growth.base}; "
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
    rows = [(path.relative_to(root).as_posix(), size) for path, size in files.items()]
    output.rows(["file", "bytes"], rows)
    total = sum(files.values())
    verb = "would be deleted" if dry_run else "deleted"
    output.say(f"{plural(len(files), 'file')}, {total / 1e6:.2f} MB {verb}")


COMMANDS: Mapping[str, Callable[..., object]] = {
    "release": release,
    "promote": promote,
    "rollback": rollback,
    "status": status,
    "history": history,
    "bundle": bundle,
    "verify": verify,
    "fsck": fsck,
    "gc": gc,
}
