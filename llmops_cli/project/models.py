"""Read the models of `llmops.yaml`, resolve the model names in prompts, and find scorers' judges.

Keys never stand in a file: a model names the environment variable that holds its key, and a
header may be `env:NAME`.

The files of local models are named by their bytes. Weights weigh gigabytes and hardly ever change,
and every command needs their names, so a file's digest is cached in the store's `weights.json`
beside its size and times, and the file is read again when any of them differs. A file that was
written a moment ago is not cached: it may change once more within the same tick of the clock.

A judge's prompt is a prompt like any other: one of the project's where the scorer names it, or the
one that comes with llmops (`llmops_cli/judges/`), which a project copies to change it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import file_digest
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import create_model

from llmops_cli.core.digest import Json, digest, digest_bytes
from llmops_cli.core.errors import Location, Refused, UnknownName, suggestion
from llmops_cli.core.globs import matches
from llmops_cli.core.ports import Catalog, ProviderKind, ScorerKind, long_wait
from llmops_cli.core.prompt import (
    SILENT,
    Judge,
    Limits,
    Model,
    Price,
    Prompt,
    Target,
)
from llmops_cli.project.documents import Document, load_yaml
from llmops_cli.project.inputs import Schemas, is_required
from llmops_cli.project.paths import (
    MAX_CASES,
    MAX_FILE,
    Folder,
    Problems,
    Source,
    Unreadable,
    within,
)
from llmops_cli.project.prompts import ENDINGS, PromptReader
from llmops_cli.project.schema import Identity, Where, WrittenModel, validated
from llmops_cli.project.templates import PLAIN, BadTemplate, is_template, strings

SECRET_HEADERS = frozenset({
    "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key",
    "ocp-apim-subscription-key", "x-portkey-api-key", "helicone-auth", "cf-aig-authorization",
})  # fmt: skip
"""Headers of vendors and gateways that hold a key."""
MAXIMA = frozenset({"max_tokens", "max_completion_tokens"})
"""Parameters that say how many tokens an answer may have."""

SHIPPED = Path(__file__).parent.parent / "judges"
SETTLED = 2.0
"""Seconds after which a file's times tell whether it changed."""
LARGE = 250_000_000
"""Bytes that take a moment to read: reading more is announced."""

Check: TypeAlias = Callable[[ScorerKind | ProviderKind, Mapping[str, Any]], str | None]
"""Calls the option check of a scorer or provider, beyond the options' types."""
CachedDigest: TypeAlias = list[int | str]
"""Size, two times and inode of a file, and the digest of its bytes."""


def no_place(*_at: str | int) -> Location:
    """Return the line of what no file has."""
    return Location(path="")


