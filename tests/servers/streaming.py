"""Streams as model servers send them, whole or cut, from the local server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.servers.faulty import Behaviour, Exchange

HEAD = (
    b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, Any], *, name: str | None = None) -> bytes:
    """One event; `name` as Anthropic names them."""
    return (
        (f"event: {name}\n" if name else "").encode()
        + b"data: "
        + json.dumps(data).encode()
        + b"\n\n"
    )


def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a chat completion; without `delta`, one without choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event({"object": "chat.completion.chunk", "model": "m-1", "choices": choices, **more})


def claude(kind: str, **more: Any) -> bytes:
    """One event of Claude's messages."""
    return event({"type": kind, **more}, name=kind)


def stream(
    *parts: bytes, pause: float = 0.0, close: bool = False, at_once: Iterable[int] = ()
) -> Behaviour:
    """Sends `parts`, `pause` seconds apart. `close`: hangs up without ending the body.

    `at_once`: positions where every byte is sent alone, to cut lines and characters anywhere.
    """
    torn = set(at_once)

    async def behave(exchange: Exchange) -> None:
        exchange.write(HEAD)
        for position, part in enumerate(parts):
            if position and pause:
                await asyncio.sleep(pause)
            pieces = [bytes([byte]) for byte in part] if position in torn else [part]
            for piece in pieces:
                if exchange.gone:
                    return
                exchange.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                if len(pieces) > 1:
                    await asyncio.sleep(0)
        if close:
            exchange.close()
        else:
            exchange.write(b"0\r\n\r\n")

    return behave


def text(*words: str, finish: str = "stop") -> tuple[bytes, ...]:
    """A good stream of `words`, usage and all."""
    usage = {"prompt_tokens": 12, "completion_tokens": len(words), "total_tokens": 12 + len(words)}
    return (
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in words),
        chunk({}, finish),
        chunk(None, usage=usage),
        DONE,
    )
