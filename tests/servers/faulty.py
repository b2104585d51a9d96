"""A model server on a real socket that does what a script says, request by request.

It speaks OpenAI chat completions (`…/chat/completions`), embeddings and model lists, and
Anthropic messages (`…/messages`). A script is a sequence of behaviours, one per request in order
of arrival; when it is used up, `then` rules (by default: answer). Three ways to use it:

    async with serve(status(429, retry_after="1"), answer()) as server: ...   # in this loop
    with FaultServer(status(401), then=status(401)) as server: ...            # in a thread
    python -m tests.servers.faulty --delay 0.05                               # a process

The answer to a prompt is its last user turn, unless `reply` says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property, partial, wraps
from itertools import count
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeAlias, cast

Behaviour: TypeAlias = "Callable[[Exchange], Awaitable[None]]"
Reply: TypeAlias = Callable[[Mapping[str, Any]], str]


CHUNKED = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


IDS = count(1)
"""Names each answer, as servers do."""


def echo(body: Mapping[str, Any]) -> str:
    """The last user turn, as text."""
    for message in reversed(body.get("messages", [])):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content)
    return str(body.get("input", ""))


class Exchange:
    """One request and the means to answer it badly."""

    def __init__(self, server: Server, connection: _Connection, head: bytes, raw: bytes) -> None:
        self.server = server
        self.connection = connection
        self._head = head
        self.raw = raw

    @cached_property
    def path(self) -> str:
        return self._head.split(b" ", 2)[1].decode()

    @cached_property
    def headers(self) -> dict[str, str]:
        lines = self._head.decode("latin-1").split("\r\n")[1:]
        return {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }

    @cached_property
    def body(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.raw)) if self.raw else {}

    def write(self, data: bytes) -> None:
        self.connection.transport.write(data)

    def send(
        self,
        body: bytes,
        *,
        status: int = 200,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """A whole response; `length` lies about the body's."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(body) if length is None else length}\r\n{extra}\r\n".encode()
            + body
        )

    async def drained(self) -> None:
        """Wait until the client has taken what was written."""
        await self.connection.writable.wait()

    async def closed(self) -> None:
        """Wait until the client has hung up."""
        await self.connection.lost.wait()

    @property
    def gone(self) -> bool:
        return self.connection.transport.is_closing()

    def close(self) -> None:
        self.connection.transport.close()

    def reset(self) -> None:
        """RST instead of FIN: the client sees its connection reset."""
        raw = self.connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()

    def answer(self, **changes: Any) -> bytes:
        """A good answer as JSON; `changes` override top-level keys."""
        text = self.server.reply(self.body)
        if self.path.endswith("/messages"):
            good = _message(self.body, text)
        elif self.path.endswith("/embeddings"):
            good = _embeddings(self.body)
        elif self.path.endswith("/models"):
            good = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
        else:
            good = _chat(self.body, text)
        return json.dumps({**good, **changes}).encode()