@dataclass(frozen=True, kw_only=True)
class ProjectContext:
    """What the readers of a project's files share; models and prompts once they are read."""

    catalog: Catalog
    source: Source
    """Where the files come from."""
    check: Check | None = None
    store: Path | None = None
    """Where digests of weights are cached; None: nowhere."""
    models: Mapping[str, Model] = field(default_factory=dict)
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    default_scorers: Sequence[Any] = ()
    """Entries of `scorers:` that every evalset has."""
    default_case: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every case has."""
    defaults_at: Where = no_place
    """The line of a default scorer."""

    def resolve_model(self, name: str) -> Model:
        """Return the model that an alias or `provider/model` means. Raises `UnknownName`."""
        if name in self.models:
            return self.models[name]
        provider, _, model = name.partition("/")
        # What an application or a local model is, its identity says.
        enough = {
            kind.name: kind
            for kind in self.catalog.providers.values()
            if not (kind.application or kind.weights)
            and not any(option.required for option in kind.options.values())
        }
        if not model or provider not in enough:
            raise UnknownName("model", name, [*self.models, *(f"{known}/…" for known in enough)])
        kind = enough[provider]
        return Model(
            name=name,
            provider=provider,
            model=model,
            parameters=_parameters({}, kind),
            identity=kind.identity,
        )

    def inputs_of(self, prompts: Iterable[str]) -> Schemas:
        """Return the inputs that prompts declare, by name."""
        declared = (self.prompts[name].inputs.items() for name in prompts)
        return dict(chain.from_iterable(declared))

    def provider_of(self, model: Model) -> ProviderKind:
        """Return the provider of a model."""
        return self.catalog.providers[model.provider]

    def target(self, prompt: Prompt) -> Target:
        """Return the prompt bound to its model."""
        return Target(prompt=prompt, model=self.resolve_model(prompt.model))

    def reports_passages(self, prompt: Prompt) -> bool:
        """Return whether the answers of a prompt's model may report their passages."""
        try:
            provider = self.provider_of(self.resolve_model(prompt.model))
        except Refused:  # reported where the prompt is read
            return True
        return provider.application or provider.records is not None

    def judge_of(self, kind: ScorerKind, options: Mapping[str, Any]) -> Judge:
        """Return the judge of a scorer with these options. Raises `Refused`."""
        prompt = SILENT if kind.prompt is None else self._judge_prompt(kind, options.get("prompt"))
        model = self._judge_model(options.get("model") or prompt.model)
        provider = self.provider_of(model)
        embeddings = options.get("embeddings")
        # What the model's server can enforce, by llmops.yaml or else its provider.
        structured = model.structured_output or ("json_schema" if provider.structured else "none")
        return Judge(
            target=Target(prompt=prompt, model=model),
            embeddings=self._embedding_model(embeddings) if embeddings else None,
            structured="none" if prompt.response_format == "text" else structured,
        )

    def _judge_model(self, name: str) -> Model:
        try:
            model = self.resolve_model(name)
        except UnknownName as error:
            if name == "judge":
                raise Refused(
                    "it names no `model`, and llmops.yaml has no model called 'judge'",
                    hint="name the judge: `model:` on the scorer, or `judge:` under `models:`",
                ) from error
            raise
        if self.provider_of(model).application:
            raise Refused(f"{name} is an application, and a judge is a model")
        return model

    def _embedding_model(self, name: str) -> Model:
        model = self._judge_model(name)
        if not self.provider_of(model).embeds:
            able = sorted(kind.name for kind in self.catalog.providers.values() if kind.embeds)
            raise Refused(
                f"{name} cannot embed: the provider {model.provider!r} has no embeddings",
                hint=f"these have: {', '.join(able)}",
            )
        return model

    def _judge_prompt(self, kind: ScorerKind, name: str | None) -> Prompt:
        default = shipped(str(kind.prompt))
        if name is None:
            return default
        if name not in self.prompts:
            raise UnknownName("prompt", name, self.prompts)
        prompt = self.prompts[name]
        for needed, schema in prompt.inputs.items():
            if needed not in default.inputs and is_required(schema):
                raise Refused(
                    f"the judge's prompt '{name}' needs '{needed}', and {kind.name} gives none",
                    hint=f"it gives {', '.join(default.inputs)}",
                )
        if prompt.tools or prompt.response_format in {"json_schema", "json_object"}:
            raise Refused(
                f"the judge's prompt '{name}' states tools or a response format",
                hint=f"a judge has no tools, and {kind.name} says what it must answer",
            )
        return prompt


@cache
def shipped(name: str) -> Prompt:
    """Return the judge's prompt of that name that comes with llmops."""
    path = f"{name}{ENDINGS[0]}"
    source = Folder(SHIPPED)
    problems = Problems()
    document = load_yaml(source.read(path, limit=MAX_FILE), path)
    read = PromptReader(document, source, problems).read()
    problems.refuse()
    assert read is not None
    return replace(read[0], name=name)


