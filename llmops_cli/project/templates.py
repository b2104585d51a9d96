"""Renders prompts' messages, scorers' options and applications' documents for a case.

Each `content` is rendered on its own and never parsed again for roles, so nothing in an input can
open a turn of its own. Text without template marks is not rendered at all: a prompt with hundreds
of few-shot turns costs as much as its one turn that changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from jinja2 import Undefined, nodes

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.ports import Catalog, ScorerKind
from llmops_cli.core.prompt import Case, Message, Prompt, ScorerSpec, Target
from llmops_cli.project.inputs import default_of
from llmops_cli.project.sandbox import RENDERING, BadTemplate, Sandbox, is_template

FACTS = ("inputs", "expected", "contexts", "metadata")
"""Names that scorers' templates may use beside the inputs' own; they win where both exist."""

Values: TypeAlias = dict[str, Any]
Render: TypeAlias = Callable[[Values], Any]

NAME = re.compile(r"\{\{-?\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*-?\}\}")
CONSTANTS = frozenset({"true", "false", "none", "True", "False", "None", "not", "self", "loop"})


class Templates:
    """A prompt's messages, compiled once and rendered for many cases.

    Raises `InvalidFiles` if a message is no template of the dialect.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._where = Location(path=prompt.path)
        self._sandbox = Sandbox(prompt.includes)
        self._turns = list(prompt.messages)
        self._changing = [
            (position, self._renderer(position, message.content))
            for position, message in enumerate(prompt.messages)
            if _changes(message.content)
        ]
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
                content = render(values)
            except BadTemplate as error:
                what = f"message {position + 1} ({role}) for the case {case.id!r}"
                raise _unrenderable(self._where, what, error, values) from error
            turns[position] = Message(role=role, content=content)
        if case.messages:
            turns[self._history_at : self._history_at] = case.messages
        return tuple(turns)

    def inputs(self, case: Case) -> Values:
        """Return the inputs of `case`, with null or its default for each that it leaves out."""
        return {**self._defaults, **case.inputs}

    def _renderer(self, position: int, content: Any) -> Render:
        try:
            return _compiled(self._sandbox, content, native=False)
        except BadTemplate as error:
            raise _unrenderable(self._where, f"message {position + 1}", error) from error


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
            self._render = _compiled(Sandbox(), template or _WHOLE, native=True, null=True)
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
        sandbox = Sandbox()
        options = kind.options if kind else {}
        self._plain: Values = {}
        self._changing: list[tuple[str, Render]] = []
        for name, value in spec.options.items():
            if (name not in options or options[name].template) and _changes(value):
                self._changing.append((name, _compiled(sandbox, value, native=True)))
            else:
                self._plain[name] = value
        self.changing = tuple(name for name, _ in self._changing)
        """The options that differ from case to case."""

    def render(self, case: Case) -> dict[str, Any]:
        """Return the options for a case. Raises `InvalidFiles` if one cannot be rendered."""
        rendered = self._plain.copy()
        values = facts(case) if self._changing else {}
        for name, render in self._changing:
            try:
                rendered[name] = render(values)
            except BadTemplate as error:
                where = case.where or self._spec.where or Location(path="")
                what = f"case {case.id!r}: {self._spec.label}.{name}"
                raise _unrenderable(where, what, error, values) from error
        return rendered


def facts(case: Case) -> Values:
    """Return what a scorer's templates may read."""
    inputs = dict(case.inputs)
    return {
        **inputs,
        "inputs": inputs,
        "expected": case.expected,
        "contexts": list(case.contexts),
        "metadata": dict(case.metadata),
    }


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
    return [text for item in value for text in strings(item)] if _is_list(value) else []


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _unrenderable(
    where: Location, what: str | None, error: BadTemplate, values: Values | None = None
) -> InvalidFiles:
    """Return the exception for a template that cannot be rendered, with the nearest known name."""
    unknown = re.match(r"'(\w+)' is undefined", error.message)
    hint = suggestion(unknown[1], sorted(values)) if unknown and values else error.hint
    message = f"{what}: {error.message}" if what else error.message
    return InvalidFiles([Problem(where=where, message=message, hint=hint)])


def _changes(value: Any) -> bool:
    return any(map(is_template, strings(value)))


def _compiled(sandbox: Sandbox, value: Any, *, native: bool, null: bool = False) -> Render:
    """Return a function from values to `value` with every template in it rendered.

    `native`: a string that is one expression keeps its value's type; `null`: even that of nothing.
    """
    if isinstance(value, str):
        if not is_template(value):
            return lambda _: value
        return (native and _expression(sandbox, value, null=null)) or _text(sandbox, value)
    if isinstance(value, Mapping):
        fields = {
            key: _compiled(sandbox, inner, native=native, null=null) for key, inner in value.items()
        }
        return lambda values: {key: render(values) for key, render in fields.items()}
    if _is_list(value):
        items = [_compiled(sandbox, item, native=native, null=null) for item in value]
        made = type(value)
        return lambda values: made(render(values) for render in items)
    return lambda _: value


def _text(sandbox: Sandbox, source: str) -> Render:
    template = sandbox.compiled(source)
    return lambda values: sandbox.write(template, values)


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