def _chat(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{next(IDS)}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": f"{body.get('model', 'tiny')}-0001",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 5,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }


def _message(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": f"msg_{next(IDS)}",
        "type": "message",
        "role": "assistant",
        "model": f"{body.get('model', 'tiny')}-0001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 8, "output_tokens": 5, "cache_read_input_tokens": 4},
    }


def _embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    inputs = body.get("input", "")
    texts = [inputs] if isinstance(inputs, str) else inputs
    return {
        "object": "list",
        "model": body.get("model", "tiny"),
        "data": [
            {"object": "embedding", "index": i, "embedding": [float(len(text)), 1.0]}
            for i, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


# Behaviours ---------------------------------------------------------------------------------

P = ParamSpec("P")


def behaviour(
    function: Callable[Concatenate[Exchange, P], Awaitable[None]],
) -> Callable[P, Behaviour]:
    """Turn a function of an exchange and options into one that takes the options first."""

    @wraps(function)
    def factory(*args: P.args, **kwargs: P.kwargs) -> Behaviour:
        return lambda exchange: function(exchange, *args, **kwargs)

    return factory


@behaviour
async def answer(exchange: Exchange, /, *, delay: float = 0.0, **changes: Any) -> None:
    """A good answer after `delay` seconds; `changes` override its top-level keys."""
    if delay:
        await asyncio.sleep(delay)
    exchange.send(exchange.answer(**changes))


@behaviour
async def status(
    exchange: Exchange,
    /,
    code: int,
    *,
    message: str = "no",
    body: bytes | None = None,
    **headers: str,
) -> None:
    """An error status; header names with `_` for `-`."""
    error = {"error": {"message": message, "type": "test", "code": None}}
    exchange.send(
        json.dumps(error).encode() if body is None else body,
        status=code,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


@behaviour
async def raw_body(
    exchange: Exchange, /, body: bytes, *, kind: str = "application/json", **headers: str
) -> None:
    """200 with exactly these bytes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange.send(body, kind=kind, headers=named)


def error_object(kind: str = "server_error", message: str = "upstream is overloaded") -> Behaviour:
    """200 whose body is an error."""
    return raw_body(json.dumps({"error": {"message": message, "type": kind}}).encode())


def html() -> Behaviour:
    """200 with a login page."""
    return raw_body(b"<!DOCTYPE html><html><h1>Please log in</h1></html>", kind="text/html")


@behaviour
async def garbage(exchange: Exchange) -> None:
    """Bytes that are no HTTP."""
    exchange.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    exchange.close()


@behaviour
async def truncated(exchange: Exchange) -> None:
    """200 with the right length and half the JSON."""
    whole = exchange.answer()
    exchange.send(whole[: len(whole) // 2])


@behaviour
async def bad_utf8(exchange: Exchange) -> None:
    """200 with bytes in the text that are no UTF-8."""
    whole = exchange.answer(model="@@")
    exchange.send(whole.replace(b"@@", b"\xff\xfe\x80"))


@behaviour
async def marked(exchange: Exchange) -> None:
    """200 with a byte order mark before the JSON."""
    exchange.send(b"\xef\xbb\xbf" + exchange.answer())


@behaviour
async def hang(exchange: Exchange) -> None:
    """Takes the request and says nothing."""
    await exchange.closed()


@behaviour
async def drip(exchange: Exchange, every: float = 0.1) -> None:
    """A good answer, one byte at a time."""
    whole = exchange.answer()
    head = f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(whole)}"
    exchange.write(head.encode() + b"\r\n\r\n")
    for position in range(len(whole)):
        if exchange.gone:
            return
        exchange.write(whole[position : position + 1])
        await asyncio.sleep(every)


@behaviour
async def reset(exchange: Exchange, where: str = "body") -> None:
    """RST before the headers, amid the `headers` or amid the `body`."""
    if where == "headers":
        exchange.write(b"HTTP/1.1 200 X\r\ncontent-ty")
    elif where == "body":
        whole = exchange.answer()
        exchange.send(whole[:20], length=len(whole))
    await asyncio.sleep(0.02)
    exchange.reset()


@behaviour
async def short(exchange: Exchange) -> None:
    """Closes after less than Content-Length promised."""
    whole = exchange.answer()
    exchange.send(whole[:-10], length=len(whole))
    exchange.close()


@behaviour
async def cut_chunked(exchange: Exchange) -> None:
    """Closes a chunked answer before its last chunk."""
    part = exchange.answer()[:30]
    exchange.write(CHUNKED + f"{len(part):x}\r\n".encode() + part + b"\r\n")
    exchange.close()


def gzip_bomb(megabytes: int = 300) -> Behaviour:
    """A small gzip body that unpacks to `megabytes`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b" " * 1_000_000
    packed = b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
    return raw_body(packed, content_encoding="gzip")


@behaviour
async def gzipped(exchange: Exchange) -> None:
    """A good answer, gzip-encoded."""
    packed = gzip.compress(exchange.answer())
    exchange.send(packed, headers={"content-encoding": "gzip"})


@behaviour
async def endless(exchange: Exchange) -> None:
    """A chunked body that never ends."""
    exchange.write(CHUNKED)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    while not exchange.gone:
        exchange.write(chunk)
        await exchange.drained()
        await asyncio.sleep(0)


@behaviour
async def redirect(exchange: Exchange, location: str) -> None:
    """302 to somewhere else."""
    exchange.send(b"", status=302, headers={"location": location})


@behaviour
async def twice(
    exchange: Exchange, /, *, after: float = 0.02, named: bool = True, **changes: Any
) -> None:
    """A good answer, and `after` seconds later the same one again, which nobody asked for.

    `named`: whether it bears the id of its request. `changes` override keys of the answer.
    """
    headers = {"x-request-id": f"req_{exchange.server.requests}"} if named else {}
    again = partial(exchange.send, exchange.answer(**changes), headers=headers)
    again()
    asyncio.get_running_loop().call_later(after, again)


def behind() -> Behaviour:
    """Repeats the answer before, where there was one on its connection, and then answers."""
    before: dict[object, Callable[[], None]] = {}

    async def behave(exchange: Exchange) -> None:
        headers = {"x-request-id": f"req_{exchange.server.requests}"}
        answer = partial(exchange.send, exchange.answer(), headers=headers)
        before.get(exchange.connection, answer)()
        if exchange.connection in before:
            answer()
        before[exchange.connection] = answer

    return behave


@behaviour
async def stale(exchange: Exchange, *, delay: float = 0.0) -> None:
    """A good answer on a connection that is then closed without a word."""
    exchange.send(exchange.answer())
    await asyncio.sleep(delay)
    exchange.close()


# The server ---------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Reads requests one after the other and hands each to the server."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self._busy = False
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections += 1
        self._server.open.add(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open.discard(self.transport)
        self.writable.set()
        self.lost.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        length = _content_length(head)
        if len(self._buffer) < end + 4 + length:
            return
        raw = self._buffer[end + 4 : end + 4 + length]
        self._buffer = self._buffer[end + 4 + length :]
        self._busy = True
        task = asyncio.get_running_loop().create_task(
            self._server.handle(Exchange(self._server, self, head, raw))
        )
        self._server.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        self._busy = False
        if not self.transport.is_closing():
            self._next()


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0
    return int(lower[at + 15 : (lower + b"\r\n").find(b"\r\n", at)])


CERTIFICATE = Path(__file__).with_name("localhost.pem")


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


class Server:
    """Counts what reaches it. `url` is an OpenAI base URL; Anthropic's is `root`."""

    def __init__(
        self,
        script: tuple[Behaviour, ...],
        *,
        then: Behaviour | None,
        reply: Reply = echo,
        tls: bool = False,
    ) -> None:
        self._tls = tls
        self._script = list(reversed(script))
        self._then = then or answer()
        self.reply = reply
        self.requests = 0
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.arrivals: list[float] = []
        """Loop time of every request."""
        self.last: Exchange | None = None
        self.port = 0
        self.open: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def root(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    async def handle(self, exchange: Exchange) -> None:
        self.requests += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.arrivals.append(asyncio.get_running_loop().time())
        self.last = exchange
        behave = self._script.pop() if self._script else self._then
        try:
            await behave(exchange)
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Self]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self),
            "127.0.0.1",
            port,
            backlog=2048,
            ssl=_tls() if self._tls else None,
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            for transport in tuple(self.open):
                transport.abort()
            await asyncio.sleep(0)


@asynccontextmanager
async def serve(
    *script: Behaviour, then: Behaviour | None = None, reply: Reply = echo
) -> AsyncIterator[Server]:
    """A server in this event loop."""
    async with Server(script, then=then, reply=reply).listening() as server:
        yield server


class FaultServer:
    """The same server in a thread of its own: for tests that run llmops as a process."""

    def __init__(
        self,
        *script: Behaviour,
        then: Behaviour | None = None,
        reply: Reply = echo,
        tls: bool = False,
    ) -> None:
        """`tls`: with the certificate in `CERTIFICATE`, which nobody trusts by default."""
        self._server = Server(script, then=then, reply=reply, tls=tls)
        self._up = threading.Event()

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._up.wait(10)
        return self._server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        async with self._server.listening():
            self._up.set()
            await self._down.wait()


# The command line ---------------------------------------------------------------------------


async def _main(delay: float) -> None:
    async with serve(then=answer(delay=delay)) as server:
        print(server.url, flush=True)  # noqa: T201 - whoever started it waits for this line
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.0)
    asyncio.run(_main(parser.parse_args().delay))
