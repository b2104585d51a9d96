"""Imports OpenAI Evals: samples in JSONL (`input`, `ideal`), alone or by their registry entry.

The turns that every sample begins with become the prompt's; its last turn is the input; what
stands between is the case's earlier turns. `ideal` is `expected`. How an answer is graded stands
in the registry only: samples alone are graded as `Match` grades them, and a note says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmops_cli.core.errors import Location
from llmops_cli.importers.imported import (
    FALLBACK,
    Case,
    ImportChoices,
    Imported,
    ImportedEvalset,
    ImportedPrompt,
    free_name,
    name_for,
)
from llmops_cli.importers.source import ImportFolder, Node, NotCarried, literal, mapping
from llmops_cli.project.documents import load_json
from llmops_cli.project.paths import MAX_CASES, Unreadable

ROLES = frozenset({"system", "developer", "user", "assistant"})
SPEAKERS: Mapping[str, str] = {"example_user": "user", "example_assistant": "assistant"}
"""Names that mark few-shot turns in system messages."""
READ = frozenset({"samples_jsonl", "max_tokens", "ignore_case", "num_few_shot", "few_shot_jsonl"})
FOLDERS = ("", "registry/data/", "data/")
"""The folder of samples, relative to the imported one."""

Turns: TypeAlias = tuple[tuple[str, str], ...]
"""Role and text of each turn."""
Made: TypeAlias = tuple[ImportedPrompt, ImportedEvalset]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grading:
    """A class of Evals as a scorer of ours."""

    scorer: Any
    differs: str | None = None
    parses: bool = False
    """`ideal` is JSON in a text."""


MATCH = _Grading(scorer={"starts_with": {"strip": False}})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    turns: Turns
    ideal: Any
    metadata: Mapping[str, Any]
    where: Location


def is_registry(data: Any) -> bool:
    """Tell whether a document is an entry of the registry: some of its values name a class."""
    return isinstance(data, Mapping) and any("class" in mapping(entry) for entry in data.values())


class EvalsImporter:
    """Imports samples, or the evals of a registry file."""

    def __init__(self, folder: ImportFolder, choices: ImportChoices) -> None:
        self._folder = folder
        self._choices = choices
        self._notes = folder.notes

    def samples(self, path: str) -> Imported:
        """Return what the samples of one JSONL file become, without their registry entry."""
        why = (
            "samples do not say how they are graded: an answer must start with `ideal`, as `Match`"
        )
        out = "import the YAML of the registry, or change `scorers`"
        self._notes.changed(Location(path=path), "the grading", why, out)
        return self._imported(list(self._made(self._choices.name, "", path, MATCH)), path)

    def registry(self, registry: Node) -> Imported:
        """Return what the evals of a registry file become: those that have a class."""
        evals: list[Made] = []
        entries = [registry.at(name) for name in registry.fields]
        described = {entry.fields.get("id"): entry.fields.get("description") for entry in entries}
        classes = [entry for entry in entries if "class" in entry.fields]
        for entry in classes:
            name = str(entry.place[-1])
            arguments = entry.at("args")
            with entry.reporting(f"the eval '{name}'"):
                grading = _grading(str(entry.fields["class"]), arguments.fields)
                path = self._samples_path(arguments.fields)
                shots = self._shots(arguments.fields)
                arguments.unread(READ, "the argument '{}'", "it is not read", "look at its meaning")
                if "max_tokens" in arguments.fields:
                    why, out = (
                        "it is a prompt's parameter",
                        "`modelParameters: {maxTokens: …}` in the prompt",
                    )
                    arguments.at("max_tokens").lost("the argument 'max_tokens'", why, out)
                if grading.differs is not None:
                    what = f"the class of '{name}'"
                    entry.at("class").changed(what, grading.differs, "look at it")
                stem = name_for(name.partition(".")[0]) if classes[1:] else ""
                own = free_name(stem or self._choices.name, (prompt.name for prompt, _ in evals))
                evals += self._made(own, str(described.get(name) or ""), path, grading, shots)
        return self._imported(evals, registry.document.path)

    def _imported(self, evals: Sequence[Made], path: str) -> Imported:
        if evals and self._choices.model is None:
            why = f"samples name none: the prompt runs on `{FALLBACK}`, no LLM"
            out = "name your model in llmops.yaml, or import with --model provider/model"
            self._notes.changed(Location(path=path), "the model", why, out)
        return Imported(
            models=[self._choices.fallback_model()],
            prompts=[prompt for prompt, _ in evals],
            evalsets=[evalset for _, evalset in evals],
            notes=tuple(self._notes),
        )

    def _made(
        self, name: str, description: str, path: str, grading: _Grading, shots: Turns = ()
    ) -> Iterator[Made]:
        """Yield the prompt and the evalset of samples; none if there are none to make."""
        samples = list(self._samples(path))
        if not samples:
            self._notes.lost(Location(path=path), "the samples", "none can be read", "fix the file")
            return
        last = Counter(sample.turns[-1][0] for sample in samples).most_common(1)[0][0]
        for sample in samples:
            if sample.turns[-1][0] != last:
                why = f"its last turn is not the {last}'s, as in most samples"
                self._notes.lost(sample.where, "a sample", why, "a prompt of its own")
        samples = [sample for sample in samples if sample.turns[-1][0] == last]
        common = _common([sample.turns[:-1] for sample in samples])
        if last != "user" and any(len(sample.turns) > len(common) + 1 for sample in samples):
            common = ()  # earlier turns of a case stand before the prompt's last user turn
        with self._notes.reporting(Location(path=path), "the turns that all samples share"):
            fixed = [{"role": role, "content": literal(text)} for role, text in (*common, *shots)]
            prompt = ImportedPrompt(
                name=name,
                description=description,
                model="default",
                messages=[*fixed, {"role": last, "content": "{{ input }}"}],
                inputs={"input": {"type": "string"}},
            )
            cases = list(self._cases(samples, len(common), grading))
            if cases:  # otherwise each of the samples has its note
                scorers = [grading.scorer]
                yield (
                    prompt,
                    ImportedEvalset(name=name, prompts=[name], scorers=scorers, cases=cases),
                )

    def _samples_path(self, arguments: Mapping[str, Any]) -> str:
        path = arguments.get("samples_jsonl")
        if not isinstance(path, str):
            raise NotCarried("it names no `samples_jsonl`", "import its samples")
        return self._existing(path)

    def _shots(self, arguments: Mapping[str, Any]) -> Turns:
        count = arguments.get("num_few_shot")
        if not isinstance(count, int) or count < 1:
            return ()
        shots: list[tuple[str, str]] = []
        lines = self._folder.lines(self._existing(str(arguments.get("few_shot_jsonl"))))
        for _, (_, line) in zip(range(count), lines, strict=False):
            shots += _turns(mapping(_json(line, "few-shot turns: ", "fix the file")).get("sample"))
        return tuple(shots)

    def _existing(self, path: str) -> str:
        """Return where a file of the registry stands. Raises `NotCarried`."""
        reasons = []
        for folder in FOLDERS:
            try:
                self._folder.source.read(f"{folder}{path}", limit=MAX_CASES)
            except Unreadable as error:
                reasons.append(str(error))
            else:
                return f"{folder}{path}"
        raise NotCarried(reasons[0], "put it below, in registry/data/")

    def _samples(self, path: str) -> Iterator[_Sample]:
        with self._notes.reporting(Location(path=path), "the samples"):
            for where, line in self._folder.lines(path):
                with self._notes.reporting(where, "a sample"):
                    yield self._sample(_json(line, "", "fix the line"), where)

    def _sample(self, data: Any, where: Location) -> _Sample:
        row = mapping(data)
        if "input" not in row or "ideal" not in row:
            out = "an evalset with `inputs` of your own"
            raise NotCarried("it has no `input` and `ideal`", out)
        ideal = row["ideal"]
        if isinstance(ideal, (int, float)) and not isinstance(ideal, bool):
            ideal = str(ideal)
        if not ideal or not isinstance(ideal, (str, list)):
            why = "its `ideal` is no text and no list of texts"
            raise NotCarried(why, "write what is expected")
        turns = _turns(row["input"])
        if any(mapping(turn).get("name") in SPEAKERS for turn in row["input"] if turn):
            why = "turns named example_user and example_assistant speak as user and assistant"
            whole_file = Location(path=where.path)
            self._notes.changed(whole_file, "few-shot turns", why, "nothing, mostly")
        metadata = {name: row[name] for name in row if name not in ("input", "ideal")}
        return _Sample(turns=turns, ideal=ideal, metadata=metadata, where=where)

    def _cases(self, samples: Sequence[_Sample], common: int, grading: _Grading) -> Iterator[Case]:
        questions: set[Turns] = set()
        for number, sample in enumerate(samples, start=1):
            with self._notes.reporting(sample.where, "a sample"):
                case: Case = {
                    "inputs": {"input": sample.turns[-1][1]},
                    "scorers": [],
                    "expected": _parsed(sample.ideal) if grading.parses else sample.ideal,
                }
                if earlier := sample.turns[common:-1]:
                    case["messages"] = [{"role": role, "content": text} for role, text in earlier]
                if sample.metadata:
                    case["metadata"] = dict(sample.metadata)
                if sample.turns in questions:
                    case["id"] = f"sample-{number}"
                questions.add(sample.turns)
                yield case


def _grading(name: str, arguments: Mapping[str, Any]) -> _Grading:
    """Return the scorer of a class. Raises `NotCarried`."""
    match name.rpartition(":")[2]:
        case "Match":
            return MATCH
        case "Includes":
            ignoring = bool(arguments.get("ignore_case"))
            return _Grading(scorer={"contains": {"ignore_case": True}} if ignoring else "contains")
        case "FuzzyMatch":
            options = {"ignore_case": True, "ignore_punctuation": True, "ignore_space": True}
            differs = "an answer that is only a part of `ideal` is wrong, and articles count"
            return _Grading(scorer={"contains": options}, differs=differs)
        case "JsonMatch":
            return _Grading(scorer={"json": {"expected": True, "fence": False}}, parses=True)
        case kind:
            out = "import its samples, and give a scorer; judged ones where there are any"
            raise NotCarried(f"there is no scorer for the class {kind!r}", out)


def _turns(written: Any) -> Turns:
    """Return role and text of each turn. Raises `NotCarried`."""
    if isinstance(written, str):
        return (("user", written),)
    turns: list[tuple[str, str]] = []
    for turn in map(mapping, written if isinstance(written, list) else ()):
        role = SPEAKERS.get(str(turn.get("name")), turn.get("role"))
        content = turn.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise NotCarried("a turn without a known role or without text", "write its text")
        turns.append((str(role), content))
    if not turns:
        raise NotCarried("it has no turns", "write its `input`")
    return tuple(turns)


def _common(conversations: Sequence[Turns]) -> Turns:
    """Return the turns that all conversations begin with."""
    shortest = min(conversations, key=len)
    for position, turn in enumerate(shortest):
        if any(turns[position] != turn for turns in conversations):
            return shortest[:position]
    return shortest


def _parsed(ideal: Any) -> Any:
    if isinstance(ideal, list):
        raise NotCarried("one of several JSON values is not expected", "a case for each")
    return _json(ideal, "its `ideal` is not JSON: ", "fix it")


def _json(text: str, before: str, instead: str) -> Any:
    """Return the JSON of `text`. Raises `NotCarried`, with `before` ahead of the reason."""
    try:
        return load_json(text)
    except ValueError as error:
        raise NotCarried(f"{before}{error}", instead) from None
