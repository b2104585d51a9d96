"""Decide what production's traces say: quiet, an alarm, or not measured.

Everything is computed again from the stored hours each time, so that late spans count as if they
had come in time. What is remembered is only what people acknowledged: `.llmops/watch/ENV.jsonl`,
one line each, which git tracks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from llmops_cli.core.digest import InvalidRecord, from_plain
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.globs import matches
from llmops_cli.core.prompt import Model
from llmops_cli.core.records import Event
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Usage
from llmops_cli.core.watch import (
    DAY,
    Acknowledgement,
    AlarmReport,
    Shift,
    WatchReport,
    WatchSettings,
)
from llmops_cli.engine.budget import MILLION, tariff
from llmops_cli.project.paths import Folder, Unreadable
from llmops_cli.stores.atomic import write_text
from llmops_cli.stores.codec import from_bytes
from llmops_cli.stores.registry_files import FROM_GIT, exists, read_record
from llmops_cli.watch.alarms import decide
from llmops_cli.watch.spans import Counts
from llmops_cli.watch.store import HOUR, Table, TraceStore

FIRST_WILDCARD = re.compile(r"[*?\[].*")
UNREADABLE = 0.01
"""The share of lines that may be unreadable."""
LOOK_BACK = DAY
"""Hours before the estimated start of an alarm in which a promotion is named as its likely cause:
the estimate errs by hours where the rise is small."""
SHIFT = 0.05
"""The change of a share that is worth naming."""
DIMENSIONS = ("version", "model", "finish", "route", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """One environment of a project, as it is watched."""

    root: Path
    settings: WatchSettings
    store: TraceStore
    models: Mapping[str, Model]
    """Whose prices count, by alias."""
    events: Sequence[Event]
    """Promotions and rollbacks of the environment, any order."""


def add_sources(production: Production) -> tuple[int, Counts]:
    """Store what is new in the trace files; return how many calls, and what was read.

    Raises `Refused` for a file or a folder that can't be read.
    """
    folder, settings = Folder(production.root), production.settings
    try:
        files = [
            folder.resolve(path)
            for glob in settings.sources
            for path in folder.files(FIRST_WILDCARD.split(glob)[0].rpartition("/")[0] or ".")
            if matches(path.removeprefix("./"), glob)
        ]
    except Unreadable as error:
        raise Refused(str(error), hint="`watch: source` in llmops.yaml names it") from error
    return production.store.add(files, settings.names)


def decide_all(
    production: Production, counts: Counts, *, now: datetime, since: int = 0
) -> WatchReport:
    """Return what the stored calls say about every alarm.

    `counts` are of the trace files; nothing before the hour `since` counts.
    """
    settings, store, events = production.settings, production.store, production.events
    words = store.words()
    table = with_prices(store.read(since), words, production.models)
    entries = acknowledgements(production.root, settings.environment)
    acknowledged = {entry.alarm: entry for entry in entries}
    alarms = []
    for alarm in settings.alarms:
        entry = acknowledged.get(alarm.name)
        state = decide(
            alarm,
            table,
            words,
            threshold=settings.false_alarms,
            acknowledged=None if entry is None else entry.hour,
            rose=None if entry is None else entry.rose,
        )
        report = AlarmReport(state=state, acknowledged=entry)
        if state.started is not None and state.rang is not None:
            report = replace(
                report,
                shifts=tuple(_shifts(table, words, state.started)),
                promotions=_around(events, state.started, state.rang),
            )
        alarms.append(report)
    problems = [*_unreadable(counts), *_silence(table, now), *_not_measured(alarms)]
    hours = (int(table["time"][0] // HOUR), int(table["time"][-1] // HOUR)) if len(table) else None
    first = 0 if hours is None else hours[0]
    return WatchReport(
        environment=settings.environment,
        at=now.isoformat(timespec="seconds"),
        calls=len(table),
        first_hour=None if hours is None else hours[0],
        last_hour=None if hours is None else hours[1],
        alarms=tuple(alarms),
        problems=tuple(problems),
        events=tuple(event for event in events if hour_of(event.at) >= first),
    )


def with_prices(table: Table, words: Sequence[str], models: Mapping[str, Model]) -> Table:
    """Return the calls with the cost of those whose model has a known price and that have none."""
    table = table.copy()
    lacking = np.isnan(table["cost"]) & ~np.isnan(table["input_tokens"])
    for provider, model in np.unique(table[["provider", "model"]][lacking]).tolist():
        rates = _rates(words[provider], words[model], models)
        if rates is None:
            continue
        same = lacking & (table["provider"] == provider) & (table["model"] == model)
        calls = table[same]
        cached = np.nan_to_num(calls["cached_tokens"])
        output = np.nan_to_num(calls["output_tokens"])
        tokens = (calls["input_tokens"] - cached, cached, output)
        table["cost"][same] = sum(
            rate * count / MILLION for rate, count in zip(rates, tokens, strict=True)
        )
    return table


def _rates(
    provider: str, model: str, models: Mapping[str, Model]
) -> tuple[float, float, float] | None:
    """Return US dollars per million tokens of input, cached input and output."""
    known = (item for item in models.values() if item.model == model and item.price is not None)
    price = tariff(
        next(known, None) or Model(name=model, provider=provider or "openai", model=model)
    )
    if price is None:
        return None
    return (
        price(Usage(input=MILLION, output=0)),
        price(Usage(input=MILLION, output=0, cached_input=MILLION)),
        price(Usage(input=0, output=MILLION)),
    )


def acknowledgements(root: Path, environment: str) -> list[Acknowledgement]:
    """Return what was acknowledged, oldest first. Raises `IntegrityBroken` for a broken line."""
    file = _acknowledgement_file(root, environment)
    if not exists(file):
        return []
    entries = []
    for number, line in enumerate(read_record(file).splitlines(), start=1):
        try:
            entries.append(from_plain(Acknowledgement, from_bytes(line)))
        except InvalidRecord as error:
            why, where = f"not an acknowledgement: {error}", f"{file}:{number}"
            raise IntegrityBroken(why, where=where, hint=FROM_GIT) from error
    return entries


def acknowledge(
    root: Path,
    report: WatchReport,
    name: str,
    *,
    reason: str,
    by: str,
    redact: Redactor,
) -> Acknowledgement:
    """Record that an alarm was looked at; it starts anew with the next hour.

    Raises `UnknownName` for an alarm that is not watched.
    """
    alarms = {alarm.state.alarm.name: alarm.state for alarm in report.alarms}
    if name not in alarms:
        raise UnknownName("alarm", name, alarms)
    last = report.last_hour if report.last_hour is not None else hour_of(report.at)
    entry = Acknowledgement(
        alarm=name, hour=last + 1, rose=alarms[name].started, at=report.at, by=by, reason=reason
    )
    file = _acknowledgement_file(root, report.environment)
    earlier = read_record(file).decode() if exists(file) else ""
    fields = {field: getattr(entry, field) for field in Acknowledgement.__dataclass_fields__}
    write_text(file, earlier + json.dumps(fields) + "\n", redact=redact)
    return entry


def hour_of(at: str) -> int:
    """Return the hour since 1970 of a time in ISO 8601."""
    moment = datetime.fromisoformat(at)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) // HOUR


def _acknowledgement_file(root: Path, environment: str) -> Path:
    return root / ".llmops" / "watch" / f"{environment}.jsonl"


def _around(events: Sequence[Event], started: int, rang: int) -> tuple[Event, ...]:
    moved = [event for event in events if event.to_version is not None]
    near = [event for event in moved if started - LOOK_BACK <= hour_of(event.at) <= rang]
    return tuple(sorted(near, key=lambda event: event.at, reverse=True))


def _shifts(table: Table, words: Sequence[str], started: int) -> Iterator[Shift]:
    """Yield what became more or less common at `started`, compared with the week before."""
    hours = table["time"] // HOUR
    before = table[(hours < started) & (hours >= started - 7 * DAY)]
    since = table[hours >= started]
    if not len(before) or not len(since):
        return
    for dimension in DIMENSIONS:
        shares = [
            np.bincount(part[dimension], minlength=len(words)) / len(part)
            for part in (before, since)
        ]
        change = np.abs(shares[1] - shares[0])
        for value in np.argsort(-change)[:2]:
            if change[value] >= SHIFT and words[value]:
                yield Shift(
                    dimension=dimension,
                    value=words[value],
                    before=float(shares[0][value]),
                    since=float(shares[1][value]),
                )


def _unreadable(counts: Counts) -> Iterator[str]:
    if counts.unreadable > UNREADABLE * counts.lines:
        examples = "; ".join(counts.reasons[:3])
        yield f"{counts.unreadable} of {counts.lines} lines could not be read: {examples}"


def _silence(table: Table, now: datetime) -> Iterator[str]:
    """Say where calls stopped: no call for longer than twice any gap of the last two weeks."""
    if not len(table):
        yield "no calls are stored: llmops traces add FILE..."
        return
    last = float(table["time"][-1])
    recent = table["time"][table["time"] >= last - 14 * DAY * HOUR]
    longest = float(np.diff(recent).max()) if len(recent) > 1 else 0.0
    silent = now.timestamp() - last
    if silent > max(HOUR, 2 * longest):
        at = datetime.fromtimestamp(last, UTC).isoformat(timespec="minutes")
        yield f"no call since {at}: are the traces still written?"


def _not_measured(alarms: Iterable[AlarmReport]) -> Iterator[str]:
    for report in alarms:
        if report.state.status == "no data" and not report.state.alarm.default:
            yield f"{report.state.alarm.name}: {report.state.why}"
