"""Reads what another job wrote about a run, as the input of a stranger.

A report is at most 32 MB, strict JSON, and valid by `llmops schema report`, or it is refused. That
makes it safe to render, not true: a fork's pull request can make its own job say PASS, which is
why the required check is the job and not the comment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from llmops_cli.core.digest import InvalidRecord, from_plain
from llmops_cli.core.errors import Refused
from llmops_cli.core.report import Report
from llmops_cli.project.documents import NotPlain, load_json
from llmops_cli.registry.problems import RegistryProblem
from llmops_cli.render.json import report_schema

LARGEST = 32_000_000
"""Bytes."""
PROBLEMS = 1_000


def read_report(path: Path) -> Report | None:
    """Return the report that `report --json` printed into `path`; None if there is none.

    Raises `Refused` for a file that is anything else.
    """
    document = _document(path)
    if document is None:
        return None
    error = next(Draft202012Validator(report_schema()).iter_errors(document), None)
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        raise Refused(f"{path} is not a report: {where}: {error.message[:200]}")
    try:
        return from_plain(Report, document["report"], "report")
    except InvalidRecord as misshapen:
        raise Refused(f"{path} is not a report: {str(misshapen)[:200]}") from misshapen


def read_registry_problems(path: Path | None) -> list[tuple[str, str]]:
    """Return broken files, and why, as `fsck --json` printed them; empty without a file.

    Raises `Refused` for a file that is anything else.
    """
    document = None if path is None else _document(path)
    if document is None:
        return []
    try:
        (growth,) = document
        problems = [from_plain(RegistryProblem, item) for item in growth["problems"][:PROBLEMS]]
    except (InvalidRecord, TypeError, ValueError, KeyError) as error:
        raise Refused(f"{path} is not what `fsck --json` prints") from error
    return [(problem.where, problem.message) for problem in problems if not problem.warning]


def _document(path: Path) -> Any:  # noqa: ANN401 - the file boundary
    """Return the JSON in a file; None if there is no file, or an empty one."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise Refused(f"{path} is larger than {LARGEST // 1_000_000} MB")
    if not content.strip():
        return None
    try:
        return load_json(content.decode("utf-8"))
    except (NotPlain, ValueError) as error:
        raise Refused(f"{path} is not JSON: {str(error)[:200]}") from error
