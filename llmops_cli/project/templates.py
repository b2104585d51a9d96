"""Renders a prompt's messages for a case, a scorer's options over the facts of a case, and the
document that an application is handed.

Each `content` is rendered on its own and never parsed again for roles, so nothing in an input can
open a turn of its own. Text without template marks is not rendered at all: a prompt with hundreds
of few-shot turns costs as much as its one turn that changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from jinja2 import Undefined, nodes

from llmops_cli.core.case import Case, ScorerSpec
from llmops_cli.core.catalog import Catalog, ScorerKind
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem, suggestion
from llmops_cli.core.prompt import Message, Prompt, Target
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

    Raises `InvalidFiles` where a message is no template of the dialect.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
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
        """The turns to send: the prompt's, with the case's earlier turns before its last user turn.

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
                raise self._cannot(error, position, case, values) from error
            turns[position] = Message(role=role, content=content)
        if case.messages:
            turns[self._history_at : self._history_at] = case.messages
        return tuple(turns)

    def inputs(self, case: Case) -> Values:
        """The inputs of `case`, with null or its default for an optional one that it leaves out."""
        return {**self._defaults, **case.inputs}

    def _renderer(self, position: int, content: Any) -> Render:
        try:
            return _compiled(self._sandbox, content, native=False)
        except BadTemplate as error:
            message = f"message {position + 1}: {error.message}"
            place = Location(path=self._prompt.path)
            problem = Problem(where=place, message=message, hint=error.hint)
            raise InvalidFiles([problem]) from error

    def _cannot(
        self, error: BadTemplate, position: int, case: Case, values: Values
    ) -> InvalidFiles:
        where = f"message {position + 1} ({self._turns[position].role}) for the case {case.id!r}"
        unknown = re.match(r"'(\w+)' is undefined", error.message)
        hint = suggestion(unknown[1], sorted(values)) if unknown else error.hint
        place = Location(path=self._prompt.path)
        return InvalidFiles([Problem(where=place, message=f"{where}: {error.message}", hint=hint)])


class Documents:
    """What an application is handed for a case: JSON, with the rendered messages in it.

    Without a template it is `{"inputs": …, "messages": …, "parameters": …}`. The strings of a
    template may use the inputs by name, and these three; one that is a single expression keeps
    its value's type. What is expected of the answer is not among them.
    """

    def __init__(self, target: Target, template: Json = None) -> None:
        """Raises `InvalidFiles` where `template` is not of the dialect."""
        self._target = target
        self._templates = Templates(target.prompt)
        self._where = target.model.where or Location(path=target.prompt.path)
        try:
            self._render = _compiled(Sandbox(), template or _WHOLE, native=True, null=True)
        except BadTemplate as error:
            problem = Problem(where=self._where, message=error.message, hint=error.hint)
            raise InvalidFiles([problem]) from error

    def document(self, case: Case, messages: Sequence[Message]) -> dict[str, Any]:
        """The document for `case`, whose messages are rendered. Raises `InvalidFiles`."""
        inputs = self._templates.inputs(case)
        values = {
            **inputs,
            "inputs": inputs,
            "messages": [each.plain() for each in messages],
            "parameters": self._target.parameters,
        }
        try:
            document: dict[str, Any] = self._render(values)
        except BadTemplate as error:
            what = f"`request` of {self._target.model.name!r} for the case {case.id!r}"
            unknown = re.match(r"'(\w+)' is undefined", error.message)
            hint = suggestion(unknown[1], sorted(values)) if unknown else error.hint
            problem = Problem(where=self._where, message=f"{what}: {error.message}", hint=hint)
            raise InvalidFiles([problem]) from error
        return document


def documents_of(target: Target, catalog: Catalog) -> Documents | None:
    """What `target` is handed for a case, where it is an application."""
    if not catalog.providers[target.model.provider].application:
        return None
    return Documents(target, target.model.options.get("request"))


_WHOLE = {
    "inputs": "{{ inputs }}",
    "messages": "{{ messages }}",
    "parameters": "{{ parameters }}",
}


class Options:
    """A scorer's options, compiled once; a string that is one expression keeps its value's type."""

    def __init__(self, spec: ScorerSpec, kind: ScorerKind | None = None) -> None:
        self._spec = spec
        sandbox = Sandbox()
        fixed = (
            {name for name, option in kind.options.items() if not option.template}
            if kind
            else set[str]()
        )
        self._plain: Values = {}
        self._changing: list[tuple[str, Render]] = []
        for name, value in spec.options.items():
            if name not in fixed and _changes(value):
                self._changing.append((name, _compiled(sandbox, value, native=True)))
            else:
                self._plain[name] = value
        self.changing = tuple(name for name, _ in self._changing)
        """The options that differ from case to case."""

    def render(self, case: Case) -> dict[str, Any]:
        """The options for one case. Raises `InvalidFiles` where a template cannot be rendered."""
        if not self._changing:
            return self._plain.copy()
        values = facts(case)
        rendered = self._plain.copy()
        for name, render in self._changing:
            try:
                rendered[name] = render(values)
            except BadTemplate as error:
                raise self._cannot(error, name, case, values) from error
        return rendered

    def _cannot(self, error: BadTemplate, name: str, case: Case, values: Values) -> InvalidFiles:
        where = case.where or self._spec.where or Location(path="")
        message = f"case {case.id!r}: {self._spec.label}.{name}: {error.message}"
        unknown = re.match(r"'(\w+)' is undefined", error.message)
        hint = suggestion(unknown[1], sorted(values)) if unknown else error.hint
        return InvalidFiles([Problem(where=where, message=message, hint=hint)])


def facts(case: Case) -> Values:
    """What a scorer's templates may read."""
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
    """Every text in a plain value, keys left out: where templates may stand."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in strings(each)]
    return []


def _changes(value: Any) -> bool:
    return any(map(is_template, strings(value)))


def _compiled(sandbox: Sandbox, value: Any, *, native: bool, null: bool = False) -> Render:
    """A function from values to `value` with every template in it rendered.

    `native`: a string that is one expression keeps its value's type; `null`: even that of nothing.
    """
    if isinstance(value, str):
        if not is_template(value):
            return lambda _: value
        return (native and _expression(sandbox, value, null=null)) or _text(sandbox, value)
    if isinstance(value, Mapping):
        fields = {
            key: _compiled(sandbox, each, native=native, null=null) for key, each in value.items()
        }
        return lambda values: {key: render(values) for key, render in fields.items()}
    if isinstance(value, (list, tuple)):
        items = [_compiled(sandbox, each, native=native, null=null) for each in value]
        made = type(value)
        return lambda values: made(render(values) for render in items)
    return lambda _: value


def _text(sandbox: Sandbox, source: str) -> Render:
    template = sandbox.compiled(source)
    return lambda values: sandbox.write(template, values)


def _expression(sandbox: Sandbox, source: str, *, null: bool) -> Render | None:
    """The value itself of a source that is exactly one `{{ expression }}`; None if it is not."""
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
    """`a.b` without a template engine: by far the most common expression."""
    first, *rest = path.split(".")

    def value(values: Values) -> Any:
        if first not in values:
            raise BadTemplate(f"'{first}' is undefined")
        found = values[first]
        for step in rest:
            if not isinstance(found, Mapping) or step not in found:
                raise BadTemplate(f"'{path}' is undefined: there is no '{step}'")
            found = found[step]
        return found if null else _present(found, path)

    return value


def _present(value: Any, what: str) -> Any:
    if value is None:
        raise BadTemplate(f"the case has no value for '{what}'")
    return value
