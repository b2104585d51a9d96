"""`llmops check`: find every mistake that can be found without a call, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.commands.health import health_notes
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.policy import Critical, gated_metrics
from llmops_cli.core.prompt import Evalset, ScorerSpec
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.gate.paired_test import what_it_can_show
from llmops_cli.gate.wording import counted
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import PROJECT_FILE, Project, check_project, find_root
from llmops_cli.project.templates import Templates, documents_of
from llmops_cli.run.workspace import checked_store, options_check


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
    for evalset in evalsets:
        problems += _unknown_metrics(project, evalset, specs[evalset.name])
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


def _unknown_metrics(
    project: Project, evalset: Evalset, specs: list[ScorerSpec]
) -> Iterator[Problem]:
    """Yield rules of the project or an environment for a metric that the evalset lacks."""
    known = {PASS_METRIC, *(spec.label for spec in specs)}
    named = {
        metric
        for environment in project.environments
        for metric in gated_metrics(policy_of(project.gate, evalset.gate, environment.gate))
    }
    for metric in sorted(name for name in named if name.partition(" (")[0] not in known):
        yield Problem(
            where=Location(path=PROJECT_FILE),
            message=f"a rule names the metric {metric!r}, which the evalset '{evalset.name}' "
            "does not have",
            hint=suggestion(metric, sorted(known)),
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
