"""Shows what production does: in a console, as Markdown, and as one HTML page of small charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.console import RenderableType

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import Redactor
from llmops_cli.core.watch import DAY, AlarmReport, AlarmState, WatchReport
from llmops_cli.render.formatting import money, percent, plural
from llmops_cli.render.html.static import static_page
from llmops_cli.render.json import as_json
from llmops_cli.render.renderable import LineWriter, Renderable
from llmops_cli.render.safe_text import markdown_inline, markdown_span

WIDTH, HEIGHT = 720, 90
"""Pixels of a chart."""
COLORS = {"alarm": "bold red", "quiet": "green", "starting": "yellow", "no data": "dim"}
WORDS = {
    "first_token": "calls whose first token came late",
    "cost": "cost per call",
    "satisfaction": "user satisfaction",
    "errors": "failed calls",
    "cache_hits": "answers from the cache",
    "context": "calls with a long input",
}


def headline(report: WatchReport) -> str:
    """Return the result in a few words: `ALARM production: cost`."""
    if report.ringing:
        names = ", ".join(alarm.state.alarm.name for alarm in report.ringing)
        return f"ALARM  {report.environment}: {names}"
    if report.problems:
        return f"NOT MEASURED  {report.environment}: {report.problems[0]}"
    return f"QUIET  {report.environment}: {plural(report.calls, 'call')}"


def alarm_line(report: AlarmReport) -> str:
    """Return what an alarm says in a line."""
    state = report.state
    if state.status == "alarm":
        change = f"{value(state, state.before)} → {value(state, state.since)}"
        return f"{WORDS[state.alarm.name]}: {change} since {hour(state.started)} ({limit(state)})"
    if state.status == "quiet":
        mean = _mean(state)
        return f"{WORDS[state.alarm.name]}: {value(state, mean)} ({limit(state)})"
    return state.why


def causes(report: AlarmReport) -> Iterator[str]:
    """Yield what differs since the rise began, and what was promoted then."""
    for shift in report.shifts:
        yield (
            f"{shift.dimension} {shift.value}: {percent(shift.before)} → {percent(shift.since)} "
            "of calls"
        )
    for event in report.promotions:
        version = event.to_version
        number = "" if version is None else f"@v{version.number}"
        yield f"{event.action} of {event.prompt}{number} at {event.at} by {event.actor}"


def next_steps(report: WatchReport) -> Iterator[str]:
    """Yield the commands that help."""
    for alarm in report.ringing:
        if alarm.rollback is not None:
            yield alarm.rollback
        yield f"llmops watch {report.environment} --ack {alarm.state.alarm.name} -m WHY"


def watch_json(report: WatchReport) -> Json:
    """Return the report as JSON: what is not known is null."""

    def finite(value: Json) -> Json:
        if isinstance(value, Mapping):
            return {name: finite(item) for name, item in value.items()}
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    plain = finite(as_json(report))
    assert isinstance(plain, dict)
    return {**plain, "headline": headline(report), "exit_code": report.exit_code}


def console_watch(report: WatchReport) -> Renderable:
    """Return the whole report."""

    def draw(writer: LineWriter) -> Iterator[RenderableType]:
        status = "alarm" if report.ringing else "starting" if report.problems else "quiet"
        yield writer.line(headline(report), COLORS[status])
        for alarm in report.alarms:
            state = alarm.state
            name = (f"  {state.status:<9} {state.alarm.name:<14}", COLORS[state.status])
            yield writer.joined(name, alarm_line(alarm))
            for cause in causes(alarm):
                yield writer.line(f"{'':27}{cause}", "dim")
        for problem in report.problems:
            yield writer.line(f"  not measured: {problem}", "bold yellow")
        for step in dict.fromkeys(next_steps(report)):
            yield writer.line(f"next: {step}")

    return Renderable(draw)


def markdown_watch(report: WatchReport) -> str:
    """Return the report for an issue or a job summary."""
    rows = [
        f"| {state.alarm.name} | {state.status} | {markdown_inline(alarm_line(alarm))} |"
        for alarm in report.alarms
        for state in (alarm.state,)
    ]
    table = "\n".join(["| alarm | status | |", "| --- | --- | --- |", *rows])
    found = [f"- {markdown_inline(cause)}" for alarm in report.ringing for cause in causes(alarm)]
    problems = [f"- not measured: {markdown_inline(problem)}" for problem in report.problems]
    steps = [f"- {markdown_span(step)}" for step in dict.fromkeys(next_steps(report))]
    blocks = [f"### {markdown_inline(headline(report))}", table, *filter(None, (
        "\n".join(found + problems), "\n".join(steps),
    ))]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def html_watch(report: WatchReport, *, redact: Redactor) -> str:
    """Return the page: one chart per alarm with its line, versions and promotions. No script."""
    return static_page(
        "watch.html",
        redact=redact,
        report=report,
        headline=headline(report),
        alarm_line=alarm_line,
        causes=causes,
        steps=list(dict.fromkeys(next_steps(report))),
        chart=lambda alarm: chart(report, alarm.state),
        width=WIDTH,
        height=HEIGHT,
    )


def chart(report: WatchReport, state: AlarmState) -> dict[str, object]:
    """Return the places of a chart's line, limit and marks, in pixels."""
    first = report.first_hour or 0
    span = max((report.last_hour or 0) - first, 1)
    values = [mean for mean in state.means if not math.isnan(mean)]
    limits = [] if math.isnan(state.line) else [state.line]
    top = max([*values, *limits, 1e-12]) * 1.1

    def across(at: float) -> str:
        return f"{WIDTH * (at - first) / span:.1f}"

    def down(number: float) -> str:
        return f"{HEIGHT * (1 - number / top):.1f}"

    points = zip(state.hours, state.means, strict=True)
    marks = [
        (across(datetime.fromisoformat(event.at).timestamp() / 3600), _mark(report, position))
        for position, event in enumerate(report.events)
    ]
    return {
        "points": " ".join(f"{across(at)},{down(mean)}" for at, mean in points),
        "limit": down(state.line) if limits else None,
        "started": None if state.started is None else across(state.started),
        "marks": marks,
        "top": value(state, top),
        "since": hour(report.first_hour),
        "until": hour(report.last_hour),
    }


