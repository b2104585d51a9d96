"""What GitHub tells a job about the event that set it off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llmops_cli.core.digest import Json


def github_event(environ: Mapping[str, str]) -> Mapping[str, Json] | None:
    """The event's payload; None where there is none that can be read."""
    path = environ.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    file = Path(path)
    try:
        event = json.loads(file.read_bytes()) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
