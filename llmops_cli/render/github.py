"""Create annotations, which GitHub shows at a changed file: a verdict, a failing case.

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
from llmops_cli.core.policy import Decision
from llmops_cli.core.report import PromptReport, Report, SourceLocations
from llmops_cli.render import formatting
from llmops_cli.render.safe_text import clip, shortened, terminal_line

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
    """One annotation."""

    level: Level
    title: str
    message: str
    where: Location | None = None
    """None: the run as a whole."""


def remarks(report: Report, places: SourceLocations) -> list[Annotation]:
    """Return what to say at files about a run, worst first: verdicts, then single cases."""
    prompts = formatting.worst_first(report.prompts)
    changes = (("critical",), ("regressed", "unmeasured"), ("known_passing",))
    return [
        *(_verdict(prompt, places) for prompt in prompts if _relevant(prompt)),
        *(remark for prompt in prompts for remark in _policy(prompt, places)),
        *(
            remark
            for kinds in changes
            for prompt in prompts
            for remark in _cases(prompt, places, kinds)
        ),
    ]


def problems(listed: Iterable[Problem]) -> list[Annotation]:
    """Return mistakes in a project's files, each at its line."""
    return [
        Annotation(
            level="error",
            title="llmops check",
            message=f"{problem.message} ({problem.hint})" if problem.hint else problem.message,
            where=problem.where,
        )
        for problem in listed
    ]


def workflow_commands(annotations: Sequence[Annotation]) -> str:
    """Return the lines that make GitHub show annotations: the first ten of each level."""
    lines: list[str] = []
    for level in LEVELS:
        alike = [annotation for annotation in annotations if annotation.level == level]
        shown = alike if len(alike) <= PER_LEVEL else alike[: PER_LEVEL - 1]
        lines += map(_command, shown)
        if len(shown) < len(alike):
            count = formatting.plural(len(alike) - len(shown), f"more {level}")
            message = f"{count}: the job summary has what there was no room for here"
            lines.append(_command(Annotation(level=level, title="llmops", message=message)))
    return "".join(f"{line}\n" for line in lines)


def _command(annotation: Annotation) -> str:
    properties = []
    if annotation.where is not None:
        properties.append(f"file={_property(annotation.where.path)}")
        properties.append(f"line={annotation.where.line or 1}")
    properties.append(f"title={_property(clip(annotation.title, characters=_TITLE).text)}")
    message = "\n".join(terminal_line(line) for line in annotation.message.split("\n"))
    text = shortened(message, LONGEST - 60)
    return f"::{annotation.level} {','.join(properties)}::{text.translate(_DATA)}"


def _property(text: str) -> str:
    return terminal_line(text).translate(_PROPERTY)


def _level(prompt: PromptReport) -> Level:
    verdict = prompt.verdict
    if verdict.decision is Decision.PASS:
        return "notice"
    return "warning" if formatting.warning_note(verdict) else "error"


def _relevant(prompt: PromptReport) -> bool:
    """Return whether a prompt fails or changed: sixty that pass unchanged would hide the others."""
    counts = [evalset.changes for evalset in prompt.evalsets]
    moved = any(count.get("regressed") or count.get("improved") for count in counts)
    return prompt.verdict.decision is not Decision.PASS or moved


def _verdict(prompt: PromptReport, places: SourceLocations) -> Annotation:
    verdict = prompt.verdict
    rates = [" ".join(line.pieces) for line in formatting.headlines(prompt) if line.rates]
    lines = [*rates, verdict.why]
    for evalset in prompt.evalsets:
        worse = [case.case for case in evalset.shown if case.change in {"critical", "regressed"}]
        if worse and verdict.decision is not Decision.PASS:
            counts = evalset.changes
            hidden = counts.get("regressed", 0) + counts.get("critical", 0) - _NAMED
            more = f" and {hidden:,} more" if hidden > 0 else ""
            lines.append(f"regressed on {evalset.evalset}: {', '.join(worse[:_NAMED])}{more}")
    if formatting.warning_note(verdict):
        lines.append(formatting.warning_note(verdict))
    return Annotation(
        level=_level(prompt),
        title=f"{verdict.decision.value} {prompt.prompt}",
        message="\n".join(lines),
        where=places.prompts.get(prompt.prompt),
    )


TITLES: Mapping[str, str] = {
    "policy": "the policy of {} changes",
    "evalset": "what {} is evaluated on changes",
    "models": "the models of {} are called or priced differently",
    "code": "code that {} runs changes",
    "calibrations": "a judge of {} is calibrated differently",
}
"""Of annotations at what a change makes of the gate itself, by the rule that found it."""


def _policy(prompt: PromptReport, places: SourceLocations) -> Iterator[Annotation]:
    for finding in prompt.verdict.findings:
        if finding.rule in TITLES:
            own = finding.rule == "evalset"
            yield Annotation(
                level="warning",
                title=TITLES[finding.rule].format(prompt.prompt),
                message=finding.why,
                where=places.prompts.get(prompt.prompt) if own else places.project,
            )


def _cases(
    prompt: PromptReport, places: SourceLocations, changes: tuple[str, ...]
) -> Iterator[Annotation]:
    passes = prompt.verdict.decision is Decision.PASS
    for evalset in prompt.evalsets:
        for shown in evalset.shown:
            notice = shown.change == "known_passing"
            # A regression within a PASS decides nothing, and is in the report.
            if shown.change in changes and (notice or not passes):
                place = places.cases.get((evalset.evalset, shown.case))
                yield Annotation(
                    level="notice" if notice else _level(prompt),
                    title=f"{prompt.prompt}: {shown.case}",
                    message=formatting.change_meaning(shown),
                    where=place or places.evalsets.get(evalset.evalset),
                )