def value(state: AlarmState, number: float) -> str:
    """Return a mean in its unit."""
    if math.isnan(number):
        return "none"
    return money(number) if state.alarm.name == "cost" else percent(number)


def limit(state: AlarmState) -> str:
    """Return the line, and what it was made from."""
    alarm = state.alarm
    if math.isnan(state.line):
        return ""
    at = value(state, state.line)
    if alarm.name in {"satisfaction", "cache_hits"}:
        return f"at least {at}"
    if alarm.name == "first_token" and not math.isnan(state.baseline):
        slow = min(alarm.times * state.baseline, alarm.max)
        return f"at most {at} later than {slow:.2g} s"
    if alarm.name == "context" and not math.isnan(state.baseline):
        return f"at most {at} over {state.baseline:,.0f} tokens"
    return f"at most {at}"


def hour(at: int | None) -> str:
    """Return an hour since 1970 as people write it."""
    if at is None:
        return "never"
    return datetime.fromtimestamp(at * 3600, UTC).strftime("%Y-%m-%d %H:00 UTC")


def _mean(state: AlarmState) -> float:
    """Return the mean of the last day that has values."""
    recent = [
        (mean, count)
        for at, mean, count in zip(state.hours, state.means, state.counts, strict=True)
        if at > state.hours[-1] - DAY
    ]
    total = sum(count for _, count in recent)
    return sum(mean * count for mean, count in recent) / total if total else math.nan


def _mark(report: WatchReport, position: int) -> str:
    event = report.events[position]
    number = "" if event.to_version is None else f"@v{event.to_version.number}"
    return f"{event.action} {event.prompt}{number}"
