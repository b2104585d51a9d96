"""Reads `prompts/<name>.prompt.yml` into prompts, with the templates checked and includes read.

A `name` that is a title ("Text Summarizer", as GitHub's files have it) is for people; the prompt
is then named by its path. A file that declares no `inputs` takes every name that its templates
use; one that does may use no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from json import JSONDecodeError
from typing import Any

from llmops_cli.core.errors import suggestion
from llmops_cli.core.literals import control_character, literals
from llmops_cli.core.prompt import Message, Prompt
from llmops_cli.project.documents import (
    Document,
    NotPlain,
    Place,
    decode,
    load_json,
)
from llmops_cli.project.inputs import mismatch
from llmops_cli.project.paths import Problems, Source, Unreadable, within
from llmops_cli.project.sandbox import MAX_INCLUDES, BadTemplate, Sandbox, is_template
from llmops_cli.project.schema import NAME, InputSchema, WrittenMessage, WrittenPrompt
from llmops_cli.project.templates import strings
from llmops_cli.project.validation import validated

FOLDER = "prompts"
ENDINGS = (".prompt.yml", ".prompt.yaml")
MAX_INCLUDED = 1_000_000
DEFAULT_MODEL = "default"
"""The model of llmops.yaml that answers a prompt which names none."""


class PromptReader:
    """Reads one prompt file; what is wrong in it is added to `problems`."""

    def __init__(
        self, document: Document, sandbox: Sandbox, source: Source, problems: Problems
    ) -> None:
        self._document = document
        self._sandbox = sandbox
        self._source = source
        self._problems = problems
        self._includes: dict[str, str] = {}
        self._names: dict[str, Place] = {}
        self._lines: dict[str, int] = {}

    def read(self) -> tuple[Prompt, WrittenPrompt] | None:
        """Return the prompt, as used and as written; None if too much is wrong to go on."""
        document = self._document
        written = validated(WrittenPrompt, document.data, document.where, self._problems)
        if written is None:
            return None
        self._check_messages()
        prompt = Prompt(
            name=self._name(written),
            description=written.description,
            model=written.model or DEFAULT_MODEL,
            parameters=written.model_parameters.model_dump(exclude_none=True),
            inputs=self._inputs(written),
            messages=tuple(map(message_of, written.messages or ())),
            response_format=written.response_format,
            json_schema=self._json_schema(written),
            tools=tuple(tool.model_dump(exclude_none=True) for tool in written.tools),
            includes=self._includes,
            path=document.path,
        )
        return prompt, written

    def _name(self, written: WrittenPrompt) -> str:
        stem = name_of(self._document.path)
        if written.name is not None and re.fullmatch(NAME, written.name):
            return written.name
        if not re.fullmatch(NAME, stem):
            hint = "rename the file, or give a `name`: lower case, '/' for folders"
            self._problems.add(self._document.where(), f"{stem!r} cannot name a prompt", hint)
        return stem

    def _inputs(self, written: WrittenPrompt) -> dict[str, dict[str, Any]]:
        if written.inputs is None:
            return {name: {} for name in self._names if name != "inputs"}
        known = [*written.inputs, "inputs"]
        for name, place in self._names.items():
            if name not in known:
                where = self._document.inside(place, self._lines[name])
                hint = suggestion(name, sorted(written.inputs)) or "declare it under `inputs`"
                self._problems.add(where, f"the input '{name}' is not declared", hint)
        schemas = {name: schema_of(schema) for name, schema in written.inputs.items()}
        for name, schema in schemas.items():
            if "default" in schema and (why := mismatch(schema["default"], schema)) is not None:
                where = self._document.where("inputs", name, "default")
                self._problems.add(where, f"the default {why}")
        return schemas

    def _json_schema(self, written: WrittenPrompt) -> dict[str, Any] | None:
        """Return the schema, parsed where it is text; the API's `{name, strict, schema}` stays."""
        schema = written.json_schema
        where = self._document.where("jsonSchema")
        if (written.response_format == "json_schema") != (schema is not None):
            hint = "`responseFormat: json_schema` and `jsonSchema` belong together"
            where = self._document.where("responseFormat") if schema is None else where
            self._problems.add(where, "half of a structured answer", hint)
        if isinstance(schema, str):
            try:
                schema = load_json(schema)
            except JSONDecodeError as error:
                place = self._document.inside(("jsonSchema",), error.lineno)
                self._problems.add(place, f"'jsonSchema' is not JSON: {error.msg}")
                return None
            except NotPlain as error:
                self._problems.add(where, f"'jsonSchema': {error}")
                return None
        if schema is not None and not isinstance(schema, dict):
            self._problems.add(where, "'jsonSchema' must be a mapping")
            return None
        if schema and isinstance(schema.get("schema"), dict) and set(schema) == {"schema"}:
            inner: dict[str, Any] = schema["schema"]
            return inner
        return schema

    def _check_messages(self) -> None:
        data = self._document.data
        assert isinstance(data, Mapping)
        messages = data.get("messages") or []
        assert isinstance(messages, list)
        for position, message in enumerate(messages):
            for place, text in _placed(message["content"], ("messages", position, "content")):
                self._check_text(text, place, within_includes=())

    def _check_text(self, text: str, place: Place, *, within_includes: tuple[str, ...]) -> None:
        """Collect names, read includes; a problem in an included file is shown where it stands."""
        if (control := control_character(text)) is not None and not within_includes:
            self._problems.add(
                self._document.where(*place), f"a text that {control[0]}", control[1]
            )
        if not is_template(text):
            return
        try:
            examined = self._sandbox.examine(text)
        except BadTemplate as error:
            self._wrong(error, place, within_includes)
            return
        for name, line in examined.names.items():
            if name not in self._names:
                self._names[name] = place
                self._lines[name] = 1 if within_includes else line
        for path, line in examined.includes.items():
            try:
                self._include(path, place, within_includes)
            except Unreadable as unreadable:
                self._wrong(BadTemplate(str(unreadable), line=line), place, within_includes)

    def _include(self, path: str, place: Place, within_includes: tuple[str, ...]) -> None:
        if path in within_includes:
            raise Unreadable(f"{path!r} includes itself")
        if len(within_includes) >= MAX_INCLUDES:
            raise Unreadable(f"includes more than {MAX_INCLUDES} deep")
        if path not in self._includes:
            full = within(path, folder=FOLDER)
            content = decode(self._source.read(full, limit=MAX_INCLUDED), full)
            self._includes[path] = content.replace("\r\n", "\n").replace("\r", "\n")
        self._check_text(self._includes[path], place, within_includes=(*within_includes, path))

    def _wrong(self, error: BadTemplate, place: Place, within_includes: tuple[str, ...]) -> None:
        message = error.message
        if within_includes:
            message = f"{FOLDER}/{within_includes[-1]}:{error.line}: {message}"
            where = self._document.where(*place)
        else:
            where = self._document.inside(place, error.line)
        self._problems.add(where, message, error.hint)


