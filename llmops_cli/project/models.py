"""Read the models of `llmops.yaml`, resolve the model names in prompts, and find scorers' judges.

Keys never stand in a file: a model names the environment variable that holds its key, and a
header may be `env:NAME`.

The files of local models are named by their bytes. Weights weigh gigabytes and hardly ever change,
and every command needs their names, so a file's digest is cached in `.llmops/store/weights.json`
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import create_model

from llmops_cli.core.ci import matches
from llmops_cli.core.digest import Json, digest, digest_bytes
from llmops_cli.core.errors import Refused, UnknownName, suggestion
from llmops_cli.core.ports import Catalog, ProviderKind, ScorerKind, long_wait
from llmops_cli.core.prompt import (
    SILENT,
    Judge,
    Limits,
    Model,
    Price,
    Prompt,
    StructuredOutput,
    Target,
)
from llmops_cli.project.documents import Document, load_yaml
from llmops_cli.project.inputs import is_required
from llmops_cli.project.paths import (
    MAX_CASES,
    MAX_FILE,
    Folder,
    Problems,
    ProjectContext,
    Unreadable,
    within,
)
from llmops_cli.project.prompts import ENDINGS, PromptReader
from llmops_cli.project.schema import Identity, WrittenModel, validated
from llmops_cli.project.templates import BadTemplate, Sandbox, is_template, strings

SECRET_HEADERS = frozenset({
    "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key",
    "ocp-apim-subscription-key", "x-portkey-api-key", "helicone-auth", "cf-aig-authorization",
})  # fmt: skip
"""Headers of vendors and gateways that hold a key."""
MAXIMA = frozenset({"max_tokens", "max_completion_tokens"})
"""Parameters that say how many tokens an answer may have."""

STORE = Path(".llmops") / "store"
SETTLED = 2.0
"""Seconds after which a file's times tell whether it changed."""
LARGE = 250_000_000
"""Bytes that take a moment to read: reading more is announced."""

CachedDigest: TypeAlias = list[int | str]
"""Size, two times and inode of a file, and the digest of its bytes."""


class ModelReader:
    """Reads models against the providers of a catalog."""

    def __init__(self, context: ProjectContext, document: Document, problems: Problems) -> None:
        self._providers = context.catalog.providers
        self._source = context.source
        self._check = context.check
        self._sandbox = Sandbox()
        here = self._source if isinstance(self._source, Folder) else None
        self._weights = Weights(here.root) if here else None  # weights do not stand in git
        self._document = document
        self._problems = problems

    def read(self, written: Mapping[str, Any]) -> dict[str, Model]:
        """Return the models under `models:` by alias; what is wrong with one is a problem."""
        models = {alias: self._model(alias, entry) for alias, entry in written.items()}
        if self._weights is not None:
            self._weights.save()
        return {alias: model for alias, model in models.items() if model is not None}

    def _model(self, alias: str, written: Any) -> Model | None:
        place = ("models", alias)
        where = self._document.where
        if not isinstance(written, Mapping) or not isinstance(written.get("provider"), str):
            self._problems.add(where(*place), f"the model '{alias}' names no provider")
            return None
        kind = self._providers.get(written["provider"])
        if kind is None:
            name = written["provider"]
            hint = suggestion(name, sorted(self._providers)) or ""
            if hint.startswith("known"):
                hint += "; a server with OpenAI's API is `openai` with its `base_url`"
            self._problems.add(where(*place, "provider"), f"unknown provider '{name}'", hint)
            return None
        shape = validated(model_shape(kind), written, where, self._problems, *place)
        if shape is None:
            return None
        if shape.model is None and not kind.offline and not kind.application:
            hint = f"{kind.name}'s name for it"
            self._problems.add(where(*place), f"'{alias}' lacks `model`", hint)
        self._check_headers(shape, *place)
        self._check_templates(kind, written, *place)
        if self._check is not None and (wrong := self._check(kind, written)) is not None:
            self._problems.add(where(*place), f"'{alias}': {wrong}")
        model = _model_of(alias, shape, kind, written)
        identity = self._identity(shape.identity, model, kind, *place)
        return replace(model, identity=identity or kind.identity, where=where(*place))

    def _check_headers(self, shape: WrittenModel, *place: str) -> None:
        for name, value in shape.headers.items():
            if name.lower() in SECRET_HEADERS and "env:" not in value:
                where = self._document.where(*place, "headers", name)
                hint = "write env:NAME and set NAME in the environment"
                self._problems.add(where, f"the header '{name}' holds a secret", hint)

    def _check_templates(self, kind: ProviderKind, written: Mapping[str, Any], *place: str) -> None:
        for name in (name for name, option in kind.options.items() if option.template):
            for text in filter(is_template, strings(written.get(name))):
                try:
                    self._sandbox.examine(text)
                except BadTemplate as error:
                    where = self._document.where(*place, name)
                    self._problems.add(where, f"'{name}': {error.message}", error.hint)

    def _identity(
        self, identity: Identity | None, model: Model, kind: ProviderKind, *place: str
    ) -> str | None:
        """Return what names the answers: files by their bytes, a revision, and how an application
        is called and read.
        """
        if identity is None:
            return local_identity(model, kind, self._weights)
        where = self._document.where(*place, "identity")
        if kind.application and identity.files is None and identity.revision is None:
            hint = "name the application's `files`, or a `revision`"
            self._problems.add(where, "'identity' names nothing", hint)
        files: dict[str, str] = {}
        for written in identity.files or ():
            try:
                for path in self._matching(written):
                    files[path] = digest_bytes(self._source.read(path, limit=MAX_CASES))
            except Unreadable as error:
                where = self._document.where(*place, "identity", "files")
                self._problems.add(where, f"'identity': {error}")
        named: dict[str, Json] = {"files": files, "revision": identity.revision}
        if kind.application or kind.weights:
            named["options"] = _keyed(model, kind)
        if kind.application:
            files.update(self._own_files(model, kind))
        return digest("llmops/identity/v1", named)

    def _matching(self, written: str) -> Sequence[str]:
        """Return the project files that a path or a glob names. Raises `Unreadable`: none."""
        if "*" not in written:
            return [written]
        folder = written.partition("*")[0].rpartition("/")[0]
        paths = [path for path in self._source.files(within(folder)) if matches(path, written)]
        if not paths:
            raise Unreadable(f"no file matches {written!r}")
        return paths

    def _own_files(self, model: Model, kind: ProviderKind) -> Iterator[tuple[str, str]]:
        """Yield the project files that the options name, with the digests of their bytes."""
        for value in map(model.options.get, kind.files):
            for argument in value if isinstance(value, list) else [value]:
                path = str(argument).partition(":")[0]
                with suppress(Unreadable):  # an argument that is no file; `check` knows the others
                    yield path, digest_bytes(self._source.read(path, limit=MAX_CASES))


