"""What a template may call: filters, tests and methods, whose results are bounded by their input.

Most filters and all tests are Jinja's own behind a check of their arguments: what compares, hashes
or writes a list takes time in the size of its tree. Those that could make long text of short ones
are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import TemplateRuntimeError, Undefined
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.tests import TESTS as JINJA_TESTS

from llmops_cli.core.limits import ITEM
from llmops_cli.core.limits import weight as weight_of
from llmops_cli.core.literals import dump_json

MAX_OUTPUT = 4_000_000
"""Characters that one template may write, and that one operation may touch."""
MAX_COUNT = 1_000
"""The largest number of `COUNTS`."""
COUNTS = {"batch": (1, "linecount"), "round": (1, "precision"), "slice": (2, "slices")}
"""Filters that make as many items or digits as they are told, and the name of that argument."""
NUMERIC = frozenset({"divisibleby", "even", "odd", "round"})
"""What multiplies a list, or takes a text for a format of `%`."""

PLAIN_FILTERS = (
    *("abs", "batch", "capitalize", "count", "dictsort", "first", "float", "groupby", "int"),
    *("items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
)
"""Jinja's own that the language keeps."""


def is_number(value: Any) -> bool:
    """Tell whether Jinja calculates with a value: booleans are numbers to it, too."""
    return isinstance(value, (int, float))


def weight(value: Any) -> int:
    """Return how much text a value holds or would make, counted no further than the cap.

    Raises for what is not plain data: undefined names in a list, functions.
    """
    return weight_of(value, MAX_OUTPUT, _not_plain)


def _not_plain(value: object) -> int:
    if isinstance(value, Undefined):
        str(value)  # raises, naming what is not there
    raise TemplateRuntimeError(f"a {type(value).__name__} is no plain data")


def printable(value: Any) -> Any:
    """Return `value` if it can be written as text: never null, a function or an endless list."""
    if value is None:
        raise TemplateRuntimeError("nothing to write: the value is null (use `or`, or `if`)")
    if isinstance(value, (list, dict, tuple)):
        _check_size(value)
    elif not isinstance(value, (str, int, float, Undefined)):
        raise TemplateRuntimeError(f"a {type(value).__name__} cannot be written as text")
    return value


def _check_size(*values: Any) -> None:
    if sum(map(weight, values)) > MAX_OUTPUT:
        raise TemplateRuntimeError("too much text for one operation")


def checked(value: Any) -> Any:
    """Return `value` if it is small enough to be compared."""
    if isinstance(value, (str, list, dict, tuple)):
        _check_size(value)
    return value


def checked_key(value: Any) -> Any:
    """Return `value` if it can be a key; hashing a tuple takes time in the size of its tree."""
    if isinstance(value, tuple):
        raise TemplateRuntimeError("a list is no key")
    return value


def _bounded(name: str, function: Any) -> Any:
    """Return Jinja's own filter or test, with a check of its arguments and of what it yields."""

    def bounded(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            checked(value)
        _check_numbers(name, args, options)
        try:
            result = function(*args, **options)
        except (
            AttributeError,
            AssertionError,
        ) as error:  # Jinja's own, for a value of no use to it
            raise TemplateRuntimeError(f"'{name}': {error}") from error
        return _counted(result) if isinstance(result, Iterator) else result

    vars(bounded).update(getattr(function, "__dict__", {}))  # keeps Jinja's @pass_environment marks
    return bounded


def _check_numbers(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """Refuse texts and lists that Python would multiply, format or add up, and large counts."""
    if name in NUMERIC and not is_number(args[0]):
        raise TemplateRuntimeError(f"'{name}' is for numbers only")
    if name == "sum" and not is_number(args[3] if len(args) > 3 else options.get("start", 0)):
        raise TemplateRuntimeError("'sum' is for numbers only")
    if name in COUNTS:
        at, option = COUNTS[name]  # Jinja gives `slice` its environment first
        count: Any = args[at] if len(args) > at else options.get(option)
        if is_number(count) and abs(count) > MAX_COUNT:
            raise TemplateRuntimeError(f"{count} is too large a number for '{name}'")


def _counted(items: Iterator[Any]) -> Iterator[Any]:
    total = 0
    for item in items:
        total += ITEM if isinstance(item, Undefined) else ITEM + weight(item)
        if total > MAX_OUTPUT:
            raise TemplateRuntimeError("too much text for one operation")
        yield item


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
    _check_size(items)
    if len(separator) * len(items) > MAX_OUTPUT:
        raise TemplateRuntimeError("join makes too much text")
    return str(separator).join(str(printable(item)) for item in items)


def _replace(text: str, old: str, new: str) -> str:
    text, old, new = str(text), str(old), str(new)
    if len(text) + text.count(old) * len(new) > MAX_OUTPUT:
        raise TemplateRuntimeError("replace makes too much text")
    return text.replace(old, new)


def _tojson(value: Any, indent: int | None = None) -> str:
    _check_size(value)
    if indent is not None and not 0 <= indent <= 8:
        raise TemplateRuntimeError("tojson takes an indent of 0 to 8")
    return dump_json(value, indent=indent)


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _bounded(name, JINJA_FILTERS[name]) for name in PLAIN_FILTERS},
    "default": _default,
    "d": _default,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "tojson": _tojson,
}
"""Every filter of the language."""
TESTS: Mapping[str, Callable[..., Any]] = {
    name: _bounded(name, test) for name, test in JINJA_TESTS.items()
}
METHODS = frozenset(
    (
        *("capitalize", "casefold", "count", "endswith", "find", "get", "index", "isalpha"),
        *("isdigit", "isnumeric", "isspace", "items", "keys", "lower", "lstrip", "partition"),
        *("removeprefix", "removesuffix", "rpartition", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper", "values", "cycle"),
    )
)
"""Methods of texts, lists and mappings (and `loop.cycle`) that never make more than they got."""
