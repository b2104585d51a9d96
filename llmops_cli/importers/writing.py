"""Moves what all cases of an evalset share up to it, so that a file reads as if written by hand.

A scorer that every case has becomes one of the evalset's. Where every case then has one scorer
left, of one kind with the same options apart from its value, that value becomes `expected`.

Writes what was imported as project files: the YAML that a person would have written.

Keys stand in the order of the documentation, long texts as literal blocks, small mappings and
lists of plain values on one line. Up to `INLINE` cases stand in the evalset; more go to a JSONL
file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import yaml

from llmops_cli.core.catalog import Catalog
from llmops_cli.importers.base import Imported, ImportedEvalset, ImportedModel, ImportedPrompt
from llmops_cli.project.documents import FALSE, FLOAT, INTEGER, NULL, OCTAL_OR_HEX, TRUE

Case: TypeAlias = dict[str, Any]


def hoisted(cases: Sequence[Case], catalog: Catalog) -> tuple[list[Any], list[Case]]:
    """The evalset's scorers, and the cases with what is left of theirs."""
    shared = _shared(cases)
    rest = [
        {**case, "scorers": [each for each in case["scorers"] if _key(each) not in shared]}
        for case in cases
    ]
    scorers = list(shared.values())
    expecting = _expecting(rest, catalog)
    if expecting is not None:
        kind, option, options = expecting
        entry: Any = {kind: options} if options else kind
        scorers.append(entry)
        rest = [_expects(case, kind, option) for case in rest]
    return _labelled(scorers, rest)


def _shared(cases: Sequence[Case]) -> dict[str, Any]:
    """Scorers of the first case that all others have too."""
    if not cases:
        return {}
    everywhere = [{_key(each) for each in case["scorers"]} for case in cases]
    return {
        _key(each): each
        for each in cases[0]["scorers"]
        if all(_key(each) in keys for keys in everywhere)
    }


def _expecting(
    cases: Sequence[Case], catalog: Catalog
) -> tuple[str, str, Mapping[str, Any]] | None:
    """The kind, its option for the value and the other options that all single scorers share."""
    found: tuple[str, str, Mapping[str, Any]] | None = None
    if len(cases) < 2:
        return None
    for case in cases:
        if len(case["scorers"]) != 1 or "not" in case["scorers"][0] or "expected" in case:
            return None
        ((kind, options),) = case["scorers"][0].items()
        option = catalog.scorers[kind].expects
        if option is None or option not in options or "{%" in str(options[option]):
            return None
        this = (kind, option, {name: each for name, each in options.items() if name != option})
        if found is not None and found != this:
            return None
        found = this
    return found


def _expects(case: Case, kind: str, option: str) -> Case:
    return {**case, "expected": case["scorers"][0][kind][option], "scorers": []}


def _labelled(scorers: list[Any], cases: list[Case]) -> tuple[list[Any], list[Case]]:
    """Names of scorers made unique within the evalset and each of its cases."""
    taken: set[str] = set()
    labelled = [_unique(each, taken) for each in scorers]
    return labelled, [
        {**case, "scorers": [_unique(each, own) for each in case["scorers"]]}
        for case, own in ((case, set(taken)) for case in cases)
    ]


def _unique(entry: Any, taken: set[str]) -> Any:
    inner = entry.get("not", entry) if isinstance(entry, dict) else {}
    for kind, options in inner.items() if isinstance(inner, dict) else ():
        if not isinstance(options, dict) or "name" not in options:
            continue
        label = next(each for each in _numbered(options["name"]) if each not in taken)
        taken.add(label)
        named = {kind: {**options, "name": label}}
        return {"not": named} if "not" in entry else named
    return entry


def _numbered(label: str) -> Iterator[str]:
    yield label
    number = 2
    while True:
        yield f"{label} {number}"
        number += 1


def _key(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


INLINE = 20
WIDTH = 96
PLAIN_STYLE = frozenset({None, ""})


def files_of(imported: Imported, catalog: Catalog, *, with_project: bool) -> dict[str, str]:
    """The text of every file by its path in the project; llmops.yaml only where wanted."""
    files: dict[str, str] = {}
    if with_project:
        files["llmops.yaml"] = project_text(imported.models)
    for prompt in imported.prompts:
        files[f"prompts/{prompt.name}.prompt.yml"] = _prompt(prompt)
    for evalset in imported.evalsets:
        files |= _evalset(evalset, catalog)
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


def _evalset(evalset: ImportedEvalset, catalog: Catalog) -> dict[str, str]:
    path = f"evalsets/{evalset.name}"
    names = list(evalset.prompts)
    cases = [_case(each, catalog) for each in evalset.cases]
    inline = len(cases) <= INLINE
    written: dict[str, Any] = {"prompt": names[0] if len(names) == 1 else _Flow(names)}
    if not inline:
        written["cases"] = f"{evalset.name.rpartition('/')[2]}.jsonl"
    if evalset.repeats > 1:
        written["repeats"] = evalset.repeats
    if evalset.scorers:
        written["scorers"] = [_on_one_line(_scorer(each, catalog)) for each in evalset.scorers]
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


def _case(case: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """The fields that say something, in the order of the documentation."""
    order = ("id", "inputs", "messages", "expected", "scorers", "metadata")
    needed = {"inputs", "expected"}
    written = {name: case[name] for name in order if case.get(name) or name in needed & set(case)}
    if "scorers" in written:
        written["scorers"] = [_scorer(each, catalog) for each in written["scorers"]]
    return written


def _scorer(entry: Any, catalog: Catalog) -> Any:
    """The shortest of the three forms that means the same."""
    if not isinstance(entry, Mapping):
        return entry
    if "not" in entry:
        return {"not": _scorer(entry["not"], catalog)}
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
