"""An opened project: its files, registry, store, and the installed scorers and providers.

A run gets everything from here and reads nothing from the process itself. That includes the user,
the time and the CI run, which versions, evidence and events record. Rules and registry can be those
of another git revision.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from llmops_cli.core.ci import STORE_VARIABLE, CiContext, ci_context, may_call, store_folder
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import IntegrityBroken, InvalidFiles, Refused
from llmops_cli.core.policy import Policy
from llmops_cli.core.ports import (
    Catalog,
    PluginContext,
    Provider,
    ProviderKind,
    ResourceCache,
    ScorerKind,
    ignore_wait,
)
from llmops_cli.core.prompt import Evalset, Judge, Model
from llmops_cli.core.records import Event, Evidence, Provenance
from llmops_cli.core.redact import Redactor
from llmops_cli.gate.calibration import GatingJudge, gating_judges
from llmops_cli.gate.wording import listed
from llmops_cli.plugins.catalog import (
    catalog,
    command_of,
    open_provider,
    wrong_options,
)
from llmops_cli.project.models import Check
from llmops_cli.project.paths import HIDDEN, MAX_CASES, MAX_FILE, Absent, Source, Unreadable
from llmops_cli.project.project import Project, find_root, has_project_file, load_project
from llmops_cli.run.scorers import Scorers
from llmops_cli.stores.calibrations import Calibrations
from llmops_cli.stores.database import FileCounters
from llmops_cli.stores.git import Revision, open_git, tracked_paths
from llmops_cli.stores.registry import EVENT_FILES, Registry, chain_of
from llmops_cli.stores.registry_files import MAX_RECORD, read_record
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.sources import OWN, UNKNOWN, Sources


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A project as one command sees it."""

    root: Path
    store: Path
    """The folder of the store."""
    project: Project
    rules: Project
    """The project whose policy and trust list count: this one, or the one at the base revision."""
    base: str | None = None
    """The name of that revision; None: none was named."""
    registry: Registry
    base_registry: Registry
    """The registry with the log of the base revision: what environments run without this change."""
    results: ResultsStore
    volatile: ResultsStore
    """Answers that are only valid for one run: replayed ones, and those of code without an
    identity.
    """
    counters: FileCounters
    """Counts the rates per minute of models, shared with the other processes here."""
    environ: Mapping[str, str]
    stack: ExitStack
    """Closes what the command opened."""
    resources: ResourceCache
    """What providers opened for the length of the command."""
    at_base: dict[Path, bool] = field(default_factory=dict)
    """Whether a statement of evidence is at the base revision too, by its file."""

    @property
    def catalog(self) -> Catalog:
        """Return the catalog of scorers and providers."""
        return self.project.catalog

    @property
    def context(self) -> PluginContext:
        """Return the context of providers and scorers."""
        return PluginContext(
            root=self.root,
            environ=self.environ,
            redact=self.redact,
            trust=self.rules.trust,
            resources=self.resources,
        )

    @property
    def redact(self) -> Redactor:
        """Return what removes the secrets that the project or the environment's names point to."""
        models = self.project.models.values()
        return Redactor.of(self.environ, (name for model in models for name in model.variables))

    def read(self, path: str, *, code: bool) -> bytes:
        """Return a project file that a scorer names: of `code`, as the base revision has it.

        Raises `Refused` for one that the base revision does not have.
        """
        untrusted = path.endswith(".py") and not self.rules.is_code(path)  # it may not run at all
        if self.base is None or not code or untrusted:
            return self.project.source.read(path, limit=MAX_FILE)
        try:
            return self.rules.source.read(path, limit=MAX_FILE)
        except Absent as error:
            raise Refused(
                f"{path} is not at {self.base}, and code that a change adds does not score it",
                hint="merge the scorer first, by itself",
            ) from error

    @cached_property
    def scorer_context(self) -> PluginContext:
        """Return the context of scorers that are code, and of evalsets at the base revision.

        They run in a copy of the base revision: otherwise the change would score itself, by its
        code or by data that nobody declared.
        """
        source = self.rules.source
        if not isinstance(source, AtRevision):
            return self.context
        folder = Path(self.stack.enter_context(TemporaryDirectory(prefix="llmops-base-")))
        return replace(self.context, root=source.revision.write_to(folder.resolve()))

    def scorers(self, evalset: Evalset) -> Scorers:
        """Return the scorers of an evalset, with their judges."""
        return Scorers(
            self.catalog, evalset, self.read, self.project.judge_of, self.source_of_scores
        )

    def records_differ(self, model: Model) -> bool:
        """Return whether the recorded answers of `model` are others than at the base revision."""
        path = model.options.get("file")
        if self.base is None or not self.provider(model).records or not isinstance(path, str):
            return False
        content = self.project.source.read(path, limit=MAX_CASES)
        return not self._holds_at_base(self.root / path, content)

    def gating_judges(
        self, evalset: str, scorers: Scorers, policy: Policy
    ) -> tuple[GatingJudge, ...]:
        """Return the judges that gate an evalset, with their calibrations.

        Raises `IntegrityBroken` for a calibration that was edited.
        """
        return gating_judges(evalset, scorers.judged_metrics, policy, self.calibrations.of)

    @property
    def calibrations(self) -> Calibrations:
        """Return the calibrations: those at the base revision, if one was named."""
        if self.base is None:
            return Calibrations(self.root)
        return Calibrations(self.root, self.read_at_base)

    def read_at_base(self, file: Path) -> bytes | None:
        """Return the content of a file at the base revision; None: it has none."""
        path = file.relative_to(self.root).as_posix()
        assert self.base is not None
        with reading(self.base):
            try:
                return self.rules.source.read(path, limit=MAX_RECORD)
            except Absent:
                return None

    @cached_property
    def ci(self) -> CiContext | None:
        """Return the CI job; None: this is none."""
        return ci_context(self.environ, github_event(self.environ))

    @cached_property
    def has_secrets(self) -> bool:
        """Whether there are keys within reach of this process."""
        return bool(Redactor.of(self.environ))

    @cached_property
    def makes_no_calls(self) -> str | None:
        """Say why this job calls no model; None: it may."""
        return may_call(self.ci, secrets=self.has_secrets)

    def may_not_call(self, model: Model, *, offline: bool) -> str | None:
        """Say why `model` is not called; None: it may be."""
        if self.provider(model).offline:
            return None
        return self.makes_no_calls or ("--offline" if offline else None)

    @cached_property
    def changed_code(self) -> tuple[str, ...]:
        """Return the files that `trust` at the base names and that differ here, and how."""
        source = self.rules.source
        checkout = open_git(self.root) if isinstance(source, AtRevision) else None
        if not isinstance(source, AtRevision) or checkout is None:
            return ()
        changed: list[str] = []
        for path in sorted({*source.revision.files("."), *checkout.files()}):
            if not self.rules.is_code(path):
                continue
            is_there = source.revision.resolve(path) in source.revision.blobs
            try:
                content = self.project.source.read(path, limit=MAX_CASES)
            except Unreadable:
                changed += [f"{path} (removed)"] if is_there else []
                continue
            if not is_there:
                changed.append(f"{path} (added)")
            elif not source.revision.holds(path, content):
                changed.append(f"{path} (changed)")
        return tuple(changed)

    def provider(self, model: Model) -> ProviderKind:
        """Return the catalog's row for the provider of `model`."""
        return self.catalog.providers[model.provider]

    def open_provider(
        self, model: Model, *, tell: Callable[[str], None] = ignore_wait
    ) -> AbstractAsyncContextManager[Provider]:
        """Return the provider of `model`, ready to be entered; its code is loaded here.

        `tell` is called with what it waits for until it is ready.
        """
        return open_provider(self.provider(model))(model, replace(self.context, tell=tell))

    def results_of(self, model: Model, *, called: bool = True) -> ResultsStore:
        """Return where the answers of `model` are stored.

        Those of a model that the base revision does not have are only valid for one run. If it
        isn't `called`, because it isn't here, there are only those of the base.
        """
        lives_on = not self.provider(model).volatile or model.identity is not None
        known = not called or self.results.sources.count(self.source_of(model))
        return self.results if lives_on and known else self.volatile

    def source_of(self, model: Model) -> str:
        """Return the source of the answers of `model`."""
        return source_of(
            model,
            self.provider(model),
            lambda: None if self.base is None or self.changed_code else self._trusted_code,
        )

    def source_of_scores(self, kind: ScorerKind, judge: Judge | None) -> str | None:
        """Return the source of a scorer's scores; None: they are only valid for one run.

        That is so if the base revision lacks its judge.
        """
        if judge is not None:
            sources = list(map(self.source_of, judge.models))
        elif kind.code and self.base is not None:
            sources = [f"code {self._trusted_code}"]
            self.results.sources.accept(*sources)
        else:
            return UNKNOWN if kind.code else OWN
        if not all(map(self.results.sources.count, sources)):
            return None
        source = " and ".join(sources)
        self.results.sources.accept(source)
        return source

    @cached_property
    def _trusted_code(self) -> str:
        """The digest of the trusted code at the base revision."""
        return trusted_code(self.rules)

    def evidence(self, name: str, number: int) -> tuple[Evidence, ...]:
        """Return the evidence of a version that counts, newest last.

        With a base revision, that is what stands there as it does here: what a change adds does not
        count as measured.
        """
        pieces = self.registry.evidence(name, number)
        if self.base is None:
            return pieces
        return tuple(piece for piece in pieces if self._is_at_base(piece.file))

    def _is_at_base(self, file: Path) -> bool:
        if file not in self.at_base:
            self.at_base[file] = self._holds_at_base(file, read_record(file))
        return self.at_base[file]

    def _holds_at_base(self, file: Path, content: bytes) -> bool:
        path, source = file.relative_to(self.root).as_posix(), self.rules.source
        return isinstance(source, AtRevision) and source.revision.holds(path, content)

    def refuse_replaced(self, file: Path) -> None:
        """Raise `IntegrityBroken` if a version's file is another one at the base revision."""
        if self.base is None or self._holds_at_base(file, read_record(file)):
            return
        if self.read_at_base(file) is not None:
            path = file.relative_to(self.root).as_posix()
            hint = f"a version is never edited: git checkout {self.base} -- {path}"
            raise IntegrityBroken(
                f"it is not the version at {self.base}", where=str(file), hint=hint
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know about the store and the evidence."""
        added = [
            file.relative_to(self.root).as_posix()
            for file, at_base in self.at_base.items()
            if not at_base
        ]
        text = f"evidence added by this change is not used: {listed(tuple(added))}"
        return (*self.results.notes, *([text] if added else []))


def open_project(start: Path) -> Project:
    """Return the project around `start`. Raises `InvalidFiles` for all problems at once."""
    root = find_root(start)
    store = checked_store(root, os.environ)
    return load_project(root, catalog(), check=options_check(root, os.environ), store=store)


def checked_store(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the store's folder, which need not exist. Raises `Refused` for one that git has."""
    folder = store_folder(root, environ)
    refuse_committed(folder, root)
    return folder


def refuse_committed(folder: Path, root: Path) -> None:
    """Raise `Refused` if the store in `folder` came with the checkout of `root`.

    What is stored counts as measured. So git may have no file of it, and it may not lie behind a
    link in the project.
    """
    inside = [path for path in (folder, *folder.parents) if root in path.parents]
    with suppress(PermissionError):  # nobody can open it: results are kept for this run only
        for path in inside or [folder]:
            if (inside and path.is_symlink()) or (path.exists() and not path.is_dir()):
                raise Refused(
                    f"{path} is not a folder: the store is not opened",
                    hint=f"remove it; to keep the store elsewhere, set {STORE_VARIABLE}",
                )
        if folder.is_dir():
            _refuse_tracked(folder, root if inside else folder)


def _refuse_tracked(folder: Path, place: Path) -> None:
    """Raise `Refused` if git has a file of `folder`, which is `place` or below it."""
    parts = [part.casefold() for part in folder.relative_to(place).parts]
    for path in tracked_paths(place, parts[0] if parts else ".", or_at_head=True):
        tracked = [part.casefold() for part in Path(path).parts]
        if all(one == other for one, other in zip(tracked, parts, strict=False)):
            ours = ".llmops" in folder.parts  # else it is a folder that somebody named
            raise Refused(
                f"git has {place / path}, so the store is not opened: whoever committed it "
                "chose what counts as measured",
                hint=f"git rm -r --cached {place / path}, delete it, and commit that"
                if ours
                else f"set {STORE_VARIABLE} to a folder that git has no file of",
            )


@contextmanager
def open_workspace(
    start: Path,
    *,
    environ: Mapping[str, str] | None = None,
    base: str | None = None,
    loaded: Project | None = None,
) -> Iterator[Workspace]:
    """Open the project around `start`. Raises `InvalidFiles` for all problems of its files.

    `base` names the git revision whose policy and trust list count. `loaded` is the project if it
    was loaded already, to be checked: its store is left alone.
    """
    root = find_root(start)
    environ = os.environ if environ is None else environ
    store = (loaded and loaded.store) or checked_store(root, environ)
    check = options_check(root, environ)
    project = loaded or load_project(root, catalog(), check=check, store=store)
    rules = project if base is None else rules_at(base, project)
    with ExitStack() as stack:
        sources = Sources(None if base is None else known_sources(rules))
        results = stack.enter_context(open_results(None if loaded else store, sources=sources))
        registry = Registry(root)
        yield Workspace(
            root=root,
            store=store,
            project=project,
            rules=rules,
            base=base,
            registry=registry,
            base_registry=registry if base is None else registry_at(base, root, rules.source),
            results=results,
            volatile=stack.enter_context(open_results(None)),
            counters=stack.enter_context(closing(FileCounters(store))),
            environ=environ,
            stack=stack,
            resources=stack.enter_context(ResourceCache()),
        )


def options_check(root: Path, environ: Mapping[str, str]) -> Check:
    """Return a check that asks the scorers' own code about their options."""
    context = PluginContext(root=root, environ=environ)
    return lambda kind, options: wrong_options(kind, options, context)


def actor(root: Path, environ: Mapping[str, str]) -> str:
    """Return who is at work: as git would sign, or the user's name."""
    checkout = open_git(root)
    known = checkout.actor() if checkout else None
    return known or environ.get("USER") or environ.get("USERNAME") or "unknown"


def provenance(root: Path, environ: Mapping[str, str]) -> Provenance:
    """Return the author, time and commit to record."""
    checkout = open_git(root)
    commit = checkout.head() if checkout else None
    return Provenance(by=actor(root, environ), at=now(), commit=commit)


def run_url(environ: Mapping[str, str]) -> str | None:
    """Return the URL of the CI run, where there is one."""
    if environ.get("GITHUB_RUN_ID"):
        server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
        return f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL")


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def github_event(environ: Mapping[str, str]) -> Mapping[str, Json] | None:
    """Return the payload of GitHub's event; None if there is none that can be read."""
    path = environ.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    file = Path(path)
    try:
        event = json.loads(file.read_bytes()) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


@dataclass(frozen=True, slots=True)
class AtRevision:
    """A `project.paths.Source` over a commit."""

    revision: Revision
    name: str

    def read(self, path: str, *, limit: int) -> bytes:
        real = self._resolve(path)
        content = self.revision.read(real)
        if content is None:
            kind = Absent if real == path else Unreadable
            raise kind(f"there is no file {path!r} at {self.name}")
        if len(content) > limit:
            raise Unreadable(f"{path!r} is larger than {limit // 1_000_000} MB")
        return content

    def files(self, folder: str) -> tuple[str, ...]:
        top = self._resolve(folder)
        if top in self.revision.blobs:
            raise Unreadable(f"{folder!r} is not a folder at {self.name}")
        below = [path.removeprefix(f"{top}/") for path in self.revision.files(top)]
        if not below and top != folder:  # git keeps no empty folders
            raise Unreadable(f"{folder!r} is a link to nothing at {self.name}")
        return tuple(f"{folder}/{path}" for path in below if not HIDDEN.search(path))

    def _resolve(self, path: str) -> str:
        real = self.revision.resolve(path)
        if real is None:
            raise Unreadable(
                f"{path!r} is a link that leaves the project, a submodule or a circle of links "
                f"at {self.name}"
            )
        return real


def at_revision(root: Path, name: str) -> Source:
    """Return the project's files at a git revision. Raises `Refused` if it is not here."""
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"--base {name} needs git, and {root} is no git checkout",
            hint="in CI, check the repository out; or leave --base away",
        )
    return AtRevision(checkout.at(name), name)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise `Refused`, naming the files, where what is at the revision cannot be read."""
    try:
        yield
    except (InvalidFiles, Unreadable) as error:
        problems, path = [str(error)], "."
        if isinstance(error, InvalidFiles):
            problems, path = list(map(str, error.problems)), error.problems[0].where.path
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise Refused(
            f"what decides is read at {name}, and there it is not valid:\n{lines}",
            hint=f"fix it there first, in a change of its own; or --base the last commit at which "
            f"it was valid: git log {name} -- {path}",
        ) from error


def registry_at(base: str, root: Path, source: Source) -> Registry:
    """Return the registry with its log as it is in `source`, the revision `base`.

    The log only grows: what a change adds to it does not count for its own baseline. Versions and
    evidence are those that are here. Reading raises `IntegrityBroken` where that log is broken.
    """

    def chains(folder: Path) -> tuple[Event, ...]:
        with reading(base):
            files = sorted(map(Path, source.files(folder.relative_to(root).as_posix())))
            here = [
                path for path in files if root / path.parent == folder and path.match(EVENT_FILES)
            ]
            contents = {path: source.read(path.as_posix(), limit=MAX_FILE) for path in here}
        try:
            return chain_of((path, partial(contents.__getitem__, path)) for path in here)
        except IntegrityBroken as broken:
            where = f"{broken.where} at {base}"
            raise IntegrityBroken(broken.why, where=where, hint=broken.hint) from broken

    return Registry(root, chains)


def rules_at(base: str, project: Project) -> Project:
    """Return the project at a git revision.

    Before the project began, its policy is the default and nothing is trusted.
    """
    source = at_revision(project.root, base)
    if has_project_file(source):
        with reading(base):
            return load_project(project.root, project.catalog, source=source)
    try:
        before = load_project(project.root, project.catalog, source=source)
    except InvalidFiles:  # prompts of another kind: it was no project yet
        before = replace(project, source=source, prompts={}, evalsets={})
    environments = tuple(replace(environment, gate={}) for environment in project.environments)
    return replace(before, environments=environments, gate={}, trust=())


def known_sources(rules: Project) -> Iterator[str]:
    """Yield the sources that a project names: its models, and what vendors answer by themselves."""
    code = cache(lambda: trusted_code(rules))
    for model in (*rules.models.values(), *vendor_models(rules.catalog)):
        yield source_of(model, rules.catalog.providers[model.provider], code)


def trusted_code(rules: Project) -> str:
    """Return the digest of all files that `trust` lists at a git revision."""
    assert isinstance(rules.source, AtRevision)
    revision = rules.source.revision
    files = {
        path: revision.blobs.get(revision.resolve(path) or "")
        for path in revision.files(".")
        if rules.is_code(path)
    }
    return digest("llmops/code/v1", files)


def source_of(model: Model, kind: ProviderKind, code: Callable[[], str | None]) -> str:
    """Return the source of the answers of `model`; `code` returns the digest of trusted code.

    A request names model and parameters. Its source names the rest of what decides who answers:
    address, headers, variables with secrets, an application's options, and all code that `trust`
    lists, because code may import more than its identity names. It holds no secret, only a digest.
    """
    what = {
        "provider": kind.name,
        "base_url": model.base_url and model.base_url.rstrip("/"),
        "key": model.api_key_env or kind.api_key_env,
        "headers": dict(model.headers),
        "options": dict(model.options),
        "code": code() if kind.code or command_of(kind, model) else None,
    }
    return f"model {digest('llmops/source/v1', what).removeprefix('sha256:')}"


def vendor_models(catalog: Catalog) -> list[Model]:
    """Return the models that need no line in llmops.yaml: the vendors' own, with their own keys."""
    kinds = catalog.providers.values()
    own = [kind.name for kind in kinds if not (kind.application or kind.weights)]
    return [Model(name=name, provider=name, model="") for name in own]
