"""The Jinja2 dialect of prompts: plain data in, text out, and no way to anything else.

Built on Jinja's `ImmutableSandboxedEnvironment` with strict undefined names and empty globals.
Jinja's sandbox keeps a template away from Python's objects, not from the machine's memory
(docs/security.md), so the language is made smaller by lists of what is allowed: statements that
cannot multiply text, filters and methods whose result is bounded by their input, operators with a
capped result, loops at most two deep, and a cap on what is written. Most filters are Jinja's own
behind a check of their arguments; those that could make long text of short ones are ours.

Each `content` of a prompt is rendered on its own and never parsed again for roles, so nothing in
an input can open a turn of its own. Text without template marks is not rendered at all: a prompt
with hundreds of few-shot turns costs as much as its one turn that changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, TypeAlias

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

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.literals import dump_json
from llmops_cli.core.ports import Catalog, ScorerKind
from llmops_cli.core.prompt import Case, Message, Prompt, ScorerSpec, Target
from llmops_cli.project.inputs import default_of

MAX_OUTPUT = 4_000_000
"""Characters that one template may write, and that one operation may touch."""
ITEM = 8
"""Characters that an item of a list or a mapping counts as."""

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


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _bounded(JINJA_FILTERS[name]) for name in PLAIN_FILTERS},
    "default": _default,
    "d": _default,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "tojson": _tojson,
}
"""Every filter of the language."""
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
        self.filters = {**FILTERS}

    def examine(self, source: str) -> tuple[dict[str, int], dict[str, int]]:
        """Check `source` against the dialect; return the names and the included paths that it
        uses, each with its line. Raises `BadTemplate`.
        """
        try:
            tree = self.parse(source)
            self._check(tree, loops=0, depth=0)
            names = meta.find_undeclared_variables(tree)
        except TemplateSyntaxError as error:
            hint = "text with {{, {% or {# that is no template stands in {% raw %}…{% endraw %}"
            message = error.message or "not a template"
            raise BadTemplate(message, line=error.lineno, hint=hint) from None
        except RecursionError:
            raise BadTemplate("nested too deeply") from None
        lines: dict[str, int] = {}
        for name in tree.find_all(nodes.Name):
            if name.name in names:
                lines.setdefault(name.name, name.lineno)
        includes = tree.find_all(nodes.Include)
        return lines, {include.template.as_const(): include.lineno for include in includes}

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
        if isinstance(node, nodes.Include):
            _check_include(node, loops)
        for child in node.iter_child_nodes():
            self._check(child, loops=loops, depth=depth + 1)


PLAIN = Sandbox()
"""The environment of templates that include nothing."""
RENDERING = (TemplateRuntimeError, ArithmeticError, TypeError, ValueError, LookupError)
"""What a template can raise over plain data; all of it is the template's fault."""


