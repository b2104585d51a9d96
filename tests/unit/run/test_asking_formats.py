"""What a judge is asked for on the wire, by what its model's server can hold an answer to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import SILENT, Judge, Message, Model, StructuredOutput, Target
from llmops_cli.core.result import Completion
from llmops_cli.engine.call import Engine
from llmops_cli.project.templates import Templates
from llmops_cli.providers.openai.model import open_openai
from llmops_cli.run.execute import JudgeCallCache, JudgeClient
from llmops_cli.stores.results import open_results
from tests.servers import faulty

SCHEMA: dict[str, Json] = {"type": "object", "properties": {"ok": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("held", "sent"),
    [("json_schema", "json_schema"), ("json_object", "json_object"), ("none", None)],
)
def test_a_judge_is_asked_for_what_its_server_can_hold(
    held: StructuredOutput, sent: str | None
) -> None:
    async def main() -> dict[str, Any]:
        async with faulty.serve() as server:
            context = PluginContext(root=Path(), environ={})
            model = Model(name="m", provider="openai", model="tiny", base_url=server.url)
            judge = Judge(target=Target(prompt=SILENT, model=model), structured=held)
            with open_results(None) as results:
                async with Engine(providers=lambda of: open_openai(of, context)) as engine:
                    calls = JudgeCallCache(engine, lambda _: results)
                    asker = JudgeClient(calls, judge, Templates(SILENT))
                    turn = Message(role="user", content="ok?")
                    outcome = await asker.generate([turn], json_schema=SCHEMA)
            assert isinstance(outcome, Completion)
            assert server.last is not None
            return server.last.body

    form = anyio.run(main).get("response_format")
    assert (form and form["type"]) == sent
