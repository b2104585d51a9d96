"""Template inputs arrive unchanged, and no path leaves the project."""

from __future__ import annotations

import os
import string
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.prompt import Case, Message, Prompt
from llmops_cli.project.paths import Unreadable, within
from llmops_cli.project.templates import BadTemplate, Sandbox, Templates

HOSTILE = st.text(
    st.sampled_from(string.ascii_letters + "{}%#\"'\\\n\r\t<>|-:_ \u2028\ufeff\x00é漢")
    | st.characters()
)


@given(HOSTILE)
def test_an_input_arrives_as_it_is_and_opens_no_turn(text: str) -> None:
    prompt = Prompt(
        name="p",
        model="m",
        messages=(
            Message(role="system", content="be kind"),
            Message(role="user", content="<{{ q }}>"),
        ),
    )
    rendered = Templates(prompt).messages(Case(id="a", inputs={"q": text}))
    assert [(item.role, item.content) for item in rendered] == [
        ("system", "be kind"),
        ("user", f"<{text}>"),
    ]


PARTS = (
    st.sampled_from(["a", "b.txt", "..", ".", "", "~", "/", "c:", "\\", "...", "..x"]) | st.text()
)


@given(st.lists(PARTS, max_size=5), st.sampled_from(["", "evalsets", "evalsets/team"]))
def test_no_path_leads_out_of_the_project(parts: list[str], folder: str) -> None:
    path_text = "/".join(parts)
    try:
        path = within(path_text, folder=folder)
    except Unreadable:
        return
    root = Path("/project")
    resolved = Path(os.path.normpath(root / path))
    assert resolved.is_relative_to(root / folder)


@given(st.text(alphabet="{}%#abq |()'\"0123456789+*-./[]~ \n", max_size=60))
def test_no_template_text_crashes_the_loader(source: str) -> None:
    """It is rendered, or refused with a reason; nothing else comes out."""
    sandbox = Sandbox()
    with suppress(BadTemplate):
        sandbox.write(sandbox.compiled(source), {"a": "x", "b": [1], "q": "z"})
