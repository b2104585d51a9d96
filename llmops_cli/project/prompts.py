"""Read `prompts/<name>.prompt.yml` into prompts, with the templates checked and includes read.

A `name` that is a title ("Text Summarizer", as GitHub's files have it) is for people; the prompt
is then named by its path. A file that declares no `inputs` takes every name that its templates
use; one that does may use no other.

`testData` and `evaluators`, as GitHub Models has them, are an evalset. `string` evaluators become
text scorers with the rules of `gh models eval`: white space at both ends of the answer does not
count, `equals` compares whole, the others ignore case. `llm` evaluators and `uses: github/…`
become `choice`: a model sorts the answer into classes, and what passed on GitHub, any score above
0, passes. docs/files.md lists what is not taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from json import JSONDecodeError
from typing import Any

from llmops_cli.core.errors import Refused, suggestion
from llmops_cli.core.literals import control_character, literals
from llmops_cli.core.ports import Catalog
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
from llmops_cli.project.schema import (
    NAME,
    Evaluator,
    InputSchema,
    LlmEvaluator,
    StringEvaluator,
    WrittenMessage,
    WrittenPrompt,
    validated,
)
from llmops_cli.project.templates import MAX_INCLUDES, PLAIN, BadTemplate, is_template, strings

FOLDER = "prompts"
ENDINGS = (".prompt.yml", ".prompt.yaml")
MAX_INCLUDED = 1_000_000
DEFAULT_MODEL = "default"
"""The model of llmops.yaml that answers a prompt which names none."""


class PromptReader:
    """Reads one prompt file; what is wrong in it is added to `problems`."""

    def __init__(self, document: Document, source: Source, problems: Problems) -> None:
        self._document = document
        self._source = source
        self._problems = problems
        self._includes: dict[str, str] = {}
        self._names: dict[str, tuple[Place, int]] = {}
        """What the templates use, with the text and its line where each name is first."""

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
        for name, (place, line) in self._names.items():
            if name not in known:
                where = self._document.inside(place, line)
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
        if schema is not None:
            self._check_schema(schema)
        if schema and isinstance(schema.get("schema"), dict) and set(schema) == {"schema"}:
            inner: dict[str, Any] = schema["schema"]
            return inner
        return schema

    def _check_schema(self, schema: Mapping[str, Any]) -> None:
        """Add what keeps a server from taking the schema: a type that is none, say."""
        import jsonschema  # noqa: PLC0415 - 0.1 s, and most prompts have no schema

        wrapped = isinstance(schema.get("schema"), dict)
        inner: dict[str, Any] = schema["schema"] if wrapped else dict(schema)
        try:
            jsonschema.validators.validator_for(inner).check_schema(inner)
        except jsonschema.SchemaError as error:
            place = ("jsonSchema", *(["schema"] if wrapped else []), *error.absolute_path)
            message = f"'jsonSchema' is not a JSON Schema: {error.message}"
            self._problems.add(self._document.where(*place), message)

    def _check_messages(self) -> None:
        data: Any = self._document.data
        for position, message in enumerate(data.get("messages") or ()):
            place = ("messages", position, "content")
            if isinstance(content := message["content"], str):
                self._check_text(content, place)
                continue
            for at, part in enumerate(content):
                for text in strings(part):
                    self._check_text(text, (*place, at))

    def _check_text(self, text: str, place: Place, within_includes: tuple[str, ...] = ()) -> None:
        """Collect names, read includes; a problem in an included file is shown where it stands."""
        if (control := control_character(text)) is not None and not within_includes:
            where = self._document.where(*place)
            self._problems.add(where, f"a text that {control[0]}", control[1])
        if not is_template(text):
            return
        try:
            names, includes = PLAIN.examine(text)
        except BadTemplate as error:
            self._wrong(error, place, within_includes)
            return
        for name, line in names.items():
            self._names.setdefault(name, (place, 1 if within_includes else line))
        for path, line in includes.items():
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
        self._check_text(self._includes[path], place, (*within_includes, path))

    def _wrong(self, error: BadTemplate, place: Place, within_includes: tuple[str, ...]) -> None:
        where, message = self._document.inside(place, error.line), error.message
        if within_includes:
            where = self._document.where(*place)
            message = f"{FOLDER}/{within_includes[-1]}:{error.line}: {message}"
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


STARS = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}
LEAST_STARS = 0.25
"""GitHub's evaluators pass with any score above 0."""
PLACEHOLDER = re.compile(r"\{\{-?\s*([^\s{}|()\[\]'\"]+?)\s*-?\}\}")
BUILT_IN: Mapping[str, str] = {
    "similarity": "How near is the answer to the reference answer in meaning? 5: it says the same; "
    "3: it says the most important part; 1: it says something else.",
    "relevance": "How much of the answer is about what was asked? 5: all of it, and the question "
    "is answered; 3: about half; 1: it does not address the question.",
    "coherence": "How well do the sentences of the answer hang together? 5: each follows from the "
    "one before; 3: the thread is lost at times; 1: unconnected sentences.",
    "fluency": "How well is the answer written? 5: without mistakes, natural to read; 3: mistakes "
    "that do not hide the meaning; 1: hard to understand.",
    "groundedness": "Take the reference answer as the only source. How much of the answer does it "
    "support? 5: every statement; 3: about half; 1: nothing, or it says the opposite.",
}
"""What each of GitHub's own evaluators asks, in our words."""
WITH_EXPECTED = frozenset({"similarity", "groundedness"})
"""Those that are shown `expected`: GitHub passed it as the context of groundedness."""


