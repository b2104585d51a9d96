"""What is wrong with an application as it is written in llmops.yaml: seen before any call.

Asked whenever a project is read, so nothing here imports a client, runs the project's code,
resolves a name or calls anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World
from llmops_cli.providers.application.address_policy import forbidden, literal
from llmops_cli.providers.http.access import wrong_address
from llmops_cli.workers.worker import project_file, what_is_wrong

ELSEWHERE = ("base_url", "headers", "api_key_env", "extra_body")
"""What only a model behind a URL takes."""


def check_http(options: Mapping[str, Any], _world: World) -> str | None:
    """What is wrong with a service."""
    if not options.get("base_url"):
        return "'base_url' is missing: where the application answers"
    wrong = _meaningless(options, ("api_key_env", "extra_body"))
    return wrong or wrong_url(options["base_url"], hosts(options)) or _wrong_paths(options)


def check_python(options: Mapping[str, Any], world: World) -> str | None:
    """What is wrong with a function; its file is parsed."""
    return _meaningless(options, ELSEWHERE) or what_is_wrong(options["call"], world)


def check_command(options: Mapping[str, Any], world: World) -> str | None:
    """What is wrong with a program; one of the project must be there."""
    wrong = _meaningless(options, ELSEWHERE)
    if wrong is not None:
        return wrong
    if options.get("output") == "text" and options.get("response"):
        return "'response' finds its way in JSON, and 'output' is text"
    if not options["run"]:
        return "'run' names no program"
    try:
        program(options["run"], world)
    except Refused as error:
        return error.message
    return _wrong_paths(options)


def wrong_url(url: str, allowed: frozenset[str]) -> str | None:
    """Why `url` is never called, as far as it says so itself; None: it may be called."""
    if wrong_address(url) is not None:
        return f"'base_url' {url!r} is not an http(s) URL"
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "'base_url' holds a password: send it as a header, `authorization: env:NAME`"
    host = parts.hostname or ""
    return forbidden(host, host=host, allowed=allowed) if literal(host) else None


def hosts(options: Mapping[str, Any]) -> frozenset[str]:
    """The hosts that `allow_hosts` allows, as URLs have them."""
    return frozenset(each.lower() for each in options.get("allow_hosts") or ())


def program(command: Sequence[str], world: World) -> list[str]:
    """`command` with a program of the project by its full path. Raises `Refused`."""
    name, *arguments = command
    if "/" not in name:
        return [*command]
    file = project_file(world, name)
    if not os.access(file, os.X_OK):
        raise Refused(f"{name} is not a program", hint=f"chmod +x {name}")
    return [str(file), *arguments]


def _wrong_paths(options: Mapping[str, Any]) -> str | None:
    for part, path in (options.get("response") or {}).items():
        try:
            jmespath.compile(path)
        except JMESPathError as error:
            said = str(error).splitlines()[0].rstrip(":")
            return f"'response.{part}' is no JMESPath: {said}"
    return None


def _meaningless(options: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    given = next((key for key in keys if options.get(key)), None)
    return None if given is None else f"'{given}' means nothing to {options['provider']}"
