"""`llmops check`: find every mistake that can be found without a call, all at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from llmops_cli.commands.health import health_notes
from llmops_cli.core.errors import IntegrityBroken, InvalidFiles, Location, Problem, Refused
from llmops_cli.core.policy import Critical
from llmops_cli.core.prompt import Evalset, Model, Request, ScorerSpec
from llmops_cli.gate.paired_test import too_few_groups, what_it_can_show
from llmops_cli.gate.wording import counted
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import PROJECT_FILE, Project, check_project, find_root
from llmops_cli.project.templates import Templates, documents_of
from llmops_cli.run.comparison import compare_prompts
from llmops_cli.run.endpoints import secrets_of
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.prepare import refusals, unfit_judges, unplanned
from llmops_cli.run.selection import EvalOptions, Selection
from llmops_cli.run.workspace import Workspace, checked_store, open_workspace, options_check


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvalset:
    """One prompt on one evalset, and what that can show."""

    prompt: str
    evalset: str
    cases: int
    shows: str
    judges: tuple[str, ...] = ()
    """Warnings about judges that gate it without a calibration that allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A project without a known mistake."""

    prompts: int
    cases: int
    evalsets: tuple[CheckedEvalset, ...]
    ungated: tuple[str, ...]
    """Prompts that no evalset gates and no judge uses."""
    broken: tuple[str, ...] = ()
    """Errors of calibrations that are not as they were written, each with its file."""
    read_as_json: tuple[str, ...] = ()
    """Tables with the columns whose cells were read as JSON, because a scorer takes values."""
    about_cases: tuple[str, ...] = ()
    """What a person should look at: drafts, critical cases that no rule reads, cases that are
    alike or given away.
    """


def check_all(start: Path) -> Checked:
    """Read, validate and render everything. Raises `InvalidFiles` with every problem."""
    root = find_root(start)
    check, store = options_check(root, environ={}), checked_store(root, os.environ)
    project, evalsets = check_project(root, catalog(), check=check, store=store)
    specs = {evalset.name: _specs(evalset) for evalset in evalsets}
    problems = [problem for evalset in evalsets for problem in _unrenderable(project, evalset)]
    if not problems:
        loaded = replace(project, loaded={evalset.name: evalset for evalset in evalsets})
        with open_workspace(root, environ={}, loaded=loaded) as workspace:
            problems = list(dict.fromkeys(_refused(workspace, evalsets)))
    if problems:
        raise InvalidFiles(problems)
    kinds = project.catalog.scorers
    judged = [
        evalset
        for evalset in evalsets
        if any(kinds[spec.kind].judged for spec in specs[evalset.name])
    ]
    warnings, broken = _judge_warnings(project, judged)
    used = {name for evalset in evalsets for name in evalset.prompts}
    used |= {str(spec.options.get("prompt")) for of_one in specs.values() for spec in of_one}
    strictest = project.environments[-1]
    return Checked(
        prompts=len(project.prompts),
        cases=sum(len(evalset.cases) for evalset in evalsets),
        evalsets=tuple(
            CheckedEvalset(
                prompt=prompt,
                evalset=evalset.name,
                cases=len(evalset.cases),
                shows=what_it_can_show(
                    [case.group for case in evalset.cases],
                    policy_of(project.gate, evalset.gate, strictest.gate),
                ),
                judges=warnings.get(evalset.name, ()),
            )
            for evalset in evalsets
            for prompt in evalset.prompts
        ),
        ungated=tuple(name for name in project.prompts if name not in used),
        broken=broken,
        read_as_json=tuple(
            f"{project.evalsets[evalset.name].table}: `{column}` is read as JSON"
            for evalset in evalsets
            for column in project.columns_read_as_json(evalset)
        ),
        about_cases=tuple(note for evalset in evalsets for note in _about_cases(project, evalset)),
    )


def _about_cases(project: Project, evalset: Evalset) -> Iterator[str]:
    """Yield what a person should look at in an evalset."""
    if evalset.drafts:
        verb = "waits" if evalset.drafts == 1 else "wait"
        yield f"{evalset.name}: {counted(evalset.drafts, 'draft')} {verb} for a review"
    critical = any(case.critical for case in evalset.cases)
    for environment in project.environments if critical else ():
        if Critical() not in policy_of(project.gate, evalset.gate, environment.gate).rules:
            yield f"{evalset.name}: no rule reads which cases are critical in {environment.name}"
    yield from health_notes(evalset, [project.prompts[name] for name in evalset.prompts])


def _judge_warnings(
    project: Project, judged: list[Evalset]
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return warnings about judges by evalset, and the errors of broken calibrations."""
    if not judged:
        return {}, ()
    from llmops_cli.judges.index import judge_warnings  # noqa: PLC0415 - slow, and rarely needed

    return judge_warnings(project, judged)


