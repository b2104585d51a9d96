"""Finds where a model is served and with which key and headers, from its configuration.

Keys and headers name environment variables; their values are never in a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmops_cli.core.errors import Refused, suggestion
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import FROM_ENVIRONMENT, Model, own_machine
from llmops_cli.providers.http.addresses import has_password, wrong_address

NO_KEY = "unused"
"""The placeholder key for a local server without a key."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a client is opened with."""

    key: str
    about_key: str
    """What to do where the server refuses the key."""
    base_url: str | None
    headers: Mapping[str, str]


def access(model: Model, context: PluginContext, *, key_env: str) -> Access:
    """Return the key, URL and headers of `model`; `key_env` has the vendor's key by default.

    Raises `Refused` for a missing key, a missing header variable or a URL that is none.
    """
    base_url = model.base_url
    if base_url is not None:
        if has_password(base_url):
            raise Refused(
                f"{model.name}: base_url contains a password, which would be in every report",
                hint="name the variable that has the key with `api_key_env`, or use `headers`",
            )
        if (why := wrong_address(base_url)) is not None:
            raise Refused(
                f"{model.name}: base_url {base_url!r} {why}",
                hint="write it like http://localhost:8000/v1",
            )
    name = model.api_key_env or key_env
    key, about_key = context.environ.get(name, "").strip(), f"check the key in {name}"
    if not key:
        if model.api_key_env is not None or base_url is None or not own_machine(base_url):
            raise Refused(
                f"{model.name}: no key, {name} is not set",
                hint=f"export {name}=…, or name another variable with `api_key_env`",
            )
        key, about_key = NO_KEY, f"no key was sent: {name} is not set"
    _check_sendable(model.name, "authorization", key, source=name)
    headers = headers_of(model, context)
    return Access(key=key, about_key=about_key, base_url=base_url, headers=headers)


def headers_of(model: Model, context: PluginContext) -> dict[str, str]:
    """Return the headers of `model` with `env:NAME` filled in. Raises `Refused`."""
    headers: dict[str, str] = {}
    for name, value in model.headers.items():
        scheme, reference, variable = value.rpartition(FROM_ENVIRONMENT)
        if reference and (not scheme or scheme.endswith(" ")):
            if variable not in context.environ:
                raise Refused(
                    f"{model.name}: header {name} needs {variable}, which is not set",
                    hint=f"export {variable}=…",
                )
            value = scheme + context.environ[variable].strip()  # noqa: PLW2901 - what it stands for
        _check_sendable(model.name, name, value, source=variable if reference else "llmops.yaml")
        headers[name] = value
    return headers


def _check_sendable(model: str, name: str, value: str, *, source: str) -> None:
    """Raise `Refused` for what no HTTP header can carry; the value is not in the message."""
    if _NAME.fullmatch(name) is None:
        raise Refused(f"{model}: {name!r} is no name of a header")
    if _CONTROL.search(value) is not None:
        raise Refused(
            f"{model}: header {name} holds a line break, or what else HTTP cannot carry",
            hint=f"look at what is around it in {source}",
        )


def check_parameters(
    model: str, parameters: Iterable[str], known: Iterable[str], *, vendor: str
) -> None:
    """Raise `Refused` for the first parameter that the vendor's SDK does not take."""
    names = sorted(known)
    for name in parameters:
        if name not in names:
            near = suggestion(name, names)
            guess = f"{near}, or " if near and near.startswith("did") else ""
            raise Refused(
                f"{model}: {vendor} takes no parameter {name!r}",
                hint=f"{guess}send it as it is under `extra_body`",
            )
