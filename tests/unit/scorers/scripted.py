"""A judge that answers from a script, and counts what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Message
from llmops_cli.core.result import Completion, Failure, Outcome

Says = Callable[[str, str], "Json | Outcome"]
"""What is answered to a prompt, by the title of the form that it asks for."""


class Scripted:
    """An `Ask` whose judge answers what `says` says and whose embeddings are letter counts."""

    def __init__(self, says: Says) -> None:
        self._says = says
        self.prompts: list[str] = []
        self.schemas: list[Mapping[str, Json]] = []
        self.embedded: list[str] = []

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        raise AssertionError("these judges have no prompt of ours")

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        (message,) = messages
        assert message.role == "user"
        assert isinstance(message.content, str)
        self.prompts.append(message.content)
        self.schemas.append(json_schema)
        said = self._says(message.content, str(json_schema["title"]))
        if isinstance(said, (Completion, Failure)):
            return said
        return Completion(text=json.dumps(said), latency=0.1, served_model="scripted-1")

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        self.embedded.append(text)
        return letters(text)


def letters(text: str) -> tuple[float, ...]:
    """An embedding that tells texts apart and is the same everywhere."""
    return tuple(float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz")


def asked(prompt: str) -> dict[str, Any]:
    """What ragas' prompt is about: the input after its last example."""
    _, _, last = prompt.rpartition("\ninput: ")
    return dict(json.loads(last.rpartition("\nOutput: ")[0]))
