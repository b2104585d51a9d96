"""Reads what another job wrote down about a run as what it may be: a stranger's work.

A report is at most 32 MB, strict JSON, and what `llmops schema report` says, or it is none. That
makes it safe to render, not true: a fork's pull request can make its own job say PASS, which is
why the required check is the job and not the comment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from llmops_cli.core.errors import Refused
from llmops_cli.core.plain import Misshapen, from_plain
from llmops_cli.core.report import Report
from llmops_cli.files.json import NotPlain, load_json
from llmops_cli.flows.ledger.verify import Flaw
from llmops_cli.render.report_schema import report_schema

LARGEST = 32_000_000
"""Bytes."""
FLAWS = 1_000


def published_report(path: Path) -> Report | None:
    """The report that `report --json` printed into `path`; None where there is none.

    Raises `Refused` for a file that is anything else.
    """
    document = _document(path)
    if document is None:
        return None
    problem = next(Draft202012Validator(report_schema()).iter_errors(document), None)
    if problem is not None:
        where = "/".join(map(str, problem.absolute_path)) or "the document"
        raise Refused(f"{path} is no report: {where}: {problem.message[:200]}")
    try:
        return from_plain(Report, document["report"], "report")
    except Misshapen as error:
        raise Refused(f"{path} is no report: {str(error)[:200]}") from error


def published_flaws(path: Path | None) -> list[tuple[str, str]]:
    """Files that are broken, and why, as `fsck --json` printed them; empty: none, or no file.

    Raises `Refused` for a file that is anything else.
    """
    document = None if path is None else _document(path)
    if document is None:
        return []
    try:
        (growth,) = document
        flaws = [from_plain(Flaw, each) for each in growth["flaws"][:FLAWS]]
    except (Misshapen, TypeError, ValueError, KeyError) as error:
        raise Refused(f"{path} is not what `fsck --json` prints") from error
    return [(each.where, each.message) for each in flaws if not each.doubtful]


def _document(path: Path) -> Any:  # noqa: ANN401 - the file boundary
    """The JSON in a file; None where there is no file, or an empty one."""
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
        raise Refused(f"{path} is no JSON that can be relied on: {str(error)[:200]}") from error
