"""What servers that speak like OpenAI really answer (tests/data/compatible_servers.yaml)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.servers.faulty import Behaviour, Exchange

RECORDED = Path(__file__).parents[1] / "data" / "compatible_servers.yaml"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One answer of one server."""

    server: str
    situation: str
    source: str
    """Project and file, or page, where the shape is laid down."""
    body: Any
    """A text, or what is sent as JSON."""
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.server}: {self.situation}"

    @property
    def behaviour(self) -> Behaviour:
        """What the local server does."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)

        async def behave(exchange: Exchange) -> None:
            exchange.send(text.encode(), status=self.status, kind=self.kind, headers=self.headers)

        return behave


def _read(group: str) -> tuple[tuple[Recorded, Mapping[str, Any]], ...]:
    """Return the records of a group, each with what the provider makes of it."""
    records = yaml.safe_load(RECORDED.read_text(encoding="utf-8"))[group]
    return tuple((Recorded(**record), expected) for record in records
                 if (expected := record.pop("expect")) is not None)  # fmt: skip


ANSWERS, ERRORS = _read("answers"), _read("errors")
