"""The result of an import, and how it is written as project files, in readable YAML.

What all cases of an evalset share moves up to it: a scorer that every case has becomes one of the
evalset's. Where every case then has one scorer left, of one kind with the same options apart from
its value, that value becomes `expected`.

Keys stand in the order of the documentation, long texts as literal blocks, small mappings and
lists on one line. Up to `INLINE` cases stand in the evalset; more go to a JSONL file beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from llmops_cli.core.literals import LiteralFloat, LiteralInt, dump_json
from llmops_cli.core.ports import Catalog
from llmops_cli.importers.source import Note
from llmops_cli.project.documents import FALSE, FLOAT, INTEGER, NULL, OCTAL_OR_HEX, TRUE

Case: TypeAlias = dict[str, Any]
"""A case as it is written, with `scorers` always there."""

FALLBACK = "embedded"
"""The model of a prompt whose own cannot be called: no key, no network, and no LLM."""
INLINE = 20
WIDTH = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """An entry under `models:` of llmops.yaml; `fields` as they are written there."""

    alias: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPrompt:
    """A file under `prompts/`."""

    name: str
    description: str
    model: str
    messages: Sequence[Mapping[str, Any]]
    inputs: Mapping[str, Mapping[str, Any]]
    shape: Mapping[str, Any] = field(default_factory=dict)
    """`responseFormat`, `jsonSchema` and `tools`, as they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEvalset:
    """A file under `evalsets/`, with its cases."""

    name: str
    prompts: Sequence[str]
    scorers: Sequence[Any]
    cases: Sequence[Case]
    repeats: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Everything that one import produces."""

    models: Sequence[ImportedModel]
    prompts: Sequence[ImportedPrompt]
    evalsets: Sequence[ImportedEvalset]
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportChoices:
    """The choices of the user."""

    name: str
    """The name of the prompt, and of the evalset that gates it."""
    model: str | None = None
    """`provider/model` where the file names none that can be called."""

    def fallback_model(self) -> ImportedModel:
        """Return the model of prompts whose own cannot be called."""
        provider, _, model = (self.model or FALLBACK).partition("/")
        fields = {"provider": provider, "model": model} if model else {"provider": provider}
        return ImportedModel(alias="default", fields=fields)


def name_for(text: str) -> str:
    """Return `text` as a name: lower case, digits, dots and dashes; empty if nothing is left."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:60].rstrip("-._")


def free_name(name: str, taken: Iterable[str], *, separator: str = "-") -> str:
    """Return the first of `name`, `name-2`, `name-3` … that is not taken."""
    taken = set(taken)
    numbered, number = name, 1
    while numbered in taken:
        number += 1
        numbered = f"{name}{separator}{number}"
    return numbered


def hoisted(cases: Sequence[Case], catalog: Catalog) -> tuple[list[Any], list[Case]]:
    """Return the evalset's scorers, and the cases with what is left of theirs."""
    by_key = [{_key(entry): entry for entry in case["scorers"]} for case in cases]
    shared = dict(by_key[0]) if by_key else {}
    for own_keys in by_key:
        shared = {key: entry for key, entry in shared.items() if key in own_keys}
    rest = [
        {**case, "scorers": [entry for entry in case["scorers"] if _key(entry) not in shared]}
        for case in cases
    ]
    scorers = list(shared.values())
    expecting = _expecting(rest, catalog)
    if expecting is not None:
        kind, option, options = expecting
        scorers.append({kind: options} if options else kind)
        rest = [
            {**case, "expected": case["scorers"][0][kind][option], "scorers": []} for case in rest
        ]
    labels: set[str] = set()
    scorers = [_with_unique_name(entry, labels) for entry in scorers]
    for case in rest:
        own = set(labels)
        case["scorers"] = [_with_unique_name(entry, own) for entry in case["scorers"]]
    return scorers, rest


def _expecting(
    cases: Sequence[Case], catalog: Catalog
) -> tuple[str, str, Mapping[str, Any]] | None:
    """Return kind, option for the value, and the other options that all single scorers share."""
    common: tuple[str, str, Mapping[str, Any]] | None = None
    for case in cases if len(cases) > 1 else ():
        if len(case["scorers"]) != 1 or "not" in case["scorers"][0] or "expected" in case:
            return None
        ((kind, options),) = case["scorers"][0].items()
        option = catalog.scorers[kind].expects
        if option is None or option not in options or "{%" in str(options[option]):
            return None
        shape = (kind, option, {name: options[name] for name in options if name != option})
        if common is not None and common != shape:
            return None
        common = shape
    return common


def _with_unique_name(entry: Any, labels: set[str]) -> Any:
    """Return a scorer whose `name` no other has; it is added to `labels`."""
    if not isinstance(entry, dict):
        return entry
    if "not" in entry:
        return {"not": _with_unique_name(entry["not"], labels)}
    ((kind, options),) = entry.items()
    if not isinstance(options, dict) or "name" not in options:
        return entry
    label = free_name(options["name"], labels, separator=" ")
    labels.add(label)
    return {kind: {**options, "name": label}}


