"""`llmops import`: convert files of other tools to project files, with a note on everything lost.

What is written is checked like any project before it touches the disk, so that a file that
`llmops check` would refuse is reported with the rest. No existing file is overwritten.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llmops_cli.commands.check import check_all
from llmops_cli.core.errors import ExitCode, InvalidFiles, Problem, Refused, UnknownName
from llmops_cli.core.ports import Catalog
from llmops_cli.importers.imported import (
    FALLBACK,
    ImportChoices,
    Imported,
    files_of,
    models_text,
    name_for,
)
from llmops_cli.importers.openai_evals import EvalsImporter, is_registry
from llmops_cli.importers.promptfoo import import_promptfoo, is_promptfoo
from llmops_cli.importers.source import CODE, ImportFolder, Node, Note, read_document
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.paths import MAX_CASES, MAX_FILE, Folder, Unreadable
from llmops_cli.project.project import PROJECT_FILE, load_project
from llmops_cli.project.schema import NAME, PATTERNS
from llmops_cli.stores.atomic import write_bytes

GENERIC = frozenset({"promptfooconfig", "samples", "evals", "config", "test", "tests", ""})
"""Generic file names; the folder's name is used instead."""
KINDS = "promptfooconfig.yaml, samples of OpenAI Evals in JSONL, or their registry YAML"
JSONL = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The options of `llmops import`."""

    into: Path
    name: str | None = None
    model: str | None = None
    strict: bool = False
    """Write nothing if anything would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The result of one import."""

    written: tuple[str, ...]
    """Paths in the project; none if `strict` forbade it."""
    prompts: tuple[str, ...]
    cases: int
    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]
    """What `llmops check` would say about the written files."""

    @property
    def lost(self) -> int:
        """How many things were left out."""
        return sum(note.lost for note in self.notes)

    @property
    def exit_code(self) -> ExitCode:
        """2 where nothing was written, or what was written must be fixed first."""
        return ExitCode.DONE if self.written and not self.problems else ExitCode.REFUSED


def import_files(source: Path, options: ImportOptions) -> ImportReport:
    """Write what `source` holds as project files below `options.into`.

    Raises `Refused` if nothing can be imported, or a file exists already, and `InvalidFiles`
    if `source` cannot be read.
    """
    if options.name is not None and not re.fullmatch(NAME, options.name):
        raise Refused(f"{options.name!r} is not a name of a prompt", hint=PATTERNS[NAME])
    known = catalog()
    provider = (options.model or FALLBACK).partition("/")[0]
    if provider not in known.providers:
        raise UnknownName("provider", provider, known.providers)
    choices = ImportChoices(name=options.name or _name(source), model=options.model)
    folder, path = source.parent, source.name
    if folder.name == "evals" and (folder.parent / "data").is_dir():  # a registry and its samples
        folder, path = folder.parent, f"evals/{path}"
    imported = read_foreign(Folder(folder), path, choices, known)
    if not imported.prompts:
        notes = "".join(f"\n  {note.where}: {note.what}: {note.why}" for note in imported.notes)
        hint = "the notes say what to write instead"
        raise Refused(f"no prompt of {source} can be imported{notes}", hint=hint)
    with_project = not (options.into / PROJECT_FILE).exists()
    if not with_project:
        _check_models(imported, options.into, known)
    files = files_of(imported, known, with_project=with_project)
    for existing in (path for path in files if (options.into / path).exists()):
        raise Refused(
            f"{existing} exists already, and imports overwrite nothing",
            hint="import under another --name, or --into another folder",
        )
    report = ImportReport(
        written=tuple(files),
        prompts=tuple(prompt.name for prompt in imported.prompts),
        cases=sum(len(evalset.cases) for evalset in imported.evalsets),
        notes=tuple(imported.notes),
        problems=_problems(files, options.into),
    )
    if options.strict and (report.lost or report.problems):
        return replace(report, written=())
    for path, text in files.items():
        write_bytes(options.into / path, text.encode())
    return report


def read_foreign(folder: Folder, path: str, choices: ImportChoices, known: Catalog) -> Imported:
    """Return what a file of another tool holds, as values of a project.

    Nothing outside `folder` is read. Raises `Refused` for a file of no known kind and
    `InvalidFiles` for one that cannot be read.
    """
    if CODE.search(path):
        raise Refused(f"{path} is code, and imports run no code", hint="write it out as YAML")
    is_jsonl = path.endswith(JSONL)
    try:
        content = folder.read(path, limit=MAX_CASES if is_jsonl else MAX_FILE)
    except Unreadable as error:
        raise Refused(str(error), hint=f"give a file: {KINDS}") from None
    nearby = ImportFolder(folder)
    if is_jsonl:
        return EvalsImporter(nearby, choices).samples(path)
    document = read_document(content, path)
    root = Node(document.data, document, nearby.notes)
    if is_promptfoo(document.data):
        return import_promptfoo(root, nearby, known, choices)
    if is_registry(document.data):
        return EvalsImporter(nearby, choices).registry(root)
    raise Refused(f"{path} is nothing that can be imported", hint=f"give a file: {KINDS}")


def _name(source: Path) -> str:
    """Return the file's name, or its folder's if the file's is generic."""
    stem = name_for(source.name.partition(".")[0])
    if stem not in GENERIC:
        return stem
    return name_for(source.resolve().parent.name) or "imported"


def _check_models(imported: Imported, into: Path, known: Catalog) -> None:
    """Refuse where an existing llmops.yaml lacks models: only its author may add them."""
    existing = load_project(into, known).models
    lacking = [model for model in imported.models if model.alias not in existing]
    if lacking:
        lines = models_text(lacking).rstrip()
        raise Refused(
            f"{into / PROJECT_FILE} exists and lacks models; add these lines to it:\n{lines}",
            hint="then run the same command again",
        )


def _problems(files: Mapping[str, str], into: Path) -> tuple[Problem, ...]:
    """Return the result of `llmops check` on the files, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="llmops-import-") as folder:
        tried = Path(folder)
        if PROJECT_FILE not in files:
            write_bytes(tried / PROJECT_FILE, (into / PROJECT_FILE).read_bytes())
        for path, text in files.items():
            write_bytes(tried / path, text.encode())
        try:
            check_all(tried)
        except InvalidFiles as error:
            return tuple(problem for problem in error.problems if problem.where.path in files)
    return ()
