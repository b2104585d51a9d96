"""The Jinja2 dialect of prompts: plain data in, text out, and no way to anything else.

Built on Jinja's `ImmutableSandboxedEnvironment` with strict undefined names and empty globals.
Jinja's sandbox keeps a template away from Python's objects, not from the machine's memory
(docs/security.md), so the language is made smaller by lists of what is allowed: statements that
cannot multiply text, filters and methods whose result is bounded by their input, operators with a
capped result, loops at most two deep, and a cap on what is written.

Most filters are Jinja's own behind a check of their arguments; those that could make long text of
short ones (`join`, `replace`, `indent`) and `default` and `tojson` are ours. `default` takes null
for missing; `tojson` writes JSON for a model, not for an HTML page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateRuntimeError,
    TemplateSyntaxError,
    Undefined,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.loaders import DictLoader
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from llmops_cli.core.errors import suggestion
from llmops_cli.core.literals import dump_json

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
    """Return every filter of the language by name."""
    return {name: _bounded(JINJA_FILTERS[name]) for name in FILTERS} | {
        "default": _default,
        "d": _default,
        "indent": _indent,
        "join": _join,
        "replace": _replace,
        "tojson": _tojson,
    }


def is_number(value: Any) -> bool:
    """Tell whether Jinja calculates with a value: booleans are numbers to it, too."""
    return isinstance(value, (int, float))


def weight(value: Any) -> int:
    """Return how much text a value holds or would make, counted no further than the cap.

    Raises for what is not plain data: undefined names in a list, functions.
    """
    total = 0
    waiting = [value]
    while waiting and total <= MAX_OUTPUT:
        item = waiting.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, (dict, list, tuple)):
            total += ITEM * len(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
        elif item is None or is_number(item):
            total += 1
        elif isinstance(item, Undefined):
            str(item)  # raises, naming what is not there
        else:
            raise TemplateRuntimeError(f"a {type(item).__name__} is no plain data")
    return total


def printable(value: Any) -> Any:
    """Return `value` if it can be written as text: never null, a function or an endless list."""
    if isinstance(value, (str, int, float, Undefined)):
        return value
    if value is None:
        raise TemplateRuntimeError("nothing to write: the value is null (use `or`, or `if`)")
    if isinstance(value, (list, dict, tuple)):
        _check_size(value)
        return value
    raise TemplateRuntimeError(f"a {type(value).__name__} cannot be written as text")


def _check_size(*values: Any) -> None:
    if sum(map(weight, values)) > MAX_OUTPUT:
        raise TemplateRuntimeError("too much text for one operation")


def _bounded(filter_: Any) -> Any:
    """Return Jinja's own filter, refusing arguments that could make it allocate without bound."""

    def bounded(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            if isinstance(value, (str, list, dict, tuple)):
                _check_size(value)
            elif isinstance(value, int) and abs(value) > MAX_OUTPUT and len(args) > 1:
                raise TemplateRuntimeError(f"{value} is too large a number for a filter")
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


MAX_LOOPS = 2
MAX_INCLUDES = 5
MAX_DEPTH = 60
"""Python, into which Jinja compiles, has its own limits a little further on."""

MARKERS = ("{{", "{%", "{#")
METHODS = frozenset(
    (
        *("capitalize", "casefold", "count", "endswith", "find", "get", "index", "isalpha"),
        *("isdigit", "isnumeric", "isspace", "items", "keys", "lower", "lstrip", "partition"),
        *("removeprefix", "removesuffix", "rpartition", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper", "values", "cycle"),
    )
)
"""Methods of texts, lists and mappings (and `loop.cycle`) that never make more than they got."""
REFUSED: Mapping[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter block",
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.AssignBlock: "set block",
}


class BadTemplate(Exception):
    """A template that must not be used: what is wrong, and on which of its lines."""

    def __init__(self, message: str, *, line: int = 1, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


def is_template(text: str) -> bool:
    """Tell whether there is anything to render: static text is never touched."""
    return "{" in text and any(marker in text for marker in MARKERS)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a template uses: names and included paths, each with its line."""

    names: Mapping[str, int] = field(default_factory=dict)
    includes: Mapping[str, int] = field(default_factory=dict)


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment per prompt; `includes` is all that `{% include %}` can reach."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, includes: Mapping[str, str] | None = None) -> None:
        super().__init__(
            loader=DictLoader(includes or {}),
            undefined=StrictUndefined,
            finalize=printable,
            keep_trailing_newline=True,
            optimized=False,  # constants are computed when rendering, under the same limits
            autoescape=False,  # prompts are text, not HTML
        )
        self.globals.clear()
        self.filters = bounded_filters()

    def examine(self, source: str) -> Examined:
        """Parse `source` and check it against the dialect. Raises `BadTemplate`."""
        try:
            tree = self.parse(source)
            self._check(tree, loops=0, depth=0)
            names = meta.find_undeclared_variables(tree)
        except TemplateSyntaxError as error:
            raise BadTemplate(error.message or "not a template", line=error.lineno) from None
        except RecursionError:
            raise BadTemplate("nested too deeply") from None
        lines: dict[str, int] = {}
        for name in tree.find_all(nodes.Name):
            if name.name in names:
                lines.setdefault(name.name, name.lineno)
        return Examined(lines, dict(_included(tree)))

    def compiled(self, source: str) -> Template:
        """Return the template of `source`, examined and compiled. Raises `BadTemplate`."""
        self.examine(source)
        try:
            return self.from_string(source)
        except (RecursionError, SyntaxError, MemoryError):
            # Python's compiler has limits of its own, and these are its ways to say so.
            raise BadTemplate("nested too deeply") from None

    def write(self, template: Template, values: Mapping[str, Any]) -> str:
        """Render a compiled template over plain data. Raises `BadTemplate`."""
        pieces: list[str] = []
        written = 0
        try:
            for piece in template.generate(values):
                pieces.append(piece)
                written += len(piece)
                if written > MAX_OUTPUT:
                    raise BadTemplate(f"more than {MAX_OUTPUT:,} characters of text")
        except RENDERING as error:
            raise BadTemplate(str(error)) from error
        return "".join(pieces)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not self.is_safe_callable(obj):
            name = getattr(obj, "__name__", type(obj).__name__)
            raise SecurityError(f"calling '{name}' is not part of the template language")
        return super().call(context, obj, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        return isinstance(owner, (str, list, dict, LoopContext)) and obj.__name__ in METHODS

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            if not is_number(left) and weight(left) + weight(right) > MAX_OUTPUT:
                raise TemplateRuntimeError("'+' makes too much text")
        elif operator == "**" or not (is_number(left) and is_number(right)):
            raise TemplateRuntimeError(f"'{operator}' is for numbers only, and '**' for none")
        elif operator == "*" and abs(left * right) > 2**53:
            raise TemplateRuntimeError("'*' makes too large a number")
        return super().call_binop(context, operator, left, right)

    def _generate(self, source: nodes.Template, *rest: Any, **more: Any) -> str:
        return super()._generate(_Concatenation().visit(source), *rest, **more)

    def _check(self, node: nodes.Node, *, loops: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise BadTemplate("nested too deeply", line=node.lineno)
        refused = REFUSED.get(type(node))
        if refused is not None or (isinstance(node, nodes.For) and node.recursive):
            what = refused or "recursive loop"
            raise BadTemplate(f"a {what} is not part of the template language", line=node.lineno)
        if isinstance(node, nodes.Concat) and len(node.nodes) > MAX_DEPTH:
            raise BadTemplate("too many '~' in one expression", line=node.lineno)
        if isinstance(node, nodes.For):
            loops += 1
        if loops > MAX_LOOPS:
            raise BadTemplate(f"loops more than {MAX_LOOPS} deep", line=node.lineno)
        if isinstance(node, nodes.Filter) and node.name not in self.filters:
            raise _unknown("filter", node.name, self.filters, node.lineno)
        if isinstance(node, nodes.Test) and node.name not in self.tests:
            raise _unknown("test", node.name, self.tests, node.lineno)
        if isinstance(node, nodes.Include) and loops:
            raise BadTemplate("an include inside a loop", line=node.lineno)
        for child in node.iter_child_nodes():
            self._check(child, loops=loops, depth=depth + 1)


RENDERING = (TemplateRuntimeError, ArithmeticError, TypeError, ValueError, LookupError)
"""What a template can raise over plain data; all of it is the template's fault."""


class _Concatenation(NodeTransformer):
    """Turns `a ~ b` into `a|string + b|string`, so that its result is capped like any `+`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        first, *rest = (
            nodes.Filter(part, "string", [], [], None, None, lineno=node.lineno)
            for part in node.nodes
        )
        joined: nodes.Expr = first
        for part in rest:
            joined = nodes.Add(joined, part, lineno=node.lineno)
        return joined


def _included(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    for include in tree.find_all(nodes.Include):
        target = include.template
        if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
            raise BadTemplate(
                "an include whose name is computed", line=include.lineno, hint="write the path out"
            )
        if include.ignore_missing:
            raise BadTemplate("an include that may be missing", line=include.lineno)
        yield target.value, include.lineno


def _unknown(what: str, name: str, known: Mapping[str, Any], line: int) -> BadTemplate:
    return BadTemplate(f"unknown {what} '{name}'", line=line, hint=suggestion(name, sorted(known)))
