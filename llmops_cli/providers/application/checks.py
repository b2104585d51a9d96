"""Checks an application before any call: what llmops.yaml says of it, and which addresses it has.

Used whenever a project is read, so nothing here imports a client, runs the project's code, resolves
a name or calls anything.

A URL in a file that anybody may propose must not make this machine call what only it can reach.
Link-local and metadata addresses are never called. Loopback is called where the URL itself says
so, since an application runs there while it is being developed; other addresses that are not
public only where `allow_hosts` names the URL's host.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.providers.http.access import is_loopback, wrong_address
from llmops_cli.workers.project_code import project_file, what_is_wrong

OF_URLS = ("base_url", "headers", "api_key_env", "extra_body")
"""Options that only a model behind a URL takes."""


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
    if wrong_address(url) is not None:
        return f"'base_url' {url!r} is not an http(s) URL"
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "'base_url' contains a password: send it as a header, `authorization: env:NAME`"
    host = parts.hostname or ""
    try:
        return forbidden(host, host=host, allowed=allowed)
    except ValueError:  # a name, whose addresses are checked when it is resolved
        return None


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
        try:
            jmespath.compile(path)
        except JMESPathError as error:
            problem = str(error).splitlines()[0].rstrip(":")
            return f"'response.{name}' is no JMESPath: {problem}"
    return None


def _meaningless(options: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    key = next((key for key in keys if options.get(key)), None)
    return None if key is None else f"'{key}' means nothing to {options['provider']}"


Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle Cloud
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google Cloud
        ),
    )
)
"""Cloud metadata addresses, in addition to the link-local ones."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6 ones, behind a translator (RFC 6052)."""


def forbidden(address: str, *, host: str, allowed: Collection[str]) -> str | None:
    """Return why `address`, which `host` of a URL stands for, is not called; None: it may be."""
    target = _embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
    named = host if host == address else f"{host} ({address})"
    if (
        target.is_link_local
        or target.is_multicast
        or target.is_unspecified
        or any(target in network for network in _METADATA)
    ):
        return f"{named} is an address that is never called: link-local, or a cloud's metadata"
    if host in allowed or (target.is_loopback and is_loopback(host)) or target.is_global:
        return None
    return f"{named} is not a public address: `allow_hosts: [{host}]` in llmops.yaml allows it"


def _embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one carries, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
