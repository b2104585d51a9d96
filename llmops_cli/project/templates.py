"""The Jinja2 dialect of prompts: plain data in, text out, and no way to anything else.

Built on Jinja's `ImmutableSandboxedEnvironment` with strict undefined names and empty globals.
Jinja's sandbox keeps a template away from Python's objects, not from the machine's memory
(docs/security.md), so the language is made smaller by lists of what is allowed: statements that
cannot multiply text, filters and methods whose result is bounded by their input, operators with a
capped result, comparisons of small values, loops at most two deep, and a cap on what is written and
on the time it takes.

Each `content` of a prompt is rendered on its own and never parsed again for roles, so nothing in
an input can open a turn of its own. Text without template marks is not rendered at all: a prompt
with hundreds of few-shot turns costs as much as its one turn that changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias, TypeVar

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
from jinja2.loaders import DictLoader
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.limits import DeadlineExceeded, limited
from llmops_cli.core.ports import Catalog, ScorerKind
from llmops_cli.core.prompt import Case, Message, Prompt, ScorerSpec, Target
from llmops_cli.project.inputs import default_of
from llmops_cli.project.template_filters import (
    FILTERS,
    MAX_OUTPUT,
    METHODS,
    TESTS,
    checked,
    checked_key,
    is_number,
    printable,
    weight,
)

T = TypeVar("T")

COMPARED, KEY = "compared value", "key of a mapping"
"""Filters that no template can name in its text."""
MAX_LOOPS = 2
MAX_INCLUDES = 5
MAX_DEPTH = 60
"""Python, into which Jinja compiles, has its own limits a little further on."""

MARKERS = ("{{", "{%", "{#")
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
        self.filters = {**FILTERS, COMPARED: checked, KEY: checked_key}
        self.tests = {**TESTS}

    def examine(self, source: str) -> tuple[dict[str, int], dict[str, int]]:
        """Check `source` against the dialect; return the names and the included paths that it
        uses, each with its line. Raises `BadTemplate`.
        """
        try:
            tree, names = limited(partial(self._parsed, source))
        except TemplateSyntaxError as error:
            hint = "text with {{, {% or {# that is no template stands in {% raw %}…{% endraw %}"
            message = error.message or "not a template"
            raise BadTemplate(message, line=error.lineno, hint=hint) from None
        except RecursionError:
            raise BadTemplate("nested too deeply") from None
        except DeadlineExceeded as error:
            raise BadTemplate(str(error)) from None
        lines: dict[str, int] = {}
        for name in tree.find_all(nodes.Name):
            if name.name in names:
                lines.setdefault(name.name, name.lineno)
        includes = tree.find_all(nodes.Include)
        return lines, {include.template.as_const(): include.lineno for include in includes}

    def _parsed(self, source: str) -> tuple[nodes.Template, set[str]]:
        tree = self.parse(source)
        self._check(tree, loops=0, depth=0)
        return tree, meta.find_undeclared_variables(tree)

    def compiled(self, source: str) -> Template:
        """Return the template of `source`, examined and compiled. Raises `BadTemplate`."""

        def examined() -> Template:
            self.examine(source)
            return self.from_string(source)

        try:
            return limited(examined)
        except (RecursionError, SyntaxError, MemoryError):
            # Python's compiler has limits of its own, and these are its ways to say so.
            raise BadTemplate("nested too deeply") from None
        except DeadlineExceeded as error:
            raise BadTemplate(str(error)) from None

    def write(self, template: Template, values: Mapping[str, Any]) -> str:
        """Render a compiled template over plain data. Raises `BadTemplate`."""
        pieces: list[str] = []

        def generate() -> None:
            written = 0
            for piece in template.generate(values):
                pieces.append(piece)
                written += len(piece)
                if written > MAX_OUTPUT:
                    raise BadTemplate(f"more than {MAX_OUTPUT:,} characters of text")

        _rendered(generate)
        return "".join(pieces)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return super().getitem(obj, checked_key(argument))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not self.is_safe_callable(obj):
            name = getattr(obj, "__name__", type(obj).__name__)
            raise SecurityError(f"calling '{name}' is not part of the template language")
        for value in (obj.__self__, *args, *kwargs.values()):  # `count` compares, and `get` hashes
            checked(checked_key(value))
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
        return super()._generate(_Checked().visit(source), *rest, **more)

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
RENDERING = (
    *(TemplateRuntimeError, ArithmeticError, TypeError, ValueError, LookupError),
    *(RecursionError, MemoryError, DeadlineExceeded),
)
"""What a template can raise over plain data; all of it is the template's fault."""


def _rendered(render: Callable[[], T]) -> T:
    """Return `render()`, whose time is limited. Raises `BadTemplate`."""
    try:
        return limited(render)
    except RENDERING as error:
        raise BadTemplate(str(error) or "too large") from error


class _Checked(NodeTransformer):
    """Puts checks where Jinja compiles to Python's own operators.

    `a ~ b` becomes `a|string + b|string`, so that its result is capped like any `+`.
    """

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        texts: Iterator[nodes.Expr] = (_filtered(part, "string") for part in node.nodes)
        return reduce(lambda left, right: nodes.Add(left, right, lineno=node.lineno), texts)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        node.expr = _filtered(node.expr, COMPARED)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, COMPARED)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        node.key = _filtered(node.key, KEY)
        return node


def _filtered(value: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


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
        result = _rendered(partial(compute, values))
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