class ModelReader:
    """Reads models against the providers of a catalog."""

    def __init__(self, context: ProjectContext, document: Document, problems: Problems) -> None:
        self._context = context
        self._source = source = context.source
        # Weights do not stand in git.
        self._weights = Weights(source.root, context.store) if isinstance(source, Folder) else None
        self._document = document
        self._problems = problems

    def read(self, written: Mapping[str, Any]) -> dict[str, Model]:
        """Return the models under `models:` by alias; what is wrong with one is a problem."""
        models = {alias: self._model(alias, entry) for alias, entry in written.items()}
        if self._weights is not None:
            self._weights.save()
        return {alias: model for alias, model in models.items() if model is not None}

    def _add(self, message: str, hint: str | None, *place: str) -> None:
        self._problems.add(self._document.where("models", *place), message, hint)

    def _model(self, alias: str, written: Any) -> Model | None:
        name = written.get("provider") if isinstance(written, Mapping) else None
        if not isinstance(name, str):
            self._add(f"the model '{alias}' names no provider", None, alias)
            return None
        providers = self._context.catalog.providers
        kind = providers.get(name)
        if kind is None:
            hint = suggestion(name, sorted(providers)) or ""
            if hint.startswith("known"):
                hint += "; a server with OpenAI's API is `openai` with its `base_url`"
            self._add(f"unknown provider '{name}'", hint, alias, "provider")
            return None
        where = self._document.where
        shape = validated(model_shape(kind), written, where, self._problems, "models", alias)
        if shape is None:
            return None
        if shape.model is None and not kind.offline and not kind.application:
            self._add(f"'{alias}' lacks `model`", f"{kind.name}'s name for it", alias)
        for header, value in shape.headers.items():
            if header.lower() in SECRET_HEADERS and "env:" not in value:
                hint = "write env:NAME and set NAME in the environment"
                self._add(f"the header '{header}' holds a secret", hint, alias, "headers", header)
        self._check_templates(kind, written, alias)
        check = self._context.check
        if check is not None and (wrong := check(kind, written)) is not None:
            self._add(f"'{alias}': {wrong}", None, alias)
        model = Model(
            name=alias,
            provider=kind.name,
            model=shape.model or (alias if kind.application else kind.name),
            parameters=_parameters(shape.model_parameters.model_dump(exclude_none=True), kind),
            extra_body=shape.extra_body,
            options={name: written[name] for name in kind.options if name in written},
            base_url=shape.base_url,
            api_key_env=shape.api_key_env,
            headers=shape.headers,
            limits=Limits(
                max_concurrency=written.get("max_concurrency", kind.max_concurrency),
                rpm=shape.rpm,
                tpm=shape.tpm,
                timeout=shape.timeout,
                retries=shape.retries,
            ),
            price=Price(**shape.price.model_dump()) if shape.price else None,
            structured_output=shape.structured_output,
            where=where("models", alias),
        )
        if shape.identity is None:
            identity = local_identity(model, kind, self._weights)
        else:
            identity = self._identity(shape.identity, model, kind)
        return replace(model, identity=identity or kind.identity)

    def _check_templates(self, kind: ProviderKind, written: Mapping[str, Any], alias: str) -> None:
        for name in (name for name, option in kind.options.items() if option.template):
            for text in filter(is_template, strings(written.get(name))):
                try:
                    PLAIN.examine(text)
                except BadTemplate as error:
                    self._add(f"'{name}': {error.message}", error.hint, alias, name)

    def _identity(self, identity: Identity, model: Model, kind: ProviderKind) -> str:
        """Return what names the answers: files by their bytes, a revision, and how an application
        is called and read.
        """
        if kind.application and identity.files is None and identity.revision is None:
            hint = "name the application's `files`, or a `revision`"
            self._add("'identity' names nothing", hint, model.name, "identity")
        files: dict[str, str] = {}
        for written in identity.files or ():
            try:
                files.update({path: self._digest(path) for path in self._matching(written)})
            except Unreadable as error:
                self._add(f"'identity': {error}", None, model.name, "identity", "files")
        named: dict[str, Json] = {"files": files, "revision": identity.revision}
        if kind.application or kind.weights:
            named["options"] = _keyed(model, kind)
        if kind.application:
            for value in map(model.options.get, kind.files):
                for argument in value if isinstance(value, list) else [value]:
                    path = str(argument).partition(":")[0]
                    with suppress(Unreadable):  # no file; `check` knows the arguments
                        files[path] = self._digest(path)
        return digest("llmops/identity/v1", named)

    def _digest(self, path: str) -> str:
        return digest_bytes(self._source.read(path, limit=MAX_CASES))

    def _matching(self, written: str) -> Sequence[str]:
        """Return the project files that a path or a glob names. Raises `Unreadable`: none."""
        if "*" not in written:
            return [written]
        folder = written.partition("*")[0].rpartition("/")[0]
        paths = [path for path in self._source.files(within(folder)) if matches(path, written)]
        if not paths:
            raise Unreadable(f"no file matches {written!r}")
        return paths