def case_rows(prompt: Prompt, written: WrittenPrompt) -> list[dict[str, Any]]:
    """Return each row of `testData` as a case.

    What the templates use are inputs, `expected` is itself, and `id` if no template uses it;
    anything else is metadata, where evaluators find it. A row that is here twice gets an id.
    """
    rows: list[dict[str, Any]] = []
    questions: set[str] = set()
    for number, data in enumerate(written.test_data or (), start=1):
        inputs = {
            name: str(value).lower() if isinstance(value, bool) else value  # as GitHub wrote it
            for name, value in data.items()
            if name in prompt.inputs
        }
        others = {name: value for name, value in data.items() if name not in (*inputs, "expected")}
        row = {"inputs": inputs, "expected": data.get("expected"), "metadata": others}
        question = json.dumps([inputs, list(map(str, inputs.values()))], sort_keys=True)
        if isinstance(others.get("id"), (str, int)):
            row["id"] = others.pop("id")
        elif question in questions:
            row["id"] = f"{prompt.name}-row-{number}"
        questions.add(question)
        rows.append(row)
    return rows


def scorer_entries(
    prompt: Prompt, written: WrittenPrompt, document: Document, catalog: Catalog, problems: Problems
) -> list[tuple[int, dict[str, Any]]]:
    """Return each evaluator as lines under `scorers:`, with its position in the file."""
    entries: list[tuple[int, dict[str, Any]]] = []
    columns = _columns(prompt, written)
    names: set[str] = set()
    for position, evaluator in enumerate(written.evaluators or ()):
        try:
            for kind, options in _scorers(evaluator, columns, catalog):
                entries.append((position, {kind: _named(options, evaluator.name, names)}))
        except Refused as error:
            problems.add(document.where("evaluators", position), error.message, error.hint)
    return entries


def _columns(prompt: Prompt, written: WrittenPrompt) -> dict[str, str]:
    """Return the expression for each `testData` column that evaluators write otherwise than it is.

    A column that is no input is metadata; booleans are written `true` and `false`.
    """
    columns: dict[str, str] = {}
    rows = written.test_data or ()
    for name in {name: None for row in rows for name in row if name not in (*prompt.inputs, "id")}:
        value = "expected" if name == "expected" else f"metadata[{name!r}]"
        if any(isinstance(row.get(name), bool) for row in rows):
            columns[name] = f"{value} | lower if {value} is boolean else {value}"
        elif name != "expected":
            columns[name] = value
    return columns


