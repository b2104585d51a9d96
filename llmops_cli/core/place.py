"""Whose machine a URL names: one's own asks for no key, and no price list knows it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def own_machine(url: str) -> bool:
    """Whether `url` points at loopback, a private network or a name without a public domain."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