class _Concatenation(NodeTransformer):
    """Turns `a ~ b` into `a|string + b|string`, so that its result is capped like any `+`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        line = node.lineno
        texts: Iterator[nodes.Expr] = (
            nodes.Filter(part, "string", [], [], None, None, lineno=line) for part in node.nodes
        )
        return reduce(lambda left, right: nodes.Add(left, right, lineno=line), texts)


def _check_include(include: nodes.Include, loops: int) -> None:
    path, line = include.template, include.lineno
    if loops:
        raise BadTemplate("an include inside a loop", line=line)
    if not isinstance(path, nodes.Const) or not isinstance(path.value, str):
        raise BadTemplate("an include whose name is computed", line=line, hint="write the path out")
    if include.ignore_missing:
        raise BadTemplate("an include that may be missing", line=line)


def _unknown(what: str, name: str, known: Mapping[str, Any], line: int) -> BadTemplate:
    return BadTemplate(f"unknown {what} '{name}'", line=line, hint=suggestion(name, sorted(known)))


FACTS = ("inputs", "expected", "contexts", "metadata")
"""Names that scorers' templates may use beside the inputs' own; they win where both exist."""

Values: TypeAlias = dict[str, Any]
Render: TypeAlias = Callable[[Values], Any]

NAME = re.compile(r"\{\{-?\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*-?\}\}")
CONSTANTS = frozenset({"true", "false", "none", "True", "False", "None", "not", "self", "loop"})


class Templates:
    """A prompt's messages, compiled once and rendered for many cases. Raises `InvalidFiles`."""

    def __init__(self, prompt: Prompt) -> None:
        self._where = Location(path=prompt.path)
        self._sandbox = Sandbox(prompt.includes)
        self._turns = list(prompt.messages)
        self._changing: list[tuple[int, Render]] = []
        for position, message in enumerate(prompt.messages):
            if is_templated(message.content):
                try:
                    render = _compiled(self._sandbox, message.content, native=False)
                except BadTemplate as error:
                    raise _unrenderable(self._where, f"message {position + 1}", error) from error
                self._changing.append((position, render))
        self._defaults: Values = {
            name: default_of(schema)
            for name, schema in prompt.inputs.items()
            if "default" in schema or schema.get("required") is False
        }
        users = [at for at, message in enumerate(prompt.messages) if message.role == "user"]
        self._history_at = users[-1] if users else len(self._turns)

    def messages(self, case: Case) -> tuple[Message, ...]:
        """Return the turns to send: the prompt's, with the case's earlier turns before the last.

        An optional input that the case leaves out is null, or its declared default. Raises
        `InvalidFiles`, naming prompt, turn and case, for whatever a template cannot do.
        """
        values = self.inputs(case)
        values.setdefault("inputs", values.copy())
        turns = self._turns.copy()
        for position, render in self._changing:
            role = turns[position].role
            try:
                turns[position] = Message(role=role, content=render(values))
            except BadTemplate as error:
                what = f"message {position + 1} ({role}) for the case {case.id!r}"
                raise _unrenderable(self._where, what, error, values) from error
        if case.messages:
            turns[self._history_at : self._history_at] = case.messages
        return tuple(turns)

    def inputs(self, case: Case) -> Values:
        """Return the inputs of `case`, with null or its default for each that it leaves out."""
        return {**self._defaults, **case.inputs}


