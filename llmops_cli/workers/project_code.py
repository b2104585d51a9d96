"""Finds files of the project and functions in them; nothing of them is run.

A function is written as `path/to/file.py:function`. Files must be inside the project, links
followed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext

LARGEST = 5_000_000
"""Bytes; a schema, a scorer or an application's file beyond this is a mistake."""


class Function(NamedTuple):
    """A function of the project, by its file."""

    file: Path
    name: str


def located(call: str, context: PluginContext) -> Function:
    """Return the function that `call` names. Raises `Refused`."""
    path, colon, name = call.rpartition(":")
    if not colon or not name.isidentifier():
        raise Refused(f"{call!r} does not name a function", hint="write path/to/file.py:function")
    return Function(project_file(context, path), name)


def what_is_wrong(call: str, context: PluginContext) -> str | None:
    """Return why `call` cannot be called, as far as its file shows without being run."""
    try:
        file, name = located(call, context)
        tree = ast.parse(file.read_bytes())
    except Refused as error:
        return error.message
    except (SyntaxError, ValueError) as error:
        return f"{call} is not Python: {error}"
    if any(name in _names(statement) for statement in tree.body):
        return None
    return f"{call.partition(':')[0]} has no function {name!r}"


def _names(statement: ast.stmt) -> list[str]:
    """Return the names of what may be functions: defined, imported or assigned at the top."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def project_file(context: PluginContext, path: str) -> Path:
    """Return where `path` is. Raises `Refused` if it leaves the project or is no file."""
    root = context.root.resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise Refused(f"{path} is outside the project", hint="keep what llmops runs inside it")
    if not file.is_file():
        raise Refused(f"{path} is not a file of the project")
    if file.stat().st_size > LARGEST:
        raise Refused(f"{path} is larger than {LARGEST:,} bytes")
    return file
