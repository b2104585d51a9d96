"""Which addresses an application may be called at: not those that lead into somebody's network.

A URL in a file that anybody may propose must not make this machine call what only it can reach.
Link-local and metadata addresses are never called. Loopback is called where the URL itself says
so, since that is where an application runs while it is worked on; other addresses that are not
public only where `allow_hosts` names the URL's host.

Resolves the name of a host, and judges what it resolves to (`reach`).

The connection goes to the very address that was judged, so that no second answer of a name server
counts. Where a proxy is in between, it resolves the name, and its own rules hold.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import TypeAlias

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from llmops_cli.providers.http.errors import Forbidden

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
"""Where clouds tell a machine its secrets, beside the link-local addresses."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6 ones, behind a translator (RFC 6052)."""


def forbidden(address: str, *, host: str, allowed: Collection[str]) -> str | None:
    """Why `address`, which `host` of a URL stands for, is not called; None: it may be."""
    meant = _meant(ipaddress.ip_address(address.partition("%")[0]))
    told = host if host == address else f"{host} ({address})"
    if (
        meant.is_link_local
        or meant.is_multicast
        or meant.is_unspecified
        or any(meant in network for network in _METADATA)
    ):
        return f"{told} is an address that is never called: link-local, or a cloud's metadata"
    if host in allowed or (meant.is_loopback and _says_loopback(host)) or meant.is_global:
        return None
    return f"{told} is not a public address: `allow_hosts: [{host}]` in llmops.yaml allows it"


def literal(host: str) -> bool:
    """Whether `host` of a URL is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _says_loopback(host: str) -> bool:
    return (
        host == "localhost"
        or host.endswith(".localhost")
        or (literal(host) and ipaddress.ip_address(host).is_loopback)
    )


class Judged(AbstractResolver):
    """Resolves names as ever, and gives only those addresses that may be called."""

    def __init__(self, host: str, allowed: Collection[str]) -> None:
        """`host`: of the URL. Another one, a proxy's, is not looked at."""
        self._host = host
        self._allowed = allowed
        self._names = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises `Forbidden` where none of them may be called."""
        found = await self._names.resolve(host, port, family)
        if host != self._host:
            return found
        whys = [forbidden(each["host"], host=host, allowed=self._allowed) for each in found]
        fine = [each for each, why in zip(found, whys, strict=True) if why is None]
        if found and not fine:
            raise Forbidden(str(whys[0]))
        return fine

    async def close(self) -> None:
        """Let go of the resolver behind it."""
        await self._names.close()
