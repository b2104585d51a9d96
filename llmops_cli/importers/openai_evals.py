"""Imports OpenAI Evals: samples in JSONL (`input`, `ideal`), alone or by their registry entry.

The turns that every sample begins with become the prompt's; its last turn is the input; what
stands between is the case's earlier turns. `ideal` is `expected`. How an answer is graded stands
in the registry only: samples alone are graded as `Match` grades them, and a note says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_cli.core.errors import Location
from llmops_cli.importers.base import (
    FALLBACK,
    Choices,
    Imported,
    ImportedEvalset,
    ImportedPrompt,
    NotCarried,
    Notes,
    fallback_model,
    free_name,
    name_for,
)
from llmops_cli.importers.nunjucks import literal
from llmops_cli.importers.source import Nearby, mapping
from llmops_cli.importers.writing import Case
from llmops_cli.project.documents import Document, load_json

ROLES = frozenset({"system", "developer", "user", "assistant"})
SPEAKERS: Mapping[str, str] = {"example_user": "user", "example_assistant": "assistant"}
"""Names by which Evals marks few-shot turns that stand in system messages."""
MATCH = "evals.elsuite.basic.match:Match"
ARGUMENTS = frozenset(
    {"samples_jsonl", "max_tokens", "ignore_case", "num_few_shot", "few_shot_jsonl"}
)
FOLDERS = ("", "registry/data/", "data/")
"""Where samples stand, from the folder that is imported."""
INPUT = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grading:
    """A class of Evals as a scorer of ours."""

    scorer: Any
    differs: str | None = None
    parses: bool = False
    """`ideal` is JSON in a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    turns: tuple[tuple[str, str], ...]
    """Role and text of each."""
    ideal: Any
    more: Mapping[str, Any]
    where: Location


