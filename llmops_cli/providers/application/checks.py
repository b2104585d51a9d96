"""Checks what llmops.yaml says of an application, before any call.

Used whenever a project is read, so nothing here imports a client, runs the project's code, resolves
a name or calls anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.providers.http.addresses import has_password, wrong_address
from llmops_cli.workers.project_code import project_file, what_is_wrong

OF_URLS = ("base_url", "headers", "api_key_env", "extra_body")
"""Options that only a model behind a URL takes."""
LONGEST_PATH = 2_000
"""Characters of a JMESPath."""


def check_http(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with a service, if anything."""
    if not options.get("base_url"):
        return "'base_url' is missing: where the application answers"
    meaningless = _meaningless(options, ("api_key_env", "extra_body"))
    url, allowed = options["base_url"], allowed_hosts(options)
    return meaningless or wrong_url(url, allowed) or _wrong_paths(options)


def check_python(options: Mapping[str, Any], context: PluginContext) -> str | None:
    """Return what is wrong with a function, if anything; its file is parsed."""
    return _meaningless(options, OF_URLS) or what_is_wrong(options["call"], context)


def check_command(options: Mapping[str, Any], context: PluginContext) -> str | None:
    """Return what is wrong with a program, if anything; one of the project must be there."""
    meaningless = _meaningless(options, OF_URLS)
    if meaningless is not None:
        return meaningless
    if options.get("output") == "text" and options.get("response"):
        return "'response' finds its way in JSON, and 'output' is text"
    if not options["run"]:
        return "'run' names no program"
    try:
        program(options["run"], context)
    except Refused as error:
        return error.message
    return _wrong_paths(options)


def wrong_url(url: str, allowed: frozenset[str]) -> str | None:
    """Return why `url` is never called, as far as the URL itself shows; None: it may be called."""
    if has_password(url):
        return "'base_url' contains a password: send it as a header, `authorization: env:NAME`"
    why = wrong_address(url, allowed=allowed)
    return why and f"'base_url' {url!r} {why}"


def allowed_hosts(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the hosts that `allow_hosts` allows, as URLs have them."""
    return frozenset(host.lower() for host in options.get("allow_hosts") or ())


def program(command: Sequence[str], context: PluginContext) -> list[str]:
    """Return `command` with a program of the project by its full path. Raises `Refused`."""
    name, *arguments = command
    if "/" not in name:
        return [*command]
    file = project_file(context, name)
    if not os.access(file, os.X_OK):
        raise Refused(f"{name} is not a program", hint=f"chmod +x {name}")
    return [str(file), *arguments]


def _wrong_paths(options: Mapping[str, Any]) -> str | None:
    for name, path in (options.get("response") or {}).items():
        if len(path) > LONGEST_PATH:
            return f"'response.{name}' is longer than {LONGEST_PATH:,} characters"
        try:
            jmespath.compile(path)
        except RecursionError:
            return f"'response.{name}' is nested too deeply"
        except JMESPathError as error:
            problem = str(error).splitlines()[0].rstrip(":")
            return f"'response.{name}' is no JMESPath: {problem}"
    return None


def _meaningless(options: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    key = next((key for key in keys if options.get(key)), None)
    return None if key is None else f"'{key}' means nothing to {options['provider']}"
