"""Reads the models of `llmops.yaml`, and resolves the names by which prompts ask for them.

Keys never stand in a file: a model names the environment variable that holds its key, and a
header may be `env:NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from llmops_cli.core.catalogue import Catalogue, ProviderKind
from llmops_cli.core.digest import digest, digest_bytes
from llmops_cli.core.errors import UnknownName, suggestion
from llmops_cli.core.prompt import Limits, Model, Price
from llmops_cli.files.explain import validated
from llmops_cli.files.paths import MAX_CASES, Source, Unreadable
from llmops_cli.files.problems import Problems
from llmops_cli.files.schema import Identity, WrittenModel
from llmops_cli.files.yaml import Document

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key"})


class ModelReader:
    """Reads models against the providers of a catalogue."""

    def __init__(
        self, catalogue: Catalogue, source: Source, document: Document, problems: Problems
    ) -> None:
        self._providers = catalogue.providers
        self._source = source
        self._document = document
        self._problems = problems

    def read(self, written: Mapping[str, Any]) -> dict[str, Model]:
        """The models under `models:` by alias; what is wrong with them is noted."""
        return {
            alias: model
            for alias, each in written.items()
            if (model := self._model(alias, each)) is not None
        }

    def _model(self, alias: str, written: Any) -> Model | None:
        place = ("models", alias)
        where = self._document.where
        if not isinstance(written, Mapping) or not isinstance(written.get("provider"), str):
            self._problems.add(where(*place), f"the model '{alias}' names no provider")
            return None
        kind = self._providers.get(written["provider"])
        if kind is None:
            name = written["provider"]
            hint = suggestion(name, sorted(self._providers))
            self._problems.add(where(*place, "provider"), f"unknown provider '{name}'", hint)
            return None
        shape = validated(model_shape(kind), written, where, self._problems, *place)
        if shape is None:
            return None
        if shape.model is None and not kind.offline:
            self._problems.add(
                where(*place), f"'{alias}' lacks `model`", f"{kind.name}'s name for it"
            )
        self._check_headers(shape, *place)
        return _model_of(alias, shape, kind, written, self._identity(shape.identity, *place))

    def _check_headers(self, shape: WrittenModel, *place: str) -> None:
        for name, value in shape.headers.items():
            if name.lower() in SECRET_HEADERS and "env:" not in value:
                where = self._document.where(*place, "headers", name)
                hint = "write env:NAME and set NAME in the environment"
                self._problems.add(where, f"the header '{name}' holds a secret", hint)

    def _identity(self, identity: Identity | None, *place: str) -> str | None:
        if identity is None:
            return None
        files: dict[str, str] = {}
        for path in identity.files or ():
            try:
                files[path] = digest_bytes(self._source.read(path, limit=MAX_CASES))
            except Unreadable as error:
                where = self._document.where(*place, "identity", "files")
                self._problems.add(where, f"'identity': {error}")
        return digest("llmops/identity/v1", {"files": files, "revision": identity.revision})


def model_shape(kind: ProviderKind) -> type[WrittenModel]:
    """The shape of a model of this provider: what all have, and the provider's own options."""
    if not kind.options:
        return WrittenModel
    options: dict[str, Any] = {
        name: (option.type, ...) if option.required else (option.type | None, None)
        for name, option in kind.options.items()
    }
    return create_model(f"{kind.name.capitalize()}Model", __base__=WrittenModel, **options)


def resolve(name: str, models: Mapping[str, Model], catalogue: Catalogue) -> Model:
    """The model that `name` means: an alias of llmops.yaml, or `provider/model`.

    Raises `UnknownName` with the nearest name.
    """
    if name in models:
        return models[name]
    provider, slash, model = name.partition("/")
    kind = catalogue.providers.get(provider)
    if not slash or not model or kind is None or any(o.required for o in kind.options.values()):
        known = [*models, *(f"{each}/…" for each in catalogue.providers)]
        raise UnknownName("model", name, known)
    return Model(name=name, provider=provider, model=model, identity=kind.identity)


def _model_of(
    alias: str,
    shape: WrittenModel,
    kind: ProviderKind,
    written: Mapping[str, Any],
    identity: str | None,
) -> Model:
    return Model(
        name=alias,
        provider=kind.name,
        model=shape.model or kind.name,
        parameters=shape.model_parameters.model_dump(exclude_none=True),
        extra_body=shape.extra_body,
        options={name: written[name] for name in kind.options if name in written},
        identity=identity or kind.identity,
        base_url=shape.base_url,
        api_key_env=shape.api_key_env,
        headers=shape.headers,
        limits=Limits(
            max_concurrency=shape.max_concurrency,
            rpm=shape.rpm,
            tpm=shape.tpm,
            timeout=shape.timeout,
            retries=shape.retries,
        ),
        price=Price(**shape.price.model_dump()) if shape.price else None,
    )