def model_shape(kind: ProviderKind) -> type[WrittenModel]:
    """Return the shape of a provider's models: what all have, and the provider's own options."""
    if not kind.options:
        return WrittenModel
    options: dict[str, Any] = {
        name: (option.type, ...) if option.required else (option.type | None, None)
        for name, option in kind.options.items()
    }
    return create_model(f"{kind.name.capitalize()}Model", __base__=WrittenModel, **options)


def _parameters(written: Mapping[str, Json], kind: ProviderKind) -> dict[str, Json]:
    """Return what is written, and a maximum where the provider's API demands one."""
    if kind.max_tokens is None or not MAXIMA.isdisjoint(written):
        return dict(written)
    return {"max_tokens": kind.max_tokens, **written}


def _keyed(model: Model, kind: ProviderKind) -> dict[str, Json]:
    """Return the options that an answer may depend on."""
    return {name: value for name, value in model.options.items() if kind.options[name].keyed}


def local_identity(model: Model, kind: ProviderKind, weights: Weights | None) -> str | None:
    """Return what names the answers of a local model that declares nothing itself: the bytes of
    the files that it names, and the options it is served with. None: its name says it all.
    """
    if not kind.weights:
        return None
    options = _keyed(model, kind)
    words = [part for text in strings(options) for part in {text, text.rpartition("=")[2]}]
    files: dict[str, str] = {}
    for path in filter(None, (model.model, *words)):
        try:
            named = weights.digest(path) if weights is not None else None
        except OSError as error:
            raise Refused(f"{model.name}: {path} cannot be read: {error.strerror}") from error
        files.update({path: named} if named is not None else {})
    if not files and not options:
        return None
    return digest("llmops/identity/v1", {"files": files, "revision": None, "options": options})


class Weights:
    """Digests of the files and folders that a project's models name, cached in `store`."""

    def __init__(self, root: Path, store: Path | None = None) -> None:
        self._root = root
        self._file = None if store is None else store / "weights.json"
        self._cached = self._read()

    def digest(self, path: str) -> str | None:
        """Return the digest of a file, or of the files in a folder, hidden ones left out.

        None for a `path`, relative to the project or absolute, where nothing is. Raises `OSError`.
        """
        place = self._root / path
        files = [place] if place.is_file() else list(_files(place))
        unread = sum(_status(file)[0] for file in files if self._stored(file) is None)
        wait = f"reading the weights at {path} to name them, {unread / 1e9:.1f} GB"
        with long_wait(wait) if unread > LARGE else nullcontext():
            named = {file.relative_to(place).as_posix(): self._of_file(file) for file in files}
        if files == [place]:
            return named["."]
        return digest("llmops/weights/v1", {**named}) if named else None

    def save(self) -> None:
        """Cache what was read, where the project has a store."""
        if self._file is None or not self._file.parent.is_dir() or self._cached == self._read():
            return
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with suppress(OSError):  # a folder that is only read: the next command reads again
            part.write_text(json.dumps(self._cached), encoding="utf-8")
            part.replace(self._file)

    def _stored(self, file: Path) -> str | None:
        """Return the cached digest of a file that did not change since."""
        *status, named = self._cached.get(str(file.absolute()), [None])
        return str(named) if status == _status(file) else None

    def _of_file(self, file: Path) -> str:
        if (stored := self._stored(file)) is not None:
            return stored
        status, key = _status(file), str(file.absolute())
        with file.open("rb") as opened:
            named = f"sha256:{file_digest(opened, 'sha256').hexdigest()}"
        self._cached.pop(key, None)
        if time.time() - max(status[1:3]) / 1e9 > SETTLED:
            self._cached[key] = [*status, named]
        return named

    def _read(self) -> dict[str, CachedDigest]:
        with suppress(OSError, ValueError):
            cached = json.loads(self._file.read_bytes()) if self._file is not None else None
            if isinstance(cached, dict):
                return {key: row for key, row in cached.items() if isinstance(row, list) and row}
        return {}


def _status(file: Path) -> list[int]:
    """Return size, two times and inode."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _files(folder: Path) -> Iterator[Path]:
    """Yield every file in `folder`; none where nothing is. Raises `OSError`."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse) if folder.exists() else ():
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(file.stat().st_mode):
                yield file


SHIPPED = Path(__file__).parent.parent / "judges"
