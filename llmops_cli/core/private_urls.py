"""Whose machine a URL names: one's own asks for no key, and no price list knows it."""

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
    """Return the host that `url` names; "" where it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
