"""Decide which hosts and addresses are called.

A URL in a file that anybody may propose must not make this machine call what only it can reach.
Link-local and metadata addresses are never called. A model may be served on this machine and on a
private network. An application is called on loopback where the URL itself says so, since it runs
there while it is being developed, and on other addresses that are not public only where
`allow_hosts` names the URL's host.

A host is written in ASCII, and an address in its usual form. So every parser, client and resolver
reads it as it is read here: `１２７.０.０.１` and `0x7f.1` would be names to one and loopback to
another. Standard library only, since this is used whenever a project is read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?|[^%]*:[^%]*")
"""Matches what some program reads as an address: its last part is a number (WHATWG URL)."""
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


def wrong_address(url: str, *, allowed: Collection[str] | None = None) -> str | None:
    """Return why `url` is never called, as far as it shows itself; None: it may be called.

    `allowed` are the hosts whose addresses may be private; None: every host's may.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        ascii_host = host.encode("idna").decode()
        if parts.scheme not in {"http", "https"} or not host or parts.port == 0:
            return "is not an http(s) URL"
    except ValueError:  # UnicodeError is one
        return "is not an http(s) URL"
    if not host.isascii():
        return f"has a host that is not ASCII: write {ascii_host}"
    if _NUMBER.fullmatch(host) is None:  # a name, whose addresses are checked when it is resolved
        return None if _NAME.fullmatch(host) else "is not an http(s) URL"
    try:
        why = forbidden(host, host=host, allowed=allowed)
    except ValueError:
        return "has a number for a host that is no IP address: write it like 127.0.0.1 or [::1]"
    return None if why is None else f"is not called: {why}"


def has_password(url: str) -> bool:
    """Return whether `url` contains a user or password, so that it may not be shown."""
    return "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]


def is_loopback(host: str) -> bool:
    """Return whether `host` of a URL, an address or a name, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def forbidden(address: str, *, host: str, allowed: Collection[str] | None) -> str | None:
    """Return why `address`, which `host` of a URL stands for, is not called; None: it may be.

    `allowed` are the hosts whose addresses may be private; None: every host's may. Raises
    `ValueError` for what is no address.
    """
    target = _embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
    named = host if host == address else f"{host} ({address})"
    if (
        target.is_link_local
        or target.is_multicast
        or (target.is_unspecified and allowed is not None)
        or any(target in network for network in _METADATA)
    ):
        return f"{named} is an address that is never called: link-local, or a cloud's metadata"
    if allowed is None or host in allowed or target.is_global:
        return None
    if target.is_loopback and is_loopback(host):
        return None
    return f"{named} is not a public address: `allow_hosts: [{host}]` in llmops.yaml allows it"


def _embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one carries, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
