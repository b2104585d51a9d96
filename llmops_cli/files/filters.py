"""The filters of the template language: bounded, so that no template makes much of little.

Most are Jinja's own behind a check of their arguments; those that could make long text of short
ones (`join`, `replace`, `indent`) and `default` and `tojson` are ours. `default` takes null for
missing; `tojson` writes JSON for a model, not for an HTML page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jinja2 import TemplateRuntimeError, Undefined
from jinja2.filters import FILTERS as JINJA_FILTERS

MAX_OUTPUT = 4_000_000
"""Characters that one template may write, and that one operation may touch."""
ITEM = 8
"""Characters that an item of a list or a mapping counts as."""

FILTERS = (
    *("abs", "batch", "capitalize", "count", "dictsort", "first", "float", "groupby", "int"),
    *("items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
)
"""Jinja's own that the language keeps."""


def bounded_filters() -> dict[str, Callable[..., Any]]:
    """Every filter there is, by name."""
    return {name: _bounded(JINJA_FILTERS[name]) for name in FILTERS} | {
        "default": _default,
        "d": _default,
        "indent": _indent,
        "join": _join,
        "replace": _replace,
        "tojson": _tojson,
    }


def is_number(value: Any) -> bool:
    """Numbers and booleans, which are numbers to Jinja, too."""
    return isinstance(value, (int, float))


def weight(value: Any) -> int:
    """How much text a value holds or would make, counted no further than the cap.

    Raises for what is not plain data: undefined names in a list, functions.
    """
    total = 0
    waiting = [value]
    while waiting and total <= MAX_OUTPUT:
        each = waiting.pop()
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, dict):
            total += ITEM * len(each)
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple)):
            total += ITEM * len(each)
            waiting.extend(each)
        elif each is None or is_number(each):
            total += 1
        elif not isinstance(each, Undefined):
            raise TemplateRuntimeError(f"a {type(each).__name__} is no plain data")
        else:
            str(each)  # raises, naming what is not there
    return total


def printable(value: Any) -> Any:
    """`value` if it can be written as text: never null, a function or an endless list."""
    if isinstance(value, (str, int, float, Undefined)):
        return value
    if value is None:
        raise TemplateRuntimeError("nothing to write: the value is null (use `or`, or `if`)")
    if isinstance(value, (list, dict, tuple)):
        _light(value)
        return value
    raise TemplateRuntimeError(f"a {type(value).__name__} cannot be written as text")


def _light(*values: Any) -> None:
    if sum(map(weight, values)) > MAX_OUTPUT:
        raise TemplateRuntimeError("too much text for one operation")


def _bounded(filter_: Any) -> Any:
    """Jinja's own filter, refusing arguments that could make it allocate without bound."""

    def bounded(*args: Any, **options: Any) -> Any:
        for each in (*args, *options.values()):
            if isinstance(each, (str, list, dict, tuple)):
                _light(each)
            elif isinstance(each, int) and abs(each) > MAX_OUTPUT and len(args) > 1:
                raise TemplateRuntimeError(f"{each} is too large a number for a filter")
        return filter_(*args, **options)

    vars(bounded).update(getattr(filter_, "__dict__", {}))  # keeps Jinja's @pass_environment marks
    return bounded


def _default(value: Any, other: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002
    missing = isinstance(value, Undefined) or value is None or (boolean and not value)
    return other if missing else value


def _indent(text: str, width: int = 4, first: bool = False) -> str:  # noqa: FBT001, FBT002
    if not 0 <= width <= 100:
        raise TemplateRuntimeError("indent takes 0 to 100 spaces")
    lines = str(text).splitlines(keepends=True)
    return "".join(
        " " * width + line if line.strip() and (first or position) else line
        for position, line in enumerate(lines)
    )


def _join(items: Any, separator: str = "") -> str:
    items = list(items)
    _light(items)
    if len(separator) * len(items) > MAX_OUTPUT:
        raise TemplateRuntimeError("join makes too much text")
    return str(separator).join(str(printable(each)) for each in items)


def _replace(text: str, old: str, new: str) -> str:
    text, old, new = str(text), str(old), str(new)
    if len(text) + text.count(old) * len(new) > MAX_OUTPUT:
        raise TemplateRuntimeError("replace makes too much text")
    return text.replace(old, new)


def _tojson(value: Any, indent: int | None = None) -> str:
    _light(value)
    if indent is not None and not 0 <= indent <= 8:
        raise TemplateRuntimeError("tojson takes an indent of 0 to 8")
    return json.dumps(value, indent=indent, ensure_ascii=False)
