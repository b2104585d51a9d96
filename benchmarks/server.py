"""A very fast OpenAI-compatible server, so that benchmarks measure the client.

    python benchmarks/server.py [--port N] [--delay SECONDS]

It answers `POST …/chat/completions` with the last message, after `--delay`, with usage; the same
request always gets the same answer. One process, one thread, a
bare asyncio protocol: keep-alive and pipelining, nothing else of HTTP; any other request is a 404.
The first line printed is the base URL. For faults there is `tests/servers/faulty.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import Any, cast

HEAD_ENDS = b"\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ASKED = re.compile(rb"POST \S*/chat/completions ")
NOT_HERE = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
ANSWER = (
    '{"id":"chatcmpl-%x","object":"chat.completion","created":1700000000,"model":%s,'
    '"choices":[{"index":0,"message":{"role":"assistant","content":%s,"refusal":null},'
    '"logprobs":null,"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
)


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered in the order in which they came."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (head := self._read.find(HEAD_ENDS)) >= 0:
            length = LENGTH.search(self._read, 0, head)
            end = head + len(HEAD_ENDS) + (int(length[1]) if length else 0)
            if len(self._read) < end:
                return
            asked = ASKED.match(self._read)
            body, self._read = self._read[head + len(HEAD_ENDS) : end], self._read[end:]
            if asked is None:
                self._transport.write(NOT_HERE)
            elif self._delay:
                self._loop.call_later(self._delay, self._answer, body)
            else:
                self._answer(body)

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            content = answer(json.loads(body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(content), content)
            )


def answer(request: dict[str, Any]) -> str:
    """The body of a chat completion that repeats the last message."""
    said = request["messages"][-1]["content"]
    text = said if isinstance(said, str) else json.dumps(said)
    messages = str(request["messages"])
    asked, told = len(messages) // 4, len(text) // 4 + 1
    name, model = hash(messages) % 2**64, json.dumps(request["model"])  # clients compare names
    return ANSWER % (name, model, json.dumps(text), asked, told, asked + told)


async def serve(port: int, delay: float) -> None:
    """Listen on loopback until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(delay), "127.0.0.1", port, backlog=4096, reuse_address=True
    )
    where = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{where}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the server with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.delay))


if __name__ == "__main__":
    main()
