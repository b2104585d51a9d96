"""Decides which addresses an application may be called at: none inside somebody's network.

A URL in a file that anybody may propose must not make this machine call what only it can reach.
Link-local and metadata addresses are never called. Loopback is called where the URL itself says
so, since an application runs there while it is being developed; other addresses that are not
public only where `allow_hosts` names the URL's host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import TypeAlias

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
    if host in allowed or (target.is_loopback and _is_loopback(host)) or target.is_global:
        return None
    return f"{named} is not a public address: `allow_hosts: [{host}]` in llmops.yaml allows it"


def is_address(host: str) -> bool:
    """Return whether `host` of a URL is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one carries, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_loopback(host: str) -> bool:
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
