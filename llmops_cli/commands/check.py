"""`llmops check`: every mistake that can be found without calling anything, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.core.case import Evalset, ScorerSpec
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.policy import Anchor, Floor, NoWorse
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.gate.power import what_it_can_show
from llmops_cli.plugins import catalog
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import PROJECT_FILE, Project, check_project, find_root
from llmops_cli.project.templates import Templates, documents_of
from llmops_cli.run.workspace import options_check


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvalset:
    """One prompt on one evalset, and what that can show."""

    prompt: str
    evalset: str
    cases: int
    shows: str
    judges: tuple[str, ...] = ()
    """What is to be known of judges that gate it, and that no calibration lets gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A project without a known mistake."""

    prompts: int
    cases: int
    evalsets: tuple[CheckedEvalset, ...]
    ungated: tuple[str, ...]
    """Prompts that no evalset gates or judges with."""
    broken: tuple[str, ...] = ()
    """Calibrations that are not what was written, each with its file."""
    read_as_json: tuple[str, ...] = ()
    """Tables with the columns whose cells were read as JSON, because a scorer takes values."""


def check_all(start: Path) -> Checked:
    """Reads, validates and renders everything. Raises `InvalidFiles` with every problem."""
    root = find_root(start)
    project, evalsets = check_project(root, catalog(), check=options_check(root, environ={}))
    problems = [each for evalset in evalsets for each in _unrenderable(project, evalset)]
    problems += [each for evalset in evalsets for each in _unknown_metrics(project, evalset)]
    if problems:
        raise InvalidFiles(problems)
    judges, broken = _doubts(project, evalsets)
    used = {prompt for evalset in evalsets for prompt in (*evalset.prompts, *_judging(evalset))}
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
                    policy_of(project.gate, evalset.gate, project.environments[-1].gate),
                ),
                judges=judges.get(evalset.name, ()),
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
    )


def _doubts(
    project: Project, evalsets: Iterable[Evalset]
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """What is to be known of judges, by evalset, and of calibrations; read where a model judges."""
    kinds = project.catalog.scorers
    judged = [each for each in evalsets if any(kinds[one.kind].judged for one in _specs(each))]
    if not judged:
        return {}, ()
    from llmops_cli.judges.index import judge_warnings  # noqa: PLC0415 - only where one judges

    return judge_warnings(project, judged)


def _specs(evalset: Evalset) -> Iterator[ScorerSpec]:
    """Every scorer, those of single cases included."""
    yield from evalset.scorers
    yield from (spec for case in evalset.cases for spec in case.scorers)


def _judging(evalset: Evalset) -> Iterator[str]:
    """The prompts of the project that its judges are asked with."""
    for spec in _specs(evalset):
        prompt = spec.options.get("prompt")
        if isinstance(prompt, str):
            yield prompt


def _unknown_metrics(project: Project, evalset: Evalset) -> Iterator[Problem]:
    """Rules of the project or of an environment for a metric that the evalset does not give."""
    known = {PASS_METRIC, *(spec.label for spec in _specs(evalset))}
    wanted = {
        rule.metric
        for environment in project.environments
        for rule in policy_of(project.gate, evalset.gate, environment.gate).rules
        if isinstance(rule, (NoWorse, Anchor, Floor))
    }
    for metric in sorted(each for each in wanted if each.partition(" (")[0] not in known):
        yield Problem(
            where=Location(path=PROJECT_FILE),
            message=f"a rule asks for the metric {metric!r}, which the evalset "
            f"'{evalset.name}' does not give",
            hint=suggestion(metric, sorted(known)),
        )


def _unrenderable(project: Project, evalset: Evalset) -> Iterator[Problem]:
    """Cases that a prompt's templates cannot take."""
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
