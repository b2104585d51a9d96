"""Writes what was imported as project files: the YAML that a person would have written.

Keys stand in the order of the documentation, long texts as literal blocks, small mappings and
lists of plain values on one line. Up to `INLINE` cases stand in the evalset; more go to a JSONL
file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from llmops_cli.core.catalogue import Catalogue
from llmops_cli.files.importers.imported import (
    Imported,
    ImportedEvalset,
    ImportedModel,
    ImportedPrompt,
)
from llmops_cli.files.yaml import FALSE, FLOAT, INTEGER, NULL, OCTAL_OR_HEX, TRUE

INLINE = 20
WIDTH = 96
PLAIN_STYLE = frozenset({None, ""})


def files_of(imported: Imported, catalogue: Catalogue, *, with_project: bool) -> dict[str, str]:
    """The text of every file by its path in the project; llmops.yaml only where wanted."""
    files: dict[str, str] = {}
    if with_project:
        files["llmops.yaml"] = project_text(imported.models)
    for prompt in imported.prompts:
        files[f"prompts/{prompt.name}.prompt.yml"] = _prompt(prompt)
    for evalset in imported.evalsets:
        files |= _evalset(evalset, catalogue)
    return files


def project_text(models: Sequence[ImportedModel]) -> str:
    """llmops.yaml with these models."""
    return dumped({"models": _models(models), "environments": ["production"]})


def models_text(models: Sequence[ImportedModel]) -> str:
    """Lines to add under `models:` of a llmops.yaml that is there."""
    return dumped({"models": _models(models)})


def dumped(data: Mapping[str, Any]) -> str:
    """`data` as YAML that our own strict reader takes."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, indent=2
    )
    return text


def _models(models: Sequence[ImportedModel]) -> dict[str, Any]:
    return {each.alias: _Flow(each.fields) for each in models}


def _prompt(prompt: ImportedPrompt) -> str:
    written: dict[str, Any] = {}
    if prompt.description:
        written["description"] = prompt.description
    written["model"] = prompt.model
    if prompt.inputs:
        written["inputs"] = {name: _Flow(schema) for name, schema in prompt.inputs.items()}
    written["messages"] = list(prompt.messages)
    return dumped({**written, **prompt.shape})


def _evalset(evalset: ImportedEvalset, catalogue: Catalogue) -> dict[str, str]:
    path = f"evalsets/{evalset.name}"
    names = list(evalset.prompts)
    cases = [_case(each, catalogue) for each in evalset.cases]
    inline = len(cases) <= INLINE
    written: dict[str, Any] = {"prompt": names[0] if len(names) == 1 else _Flow(names)}
    if not inline:
        written["cases"] = f"{evalset.name.rpartition('/')[2]}.jsonl"
    if evalset.repeats > 1:
        written["repeats"] = evalset.repeats
    if evalset.scorers:
        written["scorers"] = [_on_one_line(_scorer(each, catalogue)) for each in evalset.scorers]
    if inline:
        written["cases"] = [
            {**each, "scorers": list(map(_on_one_line, each["scorers"]))}
            if "scorers" in each
            else each
            for each in cases
        ]
        return {f"{path}.yaml": dumped(written)}
    lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in cases)
    return {f"{path}.yaml": dumped(written), f"{path}.jsonl": "".join(lines)}


def _case(case: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The fields that say something, in the order of the documentation."""
    order = ("id", "inputs", "messages", "expected", "scorers", "metadata")
    needed = {"inputs", "expected"}
    written = {name: case[name] for name in order if case.get(name) or name in needed & set(case)}
    if "scorers" in written:
        written["scorers"] = [_scorer(each, catalogue) for each in written["scorers"]]
    return written


def _scorer(entry: Any, catalogue: Catalogue) -> Any:
    """The shortest of the three forms that means the same."""
    if not isinstance(entry, Mapping):
        return entry
    if "not" in entry:
        return {"not": _scorer(entry["not"], catalogue)}
    ((kind, options),) = entry.items()
    shorthand = catalogue.scorers[kind].shorthand
    if not options:
        return kind
    if set(options) == {shorthand} and not isinstance(options[shorthand], Mapping):
        return {kind: options[shorthand]}
    return {kind: options}


def _on_one_line(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    ((kind, value),) = entry.items()
    return {kind: _on_one_line(value) if kind == "not" else _Flow(value)}


class _Flow:
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
    if "\n" in text and not any(line != line.rstrip() for line in text.split("\n")):
        style = "|"
    elif (
        text in NULL
        or text in TRUE
        or text in FALSE
        or any(each.fullmatch(text) for each in (INTEGER, FLOAT, OCTAL_OR_HEX))
        or "{{" in text
        or "{%" in text
    ):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _flow(dumper: yaml.SafeDumper, flow: _Flow) -> yaml.Node:
    node = dumper.represent_data(flow.value)
    fits = len(json.dumps(flow.value, ensure_ascii=False)) <= WIDTH - 20
    if isinstance(node, yaml.CollectionNode) and fits and "\\n" not in json.dumps(flow.value):
        _inline(node)
    return node


def _inline(node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        node.flow_style = True
        for each in node.value:
            _inline(each)
    elif isinstance(node, yaml.MappingNode):
        node.flow_style = True
        for _, each in node.value:
            _inline(each)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Flow, _flow)
