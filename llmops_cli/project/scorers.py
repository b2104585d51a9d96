"""Read `scorers:` into scorer specs, checked against the catalog.

A scorer has three forms: `name` · `{name: value}` · `{name: {options}}`, each also as `{not: …}`.
A mapping is always options. Every scorer takes `name` (its label), `min`, `max` and `advisory`.
Checked before any call: names, options and their types, templates and the names in them, files,
and that a scorer that gates can fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, count
from math import inf
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llmops_cli.core.errors import Location, Refused, suggestion
from llmops_cli.core.literals import control_character
from llmops_cli.core.ports import ScorerKind
from llmops_cli.core.prompt import Case, ScorerSpec
from llmops_cli.project.models import ProjectContext
from llmops_cli.project.paths import MAX_FILE, Problems, Unreadable
from llmops_cli.project.schema import Where, nearest, type_mismatch
from llmops_cli.project.templates import (
    FACTS,
    PLAIN,
    BadTemplate,
    is_template,
    single_name,
    strings,
)

COMMON = ("name", "min", "max", "advisory")
"""Options that every scorer takes; where a kind has one of that name, its own is meant."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line under `scorers:` with its form taken apart."""

    kind: ScorerKind
    options: dict[str, Any]
    negate: bool
    where: Location

    def common(self, name: str, default: Any = None) -> Any:
        """Return an option that every scorer takes."""
        return default if name in self.kind.options else self.options.get(name, default)

    @property
    def own(self) -> dict[str, Any]:
        """Return the options of the scorer itself, defaults included."""
        kinds = self.kind.options
        defaults = {name: kinds[name].default for name in kinds if kinds[name].default is not None}
        return defaults | {
            name: value
            for name, value in self.options.items()
            if name in kinds or name not in COMMON
        }