def _named(options: dict[str, Any], name: str | None, names: set[str]) -> dict[str, Any]:
    """Return `options` with the evaluator's name, numbered where an earlier one has it."""
    if name is None:
        return options
    label, number = name, 1
    while label in names:
        number += 1
        label = f"{name} ({number})"
    names.add(label)
    return {**options, "name": label}


def _scorers(
    evaluator: Evaluator, columns: Mapping[str, str], catalog: Catalog
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and options of each scorer that the evaluator is."""
    forms = [form for form in (evaluator.string, evaluator.llm, evaluator.uses) if form is not None]
    label = f"the evaluator '{evaluator.name or 'without a name'}'"
    if len(forms) != 1:
        raise Refused(f"{label} needs exactly one of string, llm and uses")
    if evaluator.string is not None:
        yield from _string(label, evaluator.string, columns, catalog)
    elif evaluator.llm is not None:
        yield "choice", _judged(label, evaluator.llm, columns)
    else:
        yield "choice", _built_in(evaluator.uses or "")


def _string(
    label: str, evaluator: StringEvaluator, columns: Mapping[str, str], catalog: Catalog
) -> Iterator[tuple[str, dict[str, Any]]]:
    conditions = {key: value for key, value in evaluator.model_dump().items() if value}
    if not conditions:
        raise Refused(f"{label} asks for nothing")
    for condition, text in conditions.items():
        if condition == "is_json":
            yield "json", {"fence": False}
            continue
        kind = catalog.scorers["exact" if condition == "equals" else condition]
        assert kind.shorthand is not None
        folding = {} if condition == "equals" else {"ignore_case": True}
        yield kind.name, {kind.shorthand: _with_columns(text, columns), **folding}


def _built_in(uses: str) -> dict[str, Any]:
    name = uses.removeprefix("github/")
    if name == uses or name not in BUILT_IN:
        known = [f"github/{name}" for name in BUILT_IN]
        raise Refused(f"unknown evaluator '{uses}'", hint=suggestion(uses, known))
    shown = {"expected": True} if name in WITH_EXPECTED else {}
    return {"criteria": BUILT_IN[name], "choices": STARS, "min": LEAST_STARS, **shown}


def _judged(label: str, llm: LlmEvaluator, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of an evaluator with a prompt of its own, whose words are the criteria.

    Scores are brought to 0 to 1: GitHub took any number, and passed what is above 0.
    """
    top = max(1.0, *(choice.score for choice in llm.choices))
    choices: dict[str, float] = {}
    for choice in llm.choices:
        if choice.choice.casefold() not in map(str.casefold, choices):  # the first one matched
            choices[choice.choice] = max(0.0, choice.score / top)
    passing = [score for score in choices.values() if score > 0]
    if not passing:
        raise Refused(f"no choice of {label} has a score above 0")
    if len(choices) == 1:
        choices["none of these"] = 0.0
    texts = filter(None, (llm.system_prompt, llm.prompt))
    model = llm.model_id
    return {
        "criteria": _with_columns("\n\n".join(texts), columns),
        "choices": choices,
        "min": min(passing),
        "model": model if "/" in model else f"openai/{model}",
    }


def _with_columns(text: str, columns: Mapping[str, str]) -> str:
    """Return a template with the expressions of `testData` columns in place of their names."""

    def written(match: re.Match[str]) -> str:
        name = match[1]
        if name == "completion":
            return "(the answer to sort, below)"
        return f"{{{{ {columns[name]} }}}}" if name in columns else match[0]

    return PLACEHOLDER.sub(written, text)
