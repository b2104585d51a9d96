"""What GitHub shows beside a changed file: a verdict at its prompt, a failing case at its line.

An annotation is a workflow command, one line that the runner reads from the log:
`::error file=prompts/support.prompt.yml,line=1,title=…::…`. GitHub shows ten errors, ten warnings
and ten notices of a step and cuts a message at 4,096 characters. So the worst come first, long
ones are cut here, and the tenth counts those that have no room. No answer of a model is in any;
what a file or a server wrote is one line without controls, and cannot end the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmops_cli.core.errors import Location, Problem
from llmops_cli.core.report import EvalsetReport, PromptReport, Report, SourceLocations
from llmops_cli.core.verdict import Decision
from llmops_cli.render import formatting
from llmops_cli.render.safe_text import clip, terminal_line

Level: TypeAlias = Literal["error", "warning", "notice"]
LEVELS: tuple[Level, ...] = ("error", "warning", "notice")
PER_LEVEL = 10
"""Annotations of one level that GitHub shows of a step."""
LONGEST = 4_096
"""Characters of a message."""
_TITLE = 200
_NAMED = 10
"""Cases that a verdict names."""
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One remark at a place."""

    level: Level
    title: str
    message: str
    where: Location | None = None
    """Its path is relative to the repository; None: the run as a whole."""


def remarks(report: Report, places: SourceLocations) -> list[Annotation]:
    """What is to be said at files about a run, worst first: verdicts, then single cases."""
    prompts = sorted(report.prompts, key=lambda each: formatting.SEVERITY[each.verdict.decision])
    return [
        *(_verdict(each, places) for each in prompts if _worth_saying(each)),
        *(remark for each in prompts for remark in _policy(each, places)),
        *(remark for each in prompts for remark in _cases(each, places, ("critical",))),
        *(
            remark
            for each in prompts
            for remark in _cases(each, places, ("regressed", "unmeasured"))
        ),
        *(remark for each in prompts for remark in _cases(each, places, ("known_passing",))),
    ]


def problems(found: Iterable[Problem], places: Mapping[str, Location]) -> list[Annotation]:
    """Mistakes in a project's files, each at its line; `places`: paths in the repository."""
    return [
        Annotation(
            level="error",
            title="llmops check",
            message=f"{each.message} ({each.hint})" if each.hint else each.message,
            where=Location(path=places.get(each.where.path, each.where).path, line=each.where.line),
        )
        for each in found
    ]


def workflow_commands(given: Sequence[Annotation]) -> str:
    """The lines that make GitHub show `given`: at most ten of a level, the first ones."""
    lines = []
    for level in LEVELS:
        alike = [each for each in given if each.level == level]
        shown = alike if len(alike) <= PER_LEVEL else alike[: PER_LEVEL - 1]
        lines += [_command(each) for each in shown]
        if len(shown) < len(alike):
            count = formatting.plural(len(alike) - len(shown), f"more {level}")
            message = f"{count}: the job summary has what there was no room for here"
            lines.append(_command(Annotation(level=level, title="llmops", message=message)))
    return "".join(f"{line}\n" for line in lines)


def _command(each: Annotation) -> str:
    properties = []
    if each.where is not None:
        properties.append(f"file={_property(each.where.path)}")
        properties.append(f"line={each.where.line or 1}")
    properties.append(f"title={_property(clip(each.title, characters=_TITLE).text)}")
    message = "\n".join(terminal_line(line) for line in each.message.split("\n"))
    cut = clip(message, characters=LONGEST - 60)
    text = f"{cut.text} … {cut.remark}" if cut.remark else cut.text
    return f"::{each.level} {','.join(properties)}::{text.translate(_DATA)}"


def _property(text: str) -> str:
    return terminal_line(text).translate(_PROPERTY)


def _level(prompt: PromptReport) -> Level:
    verdict = prompt.verdict
    if verdict.decision is Decision.PASS:
        return "notice"
    return "warning" if formatting.leniency(verdict) else "error"


def _worth_saying(prompt: PromptReport) -> bool:
    """Not of a prompt that passes as it stands: sixty of those would hide the others."""
    moved = any(
        each.changes.get("regressed") or each.changes.get("improved") for each in prompt.evalsets
    )
    return prompt.verdict.decision is not Decision.PASS or moved


def _verdict(prompt: PromptReport, places: SourceLocations) -> Annotation:
    verdict = prompt.verdict
    lines = [verdict.why]
    for each in prompt.evalsets:
        lost = [one.case for one in each.shown if one.change in {"critical", "regressed"}]
        if lost and verdict.decision is not Decision.PASS:
            hidden = each.changes.get("regressed", 0) + each.changes.get("critical", 0) - _NAMED
            more = f" and {hidden:,} more" if hidden > 0 else ""
            lines.append(f"lost on {each.evalset}: {', '.join(lost[:_NAMED])}{more}")
    if formatting.leniency(verdict):
        lines.append(formatting.leniency(verdict))
    return Annotation(
        level=_level(prompt),
        title=f"{verdict.decision.value} {prompt.prompt}",
        message="\n".join(lines),
        where=places.prompts.get(prompt.prompt),
    )


def _policy(prompt: PromptReport, places: SourceLocations) -> Iterator[Annotation]:
    for finding in prompt.verdict.findings:
        if finding.rule == "policy":
            yield Annotation(
                level="warning",
                title=f"the policy of {prompt.prompt} changes",
                message=finding.why,
                where=places.project,
            )
        if finding.rule == "evalset":
            yield Annotation(
                level="warning",
                title=f"what {prompt.prompt} is measured by changes",
                message=finding.why,
                where=places.prompts.get(prompt.prompt),
            )
        if finding.rule == "models":
            yield Annotation(
                level="warning",
                title=f"what {prompt.prompt} costs is reckoned otherwise",
                message=finding.why,
                where=places.project,
            )


def _cases(
    prompt: PromptReport, places: SourceLocations, changes: tuple[str, ...]
) -> Iterator[Annotation]:
    for evalset in prompt.evalsets:
        for shown in evalset.shown:
            if shown.change in changes and (level := _case_level(prompt, shown.change)):
                yield Annotation(
                    level=level,
                    title=f"{prompt.prompt}: {shown.case}",
                    message=formatting.MEANINGS[shown.change],
                    where=_place(places, evalset, shown.case),
                )


def _case_level(prompt: PromptReport, change: str) -> Level | None:
    """A case that was lost within a PASS decides nothing, and is in the report."""
    if change == "known_passing":
        return "notice"
    return None if prompt.verdict.decision is Decision.PASS else _level(prompt)


def _place(places: SourceLocations, evalset: EvalsetReport, case: str) -> Location | None:
    return places.cases.get((evalset.evalset, case)) or places.evalsets.get(evalset.evalset)
