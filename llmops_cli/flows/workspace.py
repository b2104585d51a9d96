"""An opened project: its files, its registry, its store and what this installation can do.

The one place where the rooms below are put together. Everything a flow touches comes from here,
so that a flow never asks the process for anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from llmops_cli.core.case import Evalset
from llmops_cli.core.catalogue import Catalogue, ProviderKind
from llmops_cli.core.digest import Json, digest, short
from llmops_cli.core.errors import UnknownName
from llmops_cli.core.ports import Provider, Records, World, untold
from llmops_cli.core.prompt import Model, Target
from llmops_cli.core.redact import Redactor
from llmops_cli.core.release import SUBJECT
from llmops_cli.core.shelf import Shelf
from llmops_cli.files.models import local_identity
from llmops_cli.files.paths import MAX_FILE, Unreadable
from llmops_cli.files.project import Project, find_root, load_project
from llmops_cli.files.surroundings import Check
from llmops_cli.files.template import Documents, documents_of
from llmops_cli.files.weights import Weights
from llmops_cli.flows.revision import open_git, reading, rules_at
from llmops_cli.flows.run.recorded import as_called
from llmops_cli.flows.run.scoring import Scorers
from llmops_cli.registry import (
    catalogue,
    check_ready,
    command_of,
    open_provider,
    open_records,
    wrong_options,
)
from llmops_cli.stores.pace import SharedCells
from llmops_cli.stores.registry import Registry, target_of
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.runfile import RunFile, open_run

FROM_ENVIRONMENT = "env:"
"""How a header in llmops.yaml refers to a secret."""
STORE = Path(".llmops") / "store"
FILE = "file"
"""The option that names the file of recorded answers."""
MAX_RECORDS = 2_000_000_000
"""Bytes of a file of records at another revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A target with the name people know it by: `support@working`, `support@v3`."""

    name: str
    target: Target
    version: int | None = None
    undrawable: str | None = None
    """Why it cannot be drawn here: the application that it was released with is another one now."""
    at_base: bool = False
    """Whether it is what stands at the base revision, and so are its recorded answers."""


class Evidenced(NamedTuple):
    """What a case was when it was measured."""

    facts: str
    request: str


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A project as one command sees it."""

    root: Path
    project: Project
    rules: Project
    """Whose policy and trust count: this project's, or what it was at the base revision."""
    base: str | None = None
    """The name of that revision; None: none was named."""
    registry: Registry
    results: ResultsStore
    volatile: ResultsStore
    """Answers that live for one run: replayed ones, and code without an identity."""
    cells: SharedCells
    """Where the rates per minute of models are kept, with the other processes here."""
    environ: Mapping[str, str]
    stack: ExitStack
    """Closes what the command opened."""
    shelf: Shelf
    """What providers opened for the length of the command."""

    @property
    def catalogue(self) -> Catalogue:
        """What this installation can do."""
        return self.project.catalogue

    @property
    def world(self) -> World:
        """What providers and scorers may see."""
        return World(root=self.root, environ=self.environ, redact=self.redact, shelf=self.shelf)

    @property
    def redact(self) -> Redactor:
        """Takes out every secret that the project or the names in the environment point to."""
        models = self.project.models.values()
        named = [each.api_key_env for each in models if each.api_key_env]
        named += [
            value.rpartition(FROM_ENVIRONMENT)[2]
            for each in models
            for value in each.headers.values()
            if FROM_ENVIRONMENT in value
        ]
        named += [name for each in models for name in _names(each.options.get("env"))]
        return Redactor.of(self.environ, named)

    def read(self, path: str) -> bytes:
        """A project file that a scorer names."""
        return self.project.source.read(path, limit=MAX_FILE)

    def scorers(self, evalset: Evalset) -> Scorers:
        """The scorers of an evalset, with their judges."""
        return Scorers(self.catalogue, evalset, self.read, self.project.judges.of)

    def actor(self) -> str:
        """Who is at work, for provenance: as git would sign, or the user's name."""
        checkout = open_git(self.root)
        known = checkout.actor() if checkout else None
        return known or self.environ.get("USER") or self.environ.get("USERNAME") or "unknown"

    def notes(self) -> tuple[str, ...]:
        """What a reader of a run must know about the store."""
        return self.results.notes

    def provider(self, model: Model) -> ProviderKind:
        """The catalogue's row for the provider of `model`."""
        return self.catalogue.providers[model.provider]

    def open_provider(
        self, model: Model, *, tell: Callable[[str], None] = untold
    ) -> AbstractAsyncContextManager[Provider]:
        """The provider of `model`, ready to be entered; its code is loaded here.

        `tell` hears what it waits for until it can be asked.
        """
        return open_provider(self.provider(model))(model, replace(self.world, tell=tell))

    def check_ready(self, models: Iterable[Model]) -> None:
        """Raises `Refused` where one of `models` cannot be asked for want of a program."""
        for model in models:
            check_ready(self.provider(model), model, self.world)

    def commands(self, models: Iterable[Model]) -> Iterator[tuple[Model, Sequence[str]]]:
        """What those of `models` start that trust is needed for."""
        for model in models:
            command = command_of(self.provider(model), model)
            if command is not None:
                yield model, command

    def records(self, model: Model, *, at_base: bool = False) -> Records | None:
        """Where the answers of `model` are recorded; None where it is called.

        `at_base`: as they stood at the base revision, where they are other ones now.
        """
        kind = self.provider(model)
        if kind.records is None:
            return None
        then = self._recorded_then(model) if at_base else None
        root = self.root if then is None else self._laid_out(str(model.options[FILE]), then)
        enter = as_called(model, self.redact)
        return self.stack.enter_context(open_records(kind)(model, root, enter))

    def recorded_in(self, model: Model, *, at_base: bool = False) -> str | None:
        """What names the records that `model` is answered from; None where it is called."""
        if self.provider(model).records is None:
            return None
        other = at_base and self._recorded_then(model) is not None
        return digest("llmops/records/v1", [dict(model.options), other])

    def _recorded_then(self, model: Model) -> bytes | None:
        """The file of records of `model` at the base revision; None: it is as it was."""
        path = model.options.get(FILE)
        if self.base is None or not isinstance(path, str):
            return None
        with reading(self.base):
            then = self.rules.source.read(path, limit=MAX_RECORDS)
        try:
            return None if self.project.source.read(path, limit=MAX_RECORDS) == then else then
        except Unreadable:
            return then

    def _laid_out(self, path: str, content: bytes) -> Path:
        """A folder, for the length of the command, in which `path` holds `content`."""
        folder = Path(self.stack.enter_context(TemporaryDirectory(prefix="llmops-")))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        return folder

    def results_of(self, model: Model) -> ResultsStore:
        """Where the answers of `model` are kept."""
        lives_on = not self.provider(model).volatile or model.identity is not None
        return self.results if lives_on else self.volatile

    def contender(self, name: str, selector: str) -> Contender:
        """The target that `name@selector` means (docs/words.md)."""
        if selector == "working":
            if name not in self.project.prompts:
                raise UnknownName("prompt", name, sorted(self.project.prompts))
            prompt = self.project.prompts[name]
            return Contender(name=f"{name}@working", target=self.project.target(prompt))
        number = self.registry.resolve(name, selector)
        self._reuse_evidence(name, number)
        target = target_of(self.registry.version(name, number))
        address = f"{name}@v{number}"
        return Contender(
            name=address,
            target=self._connected(target),
            version=number,
            undrawable=self._undrawable(address, target.model),
        )

    def at_base(self, name: str) -> Contender | None:
        """The prompt `name` as it stands at the base revision; None: no base, or not there."""
        if self.rules is self.project or name not in self.rules.prompts:
            return None
        target, address = self.rules.target(self.rules.prompts[name]), f"{name}@base"
        return Contender(
            name=address,
            target=self._connected(target),
            undrawable=self._undrawable(address, target.model),
            at_base=True,
        )

    def _connected(self, target: Target) -> Target:
        """A snapshot's target with today's way to reach its model: URL, key, limits, price."""
        frozen = target.model
        same = self._same(frozen)
        alias = self.project.models.get(frozen.name)
        if not same and alias is not None:  # the alias means another model now
            return replace(target, model=replace(frozen, name=f"{frozen.provider}/{frozen.model}"))
        if not same:
            return target
        today = next((model for model in same if model.name == frozen.name), same[0])
        reached = replace(
            frozen,
            name=today.name,
            base_url=today.base_url,
            api_key_env=today.api_key_env,
            headers=today.headers,
            options=today.options if self._has_identity(frozen) else frozen.options,
            limits=today.limits,
            price=today.price,
        )
        return replace(target, model=reached)

    def _same(self, frozen: Model) -> list[Model]:
        """The models of llmops.yaml that answer as `frozen` did; applications and local models,
        by identity.
        """
        return [
            model
            for model in self.project.models.values()
            if (model.provider, model.model) == (frozen.provider, frozen.model)
            and (model.identity == frozen.identity or not self._has_identity(frozen))
        ]

    def _has_identity(self, model: Model) -> bool:
        """Whether its name alone does not say what answers."""
        kind = self.provider(model)
        return kind.application or kind.weights

    def _undrawable(self, address: str, frozen: Model) -> str | None:
        """Why a version's application or local model cannot be asked: another one stands here.

        Its answers are then those that were measured: never are they drawn from other code, nor
        from other weights.
        """
        if not self._has_identity(frozen) or self._same(frozen):
            return None
        kind = self.provider(frozen)
        if kind.weights and frozen.identity == local_identity(frozen, kind, Weights(self.root)):
            return None  # served with other options today, but its files are as they were
        today = self.project.models.get(frozen.name)
        now = short(today.identity) if today and today.identity else "none"
        return (
            f"{address} cannot be drawn: what it ran is not here (identity "
            f"{short(frozen.identity or 'none')} ≠ {now}). Where it is, run "
            f"`llmops measure {address}`: its evidence holds no such answer"
        )

    def documents(self, target: Target) -> Documents | None:
        """What `target` is handed for a case, where it is an application."""
        return documents_of(target, self.catalogue)

    def evidenced_cases(self, name: str, number: int, evalset: str) -> Mapping[str, Evidenced]:
        """The cases of `evalset` by id, as the newest evidence of a version measured them."""
        for evidence in reversed(self.registry.evidence(name, number)):
            if self.registry.has_rows(evidence):
                return {
                    row.case: Evidenced(row.facts, row.arms[SUBJECT].request)
                    for row in self.registry.evidence_rows(evidence)
                    if row.evalset == evalset and SUBJECT in row.arms
                }
        return {}

    def evidenced_evalsets(self, name: str, number: int) -> tuple[str, ...]:
        """The evalsets that the newest evidence of a version was measured on."""
        for evidence in reversed(self.registry.evidence(name, number)):
            if self.registry.has_rows(evidence):
                return tuple(each.evalset for each in evidence.measurement.evalsets)
        return ()

    def evidence_alone(self, name: str, number: int) -> ResultsStore:
        """A store of what the evidence of a version holds, and of nothing that was drawn since."""
        store = self.stack.enter_context(open_results(None))
        for evidence in self.registry.evidence(name, number):
            if self.registry.has_rows(evidence):
                store.ingest(evidence.digest, *self.registry.evidence_held(evidence))
        return store

    def reuse_runs(self, paths: Iterable[Path]) -> None:
        """Puts into the store what run files hold, once. Raises `Refused` where one is none.

        A partial run only fills what is missing: as further draws, its answers would weigh on the
        cases that somebody chose to run again.
        """
        runs = [open_run(path) for path in paths]
        for run in sorted(runs, key=_is_partial):
            if self.results.has_taken(run.digest):
                continue
            completions, scores = run.held()
            if _is_partial(run):
                held = self.results.completions(key for key, _ in completions)
                completions = [each for each in completions if each[0] not in held]
            self.results.ingest(run.digest, completions, scores)

    def _reuse_evidence(self, name: str, number: int) -> None:
        """Puts into the store what the committed evidence of a version holds, once."""
        for evidence in self.registry.evidence(name, number):
            if self.registry.has_rows(evidence) and not self.results.has_taken(evidence.digest):
                self.results.ingest(evidence.digest, *self.registry.evidence_held(evidence))


