"""Finds the judge that a scorer asks: its prompt, its model and its embedding model.

The judge's prompt is a prompt like any other: one of the project's where the scorer names it, or
the one that comes with llmops (`llmops_cli/judges/`), which a project copies to change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from llmops_cli.core.catalogue import Catalogue, ProviderKind, ScorerKind
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.judge import SILENT, Judge
from llmops_cli.core.prompt import Model, Prompt, StructuredOutput, Target
from llmops_cli.files.models import resolve
from llmops_cli.files.paths import MAX_FILE, Folder
from llmops_cli.files.problems import Problems
from llmops_cli.files.prompts import ENDINGS, PromptReader
from llmops_cli.files.sandbox import Sandbox
from llmops_cli.files.yaml import load_yaml

SHIPPED = Path(__file__).parent.parent / "judges"


class Judges:
    """The judges that a project's models and prompts can make."""

    def __init__(
        self, models: Mapping[str, Model], prompts: Mapping[str, Prompt], catalogue: Catalogue
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._catalogue = catalogue

    def of(self, kind: ScorerKind, options: Mapping[str, Any]) -> Judge:
        """The judge of a scorer with these options. Raises `UnknownName` or another `Refused`."""
        prompt = self._prompt(kind, options.get("prompt"))
        model = self._model(options.get("model") or prompt.model)
        embeddings = options.get("embeddings")
        provider = self._catalogue.providers[model.provider]
        return Judge(
            target=Target(prompt=prompt, model=model),
            embeddings=self._embedding_model(embeddings) if embeddings else None,
            structured="none" if prompt.response_format == "text" else _held(model, provider),
        )

    def _model(self, name: str) -> Model:
        try:
            model = resolve(name, self._models, self._catalogue)
        except UnknownName as error:
            if name == "judge":
                raise Refused(
                    "it names no `model`, and llmops.yaml has no model called 'judge'",
                    hint="name the judge: `model:` on the scorer, or `judge:` under `models:`",
                ) from error
            raise
        if self._catalogue.providers[model.provider].application:
            raise Refused(f"{name} is an application, and a judge is a model")
        return model

    def _embedding_model(self, name: str) -> Model:
        model = self._model(name)
        if not self._catalogue.providers[model.provider].embeds:
            able = [kind.name for kind in self._catalogue.providers.values() if kind.embeds]
            raise Refused(
                f"{name} cannot embed: the provider {model.provider!r} has no embeddings",
                hint=f"these have: {', '.join(sorted(able))}",
            )
        return model

    def _prompt(self, kind: ScorerKind, name: str | None) -> Prompt:
        if kind.prompt is None:
            return SILENT
        if name is None:
            return shipped(kind.prompt)
        if name not in self._prompts:
            raise UnknownName("prompt", name, sorted(self._prompts))
        prompt = self._prompts[name]
        given = shipped(kind.prompt).inputs
        for wanted, schema in prompt.inputs.items():
            if wanted not in given and "default" not in schema and schema.get("required", True):
                raise Refused(
                    f"the judge's prompt '{name}' needs '{wanted}', and {kind.name} gives none",
                    hint=f"it gives {', '.join(given)}",
                )
        if prompt.tools or prompt.response_format in {"json_schema", "json_object"}:
            raise Refused(
                f"the judge's prompt '{name}' states tools or a response format",
                hint=f"a judge has no tools, and {kind.name} says what it must answer",
            )
        return prompt


def _held(model: Model, provider: ProviderKind) -> StructuredOutput:
    """What the model's answers are held to: its own word before its provider's."""
    return model.structured_output or ("json_schema" if provider.structured else "none")


@cache
def shipped(name: str) -> Prompt:
    """The judge's prompt of that name that comes with llmops."""
    path = f"{name}{ENDINGS[0]}"
    source = Folder(SHIPPED)
    problems = Problems()
    document = load_yaml(source.read(path, limit=MAX_FILE), path)
    read = PromptReader(document, Sandbox(), source, problems).read()
    problems.refuse()
    assert read is not None
    return replace(read[0], name=name)
