"""An HTTP proxy on a real socket that tunnels (`CONNECT`) and remembers what it was asked for.

    with Proxy() as proxy:
        run(env={"HTTPS_PROXY": proxy.url})
    assert proxy.asked == ["CONNECT 127.0.0.1:8443"]

Requests for plain http are forwarded to the host that they name.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """A forwarding proxy in a thread of its own. `answers_with` refuses everything instead."""

    def __init__(self, answers_with: int | None = None) -> None:
        self.requested: list[str] = []
        """Method and target of every request."""
        self.credentials: list[str] = []
        self.port = 0
        self._answers_with = answers_with
        self._up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._down.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._one(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.requested.append(f"{method} {target}")
        self.credentials += [
            line.decode()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"proxy-authorization:")
        ]
        if self._answers_with is not None:
            writer.write(f"HTTP/1.1 {self._answers_with} No\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
        far, near = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            near.write(head)
        await asyncio.gather(_copy(reader, near), _copy(far, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
