"""Answers that are recorded in a file: where they are found, now and at the base revision.

To a run, a recorded answer is the same as if it had been called when the run began.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from llmops_cli.core.digest import digest
from llmops_cli.core.ports import Records
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion
from llmops_cli.engine.entry import entered
from llmops_cli.engine.prices import tariff
from llmops_cli.files.paths import Unreadable
from llmops_cli.flows.revision import reading
from llmops_cli.flows.workspace import Workspace
from llmops_cli.registry import open_records

FILE = "file"
"""The option that names the file of recorded answers."""
MAX_RECORDS = 2_000_000_000
"""Bytes of a file of records at another revision."""


def as_called(model: Model, redact: Redactor) -> Callable[[Completion], Completion]:
    """Prices a recorded answer of `model`, dates it now and lets no secret in."""
    price = tariff(model)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")

    def enter(completion: Completion) -> Completion:
        cost, usage = completion.cost, completion.usage
        if cost is None and price is not None and usage is not None:
            cost = price(usage)
        return entered(replace(completion, cost=cost, at=now), redact)

    return enter


def records(workspace: Workspace, model: Model, *, at_base: bool = False) -> Records | None:
    """Where the answers of `model` are recorded; None where it is called.

    `at_base`: as they stood at the base revision, where they are other ones now.
    """
    kind = workspace.provider(model)
    if kind.records is None:
        return None
    then = _recorded_then(workspace, model) if at_base else None
    root = workspace.root if then is None else _laid_out(workspace, str(model.options[FILE]), then)
    enter = as_called(model, workspace.redact)
    return workspace.stack.enter_context(open_records(kind)(model, root, enter))


def recorded_in(workspace: Workspace, model: Model, *, at_base: bool = False) -> str | None:
    """What names the records that `model` is answered from; None where it is called."""
    if workspace.provider(model).records is None:
        return None
    other = at_base and _recorded_then(workspace, model) is not None
    return digest("llmops/records/v1", [dict(model.options), other])


def _recorded_then(workspace: Workspace, model: Model) -> bytes | None:
    """The file of records of `model` at the base revision; None: it is as it was."""
    path = model.options.get(FILE)
    if workspace.base is None or not isinstance(path, str):
        return None
    with reading(workspace.base):
        then = workspace.rules.source.read(path, limit=MAX_RECORDS)
    try:
        return None if workspace.project.source.read(path, limit=MAX_RECORDS) == then else then
    except Unreadable:
        return then


def _laid_out(workspace: Workspace, path: str, content: bytes) -> Path:
    """A folder, for the length of the command, in which `path` holds `content`."""
    folder = Path(workspace.stack.enter_context(TemporaryDirectory(prefix="llmops-")))
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return folder
