"""Where a model is served and with which key and headers, from its configuration.

Keys and headers name environment variables; their values never stand in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmops_cli.core.errors import Refused, suggestion
from llmops_cli.core.place import own_machine
from llmops_cli.core.ports import World
from llmops_cli.core.prompt import Model

NO_KEY = "unused"
"""What a server of one's own is told when no key is set: it asks for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a client is opened with."""

    key: str
    key_env: str
    """The variable that holds the key, or would."""
    base_url: str | None
    headers: Mapping[str, str]

    @property
    def about_key(self) -> str:
        """What to do where the server refuses the key."""
        if self.key == NO_KEY:
            return f"no key was sent: {self.key_env} is not set"
        return f"check the key in {self.key_env}"


def access(model: Model, world: World, *, key_env: str) -> Access:
    """The key, URL and headers of `model`; `key_env` is where the vendor's key stands by default.

    Raises `Refused` for a missing key, a missing header variable or a URL that is none.
    """
    base_url = model.base_url
    if base_url is not None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Refused(
                f"{model.name}: base_url {base_url!r} is not an http(s) URL",
                hint="write it like http://localhost:8000/v1",
            )
    name = model.api_key_env or key_env
    key = world.environ.get(name, "").strip()
    if not key:
        if model.api_key_env is not None or base_url is None or not own_machine(base_url):
            raise Refused(
                f"{model.name}: no key, {name} is not set",
                hint=f"export {name}=…, or name another variable with `api_key_env`",
            )
        key = NO_KEY
    return Access(key=key, key_env=name, base_url=base_url, headers=headers_of(model, world))


def headers_of(model: Model, world: World) -> dict[str, str]:
    """The headers of `model`, `env:NAME` and `Bearer env:NAME` filled in. Raises `Refused`."""
    found: dict[str, str] = {}
    for name, value in model.headers.items():
        scheme, reference, variable = value.rpartition("env:")
        if reference and (not scheme or scheme.endswith(" ")):
            if variable not in world.environ:
                raise Refused(
                    f"{model.name}: header {name} needs {variable}, which is not set",
                    hint=f"export {variable}=…",
                )
            value = scheme + world.environ[variable]  # noqa: PLW2901 - what it stands for
        found[name] = value
    return found


def known_parameters(
    model: str, given: Iterable[str], known: Iterable[str], *, vendor: str
) -> None:
    """Raises `Refused` for the first parameter that the vendor's SDK does not take."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = suggestion(name, names)
            what_else = "or send it as it is under `extra_body`"
            raise Refused(
                f"{model}: {vendor} takes no parameter {name!r}",
                hint=f"{near}, {what_else}" if near and near.startswith("did") else what_else[3:],
            )
