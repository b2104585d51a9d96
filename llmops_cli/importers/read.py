"""Knows what kind of file is imported, and asks the importer of that kind."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_cli.core.catalog import Catalog
from llmops_cli.core.errors import Refused
from llmops_cli.importers.base import Choices, Imported
from llmops_cli.importers.openai_evals import EvalsImporter, is_registry
from llmops_cli.importers.promptfoo import PromptfooImporter, is_promptfoo
from llmops_cli.importers.source import CODE, Nearby, read_document
from llmops_cli.project.paths import MAX_FILE, Folder, Unreadable

KINDS = "promptfooconfig.yaml, samples of OpenAI Evals in JSONL, or their registry YAML"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSource:
    """The file that is imported, by its path in a folder that nothing leaves."""

    folder: Folder
    path: str


def read_foreign(source: ImportSource, choices: Choices, catalog: Catalog) -> Imported:
    """What the file holds, as values of this project.

    Raises `Refused` for a file of no known kind and `InvalidFiles` for one that cannot be read.
    """
    path = source.path
    if CODE.search(path):
        raise Refused(f"{path} is code, and imports run no code", hint="write it out as YAML")
    try:
        content = source.folder.read(path, limit=MAX_FILE)
    except Unreadable as error:
        raise Refused(str(error), hint=f"give a file: {KINDS}") from None
    nearby = Nearby(source.folder)
    evals = EvalsImporter(nearby=nearby, choices=choices)
    if path.endswith((".jsonl", ".ndjson")):
        return evals.samples(path)
    document = read_document(content, path)
    if is_promptfoo(document.data):
        return PromptfooImporter(
            document=document, nearby=nearby, catalog=catalog, choices=choices
        ).imported()
    if is_registry(document.data):
        return evals.registry(document)
    raise Refused(f"{path} is nothing that can be imported", hint=f"give a file: {KINDS}")
