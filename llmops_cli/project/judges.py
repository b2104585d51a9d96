"""Find the judge of a scorer: its prompt, its model and its embedding model.

A judge's prompt is a prompt like any other: one of the project's where the scorer names it, or the
one that comes with llmops (`llmops_cli/judges/`), which a project copies to change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.ports import Catalog, ProviderKind, ScorerKind
from llmops_cli.core.prompt import SILENT, Judge, Model, Prompt, StructuredOutput, Target
from llmops_cli.project.documents import load_yaml
from llmops_cli.project.inputs import is_required
from llmops_cli.project.models import resolve
from llmops_cli.project.paths import MAX_FILE, Folder, Problems
from llmops_cli.project.prompts import ENDINGS, PromptReader
from llmops_cli.project.sandbox import Sandbox

SHIPPED = Path(__file__).parent.parent / "judges"


class Judges:
    """The judges that a project's models and prompts can make."""

    def __init__(
        self, models: Mapping[str, Model], prompts: Mapping[str, Prompt], catalog: Catalog
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._catalog = catalog

    def of(self, kind: ScorerKind, options: Mapping[str, Any]) -> Judge:
        """Return the judge of a scorer with these options. Raises `Refused`."""
        prompt = self._prompt(kind, options.get("prompt"))
        model = self._model(options.get("model") or prompt.model)
        embeddings = options.get("embeddings")
        provider = self._catalog.providers[model.provider]
        return Judge(
            target=Target(prompt=prompt, model=model),
            embeddings=self._embedding_model(embeddings) if embeddings else None,
            structured="none" if prompt.response_format == "text" else _structured(model, provider),
        )

    def reports_passages(self, name: str) -> bool:
        """Return whether the answers of a prompt's model may report their passages."""
        try:
            model = resolve(name, self._models, self._catalog)
        except Refused:  # reported where the prompt is read
            return True
        provider = self._catalog.providers[model.provider]
        return provider.application or provider.records is not None

    def _model(self, name: str) -> Model:
        try:
            model = resolve(name, self._models, self._catalog)
        except UnknownName as error:
            if name == "judge":
                raise Refused(
                    "it names no `model`, and llmops.yaml has no model called 'judge'",
                    hint="name the judge: `model:` on the scorer, or `judge:` under `models:`",
                ) from error
            raise
        if self._catalog.providers[model.provider].application:
            raise Refused(f"{name} is an application, and a judge is a model")
        return model

    def _embedding_model(self, name: str) -> Model:
        model = self._model(name)
        if not self._catalog.providers[model.provider].embeds:
            able = [kind.name for kind in self._catalog.providers.values() if kind.embeds]
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
        available = shipped(kind.prompt).inputs
        for needed, schema in prompt.inputs.items():
            if needed not in available and is_required(schema):
                raise Refused(
                    f"the judge's prompt '{name}' needs '{needed}', and {kind.name} gives none",
                    hint=f"it gives {', '.join(available)}",
                )
        if prompt.tools or prompt.response_format in {"json_schema", "json_object"}:
            raise Refused(
                f"the judge's prompt '{name}' states tools or a response format",
                hint=f"a judge has no tools, and {kind.name} says what it must answer",
            )
        return prompt


def _structured(model: Model, provider: ProviderKind) -> StructuredOutput:
    """Return what the model's server can enforce, by llmops.yaml or else its provider."""
    return model.structured_output or ("json_schema" if provider.structured else "none")


@cache
def shipped(name: str) -> Prompt:
    """Return the judge's prompt of that name that comes with llmops."""
    path = f"{name}{ENDINGS[0]}"
    source = Folder(SHIPPED)
    problems = Problems()
    document = load_yaml(source.read(path, limit=MAX_FILE), path)
    read = PromptReader(document, Sandbox(), source, problems).read()
    problems.refuse()
    assert read is not None
    return replace(read[0], name=name)
