"""Detect URLs of local and private servers, which need no API key and have no list price."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def own_machine(url: str) -> bool:
    """Whether `url` points at loopback, a private network or a name without a public domain."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def host_of(url: str) -> str:
    """Return the host that `url` names; "" if it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
