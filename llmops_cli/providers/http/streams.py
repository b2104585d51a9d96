"""Server-sent events as model servers use them, put together to what would have come at once.

Events follow the WHATWG HTML standard, §9.2, without ids, retries and event names: what an event is
stands in its data, with every server (docs/servers.md). The first piece that a user could see is
timed: text, a refusal or a tool call, not what a reasoning model thinks before. Only a finished
stream is an answer, and an unreadable event ends it: an answer with a gap is invalid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import anyio

from llmops_cli.core.digest import Json


class Events:
    """Takes bytes as they arrive and gives the data of each complete event."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of every event that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf")
            if not text:
                if self._data:
                    yield b"\n".join(self._data)
                    self._data = []
            elif text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))


class Garbled(ValueError):
    """An event that the API doesn't have; the message says what is wrong with it."""


class StreamAccumulator(ABC):
    """Puts a stream's events together."""

    def __init__(self) -> None:
        self.first_token: float | None = None
        """When the first token came, on the event loop's clock; None: none came."""

    @abstractmethod
    def add(self, event: Mapping[str, Any]) -> bool:
        """Add one event; return whether it ends the answer. Raises `Garbled`."""

    @abstractmethod
    def answer(self) -> dict[str, Any]:
        """Return the answer in the shape in which it would have come without a stream."""

    def _token(self) -> None:
        if self.first_token is None:
            self.first_token = anyio.current_time()


class ChatAccumulator(StreamAccumulator):
    """The chunks of a chat completion. Its end, `[DONE]`, is no event."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: dict[str, list[str]] = {"content": [], "refusal": []}
        self._calls: dict[int, dict[str, Any]] = {}
        self._choice: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}

    def add(self, event: Mapping[str, Any]) -> bool:
        """Add one chunk. Usage comes beside the last choice or after it, with no choice."""
        for name in ("id", "model", "system_fingerprint", "usage"):
            if event.get(name):
                self._answer[name] = event[name]
        choices = event.get("choices") or ()
        if not isinstance(choices, (list, tuple)):
            raise Garbled("a chunk whose choices are no list")
        for choice in choices[:1]:
            index = choice.get("index") if isinstance(choice, dict) else choice
            if not isinstance(choice, dict) or not isinstance(index, int | None):
                raise Garbled("a choice that is none of the API's")
            if not index:
                self._add_choice(choice)
        return False

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        for name in ("finish_reason", "error"):
            if choice.get(name):
                self._choice[name] = choice[name]
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self._add_delta(delta)
        elif delta is not None:
            raise Garbled("a delta that is no object")

    def answer(self) -> dict[str, Any]:
        message: dict[str, Any] = {name: "".join(texts) for name, texts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [self._calls[at] for at in sorted(self._calls)]
        return {**self._answer, "choices": [{**self._choice, "message": message}]}

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        for name, texts in self._texts.items():
            if piece := _text(delta.get(name)):
                texts.append(piece)
                self._token()
        calls = delta.get("tool_calls") or ()
        calls = [calls] if isinstance(calls, dict) else calls
        if not isinstance(calls, (list, tuple)) or not all(
            isinstance(call, dict) for call in calls
        ):
            raise Garbled("tool calls that are no objects")
        for position, call in enumerate(calls):
            self._add_call(call, position)
            self._token()

    def _add_call(self, piece: Mapping[str, Any], position: int) -> None:
        """Add to a call: its pieces share an index; a server that gives none sends calls whole."""
        index = piece.get("index")
        at = index if isinstance(index, int) else len(self._calls) + position
        call = self._calls.setdefault(at, {"function": {"arguments": ""}})["function"]
        function = piece.get("function") or {}
        if not isinstance(function, Mapping):
            raise Garbled("a tool call whose function is no object")
        if function.get("name"):
            call["name"] = function["name"]
        arguments = function.get("arguments")
        if isinstance(arguments, str) and isinstance(call["arguments"], str):
            call["arguments"] += arguments
        elif arguments is not None:
            call["arguments"] = arguments


class MessageAccumulator(StreamAccumulator):
    """The events of Claude's messages: a message, its blocks by index, what changed, the end."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, tuple[Mapping[str, Any], list[str], list[str]]] = {}
        """By index: how a block began, its text, and its input as pieces of JSON."""

    def add(self, event: Mapping[str, Any]) -> bool:
        """Add one event; unknown ones are passed over, as the API asks for."""
        match event.get("type"):
            case "message_start":
                self._message = dict(_object(event, "message"))
            case "content_block_start":
                self._add_block(event.get("index"), _object(event, "content_block"))
            case "content_block_delta":
                self._add_delta(event.get("index"), _object(event, "delta"))
            case "message_delta":
                self._message |= _object(event, "delta")
                self._add_usage(event.get("usage"))
            case "message_stop":
                return True
        return False

    def answer(self) -> dict[str, Any]:
        content = []
        for _, (start, texts, inputs) in sorted(self._blocks.items()):
            block = {**start, "text": "".join(texts)}
            if partial := "".join(inputs):
                block["input"] = partial  # one JSON text, which is read where tool calls are
            content.append(block)
        return {**self._message, "content": content}

    def _add_block(self, at: object, start: Mapping[str, Any]) -> None:
        if not isinstance(at, int) or at in self._blocks:
            raise Garbled("a block that begins twice or nowhere")
        self._blocks[at] = (start, [_text(start.get("text"))], [])
        if start.get("type") == "tool_use":
            self._token()

    def _add_delta(self, at: object, delta: Mapping[str, Any]) -> None:
        block = self._blocks.get(at) if isinstance(at, int) else None
        if block is None:
            raise Garbled("a piece of a block that never began")
        _, texts, inputs = block
        texts.append(_text(delta.get("text")))
        inputs.append(_text(delta.get("partial_json")))
        if texts[-1]:
            self._token()

    def _add_usage(self, usage: object) -> None:
        """Replace counts of the beginning by those of the end; what it leaves out stays."""
        if isinstance(usage, dict):
            before = self._message.get("usage")
            counts = {name: count for name, count in usage.items() if count is not None}
            self._message["usage"] = {**(before if isinstance(before, dict) else {}), **counts}


def _object(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = event.get(name)
    if not isinstance(value, dict):
        raise Garbled(f"an event without its {name}")
    return value


def _text(piece: Json) -> str:
    """Return a piece's text, and nothing for null; of a list of parts, the text parts'."""
    if piece is None or isinstance(piece, str):
        return piece or ""
    if not isinstance(piece, list) or not all(isinstance(part, dict) for part in piece):
        raise Garbled("a piece of text that is none")
    parts = (part for part in piece if isinstance(part, dict) and part.get("type") == "text")
    return "".join(_text(part.get("text")) for part in parts)