class ScorerReader:
    """Reads scorer lists of one project; types and files are looked at once each."""

    def __init__(self, context: ProjectContext, problems: Problems) -> None:
        self._context = context
        self._kinds = context.catalog.scorers
        self._problems = problems
        self._types: dict[tuple[str, str], TypeAdapter[Any]] = {}
        self._files: dict[str, str | None] = {}

    def read(
        self,
        entries: Sequence[Any],
        where: Where,
        *,
        inputs: AbstractSet[str],
        labels: set[str],
        of_a_case: bool = False,
    ) -> tuple[ScorerSpec, ...]:
        """Return the specs of `entries`; each problem is added, and its entry left out.

        `where` gives the line of the entry at a position, `inputs` are those that templates may
        use, `labels` those in use already; new ones are added to it.
        """
        found = (self._entry(written, where(at)) for at, written in enumerate(entries))
        parsed = [entry for entry in found if entry is not None]
        for entry in parsed:
            if of_a_case and entry.kind.paired:
                message = f"'{entry.kind.name}' compares both versions' answers"
                self._problems.add(entry.where, message, "give it to the evalset, not to a case")
        self._reserve(parsed, labels)
        specs = (self._spec(entry, inputs, labels) for entry in parsed)
        return tuple(spec for spec in specs if spec is not None)

    def wrong_options(self, spec: ScorerSpec, rendered: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options that a case has filled in."""
        kind = self._kinds[spec.kind]
        wrong = False
        for name, value in rendered.items():
            control = control_character(value)
            why = self._mismatch(kind, name, value) or (control and ": ".join(control))
            if why is not None:
                wrong = True
                yield f"'{name}' {why}"
        check = self._context.check
        if not wrong and check is not None and kind.check is not None:
            message = check(kind, rendered)
            if message is not None:
                yield message

    def wrong_expected(self, spec: ScorerSpec, case: Case) -> Iterator[str]:
        """Yield what is wrong with a case's `expected`, where an option falls back on it."""
        kind = self._kinds[spec.kind]
        if kind.expects is None or kind.check is None or case.expected is None:
            return
        if control_character(case.expected) is not None:
            return  # a problem of the case, whoever scores it
        has_value = any(name in spec.options for name in (kind.expects, *kind.instead))
        if not has_value and not any(map(is_template, strings(dict(spec.options)))):
            yield from self.wrong_options(spec, {**spec.options, kind.expects: case.expected})

    def _entry(self, written: Any, where: Location) -> _Entry | None:
        negate = False
        while isinstance(written, Mapping) and set(written) == {"not"}:
            negate, written = not negate, written["not"]
        name: Any = written
        value: Any = {}
        if isinstance(written, Mapping) and len(written) == 1:
            ((name, value),) = written.items()
        if not isinstance(name, str):
            hint = "write `name`, `name: value` or `name: {options}`, one scorer per '-'"
            self._problems.add(where, "not a scorer", hint)
            return None
        kind = self._kinds.get(name)
        if kind is None:
            hint = suggestion(name, sorted(self._kinds)) or "there are no scorers"
            self._problems.add(where, f"unknown scorer '{name}'", hint)
            return None
        if isinstance(value, Mapping):
            return _Entry(kind, dict(value), negate, where)
        if value is None:
            hint = f"write `{name}` alone, or its options as a mapping"
            self._problems.add(where, f"'{name}:' has no value", hint)
            return None
        if kind.shorthand is None:
            known = ", ".join(kind.options) or "none"
            self._problems.add(where, f"'{name}' takes no bare value", f"its options: {known}")
            return None
        return _Entry(kind, {kind.shorthand: value}, negate, where)

    def _reserve(self, entries: Sequence[_Entry], labels: set[str]) -> None:
        """Add the labels that people chose first, so that made-up ones give way to them."""
        for entry in entries:
            label = entry.common("name")
            if label is None:
                continue
            if not isinstance(label, str) or not label.strip() or label == "pass":
                why = "'pass' is all gating scorers together" if label == "pass" else "text"
                self._problems.add(entry.where, f"'name' cannot be {label!r}", why)
            elif label in labels:
                message = f"two scorers are named '{label}'"
                self._problems.add(entry.where, message, "each name is a metric of its own")
            else:
                labels.add(label)

    def _spec(self, entry: _Entry, inputs: AbstractSet[str], labels: set[str]) -> ScorerSpec | None:
        before = len(self._problems)
        kind = entry.kind
        self._check_options(entry, inputs)
        if kind.judged and len(self._problems) == before:
            try:
                self._context.judge_of(kind, entry.own)
            except Refused as error:
                self._problems.add(entry.where, f"'{kind.name}': {error.message}", error.hint)
        minimum, maximum = self._thresholds(entry)
        advisory = entry.common("advisory", default=False)
        if not isinstance(advisory, bool):
            self._problems.add(entry.where, f"'{kind.name}.advisory' must be true or false")
        label = entry.common("name") or _free(kind.name, labels, negate=entry.negate)
        if len(self._problems) > before:
            return None
        spec = ScorerSpec(
            kind=kind.name,
            label=label,
            options=entry.own,
            minimum=minimum,
            maximum=maximum,
            negate=entry.negate,
            advisory=advisory,
            where=entry.where,
        )
        self._check_spec(spec, kind, entry.where)
        return spec if len(self._problems) == before else None

    def _check_spec(self, spec: ScorerSpec, kind: ScorerKind, where: Location) -> None:
        lacking, hint = kind.lacks(spec), "give `min` or `max`"
        if lacking is None and not spec.advisory and (always := _always(spec, kind)) is not None:
            lacking = f"'{kind.name}' gates but can never {always}"
            hint += f": its values are {'from 0 to 1' if _top(kind) == 1 else '0 or more'}"
        if lacking is not None:
            self._problems.add(where, lacking, hint)
        templated = any(
            kind.options[name].template and any(map(is_template, strings(value)))
            for name, value in spec.options.items()
        )
        if not templated:
            for why in self.wrong_options(spec, spec.options):
                self._problems.add(where, f"'{kind.name}': {why}")

    def _thresholds(self, entry: _Entry) -> tuple[float | None, float | None]:
        """Return `min` and `max` as written; where there is neither, as the scorer's kind says."""
        limits: dict[str, float | None] = {"min": None, "max": None}
        for name in limits:
            value = entry.common(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                limits[name] = float(value)
            elif value is not None:
                self._problems.add(entry.where, f"'{entry.kind.name}.{name}' must be a number")
        low, high = limits["min"], limits["max"]
        if low is not None and high is not None and low > high:
            self._problems.add(entry.where, f"min {low:g} is above max {high:g}: nothing passes")
        if low is None and high is None:
            return entry.kind.minimum, entry.kind.maximum
        return low, high

    def _check_options(self, entry: _Entry, inputs: AbstractSet[str]) -> None:
        kind, options = entry.kind, entry.own
        for name in (name for name in options if name not in kind.options):
            message = f"'{kind.name}' has no option '{name}'"
            self._problems.add(entry.where, message, nearest(name, [*kind.options, *COMMON]))
        for name, option in kind.options.items():
            if name in options:
                self._check_option(entry, name, options[name], inputs)
            elif option.required:
                self._problems.add(entry.where, f"'{kind.name}' needs '{name}'", option.help)

    def _check_option(self, entry: _Entry, name: str, value: Any, inputs: AbstractSet[str]) -> None:
        kind, option = entry.kind, entry.kind.options[name]
        label = f"'{kind.name}.{name}'"
        if (control := control_character(value)) is not None:
            self._problems.add(entry.where, f"{label} {control[0]}", control[1])
        elif option.template and any(map(is_template, strings(value))):
            self._check_template(label, entry.where, value, {*inputs, *FACTS})
        elif (why := self._mismatch(kind, name, value)) is not None:
            self._problems.add(entry.where, f"{label} {why}", option.help)
        elif name in kind.files and isinstance(value, (str, list)):
            for path in (value,) if isinstance(value, str) else value:
                self._check_file(entry, path, is_code=kind.code and name == kind.shorthand)

    def _check_template(self, label: str, where: Location, value: Any, known: set[str]) -> None:
        for text in filter(is_template, strings(value)):
            try:
                used, _ = PLAIN.examine(text)
            except BadTemplate as error:
                self._problems.add(where, f"{label}: {error.message}", error.hint)
                continue
            for unknown in sorted(set(used) - known):
                message = f"{label} uses '{unknown}', which no case has"
                self._problems.add(where, message, suggestion(unknown, sorted(known)))

    def _mismatch(self, kind: ScorerKind, name: str, value: Any) -> str | None:
        key = (kind.name, name)
        if key not in self._types:
            self._types[key] = TypeAdapter(kind.options[name].type)
        try:
            # As JSON, where a list may become a tuple but text never becomes a number.
            self._types[key].validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            return type_mismatch(error, value)
        return None

    def _check_file(self, entry: _Entry, written: str, *, is_code: bool) -> None:
        """Check that the file is in the project; code is `path/to/file.py:function`."""
        path = written
        if is_code:
            stem, ending, function = written.partition(".py:")
            if not ending or not function.isidentifier():
                hint = "write path/to/file.py:function"
                self._problems.add(entry.where, f"{written!r} names no function", hint)
                return
            path = f"{stem}.py"
        if path not in self._files:
            try:
                self._context.source.read(path, limit=MAX_FILE)
                self._files[path] = None
            except Unreadable as error:
                self._files[path] = str(error)
        if (why := self._files[path]) is not None:
            self._problems.add(entry.where, f"'{entry.kind.name}': {why}")


def structured_fields(
    specs: Sequence[ScorerSpec], kinds: Mapping[str, ScorerKind]
) -> dict[tuple[str, ...], bool]:
    """Return the fields of a case that scorers read as values rather than as text.

    True where any JSON value is meant, False if only lists and mappings are (an id may be 17).
    """
    fields: dict[tuple[str, ...], bool] = {}
    for kind, options in ((kinds[spec.kind], spec.options) for spec in specs):
        for name in kind.structured:
            value = options.get(name)
            path = single_name(value) if isinstance(value, str) else None
            if value is True or (value is None and kind.expects == name):
                path = "expected"
            field = tuple((path or "").split("."))
            if field == ("expected",) or (field[0] == "metadata" and len(field) == 2):
                fields[field] = fields.get(field, False) or kind.options[name].type in (Any, bool)
    return fields


def _always(spec: ScorerSpec, kind: ScorerKind) -> str | None:
    """Return `fail` or `pass` if a scorer can never do that at any value; None: it can do both."""
    top = _top(kind)
    low = 0.0 if spec.minimum is None else spec.minimum
    high = inf if spec.maximum is None else spec.maximum
    if low > top or high < 0:
        return "fail" if spec.negate else "pass"
    if low <= 0 and high >= top:
        return "pass" if spec.negate else "fail"
    return None


def _top(kind: ScorerKind) -> float:
    """Return the highest value that it gives; the lowest is 0."""
    return 1.0 if kind.unit in {"pass", "fraction"} else inf


def _free(kind: str, labels: set[str], *, negate: bool) -> str:
    """Add and return the first free of `contains`, `not-contains`, `contains-2`, …"""
    base = f"not-{kind}" if negate else kind
    numbered = chain([base], (f"{base}-{number}" for number in count(2)))
    label = next(label for label in numbered if label not in labels)
    labels.add(label)
    return label
