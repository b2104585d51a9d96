"""Loads a project: `llmops.yaml`, every prompt and every evalset's header, or all problems at once.

A `Project` is an immutable value of what people wrote; cases are read when an evalset is loaded.
Nothing here looks at the network, the environment or git: files come through a `Source`, so the
same loading works for a folder and for a git revision.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Refused, UnknownName
from llmops_cli.core.globs import matches
from llmops_cli.core.policy import Environment
from llmops_cli.core.ports import Catalog
from llmops_cli.core.prompt import Evalset, Prompt
from llmops_cli.project import evalsets as evalset_files
from llmops_cli.project import prompts as prompt_files
from llmops_cli.project import tables
from llmops_cli.project.documents import Document, load_yaml
from llmops_cli.project.evalsets import EvalsetHeader, EvalsetReader
from llmops_cli.project.models import Check, ModelReader, ProjectContext
from llmops_cli.project.paths import MAX_FILE, Absent, Folder, Problems, Source, Unreadable
from llmops_cli.project.policy import read_gate
from llmops_cli.project.prompts import PromptReader
from llmops_cli.project.schema import (
    WrittenCase,
    WrittenEnvironment,
    WrittenProject,
    WrittenPrompt,
    validated,
)

if TYPE_CHECKING:
    from llmops_cli.core.watch import WatchSettings

PROJECT_FILE = "llmops.yaml"


@dataclass(frozen=True, kw_only=True)
class Project(ProjectContext):
    """The validated files of a project."""

    root: Path
    environments: tuple[Environment, ...]
    """In promotion order; the last is the default baseline."""
    gate: Mapping[str, Json]
    """The project's patch of the policy, the weakest."""
    evalsets: Mapping[str, EvalsetHeader]
    outputs: Literal["commit", "none"]
    """Whether evidence keeps the answers' texts."""
    trust: tuple[str, ...]
    """Project files, or globs of them, whose code may run, and servers that a change may add."""
    watch: Mapping[str, WatchSettings]
    """What is watched in production, by environment."""
    loaded: Mapping[str, Evalset] = field(default_factory=dict)
    """Evalsets with their cases, if they were read already."""

    def is_code(self, path: str) -> bool:
        """Return whether `trust` lists the file at `path`, by itself or in a command."""
        return any(matches(path, glob) for entry in self.trust for glob in entry.split())

    def evalsets_of(self, prompt: str) -> tuple[str, ...]:
        """Return the names of the evalsets that gate `prompt`."""
        return tuple(name for name, header in self.evalsets.items() if prompt in header.prompts)

    def evalset(self, name: str) -> Evalset:
        """Return the evalset with its cases. Raises `InvalidFiles` with every problem in them."""
        return self.load([name])[0]

    def load(self, names: Iterable[str]) -> tuple[Evalset, ...]:
        """Return several evalsets with their cases; raises every problem in any of them at once."""
        problems = Problems()
        loaded = self.load_into(problems, names)
        problems.refuse()
        return loaded

    def load_into(self, problems: Problems, names: Iterable[str]) -> tuple[Evalset, ...]:
        """Return evalsets with their cases, and add every problem in them to `problems`."""
        reader = EvalsetReader(self, problems)
        evalsets: list[Evalset] = []
        for name in names:
            if name not in self.evalsets:
                raise UnknownName("evalset", name, self.evalsets)
            evalsets.append(self.loaded.get(name) or reader.evalset(self.evalsets[name]))
        return tuple(evalsets)

    def gate_of(self, evalset: Evalset) -> Mapping[str, Json]:
        """Return this project's policy patch for an evalset of that name; empty if it has none."""
        header = self.evalsets.get(evalset.name)
        return {} if header is None else header.gate

    def line(self, path: str, *keys: str) -> Location:
        """Return the line of a value in one of the project's YAML files."""
        return load_yaml(self.source.read(path, limit=MAX_FILE), path).where(*keys)

    def rule_place(self, evalset: Evalset, environment: str, mentions: str) -> Location:
        """Return the line of the first rule for an evalset in an environment that says `mentions`.

        The strongest layer with `rules` counts: environment, evalset, project.
        """
        layers: list[tuple[Mapping[str, object], str, tuple[str, ...]]] = [
            (known.gate, PROJECT_FILE, ("environments", known.name, "gate", "rules"))
            for known in self.environments
            if known.name == environment
        ]
        header = self.evalsets.get(evalset.name)
        if header is not None:
            layers.append((header.gate, header.path, ("gate", "rules")))
        for patch, path, place in (*layers, (self.gate, PROJECT_FILE, ("gate", "rules"))):
            if patch.get("rules"):
                document = load_yaml(self.source.read(path, limit=MAX_FILE), path)
                rules: Any = document.data
                for key in place:
                    rules = rules[key]
                named = (at for at, rule in enumerate(rules) if mentions in str(rule))
                return document.where(*place, next(named, 0))
        return Location(path=PROJECT_FILE)

    def columns_read_as_json(self, evalset: Evalset) -> tuple[str, ...]:
        """Return the columns of the evalset's CSV table whose text was read as JSON."""
        header = self.evalsets.get(evalset.name)
        if header is None or not (header.table or "").endswith(".csv"):
            return ()
        columns: dict[str, None] = {}
        for case in evalset.cases:
            for place in header.structured:
                value = case.metadata.get(place[1]) if len(place) == 2 else case.expected
                if not isinstance(value, str | None):
                    columns[".".join(place)] = None
        return tuple(columns)