def name_of(path: str) -> str:
    """Return the name that a prompt has by its path."""
    name = path.removeprefix(f"{FOLDER}/")
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def message_of(written: WrittenMessage) -> Message:
    """Return a turn as it is sent."""
    if isinstance(written.content, str):
        return Message(role=written.role, content=written.content)
    parts = tuple(part.model_dump(exclude_none=True) for part in written.content)
    return Message(role=written.role, content=parts)


def schema_of(written: InputSchema) -> dict[str, Any]:
    """Return an input's schema as plain data, without what never reaches a model or a check."""
    plain = written.model_dump(
        exclude_unset=True, exclude={"description", "items", "properties", "default"}
    )
    if plain.get("required") is True:
        del plain["required"]
    if "default" in written.model_fields_set:
        plain["default"] = written.default
        # Beside the value, so that a version's snapshot and its digest keep the spelling.
        plain["literals"] = literals(written.default) or None
    if written.items is not None:
        plain["items"] = schema_of(written.items)
    if written.properties is not None:
        plain["properties"] = {name: schema_of(inner) for name, inner in written.properties.items()}
    return {name: value for name, value in plain.items() if value is not None or name == "default"}


def _placed(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield every text of a content with the place where it stands."""
    if isinstance(value, str):
        yield place, value
        return
    for position, part in enumerate(value):
        for text in strings(part):
            yield (*place, position), text
