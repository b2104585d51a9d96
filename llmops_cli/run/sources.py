"""Name what answers as a model or scores as a scorer, for the rows of the results store.

A request names model and parameters. Its source names the rest of what decides who answers: the
address, the headers, the variables with secrets, and an application's options. Where the project's
own code answers or scores, its source names all code that `trust` lists, because code may import
more than its identity names. A source holds no secret, only a digest.
"""

from __future__ import annotations

from collections.abc import Callable

from llmops_cli.core.digest import digest
from llmops_cli.core.ports import Catalog, ProviderKind
from llmops_cli.core.prompt import Model
from llmops_cli.plugins.catalog import command_of


def source_of(model: Model, kind: ProviderKind, code: Callable[[], str | None]) -> str:
    """Return the source of the answers of `model`; `code` returns the digest of trusted code."""
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
