"""Server-sent events, as far as model servers use them: data lines, comments, blank lines between.

Follows the WHATWG HTML standard, §9.2, without ids, retries and event names: what an event is
stands in its data, with every server (docs/servers.md).
"""

from __future__ import annotations

from collections.abc import Iterator


class Events:
    """Takes bytes as they arrive and gives the data of each event that is whole."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of every event that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf")
            if not text:
                if self._data:
                    yield b"\n".join(self._data)
                    self._data = []
            elif text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
