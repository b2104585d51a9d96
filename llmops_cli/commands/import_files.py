"""`llmops import`: foreign files in, project files out, and a line about all that was lost.

What is written is read back as any project is before it touches the disk, so that a file that
`llmops check` would refuse is told with the rest. No file that is there is overwritten.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llmops_cli.commands.check import check_all
from llmops_cli.core.catalog import Catalog
from llmops_cli.core.errors import ExitCode, InvalidFiles, Problem, Refused, UnknownName
from llmops_cli.importers.base import FALLBACK, Choices, Imported, Note, name_for
from llmops_cli.importers.read import ImportSource, read_foreign
from llmops_cli.importers.writing import files_of, models_text
from llmops_cli.plugins import catalog
from llmops_cli.project.paths import Folder
from llmops_cli.project.project import PROJECT_FILE, load_project
from llmops_cli.stores.atomic import write_bytes

GENERIC = frozenset({"promptfooconfig", "samples", "evals", "config", "test", "tests", ""})
"""Names of files that say nothing: their folder's name is taken instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the person who imports asked for."""

    into: Path
    name: str | None = None
    model: str | None = None
    strict: bool = False
    """Write nothing where anything would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What one import did."""

    written: tuple[str, ...]
    """Paths in the project; none where `strict` forbade it."""
    prompts: tuple[str, ...]
    cases: int
    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]
    """What `llmops check` would say about the written files."""

    @property
    def lost(self) -> int:
        """How many things were left out."""
        return sum(each.lost for each in self.notes)

    @property
    def exit_code(self) -> ExitCode:
        """2 where nothing was written, or what was written must be mended first."""
        return ExitCode.DONE if self.written and not self.problems else ExitCode.REFUSED


def import_file(source: Path, wishes: ImportOptions) -> ImportReport:
    """Writes what `source` holds as project files below `wishes.into`.

    Raises `Refused` where nothing can be imported, or a file is there already, and
    `InvalidFiles` where `source` cannot be read.
    """
    known = catalog()
    choices = Choices(name=wishes.name or _name(source), model=_callable(wishes.model, known))
    imported = read_foreign(_opened(source), choices, known)
    if not imported.prompts:
        told = "".join(f"\n  {each.where}: {each.what}: {each.why}" for each in imported.notes)
        hint = "the notes say what to write instead"
        raise Refused(f"no prompt of {source} can be imported{told}", hint=hint)
    with_project = not (wishes.into / PROJECT_FILE).exists()
    if not with_project:
        _check_models(imported, wishes.into, known)
    files = files_of(imported, known, with_project=with_project)
    _check_free(files, wishes.into)
    report = ImportReport(
        written=tuple(files),
        prompts=tuple(each.name for each in imported.prompts),
        cases=sum(len(each.cases) for each in imported.evalsets),
        notes=tuple(imported.notes),
        problems=_problems(files, wishes.into),
    )
    if wishes.strict and (report.lost or report.problems):
        return replace(report, written=())
    for path, text in files.items():
        write_bytes(wishes.into / path, text.encode())
    return report


def _opened(source: Path) -> ImportSource:
    """The file in its folder; an entry of an Evals registry in the folder that has its data."""
    folder = source.parent
    if folder.name == "evals" and (folder.parent / "data").is_dir():
        return ImportSource(folder=Folder(folder.parent), path=f"evals/{source.name}")
    return ImportSource(folder=Folder(folder), path=source.name)


def _name(source: Path) -> str:
    """What the file is called, or its folder where that says nothing."""
    stem = name_for(source.name.partition(".")[0])
    if stem not in GENERIC:
        return stem
    return name_for(source.resolve().parent.name) or "imported"


def _callable(model: str | None, known: Catalog) -> str | None:
    provider = (model or FALLBACK).partition("/")[0]
    if provider not in known.providers:
        raise UnknownName("provider", provider, known.providers)
    return model


def _check_models(imported: Imported, into: Path, known: Catalog) -> None:
    """A llmops.yaml that is there is a person's: it must have the models, or they add them."""
    there = load_project(into, known).models
    lacking = [each for each in imported.models if each.alias not in there]
    if lacking:
        lines = models_text(lacking).rstrip()
        raise Refused(
            f"{into / PROJECT_FILE} is there and lacks models; add these lines to it:\n{lines}",
            hint="then run the same command again",
        )


def _check_free(files: Mapping[str, str], into: Path) -> None:
    there = [path for path in files if (into / path).exists()]
    if there:
        raise Refused(
            f"{there[0]} is there already, and imports overwrite nothing",
            hint="import under another --name, or --into another folder",
        )


def _problems(files: Mapping[str, str], into: Path) -> tuple[Problem, ...]:
    """What `llmops check` says about the files, tried in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="llmops-import-") as folder:
        tried = Path(folder)
        there = into / PROJECT_FILE
        if PROJECT_FILE not in files:
            write_bytes(tried / PROJECT_FILE, there.read_bytes())
        for path, text in files.items():
            write_bytes(tried / path, text.encode())
        try:
            check_all(tried)
        except InvalidFiles as error:
            return tuple(each for each in error.problems if each.where.path in files)
    return ()
