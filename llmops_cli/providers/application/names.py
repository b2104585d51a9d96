"""Resolves the name of a host, and judges what it resolves to (`reach`).

The connection goes to the very address that was judged, so that no second answer of a name server
counts. Where a proxy is in between, it resolves the name, and its own rules hold.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from llmops_cli.providers.application.reach import forbidden
from llmops_cli.providers.wire.trouble import Forbidden


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
