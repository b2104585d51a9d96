"""Short ways to write a case, an answer and what a scorer made of them; an obliging judge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case, Message
from llmops_cli.core.result import Completion, Failure, Outcome, Score, Unscored


def expecting(expected: Json = None) -> Case:
    return Case(id="one", expected=expected)


def reply(text: str, **more: Any) -> Completion:
    return Completion(text=text, **more)


def value(result: object) -> float:
    """The value of a score; anything else fails the test and shows itself."""
    assert isinstance(result, Score), result
    return result.value


def reason(result: object) -> str:
    assert isinstance(result, Score), result
    return result.reason


def why(result: object) -> str:
    assert isinstance(result, Unscored), result
    return result.why


class Obliging:
    """A judge that fills in whatever form it is asked for, and an embedding model of one number.

    Of several values it takes the last. `shown` is what its own prompt was rendered with.
    """

    def __init__(self) -> None:
        self.shown: list[Mapping[str, Json]] = []

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        json.dumps(inputs)
        self.shown.append(inputs)
        return self._filled_in(json_schema)

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        assert messages
        return self._filled_in(json_schema)

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        assert text
        return (1.0,)

    def _filled_in(self, schema: Any) -> Completion:
        def value(of: Any) -> Json:
            match of:
                case {"$ref": reference}:
                    return value(schema["$defs"][reference.rpartition("/")[2]])
                case {"enum": [*_, last]}:
                    return cast("Json", last)
                case {"type": "object", "properties": properties}:
                    return {name: value(item) for name, item in properties.items()}
                case {"type": "array", "items": items}:
                    return [value(items)]
                case {"type": "integer"}:
                    return 1
                case _:
                    return "as it was read"

        return Completion(text=json.dumps(value(schema)), latency=0.1, served_model="obliging")