def find_root(start: Path) -> Path:
    """Return the nearest folder with an `llmops.yaml`, from `start` upwards. Raises `Refused`.

    Where there is none, `start` itself, if it has prompts: they may name their models in full.
    """
    start = start.absolute()
    if not start.is_dir():
        raise Refused(f"there is no folder {start}")
    for folder in (start, *start.parents):
        if os.path.lexists(folder / PROJECT_FILE):  # one that can't be read is a problem, later
            return folder
    prompts = start / prompt_files.FOLDER
    if any(next(prompts.rglob(f"*{ending}"), None) for ending in prompt_files.ENDINGS):
        return start
    raise Refused(
        f"no {PROJECT_FILE} in {start} or above it", hint="llmops init writes one to start from"
    )


def has_project_file(source: Source) -> bool:
    """Tell whether `source` holds an `llmops.yaml`, readable or not."""
    try:
        source.read(PROJECT_FILE, limit=MAX_FILE)
    except Absent:
        return False
    except Unreadable:
        pass  # reading it says why
    return True


def load_project(
    root: Path,
    catalog: Catalog,
    *,
    source: Source | None = None,
    check: Check | None = None,
    store: Path | None = None,
) -> Project:
    """Return everything but the cases. Raises `InvalidFiles` with every problem at once.

    `check` asks the scorers' own code about their options (`plugins.wrong_options`). `store` is the
    store's folder.
    """
    problems = Problems()
    source = source or Folder(root)
    context = ProjectContext(catalog=catalog, source=source, check=check, store=store)
    project = _Loader(root, context, problems).project()
    problems.refuse()
    return project


def check_project(
    root: Path, catalog: Catalog, *, check: Check | None = None, store: Path | None = None
) -> tuple[Project, tuple[Evalset, ...]]:
    """Return everything with all cases. Raises `InvalidFiles` with every problem at once."""
    problems = Problems()
    context = ProjectContext(catalog=catalog, source=Folder(root), check=check, store=store)
    project = _Loader(root, context, problems).project()
    evalsets = project.load_into(problems, project.evalsets)
    problems.refuse()
    return project, evalsets


PromptFile: TypeAlias = tuple[Prompt, WrittenPrompt, Document]
"""A prompt with the file it came from."""