def _names(value: Json) -> list[str]:
    """The environment variables that an application sees."""
    return [str(each) for each in value] if isinstance(value, list) else []


def _is_partial(run: RunFile) -> bool:
    return any(each.partial is not None for each in run.manifest.evalsets)


def open_project(start: Path) -> Project:
    """The project around `start`, for looking at it: raises `InvalidFiles` for all problems."""
    root = find_root(start)
    return load_project(root, catalogue(), check=options_check(root, os.environ))


@contextmanager
def open_workspace(
    start: Path, *, environ: Mapping[str, str] | None = None, base: str | None = None
) -> Iterator[Workspace]:
    """The project around `start`, its files validated: raises `InvalidFiles` for all problems.

    `base` names the git revision whose policy and trust list count.
    """
    root = find_root(start)
    known = catalogue()
    environ = os.environ if environ is None else environ
    project = load_project(root, known, check=options_check(root, environ))
    rules = project if base is None else rules_at(base, project)
    with ExitStack() as stack:
        results = stack.enter_context(open_results(root / STORE))
        yield Workspace(
            root=root,
            project=project,
            rules=rules,
            base=base,
            registry=Registry(root),
            results=results,
            volatile=stack.enter_context(open_results(None)),
            cells=stack.enter_context(closing(SharedCells(root / STORE))),
            environ=environ,
            stack=stack,
            shelf=stack.enter_context(Shelf()),
        )


def options_check(root: Path, environ: Mapping[str, str]) -> Check:
    """Asks the scorers' own code about their options: a pattern that does not compile, say."""
    world = World(root=root, environ=environ)
    return lambda kind, options: wrong_options(kind, options, world)