def _key(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def files_of(imported: Imported, catalog: Catalog, *, with_project: bool) -> dict[str, str]:
    """Return the text of every file by its path in the project; llmops.yaml only if asked for."""
    files: dict[str, str] = {}
    if with_project:
        environments = dumped({"environments": ["production"]})
        files["llmops.yaml"] = models_text(imported.models) + environments
    for prompt in imported.prompts:
        files[f"prompts/{prompt.name}.prompt.yml"] = dumped(_prompt(prompt))
    for evalset in imported.evalsets:
        files |= _evalset(evalset, catalog)
    return files


def models_text(models: Sequence[ImportedModel]) -> str:
    """Return the `models:` of llmops.yaml."""
    return dumped({"models": {model.alias: _OneLine(model.fields) for model in models}})


def dumped(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that the strict reader of project files takes."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, indent=2
    )
    return text


def _prompt(prompt: ImportedPrompt) -> dict[str, Any]:
    optional = {
        "description": prompt.description,
        "model": prompt.model,
        "inputs": {name: _OneLine(schema) for name, schema in prompt.inputs.items()},
        "messages": list(prompt.messages),
    }
    return {**{name: value for name, value in optional.items() if value}, **prompt.shape}


def _evalset(evalset: ImportedEvalset, catalog: Catalog) -> dict[str, str]:
    path = f"evalsets/{evalset.name}"
    names = list(evalset.prompts)
    cases = [_case(case, catalog) for case in evalset.cases]
    inline = len(cases) <= INLINE
    written: dict[str, Any] = {"prompt": names[0] if len(names) == 1 else _OneLine(names)}
    if not inline:
        written["cases"] = f"{evalset.name.rpartition('/')[2]}.jsonl"
    if evalset.repeats > 1:
        written["repeats"] = evalset.repeats
    if evalset.scorers:
        written["scorers"] = [_on_one_line(_shortest(entry, catalog)) for entry in evalset.scorers]
    if not inline:
        lines = (dump_json(case) + "\n" for case in cases)
        return {f"{path}.yaml": dumped(written), f"{path}.jsonl": "".join(lines)}
    for case in cases:
        if "scorers" in case:
            case["scorers"] = list(map(_on_one_line, case["scorers"]))
    return {f"{path}.yaml": dumped({**written, "cases": cases})}


def _case(case: Case, catalog: Catalog) -> dict[str, Any]:
    """Return the fields that say something, in the order of the documentation."""
    order = ("id", "inputs", "messages", "expected", "scorers", "metadata")
    needed = {"inputs", "expected"}
    written = {name: case[name] for name in order if case.get(name) or name in needed & set(case)}
    if "scorers" in written:
        written["scorers"] = [_shortest(entry, catalog) for entry in written["scorers"]]
    return written


def _shortest(entry: Any, catalog: Catalog) -> Any:
    """Return the shortest of a scorer's three forms."""
    if not isinstance(entry, Mapping):
        return entry
    if "not" in entry:
        return {"not": _shortest(entry["not"], catalog)}
    ((kind, options),) = entry.items()
    shorthand = catalog.scorers[kind].shorthand
    if not options:
        return kind
    if set(options) == {shorthand} and not isinstance(options[shorthand], Mapping):
        return {kind: options[shorthand]}
    return {kind: options}


def _on_one_line(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    ((kind, value),) = entry.items()
    return {kind: _on_one_line(value) if kind == "not" else _OneLine(value)}


class _OneLine:
    """A small value that is written on one line where it fits."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Dumper(yaml.SafeDumper):
    """Block style, literal blocks, indented lists, no aliases, and quotes by YAML 1.2."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 - pyyaml's signature
        return super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - pyyaml's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    reads_as_another_type = text in NULL | TRUE | FALSE or any(
        pattern.fullmatch(text) for pattern in (INTEGER, FLOAT, OCTAL_OR_HEX)
    )
    if "\n" in text and not any(line != line.rstrip() for line in text.split("\n")):
        style = "|"
    elif reads_as_another_type or "{{" in text or "{%" in text:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _number(dumper: yaml.SafeDumper, number: Any) -> yaml.ScalarNode:
    # The tag that PyYAML would read it as, so that it writes none.
    tag = dumper.resolve(yaml.ScalarNode, number.literal, (True, False))  # type: ignore[no-untyped-call]  # of pyyaml
    return dumper.represent_scalar(tag, number.literal)


def _one_line(dumper: yaml.SafeDumper, small: _OneLine) -> yaml.Node:
    node = dumper.represent_data(small.value)
    text = json.dumps(small.value, ensure_ascii=False)
    if isinstance(node, yaml.CollectionNode) and len(text) <= WIDTH - 20 and "\\n" not in text:
        node.flow_style = True  # what is inside follows it
    return node


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_OneLine, _one_line)
for _literal in (LiteralInt, LiteralFloat):
    _Dumper.add_representer(_literal, _number)