def model_shape(kind: ProviderKind) -> type[WrittenModel]:
    """Return the shape of a provider's models: what all have, and the provider's own options."""
    if not kind.options:
        return WrittenModel
    options: dict[str, Any] = {
        name: (option.type, ...) if option.required else (option.type | None, None)
        for name, option in kind.options.items()
    }
    return create_model(f"{kind.name.capitalize()}Model", __base__=WrittenModel, **options)


def resolve(name: str, models: Mapping[str, Model], catalog: Catalog) -> Model:
    """Return the model that `name` means: an alias of llmops.yaml, or `provider/model`.

    Raises `UnknownName` with the nearest name.
    """
    if name in models:
        return models[name]
    provider, slash, model = name.partition("/")
    kind = catalog.providers.get(provider)
    if not slash or not model or kind is None or not _is_enough(kind):
        prefixes = (
            f"{provider}/…" for provider, kind in catalog.providers.items() if _is_enough(kind)
        )
        raise UnknownName("model", name, [*models, *prefixes])
    return Model(
        name=name,
        provider=provider,
        model=model,
        parameters=_parameters({}, kind),
        identity=kind.identity,
    )


def _is_enough(kind: ProviderKind) -> bool:
    """Return whether `provider/model` alone identifies a model."""
    if kind.application or kind.weights:  # what it is, its identity says
        return False
    return not any(option.required for option in kind.options.values())


def _parameters(written: Mapping[str, Json], kind: ProviderKind) -> dict[str, Json]:
    """Return what is written, and a maximum where the provider's API demands one."""
    if kind.max_tokens is None or not MAXIMA.isdisjoint(written):
        return dict(written)
    return {"max_tokens": kind.max_tokens, **written}


def _model_of(
    alias: str, shape: WrittenModel, kind: ProviderKind, written: Mapping[str, Any]
) -> Model:
    return Model(
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
    )


