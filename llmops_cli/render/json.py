"""Writes a report as JSON that programs can rely on: documented, versioned and reproducible.

The document is `{"schema": "llmops/report/v2", "report": {…}}`. Its fields are those of
`core.report` and `core.policy` under their own names, all of them always; their JSON Schema is
derived from the types, so that it cannot go stale. Keys are sorted, so that equal reports give
equal bytes. The text is plain ASCII and harmless in a terminal or a CI log; texts in it come back
exactly as they were.

`outputs` has a run in a dozen words and numbers, for later steps of a pipeline. `verdict` is FAIL,
INCOMPLETE, INCONCLUSIVE or PASS, the worst of all prompts'; UNCHANGED where there was nothing to
evaluate; ERROR where llmops stopped before there was a verdict. No text of a model is among them.
"""

from __future__ import annotations

import json
import secrets
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision
from llmops_cli.core.report import Change, Report
from llmops_cli.render.formatting import SEVERITY

SCHEMA = "llmops/report/v2"


def json_report(report: Report) -> str:
    """Return the whole report as one JSON document, ending in a newline.

    Raises `ValueError` if a figure is NaN or infinite: that is a bug, and no JSON.
    """
    return _document({"schema": SCHEMA, "report": as_json(report)})


def table_json(rows: Iterable[Mapping[str, Json]]) -> str:
    """Return a table as a JSON list of objects, ending in a newline."""
    return _document([dict(row) for row in rows])


def as_json(value: Any) -> Any:  # noqa: ANN401 - any core value in, plain JSON data out
    """Return a core value as plain data: a dataclass as an object, an enum as its value.

    A path, where a value lies on this computer, is no part of it.
    """
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: as_json(item) for name, item in values.items() if not isinstance(item, Path)}
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value


def _document(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False)
    # DEL is the one control that JSON leaves as it is; `##[` is a command to a CI runner.
    return text.replace("\x7f", "\\u007f").replace("##[", "#\\u0023[") + "\n"


COUNTED: tuple[Change, ...] = ("critical", "regressed", "improved", "failing", "unmeasured")


def overall(report: Report) -> str:
    """Return one word for the whole run."""
    if report.prompts:
        decisions = [prompt.verdict.decision for prompt in report.prompts]
        return min(decisions, key=SEVERITY.__getitem__).value
    done = report.exit_code is ExitCode.DONE
    return "UNCHANGED" if done else Decision.INCOMPLETE.value


def outputs(report: Report) -> dict[str, str]:
    """Return every output of the action by its name."""
    prompts = report.prompts
    evalsets = [evalset for prompt in prompts for evalset in prompt.evalsets]
    blocked = [prompt for prompt in prompts if prompt.verdict.exit_code is not ExitCode.DONE]
    counts = {
        change: sum(evalset.changes.get(change, 0) for evalset in evalsets) for change in COUNTED
    }
    return {
        "verdict": overall(report),
        "exit-code": str(int(report.exit_code)),
        "run-id": digest(SCHEMA, as_json(report)),
        "prompts": str(len(report.prompts)),
        "blocked": str(len(blocked)),
        "cases": str(sum(evalset.cases for evalset in evalsets)),
        **{name: str(count) for name, count in counts.items()},
        "calls": str(report.calls),
        "reused": str(report.reused),
        "cost": "" if report.cost is None else f"{report.cost:.6f}",
    }


def output_lines(values: Mapping[str, str]) -> str:
    """Return `values` as GitHub's `GITHUB_OUTPUT` takes them; a value may have several lines.

    The word that ends a value is random, so that no value can end itself.
    """
    end = f"end-{secrets.token_hex(16)}"
    return "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in values.items())


# The JSON Schema of the document.

_PLAIN: Mapping[object, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what `json_report` writes."""
    definitions: dict[str, Any] = {}
    report = _schema(Report, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmops report",
        "type": "object",
        "properties": {"schema": {"const": SCHEMA}, "report": report},
        "required": ["schema", "report"],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type form
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_dataclass(kind):
        return _object(kind, definitions)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    inner = get_args(kind)
    match get_origin(kind):
        case origin if origin is Literal:
            return {"enum": list(inner)}
        case origin if origin in (Union, types.UnionType):
            return {"anyOf": [_schema(alternative, definitions) for alternative in inner]}
        case origin if origin is tuple:
            return {"type": "array", "items": _schema(inner[0], definitions)}
        case _:
            return {"type": "object", "additionalProperties": _schema(inner[1], definitions)}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # a placeholder, in case a type contains itself
        hints = get_type_hints(kind, localns={"Json": Any})
        names = [item.name for item in fields(kind)]
        definitions[name] = {
            "description": (kind.__doc__ or "").split("\n")[0],
            "type": "object",
            "properties": {name: _schema(hints[name], definitions) for name in names},
            "required": names,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}