class Documents:
    """The document that an application receives for a case: JSON with the rendered messages.

    Without a template it is `{"inputs": …, "messages": …, "parameters": …}`. The strings of a
    template may use the inputs by name, and these three; one that is a single expression keeps
    its value's type. What is expected of the answer is not among them.
    """

    def __init__(self, target: Target, template: Json = None) -> None:
        """Raises `InvalidFiles` if `template` is not of the dialect."""
        self._target = target
        self._templates = Templates(target.prompt)
        self._where = target.model.where or Location(path=target.prompt.path)
        try:
            self._render = _compiled(PLAIN, template or _WHOLE, native=True, null=True)
        except BadTemplate as error:
            raise _unrenderable(self._where, None, error) from error

    def document(self, case: Case, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the document for `case`, whose messages are rendered. Raises `InvalidFiles`."""
        inputs = self._templates.inputs(case)
        values = {
            **inputs,
            "inputs": inputs,
            "messages": [message.plain() for message in messages],
            "parameters": self._target.parameters,
        }
        try:
            document: dict[str, Any] = self._render(values)
        except BadTemplate as error:
            what = f"`request` of {self._target.model.name!r} for the case {case.id!r}"
            raise _unrenderable(self._where, what, error, values) from error
        return document


def documents_of(target: Target, catalog: Catalog) -> Documents | None:
    """Return the function that makes the document of a case, if `target` is an application."""
    if not catalog.providers[target.model.provider].application:
        return None
    return Documents(target, target.model.options.get("request"))


_WHOLE = {name: f"{{{{ {name} }}}}" for name in ("inputs", "messages", "parameters")}


class Options:
    """A scorer's options, compiled once; a string that is one expression keeps its value's type."""

    def __init__(self, spec: ScorerSpec, kind: ScorerKind | None = None) -> None:
        self._spec = spec
        options = kind.options if kind else {}
        self.changing: dict[str, Render] = {
            name: _compiled(PLAIN, value, native=True)
            for name, value in spec.options.items()
            if (name not in options or options[name].template) and is_templated(value)
        }
        """The options that differ from case to case."""

    def render(self, case: Case) -> dict[str, Any]:
        """Return the options for a case. Raises `InvalidFiles` if one cannot be rendered."""
        rendered = dict(self._spec.options)
        if not self.changing:
            return rendered
        inputs = dict(case.inputs)
        values = {
            **inputs,
            "inputs": inputs,
            "expected": case.expected,
            "contexts": list(case.contexts),
            "metadata": dict(case.metadata),
        }
        for name, render in self.changing.items():
            try:
                rendered[name] = render(values)
            except BadTemplate as error:
                where = case.where or self._spec.where or Location(path="")
                what = f"case {case.id!r}: {self._spec.label}.{name}"
                raise _unrenderable(where, what, error, values) from error
        return rendered


def single_name(text: str) -> str | None:
    """Return the dotted name in a text that is nothing but `{{ name }}`; None for any other."""
    match = NAME.fullmatch(text.strip())
    return match[1] if match and match[1] not in CONSTANTS else None


def strings(value: Any) -> list[str]:
    """Return every text in a plain value, keys left out: where templates may stand."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return []
    return [text for item in value for text in strings(item)]


def is_templated(value: Any) -> bool:
    """Tell whether any text in a plain value is to be rendered."""
    return any(map(is_template, strings(value)))


def _unrenderable(
    where: Location, what: str | None, error: BadTemplate, values: Values | None = None
) -> InvalidFiles:
    """Return the exception for a template that cannot be rendered, with the nearest known name."""
    unknown = re.match(r"'(\w+)' is undefined", error.message)
    hint = suggestion(unknown[1], sorted(values)) if unknown and values else error.hint
    message = f"{what}: {error.message}" if what else error.message
    return InvalidFiles([Problem(where=where, message=message, hint=hint)])


def _compiled(sandbox: Sandbox, value: Any, *, native: bool, null: bool = False) -> Render:
    """Return a function from values to `value` with every template in it rendered.

    `native`: a string that is one expression keeps its value's type; `null`: even that of nothing.
    """
    if isinstance(value, str):
        if not is_template(value):
            return lambda _: value
        if native and (render := _expression(sandbox, value, null=null)) is not None:
            return render
        template = sandbox.compiled(value)
        return lambda values: sandbox.write(template, values)
    if isinstance(value, Mapping):
        fields = {
            key: _compiled(sandbox, inner, native=native, null=null) for key, inner in value.items()
        }
        return lambda values: {key: render(values) for key, render in fields.items()}
    if isinstance(value, (list, tuple)):
        items = [_compiled(sandbox, item, native=native, null=null) for item in value]
        made = type(value)
        return lambda values: made(render(values) for render in items)
    return lambda _: value


def _expression(sandbox: Sandbox, source: str, *, null: bool) -> Render | None:
    """Return a function to the value of a source that is one `{{ expression }}`, else None."""
    text = source.strip()
    if (name := single_name(text)) is not None:
        return _looked_up(name, null=null)
    body = sandbox.parse(text).body
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
        return None
    if isinstance(body[0].nodes[0], nodes.TemplateData):
        return None
    sandbox.examine(text)
    inner = text[2:-2].removeprefix("-").removesuffix("-")
    compute = sandbox.compile_expression(inner, undefined_to_none=False)

    def value(values: Values) -> Any:
        try:
            result = compute(values)
        except RENDERING as error:
            raise BadTemplate(str(error)) from error
        if isinstance(result, Undefined):
            raise BadTemplate(f"{inner.strip()} is undefined")
        return result if null else _present(result, inner.strip())

    return value


def _looked_up(path: str, *, null: bool) -> Render:
    """Return a function to `a.b` without a template engine: by far the most common expression."""
    first, *rest = path.split(".")

    def value(values: Values) -> Any:
        if first not in values:
            raise BadTemplate(f"'{first}' is undefined")
        inner = values[first]
        for step in rest:
            if not isinstance(inner, Mapping) or step not in inner:
                raise BadTemplate(f"'{path}' is undefined: there is no '{step}'")
            inner = inner[step]
        return inner if null else _present(inner, path)

    return value


def _present(value: Any, what: str) -> Any:
    if value is None:
        raise BadTemplate(f"the case has no value for '{what}'")
    return value