def local_identity(model: Model, kind: ProviderKind, weights: Weights | None) -> str | None:
    """Return what names the answers of a local model that declares nothing itself: the bytes of
    the files that it names, and the options it is served with. None: its name says it all.

    Raises `Refused` for files that cannot be read.
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


def _keyed(model: Model, kind: ProviderKind) -> dict[str, Json]:
    """Return the options that an answer may depend on."""
    return {name: value for name, value in model.options.items() if kind.options[name].keyed}


class Weights:
    """Digests of the files and folders that a project's models name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / STORE / "weights.json"
        self._cached = self._read()

    def digest(self, path: str) -> str | None:
        """Return the digest of what is at `path`, relative to the project or absolute, or None.

        A folder is named by its files, hidden ones left out. Raises `OSError` for what cannot be
        read.
        """
        place = self._root / path
        files = [place] if place.is_file() else list(_files(place))
        unread = sum(map(self._unread, files))
        if unread <= LARGE:
            return self._named(place, files)
        with long_wait(f"reading the weights at {path} to name them, {unread / 1e9:.1f} GB"):
            return self._named(place, files)

    def save(self) -> None:
        """Cache what was read, where the project has a store."""
        if not self._file.parent.is_dir() or self._cached == self._read():
            return
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with suppress(OSError):  # a folder that is only read: the next command reads again
            part.write_text(json.dumps(self._cached), encoding="utf-8")
            part.replace(self._file)

    def _named(self, place: Path, files: Sequence[Path]) -> str | None:
        if place.is_file():
            return self._of_file(place)
        named = {file.relative_to(place).as_posix(): self._of_file(file) for file in files}
        return digest("llmops/weights/v1", {**named}) if named else None

    def _unread(self, file: Path) -> int:
        """Return how many bytes are to be read before the file can be named."""
        cached, now = self._cached.get(str(file.absolute())), _status(file)
        return 0 if cached is not None and cached[:-1] == now else now[0]

    def _of_file(self, file: Path) -> str:
        now, key = _status(file), str(file.absolute())
        cached = self._cached.get(key)
        if cached is not None and cached[:-1] == now:
            return str(cached[-1])
        with file.open("rb") as opened:
            named = f"sha256:{file_digest(opened, 'sha256').hexdigest()}"
        self._cached.pop(key, None)
        if time.time() - max(now[1], now[2]) / 1e9 > SETTLED:
            self._cached[key] = [*now, named]
        return named

    def _read(self) -> dict[str, CachedDigest]:
        with suppress(OSError, ValueError):
            cached = json.loads(self._file.read_bytes())
            if isinstance(cached, dict):
                return {key: row for key, row in cached.items() if isinstance(row, list) and row}
        return {}


def _status(file: Path) -> list[int]:
    """Return size, two times and inode."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(file.stat().st_mode):
                yield file


SHIPPED = Path(__file__).parent.parent / "judges"


class Judges:
    """The judges that a project's models and prompts can make."""

    def __init__(
        self, models: Mapping[str, Model], prompts: Mapping[str, Prompt], catalog: Catalog
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._catalog = catalog

    def of(self, kind: ScorerKind, options: Mapping[str, Any]) -> Judge:
        """Return the judge of a scorer with these options. Raises `Refused`."""
        prompt = self._prompt(kind, options.get("prompt"))
        model = self._model(options.get("model") or prompt.model)
        embeddings = options.get("embeddings")
        provider = self._catalog.providers[model.provider]
        return Judge(
            target=Target(prompt=prompt, model=model),
            embeddings=self._embedding_model(embeddings) if embeddings else None,
            structured="none" if prompt.response_format == "text" else _structured(model, provider),
        )

    def reports_passages(self, name: str) -> bool:
        """Return whether the answers of a prompt's model may report their passages."""
        try:
            model = resolve(name, self._models, self._catalog)
        except Refused:  # reported where the prompt is read
            return True
        provider = self._catalog.providers[model.provider]
        return provider.application or provider.records is not None

    def _model(self, name: str) -> Model:
        try:
            model = resolve(name, self._models, self._catalog)
        except UnknownName as error:
            if name == "judge":
                raise Refused(
                    "it names no `model`, and llmops.yaml has no model called 'judge'",
                    hint="name the judge: `model:` on the scorer, or `judge:` under `models:`",
                ) from error
            raise
        if self._catalog.providers[model.provider].application:
            raise Refused(f"{name} is an application, and a judge is a model")
        return model

    def _embedding_model(self, name: str) -> Model:
        model = self._model(name)
        if not self._catalog.providers[model.provider].embeds:
            able = [kind.name for kind in self._catalog.providers.values() if kind.embeds]
            raise Refused(
                f"{name} cannot embed: the provider {model.provider!r} has no embeddings",
                hint=f"these have: {', '.join(sorted(able))}",
            )
        return model

    def _prompt(self, kind: ScorerKind, name: str | None) -> Prompt:
        if kind.prompt is None:
            return SILENT
        if name is None:
            return shipped(kind.prompt)
        if name not in self._prompts:
            raise UnknownName("prompt", name, sorted(self._prompts))
        prompt = self._prompts[name]
        available = shipped(kind.prompt).inputs
        for needed, schema in prompt.inputs.items():
            if needed not in available and is_required(schema):
                raise Refused(
                    f"the judge's prompt '{name}' needs '{needed}', and {kind.name} gives none",
                    hint=f"it gives {', '.join(available)}",
                )
        if prompt.tools or prompt.response_format in {"json_schema", "json_object"}:
            raise Refused(
                f"the judge's prompt '{name}' states tools or a response format",
                hint=f"a judge has no tools, and {kind.name} says what it must answer",
            )
        return prompt


def _structured(model: Model, provider: ProviderKind) -> StructuredOutput:
    """Return what the model's server can enforce, by llmops.yaml or else its provider."""
    return model.structured_output or ("json_schema" if provider.structured else "none")


@cache
def shipped(name: str) -> Prompt:
    """Return the judge's prompt of that name that comes with llmops."""
    path = f"{name}{ENDINGS[0]}"
    source = Folder(SHIPPED)
    problems = Problems()
    document = load_yaml(source.read(path, limit=MAX_FILE), path)
    read = PromptReader(document, Sandbox(), source, problems).read()
    problems.refuse()
    assert read is not None
    return replace(read[0], name=name)