def is_registry(data: Any) -> bool:
    """Whether a document is an entry of the registry: some of its values name a class."""
    return isinstance(data, Mapping) and any("class" in mapping(each) for each in data.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsImporter:
    """Imports samples, or the evals of a registry file."""

    nearby: Nearby
    choices: Choices

    def samples(self, path: str) -> Imported:
        """The samples of one JSONL file, without their registry entry."""
        notes = Notes()
        why = (
            "samples do not say how they are graded: an answer must start with `ideal`, as `Match`"
        )
        out = "import the YAML of the registry, or change `scorers`"
        notes.changed(Location(path=path), "the grading", why, out)
        grading = _grading(MATCH, {})
        one = self._one(self.choices.name, "", path, grading, notes)
        return self._imported([] if one is None else [one], path, notes)

    def registry(self, document: Document) -> Imported:
        """Every eval of a registry file that has a class."""
        notes = Notes()
        made: list[tuple[ImportedPrompt, ImportedEvalset]] = []
        data = mapping(document.data)
        classes = {name: mapping(each) for name, each in data.items() if "class" in mapping(each)}
        described = {
            mapping(each).get("id"): mapping(each).get("description") for each in data.values()
        }
        for name, entry in classes.items():
            where = document.where(name)
            arguments = mapping(entry.get("args"))
            try:
                grading = _grading(str(entry["class"]), arguments)
                path = self._samples_path(arguments)
                shots = self._shots(arguments)
            except NotCarried as error:
                notes.take(where, f"the eval '{name}'", error)
                continue
            self._arguments(arguments, document, name, notes)
            if grading.differs is not None:
                what = f"the class of '{name}'"
                notes.changed(document.where(name, "class"), what, grading.differs, "look at it")
            wanted = self.choices.name if len(classes) == 1 else name_for(name.partition(".")[0])
            own = free_name(wanted or self.choices.name, (prompt.name for prompt, _ in made))
            one = self._one(own, str(described.get(name) or ""), path, grading, notes, shots)
            made += [] if one is None else [one]
        return self._imported(made, document.path, notes)

    def _imported(
        self, made: Sequence[tuple[ImportedPrompt, ImportedEvalset]], path: str, notes: Notes
    ) -> Imported:
        if made and self.choices.model is None:
            why = f"samples name none: the prompt runs on `{FALLBACK}`, no LLM"
            out = "name your model in llmops.yaml, or import with --model provider/model"
            notes.changed(Location(path=path), "the model", why, out)
        return Imported(
            models=[fallback_model(self.choices)],
            prompts=[prompt for prompt, _ in made],
            evalsets=[evalset for _, evalset in made],
            notes=tuple(notes),
        )

    def _one(
        self,
        name: str,
        description: str,
        path: str,
        grading: _Grading,
        notes: Notes,
        shots: Sequence[tuple[str, str]] = (),
    ) -> tuple[ImportedPrompt, ImportedEvalset] | None:
        samples = list(_samples(self.nearby, path, notes))
        if not samples:
            notes.lost(Location(path=path), "the samples", "none can be read", "mend the file")
            return None
        last = Counter(sample.turns[-1][0] for sample in samples).most_common(1)[0][0]
        for sample in samples:
            if sample.turns[-1][0] != last:
                why = f"its last turn is not the {last}'s, as in most samples"
                notes.lost(sample.where, "a sample", why, "a prompt of its own")
        samples = [sample for sample in samples if sample.turns[-1][0] == last]
        common = _common([sample.turns[:-1] for sample in samples])
        if last != "user" and any(len(sample.turns) > len(common) + 1 for sample in samples):
            common = ()  # earlier turns of a case stand before the prompt's last user turn
        try:
            fixed = [{"role": role, "content": literal(text)} for role, text in (*common, *shots)]
        except NotCarried as error:
            notes.take(Location(path=path), "the turns that all samples share", error)
            return None
        messages = [*fixed, {"role": last, "content": "{{ input }}"}]
        prompt = ImportedPrompt(
            name=name,
            description=description,
            model="default",
            messages=messages,
            inputs={"input": INPUT},
        )
        cases = list(_cases(samples, len(common), grading, notes))
        if not cases:
            return None  # each of the samples was told
        return prompt, ImportedEvalset(
            name=name, prompts=[name], scorers=[grading.scorer], cases=cases
        )

    def _samples_path(self, arguments: Mapping[str, Any]) -> str:
        written = arguments.get("samples_jsonl")
        if not isinstance(written, str):
            raise NotCarried("it names no `samples_jsonl`", "import its samples")
        return self._found(written)

    def _shots(self, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
        count = arguments.get("num_few_shot")
        if not isinstance(count, int) or count < 1:
            return []
        path = self._found(str(arguments.get("few_shot_jsonl")))
        shots: list[tuple[str, str]] = []
        for line in self.nearby.text(path).splitlines()[:count]:
            try:
                shots += _turns(mapping(load_json(line)).get("sample"))
            except ValueError as error:
                raise NotCarried(f"few-shot turns: {error}", "mend the file") from None
        return shots

    def _found(self, written: str) -> str:
        for folder in FOLDERS:
            try:
                self.nearby.text(f"{folder}{written}")
            except NotCarried:
                continue
            return f"{folder}{written}"
        raise NotCarried(f"there is no file {written!r}", "put it below, in registry/data/")

    def _arguments(
        self, arguments: Mapping[str, Any], document: Document, name: str, notes: Notes
    ) -> None:
        for each in sorted(set(arguments) - ARGUMENTS):
            where = document.where(name, "args", each)
            notes.lost(where, f"the argument '{each}'", "it is not read", "look at its meaning")
        if "max_tokens" in arguments:
            where = document.where(name, "args", "max_tokens")
            out = "`modelParameters: {maxTokens: …}` in the prompt"
            notes.lost(where, "the argument 'max_tokens'", "it is a prompt's parameter", out)


def _grading(name: str, arguments: Mapping[str, Any]) -> _Grading:
    """The scorer of a class. Raises `NotCarried`."""
    kind = name.rpartition(":")[2]
    if kind == "Match":
        return _Grading(scorer={"starts_with": {"strip": False}})
    if kind == "Includes":
        folding = {"ignore_case": True} if arguments.get("ignore_case") else {}
        return _Grading(scorer={"contains": folding} if folding else "contains")
    if kind == "FuzzyMatch":
        options = {"ignore_case": True, "ignore_punctuation": True, "ignore_space": True}
        differs = "an answer that is only a part of `ideal` is wrong, and articles count"
        return _Grading(scorer={"contains": options}, differs=differs)
    if kind == "JsonMatch":
        options = {"expected": True, "fence": False}
        return _Grading(scorer={"json": options}, parses=True)
    out = "import its samples, and give a scorer; judged ones where there are any"
    raise NotCarried(f"there is no scorer for the class {kind!r}", out)


def _samples(nearby: Nearby, path: str, notes: Notes) -> Iterator[_Sample]:
    try:
        lines = nearby.text(path).splitlines()
    except NotCarried as error:
        notes.take(Location(path=path), "the samples", error)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = Location(path=path, line=number)
        try:
            yield _sample(load_json(line), where, notes)
        except (ValueError, NotCarried) as error:
            out = error.instead if isinstance(error, NotCarried) else "mend the line"
            notes.lost(where, "a sample", str(error), out)


def _sample(data: Any, where: Location, notes: Notes) -> _Sample:
    row = mapping(data)
    if "input" not in row or "ideal" not in row:
        raise NotCarried("it has no `input` and `ideal`", "an evalset with `inputs` of your own")
    ideal = row["ideal"]
    if isinstance(ideal, (int, float)) and not isinstance(ideal, bool):
        ideal = str(ideal)
    if not ideal or not isinstance(ideal, (str, list)):
        raise NotCarried("its `ideal` is no text and no list of texts", "write what is expected")
    turns = _turns(row["input"])
    if any(mapping(each).get("name") in SPEAKERS for each in row["input"] if each):
        why = "turns named example_user and example_assistant speak as user and assistant"
        notes.changed(Location(path=where.path), "few-shot turns", why, "nothing, mostly")
    more = {name: each for name, each in row.items() if name not in ("input", "ideal")}
    return _Sample(turns=tuple(turns), ideal=ideal, more=more, where=where)


def _turns(written: Any) -> list[tuple[str, str]]:
    """Role and text of each turn. Raises `NotCarried`."""
    if isinstance(written, str):
        return [("user", written)]
    turns: list[tuple[str, str]] = []
    for each in written if isinstance(written, list) else ():
        turn = mapping(each)
        role = SPEAKERS.get(str(turn.get("name")), turn.get("role"))
        content = turn.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise NotCarried("a turn without a known role or without text", "write its text")
        turns.append((str(role), content))
    if not turns:
        raise NotCarried("it has no turns", "write its `input`")
    return turns


def _common(all_turns: Sequence[tuple[tuple[str, str], ...]]) -> tuple[tuple[str, str], ...]:
    """The turns that all begin with."""
    shortest = min(all_turns, key=len)
    for position, turn in enumerate(shortest):
        if any(turns[position] != turn for turns in all_turns):
            return shortest[:position]
    return shortest


def _cases(
    samples: Sequence[_Sample], common: int, grading: _Grading, notes: Notes
) -> Iterator[Case]:
    asked: set[tuple[tuple[str, str], ...]] = set()
    for number, sample in enumerate(samples, start=1):
        try:
            expected = _parsed(sample.ideal) if grading.parses else sample.ideal
        except NotCarried as error:
            notes.take(sample.where, "a sample", error)
            continue
        case: Case = {"inputs": {"input": sample.turns[-1][1]}, "scorers": [], "expected": expected}
        if earlier := sample.turns[common:-1]:
            case["messages"] = [{"role": role, "content": text} for role, text in earlier]
        if sample.more:
            case["metadata"] = dict(sample.more)
        if sample.turns in asked:
            case = {"id": f"sample-{number}", **case}
        asked.add(sample.turns)
        yield case


def _parsed(ideal: Any) -> Any:
    if isinstance(ideal, list):
        raise NotCarried("one of several JSON values is not expected", "a case for each")
    try:
        return load_json(ideal)
    except ValueError as error:
        raise NotCarried(f"its `ideal` is not JSON: {error}", "mend it") from None
