"""What a model's server can hold an answer to: llmops.yaml's word before the provider's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from llmops_cli.core.digest import digest
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Message, Model, Prompt, Request, StructuredOutput, Target
from llmops_cli.engine.call import Engine
from llmops_cli.providers.openai.model import open_openai
from tests.servers import faulty
from tests.unit.project.conftest import PROMPT, Written

MODELS = """\
models:
  embedded: {{provider: embedded}}
  local: {{provider: openai, model: tiny, base_url: "http://localhost:1/v1"{said}}}
"""
RUBRIC = """\
cases: support.jsonl
scorers:
  - rubric: {name: tone, criteria: Is it polite?, model: local}
"""


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("", "json_schema"),
        (", structured_output: json_schema", "json_schema"),
        (", structured_output: json_object", "json_object"),
        (", structured_output: none", "none"),
    ],
)
def test_a_judge_uses_the_structured_output_of_its_model(
    project: Written, said: str, held: StructuredOutput
) -> None:
    project.write("llmops.yaml", MODELS.format(said=said))
    project.write("evalsets/support.yaml", RUBRIC)
    loaded = project.load()
    kind = loaded.catalog.scorers["rubric"]
    judge = loaded.judge_of(kind, {"model": "local"})
    assert judge.structured == held
    keyed = {"json_schema": True, "none": False}.get(held, held)
    named = {"target": judge.target.digest, "structured": keyed, "embeddings": None}
    assert judge.digest == digest("llmops/judge/v1", named)  # as it was before there was a choice


def test_a_prompt_that_wants_more_than_its_model_can_is_refused_at_its_line(
    project: Written,
) -> None:
    project.write("llmops.yaml", MODELS.format(said=", structured_output: none"))
    prompt = PROMPT.replace("model: embedded", "model: local\nresponseFormat: json_object")
    project.write("prompts/support.prompt.yml", prompt)
    (problem,) = project.problems()
    assert problem == (
        "prompts/support.prompt.yml:2: local can hold no answer to json_object "
        "(llmops.yaml says `structured_output: none` of it)"
    )
    project.write("llmops.yaml", MODELS.format(said=", structured_output: json_object"))
    assert project.problems() == []


def test_the_word_is_in_no_key_and_no_call_is_made_against_it() -> None:
    context = PluginContext(root=Path(), environ={})
    turns = (Message(role="user", content="hello"),)

    async def main() -> int:
        async with faulty.serve() as server:
            said = Model(name="m", provider="openai", model="tiny", base_url=server.url)
            unsaid = replace(said, structured_output="none")
            prompt = Prompt(name="p", model="m", messages=turns)
            one, other = (Target(prompt=prompt, model=each) for each in (said, unsaid))
            assert one.digest == other.digest
            assert one.request(turns).digest == other.request(turns).digest
            asked = Request(
                provider="openai", model="tiny", messages=turns, response_format="json_object"
            )
            async with Engine(providers=lambda of: open_openai(of, context)) as engine:
                with pytest.raises(Refused, match="m can hold no answer to json_object"):
                    await engine.ask(unsaid, asked)
            return server.requests

    assert anyio.run(main) == 0
