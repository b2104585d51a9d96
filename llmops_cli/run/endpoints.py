"""Refuse models that would send requests or secrets where no model at the base revision does.

A change can point a model at any server and name any variable of the environment: as its key, in
a header, for an application. Behind one host there may be many tenants, told apart by the path or
by a header. So with `--base`, a `base_url` is called only if a model at the base calls it, and gets
only the secrets and headers that it gets there. What `trust` at the base lists as `https://host`
may be called with any. A vendor's own address with its own key is known without a model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import urlsplit

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import ProviderKind
from llmops_cli.core.prompt import Model
from llmops_cli.run.workspace import Workspace

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"^[^/]*//[^/?#]*")


def refuse_unknown_endpoints(workspace: Workspace, models: Iterable[Model]) -> None:
    """Raise `Refused` for the first of `models` that sends something where the base doesn't."""
    base = workspace.base
    if base is None:
        return
    known: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for kind in workspace.catalog.providers.values():
        known[_own_address(kind)] |= {(name, "") for name in [kind.api_key_env] if name}
    for model in workspace.rules.models.values():
        kind = workspace.provider(model)
        known[_endpoint(model, kind)] |= _sent(model, kind)
    trusted = {origin(entry) for entry in workspace.rules.trust if "://" in entry}
    for model in models:
        kind = workspace.provider(model)
        place, server = _endpoint(model, kind), origin(model.base_url or "")
        unknown = sorted({name for name, _ in _sent(model, kind) - known.get(place, set())})
        is_new = not kind.code and place not in known
        if kind.offline or server in trusted or not (is_new or unknown):
            continue
        named = f"{model.where}: " if model.where else ""
        what = f"send {', '.join(unknown)} to {place}" if unknown else f"call {place}"
        hint = "merge the change of llmops.yaml first, in a pull request of its own"
        if model.base_url is not None:
            hint += f"; or a maintainer lists the host there: `trust: [{server}]`"
        raise Refused(f"{named}{model.name!r} would {what}, and no model at {base} does", hint=hint)


def _endpoint(model: Model, kind: ProviderKind) -> str:
    """Return where the requests of `model` go: a URL without a password, or the code that runs."""
    if kind.code:
        run = model.options.get("run")
        words = run if isinstance(run, (list, tuple)) else [model.options.get("call")]
        return " ".join(map(str, words))
    if model.base_url is None:
        return _own_address(kind)
    return origin(model.base_url) + _HOST.sub("", model.base_url).rstrip("/")


def _own_address(kind: ProviderKind) -> str:
    return f"the API of {kind.name}"


def secrets_of(model: Model, kind: ProviderKind) -> frozenset[str]:
    """Return the names of the variables whose values `model` sends, or gives to code."""
    default = None if model.api_key_env else kind.api_key_env
    return frozenset(filter(None, (*model.variables, default)))


def _sent(model: Model, kind: ProviderKind) -> set[tuple[str, str]]:
    """Return the variables whose values `model` sends or gives to code, and its headers.

    A vendor's own API sends nothing on, whatever the headers say.
    """
    variables = {(name, "") for name in secrets_of(model, kind)}
    headers = model.headers.items() if model.base_url is not None else ()
    return variables | {(f"the header {name.lower()}", value) for name, value in headers}


def origin(url: str) -> str:
    """Return scheme, host and port of `url`, without the scheme's usual port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # refused when it is opened
        return url
    host = f"[{host}]" if ":" in host else host
    usual = port in (None, PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" + ("" if usual else f":{port}")
