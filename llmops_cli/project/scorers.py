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
    is_templated,
    single_name,
    strings,
)

COMMON = ("name", "min", "max", "advisory")
"""Options that every scorer takes; where a kind has one of that name, its own is meant."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line under `scorers:` with its form taken apart."""

    kind: ScorerKind
    own: dict[str, Any]
    """The options of the scorer itself, defaults included."""
    common: dict[str, Any]
    """The options that every scorer takes."""
    negate: bool
    where: Location
    problems: Problems

    def wrong(self, message: str, hint: str | None = None) -> None:
        self.problems.add(self.where, message, hint)


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
                entry.wrong(message, "give it to the evalset, not to a case")
        for entry in parsed:  # the labels that people chose first: made-up ones give way to them
            _reserve(entry, labels)
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
        if not has_value and not is_templated(dict(spec.options)):
            yield from self.wrong_options(spec, {**spec.options, kind.expects: case.expected})

    def _entry(self, written: Any, where: Location) -> _Entry | None:
        negate = False
        while isinstance(written, Mapping) and set(written) == {"not"}:
            negate, written = not negate, written["not"]
        name: Any = written
        value: Any = {}
        if isinstance(written, Mapping) and len(written) == 1:
            ((name, value),) = written.items()
        kind = self._kinds.get(name) if isinstance(name, str) else None
        hint: str | None
        if not isinstance(name, str):
            message = "not a scorer"
            hint = "write `name`, `name: value` or `name: {options}`, one scorer per '-'"
        elif kind is None:
            message = f"unknown scorer '{name}'"
            hint = suggestion(name, sorted(self._kinds)) or "there are no scorers"
        elif value is None:
            message = f"'{name}:' has no value"
            hint = f"write `{name}` alone, or its options as a mapping"
        elif not isinstance(value, Mapping) and kind.shorthand is None:
            message = f"'{name}' takes no bare value"
            hint = f"its options: {', '.join(kind.options) or 'none'}"
        else:
            options = value if isinstance(value, Mapping) else {str(kind.shorthand): value}
            common = {key: options[key] for key in COMMON if key in options.keys() - kind.options}
            own = {key: option.default for key, option in kind.options.items()}
            own = {key: default for key, default in own.items() if default is not None}
            own |= {key: option for key, option in options.items() if key not in common}
            return _Entry(kind, own, common, negate, where, self._problems)
        self._problems.add(where, message, hint)
        return None

    def _spec(self, entry: _Entry, inputs: AbstractSet[str], labels: set[str]) -> ScorerSpec | None:
        before = len(self._problems)
        kind = entry.kind
        self._check_options(entry, inputs)
        if kind.judged and len(self._problems) == before:
            try:
                self._context.judge_of(kind, entry.own)
            except Refused as error:
                entry.wrong(f"'{kind.name}': {error.message}", error.hint)
        minimum, maximum = _thresholds(entry)
        advisory = entry.common.get("advisory", False)
        if not isinstance(advisory, bool):
            entry.wrong(f"'{kind.name}.advisory' must be true or false")
        label = entry.common.get("name") or _free(kind.name, labels, negate=entry.negate)
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
        lacking, hint = kind.lacks(spec), "give `min` or `max`"
        if lacking is None and not advisory and (always := _always(spec, kind)) is not None:
            lacking = f"'{kind.name}' gates but can never {always}"
            hint += f": its values are {'from 0 to 1' if _top(kind) == 1 else '0 or more'}"
        if lacking is not None:
            entry.wrong(lacking, hint)
        if not any(
            kind.options[key].template and is_templated(entry.own[key]) for key in entry.own
        ):
            for why in self.wrong_options(spec, entry.own):
                entry.wrong(f"'{kind.name}': {why}")
        return spec if len(self._problems) == before else None

    def _check_options(self, entry: _Entry, inputs: AbstractSet[str]) -> None:
        kind, options = entry.kind, entry.own
        for name in (name for name in options if name not in kind.options):
            hint = nearest(name, [*kind.options, *COMMON])
            entry.wrong(f"'{kind.name}' has no option '{name}'", hint)
        for name, option in kind.options.items():
            if name in options:
                self._check_option(entry, name, options[name], {*inputs, *FACTS})
            elif option.required:
                entry.wrong(f"'{kind.name}' needs '{name}'", option.help)

    def _check_option(self, entry: _Entry, name: str, value: Any, known: set[str]) -> None:
        kind, option = entry.kind, entry.kind.options[name]
        label = f"'{kind.name}.{name}'"
        if (control := control_character(value)) is not None:
            entry.wrong(f"{label} {control[0]}", control[1])
        elif option.template and is_templated(value):
            for text in filter(is_template, strings(value)):
                try:
                    names, _ = PLAIN.examine(text)
                except BadTemplate as error:
                    entry.wrong(f"{label}: {error.message}", error.hint)
                    continue
                for unknown in sorted(names.keys() - known):
                    message = f"{label} uses '{unknown}', which no case has"
                    entry.wrong(message, suggestion(unknown, sorted(known)))
        elif (why := self._mismatch(kind, name, value)) is not None:
            entry.wrong(f"{label} {why}", option.help)
        elif name in kind.files and isinstance(value, (str, list)):
            for path in (value,) if isinstance(value, str) else value:
                self._check_file(entry, path, is_code=kind.code and name == kind.shorthand)

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

    def _check_file(self, entry: _Entry, path: str, *, is_code: bool) -> None:
        """Check that the file is in the project; code is `path/to/file.py:function`."""
        if is_code:
            stem, ending, function = path.partition(".py:")
            if not ending or not function.isidentifier():
                entry.wrong(f"{path!r} names no function", "write path/to/file.py:function")
                return
            path = f"{stem}.py"
        if path not in self._files:
            try:
                self._context.source.read(path, limit=MAX_FILE)
                self._files[path] = None
            except Unreadable as error:
                self._files[path] = str(error)
        if (why := self._files[path]) is not None:
            entry.wrong(f"'{entry.kind.name}': {why}")


def _reserve(entry: _Entry, labels: set[str]) -> None:
    label = entry.common.get("name")
    if label is None:
        return
    if not isinstance(label, str) or not label.strip() or label == "pass":
        why = "'pass' is all gating scorers together" if label == "pass" else "text"
        entry.wrong(f"'name' cannot be {label!r}", why)
        del entry.common["name"]  # it is no label to compare with others
    elif label in labels:
        entry.wrong(f"two scorers are named '{label}'", "each name is a metric of its own")
    else:
        labels.add(label)


def _thresholds(entry: _Entry) -> tuple[float | None, float | None]:
    """Return `min` and `max` as written; where there is neither, as the scorer's kind says."""
    limits: dict[str, float | None] = {"min": None, "max": None}
    for name in limits:
        value = entry.common.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            limits[name] = float(value)
        elif value is not None:
            entry.wrong(f"'{entry.kind.name}.{name}' must be a number")
    low, high = limits.values()
    if low is None and high is None:
        return entry.kind.minimum, entry.kind.maximum
    if low is not None and high is not None and low > high:
        entry.wrong(f"min {low:g} is above max {high:g}: nothing passes")
    return low, high


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
    least = 0.0 if kind.unit not in {"seconds", "tokens"} else 1e-9  # every call takes some
    if low > top or high < least:
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