def _specs(evalset: Evalset) -> list[ScorerSpec]:
    """Return every scorer, those of single cases included."""
    return [*evalset.scorers, *(spec for case in evalset.cases for spec in case.scorers)]


def _refused(workspace: Workspace, evalsets: Sequence[Evalset]) -> Iterator[Problem]:
    """Yield what `eval` would refuse before its first call, in any environment.

    The files are judged, not this machine and this job: keys that are not set here are no problem,
    and neither is a pull request from a fork.
    """
    runs: dict[str, EvalsetRun] = {}
    for environment in workspace.project.environments:
        for evalset in evalsets:
            place = Location(path=workspace.project.evalsets[evalset.name].path)
            for prompt in evalset.prompts:
                selection = Selection(
                    prompts=[prompt], evalsets=[evalset.name], environment=environment.name
                )
                try:
                    comparisons = compare_prompts(workspace, selection)
                    (evalset_run,) = unplanned(workspace, comparisons, EvalOptions())
                except Refused as error:
                    yield _problem(workspace, error, place)
                    continue
                runs[prompt] = evalset_run
                for refusal in (*refusals(workspace, [evalset_run]), *unfit_judges(evalset_run)):
                    yield _problem(workspace, refusal, place)
                if few := too_few_groups(evalset.cases, evalset_run.policy):
                    hint = "add groups, or leave `group` out of cases that are independent"
                    yield Problem(where=place, message=few, hint=hint)
    yield from _uncallable(workspace, runs)


def _problem(workspace: Workspace, refusal: Refused, default: Location) -> Problem:
    if isinstance(refusal, IntegrityBroken) and refusal.where:
        path = os.path.relpath(refusal.where, workspace.root)
        return Problem(where=Location(path=path), message=refusal.why, hint=refusal.hint)
    return refusal.problem(default)


def _uncallable(workspace: Workspace, runs: Mapping[str, EvalsetRun]) -> Iterator[Problem]:
    """Yield what the APIs of the models in `runs`, by prompt, could never be sent.

    Their clients are opened with a key that is none, and send nothing.
    """
    calls: dict[str, tuple[Model, str, Request | None]] = {}
    for prompt, run in runs.items():
        own = run.candidate.spec.target.model
        for model in run.models:
            request = run.candidate.request(run.cases[0]) if model is own and run.cases else None
            if workspace.provider(model).api_key_env:
                calls.setdefault(model.name, (model, prompt, request))
    if not calls:
        return
    names = chain.from_iterable(
        secrets_of(model, workspace.provider(model)) for model, _, _ in calls.values()
    )
    keyed = replace(workspace, environ=dict.fromkeys(names, "unused"))

    async def check(model: Model, request: Request | None) -> None:
        async with keyed.open_provider(model) as provider:
            if request is not None and hasattr(provider, "check"):
                provider.check(request)

    for model, prompt, request in calls.values():
        try:
            asyncio.run(check(model, request))
        except Refused as refusal:
            written = workspace.project.prompts[prompt]
            place = workspace.project.line(written.path, "modelParameters")
            in_prompt = any(repr(name) in refusal.message for name in written.parameters)
            yield refusal.problem(
                place if in_prompt else model.where or Location(path=PROJECT_FILE)
            )


def _unrenderable(project: Project, evalset: Evalset) -> Iterator[Problem]:
    """Yield the problems of cases that a prompt's templates cannot take."""
    for name in evalset.prompts:
        target = project.target(project.prompts[name])
        templates = Templates(target.prompt)
        documents = documents_of(target, project.catalog)
        for case in evalset.cases:
            try:
                messages = templates.messages(case)
                if documents is not None:
                    documents.document(case, messages)
            except InvalidFiles as error:
                yield from error.problems
