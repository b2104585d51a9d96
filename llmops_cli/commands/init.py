"""`llmops init`: write a project that can be evaluated at once, and schemas for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_cli.core.errors import Refused
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.json_schemas import json_schemas
from llmops_cli.project.project import PROJECT_FILE, find_root
from llmops_cli.stores.atomic import write_bytes

SCHEMAS = ".llmops/schemas"

PROJECT = """\
# yaml-language-server: $schema={schemas}/project.json
models:
  default: {{{model}}}
environments: [production]      # in promotion order; the last is the baseline of `llmops eval`
gate:
  margin: 0.05                  # PASS only if a regression of 5 points is ruled out
"""

PROMPT = """\
# yaml-language-server: $schema=../{schemas}/prompt.json
description: Names the sentiment of a customer's message
model: default
inputs:
  message: {type: string}
messages:
  - role: system
    content: Answer with one word, positive or negative.
  - {role: user, content: "Great service, thank you!"}
  - {role: assistant, content: positive}
  - {role: user, content: "I have been waiting for an answer for two weeks."}
  - {role: assistant, content: negative}
  - role: user
    content: "{{ message }}"
"""

EVALSET = """\
# yaml-language-server: $schema=../{schemas}/evalset.json
prompt: sentiment
scorers:
  - label: "{{ expected }}"
cases:
  - {id: thanks, inputs: {message: "Thank you, great help!"}, expected: positive}
  - {id: waiting, inputs: {message: "Still waiting for an answer."}, expected: negative}
  - {id: friendly, inputs: {message: "The service was great and friendly."}, expected: positive}
  - {id: weeks, inputs: {message: "Two weeks and no refund."}, expected: negative}
  - {id: praise, inputs: {message: "Such a great service!"}, expected: positive}
  - {id: delay, inputs: {message: "Two weeks, no answer, and still waiting."}, expected: negative}
"""


def start_project(folder: Path, model: str) -> list[str]:
    """Write the files of a new project and return their paths. Raises `Refused` if one exists."""
    provider, _, name = model.partition("/")
    known = catalog().providers
    if provider not in known:
        raise Refused(f"unknown provider {provider!r}", hint=f"known: {', '.join(sorted(known))}")
    entry = f"provider: {provider}" + (f", model: {name}" if name else "")
    files = {
        PROJECT_FILE: PROJECT.format(schemas=SCHEMAS, model=entry),
        "prompts/sentiment.prompt.yml": PROMPT.replace("{schemas}", SCHEMAS),
        "evalsets/sentiment.yaml": EVALSET.replace("{schemas}", SCHEMAS),
    }
    for path in files:
        if (folder / path).exists():
            raise Refused(f"{path} exists already", hint="init only starts a new project")
    for path, text in files.items():
        write_bytes(folder / path, text.encode())
    return [*files, *write_schemas(folder)]


def all_schemas() -> Mapping[str, Mapping[str, Any]]:
    """Return every schema by its name, plugins' scorers and providers included."""
    return json_schemas(catalog())


def write_schemas(start: Path) -> list[str]:
    """Write the schemas of the project around `start` and return their paths in it."""
    root = find_root(start)
    written = []
    for name, schema in all_schemas().items():
        path = f"{SCHEMAS}/{name}.json"
        content = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        write_bytes(root / path, content.encode())
        written.append(path)
    return written
