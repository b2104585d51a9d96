"""`path/to/file.py:function`: where it stands, and whether it is there. Nothing of it is run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World
from llmops_cli.workers.project import project_file


class Function(NamedTuple):
    """A function of the project, by its file."""

    file: Path
    name: str


def located(call: str, world: World) -> Function:
    """What `call` names. Raises `Refused`."""
    path, colon, name = call.rpartition(":")
    if not colon or not name.isidentifier():
        raise Refused(f"{call!r} does not name a function", hint="write path/to/file.py:function")
    return Function(project_file(world, path), name)


def what_is_wrong(call: str, world: World) -> str | None:
    """Why `call` cannot be called, as far as its file says without being run; None: nothing."""
    try:
        file, name = located(call, world)
        tree = ast.parse(file.read_bytes())
    except Refused as error:
        return error.message
    except (SyntaxError, ValueError) as error:
        return f"{call} is not Python: {error}"
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    named = [each.name for each in tree.body if isinstance(each, functions)]
    if name in named or _assigned(tree, name):
        return None
    return f"{call.partition(':')[0]} has no function {name!r}"


def _assigned(tree: ast.Module, name: str) -> bool:
    """Whether `name` is imported or assigned at the top of the file, so may be a function."""
    for each in tree.body:
        if isinstance(each, (ast.Import, ast.ImportFrom)):
            if any((alias.asname or alias.name) == name for alias in each.names):
                return True
        elif isinstance(each, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in each.targets
        ):
            return True
    return False
