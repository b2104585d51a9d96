"""An answer that arrives piece by piece, put together to what would have come at once.

The first piece that a user could see is timed: text, a refusal or a tool call, not what a
reasoning model thinks before. Only a stream that says it is finished is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import anyio

from llmops_cli.core.digest import Json


class Pieces(Protocol):
    """What a stream's events are gathered in."""

    first: float | None
    """When the first token came, on the event loop's clock; None: none came."""

    def take(self, event: Mapping[str, Any]) -> bool:
        """Adds one event; True: it says that the answer is finished."""
        ...

    def whole(self) -> dict[str, Any]:
        """The answer, in the shape in which it would have come without a stream."""
        ...


class ChatPieces:
    """The chunks of a chat completion. Its end, `[DONE]`, is no event."""

    def __init__(self) -> None:
        self.first: float | None = None
        self._texts: dict[str, list[str]] = {"content": [], "refusal": []}
        self._calls: dict[int, dict[str, Any]] = {}
        self._choice: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}

    def take(self, event: Mapping[str, Any]) -> bool:
        """Adds one chunk. Usage comes beside the last choice or after it, with none."""
        for name in ("model", "system_fingerprint", "usage"):
            if event.get(name):
                self._answer[name] = event[name]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping) or choice.get("index") not in {0, None}:
            return False
        for name in ("finish_reason", "error"):
            if choice.get(name):
                self._choice[name] = choice[name]
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self._add(delta)
        return False

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {name: "".join(each) for name, each in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [self._calls[at] for at in sorted(self._calls)]
        return {**self._answer, "choices": [{**self._choice, "message": message}]}

    def _add(self, delta: Mapping[str, Any]) -> None:
        for name, texts in self._texts.items():
            if piece := _text(delta.get(name)):
                texts.append(piece)
                self._seen()
        given = delta.get("tool_calls")
        for position, each in enumerate([given] if isinstance(given, dict) else given or ()):
            if isinstance(each, Mapping):
                self._called(each, position)
                self._seen()

    def _called(self, piece: Mapping[str, Any], position: int) -> None:
        """A call's pieces share an index; a server that gives none sends each call at once."""
        index = piece.get("index")
        at = index if isinstance(index, int) else len(self._calls) + position
        call = self._calls.setdefault(at, {"function": {"arguments": ""}})["function"]
        function = piece.get("function")
        if not isinstance(function, Mapping):
            return
        if function.get("name"):
            call["name"] = function["name"]
        arguments = function.get("arguments")
        if isinstance(arguments, str) and isinstance(call["arguments"], str):
            call["arguments"] += arguments
        elif arguments is not None:
            call["arguments"] = arguments

    def _seen(self) -> None:
        if self.first is None:
            self.first = anyio.current_time()


class MessagePieces:
    """The events of Claude's messages: a message, its blocks by index, what changed, the end."""

    def __init__(self) -> None:
        self.first: float | None = None
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}

    def take(self, event: Mapping[str, Any]) -> bool:
        """Adds one event; those it does not know are passed over, as the API asks for."""
        kind, at = event.get("type"), event.get("index")
        block, delta = event.get("content_block"), event.get("delta")
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self._message = dict(event["message"])
        elif kind == "content_block_start" and isinstance(at, int) and isinstance(block, dict):
            self._blocks[at] = dict(block)
            if block.get("type") == "tool_use":
                self._seen()
        elif kind == "content_block_delta" and isinstance(at, int) and isinstance(delta, dict):
            self._add(self._blocks.setdefault(at, {}), delta)
        elif kind == "message_delta" and isinstance(delta, dict):
            self._message |= delta
            self._count(event.get("usage"))
        return kind == "message_stop"

    def _count(self, usage: object) -> None:
        """Counts of the end replace those of the beginning; what it leaves out stays."""
        if isinstance(usage, dict):
            known = {name: each for name, each in usage.items() if each is not None}
            self._message["usage"] = {**(self._message.get("usage") or {}), **known}

    def whole(self) -> dict[str, Any]:
        blocks = (self._blocks[at] for at in sorted(self._blocks))
        return {**self._message, "content": [_finished(block) for block in blocks]}

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        text, part = delta.get("text"), delta.get("partial_json")
        if isinstance(text, str) and text:
            block["text"] = block.get("text", "") + text
            self._seen()
        if isinstance(part, str):
            block["partial"] = block.get("partial", "") + part

    def _seen(self) -> None:
        if self.first is None:
            self.first = anyio.current_time()


def _finished(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block with its input as one JSON text, which is read where tool calls are."""
    partial = block.get("partial")
    return {**block, "input": partial} if partial else dict(block)


def _text(piece: Json) -> str:
    """A piece's text; of a list of parts, the text parts'."""
    if isinstance(piece, list):
        parts = (each for each in piece if isinstance(each, dict) and each.get("type") == "text")
        return "".join(_text(each.get("text")) for each in parts)
    return piece if isinstance(piece, str) else ""