class _Loader:
    """Reads a project's files once; parts that cannot be read are problems, and left out."""

    def __init__(self, root: Path, context: ProjectContext, problems: Problems) -> None:
        self._root = root
        self._context = context
        self._problems = problems

    def project(self) -> Project:
        exists = has_project_file(self._context.source)
        document = self._document(PROJECT_FILE) if exists else None
        document = document or Document(PROJECT_FILE, {}, {}, {})
        data = {} if document.data is None else document.data
        written = validated(WrittenProject, data, document.where, self._problems, salvage=True)
        written = written or WrittenProject()
        models = ModelReader(self._context, document, self._problems).read(written.models)
        files, broken = self._prompts()
        prompts = {name: prompt for name, (prompt, _, _) in files.items()}
        self._context = context = replace(
            self._context,
            models=models,
            prompts=prompts,
            default_scorers=written.defaults.scorers,
            default_case=self._default_case(written, document),
            defaults_at=lambda *at: document.where("defaults", "scorers", *at),
        )
        for prompt, _, file in files.values():
            self._check_model(prompt, file, written.models)
        return Project(
            **{item.name: getattr(context, item.name) for item in fields(context)},
            root=self._root,
            environments=tuple(self._environments(written, document)),
            gate=read_gate(written.gate, document.where, self._problems, "gate"),
            evalsets=self._evalsets(files.values(), EvalsetReader(context, self._problems, broken)),
            outputs=written.evidence.outputs,
            trust=tuple(written.trust),
            watch=self._watch(written, document),
        )

    def _document(self, path: str) -> Document | None:
        try:
            return load_yaml(self._context.source.read(path, limit=MAX_FILE), path)
        except Unreadable as error:
            self._problems.add(Location(path=path), str(error))
        except InvalidFiles as error:
            self._problems.take(*error.problems)
        return None

    def _files(self, folder: str) -> Iterator[str]:
        """Yield the files under `folder`; what may hide more of them is a problem."""
        try:
            paths = self._context.source.files(folder)
        except Unreadable as error:
            self._problems.add(Location(path=folder), str(error))
            return
        for path in paths:
            if path.endswith("/"):
                hint = "move the folder here, or link its files"
                self._problems.add(Location(path=path), "a link to a folder is not read", hint)
            else:
                yield path

    def _prompts(self) -> tuple[dict[str, PromptFile], set[str]]:
        """Return the prompts by name, and the names of those whose files are broken."""
        files: dict[str, PromptFile] = {}
        broken: set[str] = set()
        source = self._context.source
        for path in self._files(prompt_files.FOLDER):
            if not path.endswith(prompt_files.ENDINGS):
                if path.endswith((".yml", ".yaml")):
                    message = "not loaded: a prompt's file ends in .prompt.yml"
                    self._problems.add(Location(path=path), message)
                continue
            document = self._document(path)
            read = document and PromptReader(document, source, self._problems).read()
            if not document or not read:
                broken.add(prompt_files.name_of(path))
                continue
            prompt, written = read
            first, *_ = files.setdefault(prompt.name, (prompt, written, document))
            if first is not prompt:
                message = f"a second prompt named '{prompt.name}'"
                self._problems.add(document.where("name"), message, f"the first is {first.path}")
        return files, broken

    def _check_model(self, prompt: Prompt, document: Document, written: Container[str]) -> None:
        model, where = None, document.where
        try:
            model = self._context.resolve_model(prompt.model)
        except UnknownName as error:
            if prompt.model in written:
                return  # its own problem is noted already
            message, hint = error.message, error.hint
            if prompt.model == prompt_files.DEFAULT_MODEL:
                message = "'model' is missing"
                hint = "name one here, or `default:` under `models:` of llmops.yaml"
            self._problems.add(where("model"), message, hint)
        if model is not None and self._context.provider_of(model).application:
            # What only a model understands would be left out silently.
            for name, value in {
                "tools": prompt.tools,
                "responseFormat": prompt.response_format,
            }.items():
                if value:
                    message = f"'{name}' is for a model, and {prompt.model} is an application"
                    self._problems.add(where(name), message)
            return
        if not prompt.messages:
            hint = "only an application answers to inputs alone"
            self._problems.add(where(), "'messages' is missing", hint)
        if model is not None and not model.holds(prompt.response_format):
            message = f"{model.name} can hold no answer to {prompt.response_format}"
            hint = f"llmops.yaml says `structured_output: {model.structured_output}` of it"
            self._problems.add(where("responseFormat"), message, hint)

    def _default_case(self, written: WrittenProject, document: Document) -> Mapping[str, Json]:
        case = written.defaults.case
        at = ("defaults", "case")
        return case if validated(WrittenCase, case, document.where, self._problems, *at) else {}

    def _watch(self, written: WrittenProject, document: Document) -> Mapping[str, WatchSettings]:
        if not written.watch:
            return {}
        from llmops_cli.project.watch import read_watch  # noqa: PLC0415 - few projects need it

        names = list(written.environments)
        return read_watch(written.watch, names, document.where, self._problems)

    def _environments(self, written: WrittenProject, document: Document) -> Iterator[Environment]:
        names = list(written.environments)
        if isinstance(written.environments, list):
            for position, name in enumerate(names):
                if name in names[:position]:
                    where = document.where("environments", position)
                    self._problems.add(where, f"the environment '{name}' is here twice")
                yield Environment(name=name, after=names[position - 1] if position else None)
            return
        for position, (name, entry) in enumerate(written.environments.items()):
            details = entry or WrittenEnvironment()
            if details.after is not None and details.after not in names[:position]:
                where = document.where("environments", name, "after")
                message = f"'{details.after}' is no environment before '{name}'"
                self._problems.add(where, message, f"in order: {', '.join(names)}")
            place = ("environments", name, "gate")
            gate = read_gate(details.gate, document.where, self._problems, *place)
            yield Environment(name=name, after=details.after, accept=details.accept, gate=gate)

    def _evalsets(
        self, files: Iterable[PromptFile], reader: EvalsetReader
    ) -> dict[str, EvalsetHeader]:
        headers: dict[str, EvalsetHeader] = {}
        own = (reader.own_header(*file) for file in files)
        for header in filter(None, (*own, *self._headers(reader))):
            first = headers.setdefault(header.name, header)
            if first is not header:
                message = f"a second evalset named '{header.name}'"
                where = Location(path=header.path)
                self._problems.add(where, message, f"the first is {first.path}")
        return headers

    def _headers(self, reader: EvalsetReader) -> Iterator[EvalsetHeader | None]:
        """Yield headers of the files in `evalsets/`; lists and tables hold another one's cases."""
        case_files: list[str] = []
        named: set[str | None] = set()
        broken = False
        for path in self._files(evalset_files.FOLDER):
            if not path.endswith(evalset_files.ENDINGS):
                if path.endswith(tables.ENDINGS):
                    case_files.append(path)
                continue
            document = self._document(path)
            if document is not None and isinstance(document.data, list):
                case_files.append(path)
                continue
            header = None if document is None else reader.header(document)
            broken |= header is None
            if header is not None:
                named |= {
                    header.table,
                    f"{evalset_files.FOLDER}/{header.name}{evalset_files.DRAFTS}",
                }
            yield header
        for path in case_files:
            if path not in named and not broken:  # else a broken one may name it
                hint = f"an evalset names it: `cases: {path.rpartition('/')[2]}`"
                self._problems.add(Location(path=path), "cases that no evalset names", hint)
