"""What docs/servers.md says to write loads as it stands, and names every server of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.project import load_project
from tests.servers.compatible import ANSWERS, ERRORS

PAGE = (Path(__file__).parents[3] / "docs" / "servers.md").read_text(encoding="utf-8")
SNIPPETS = {
    re.findall(r"^#+ (.*)$", PAGE[: found.start()], re.MULTILINE)[-1]: found[1]
    for found in re.finditer(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}


@pytest.mark.parametrize("server", SNIPPETS)
def test_the_snippet_of_a_server_loads_as_it_stands(server: str, tmp_path: Path) -> None:
    (tmp_path / "llmops.yaml").write_text(SNIPPETS[server], encoding="utf-8")
    (model,) = load_project(tmp_path, catalog()).models.values()
    assert model.provider == "openai"
    assert model.base_url


def test_every_server_whose_answers_are_tested_has_its_place_on_the_page() -> None:
    elsewhere = {"FastAPI", "OpenAI", "DeepSeek", "Mistral", "a gateway", "a proxy"}
    tested = {recorded.server.removeprefix("NVIDIA ") for recorded, _ in (*ANSWERS, *ERRORS)}
    named = {server.removeprefix("NVIDIA ") for server in SNIPPETS}
    assert tested - elsewhere <= named
