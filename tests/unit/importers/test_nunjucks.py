"""Nunjucks becomes the template language of prompts, or is told."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.importers.promptfoo_prompts import converted, names_in, printing_json, rendered
from llmops_cli.importers.source import NotCarried, literal


@pytest.mark.parametrize(
    ("nunjucks", "ours"),
    [
        ("{{ x | dump }}", "{{ x | tojson }}"),
        ("{{ x | safe }}", "{{ x  }}"),
        ("{% if a === 'b' %}c{% endif %}", "{% if a == 'b' %}c{% endif %}"),
        ("{% if a && b %}c{% endif %}", "{% if a  and  b %}c{% endif %}"),
        ("{% if a %}1{% elseif b %}2{% endif %}", "{% if a %}1{% elif b %}2{% endif %}"),
        ("{{ list.length }}", "{{ list|length }}"),
        ("x === y && z.length", "x === y && z.length"),
        ("{{ '===' }}", "{{ '===' }}"),
    ],
)
def test_what_is_spelled_differently_is_rewritten_inside_tags_only(
    nunjucks: str, ours: str
) -> None:
    assert converted(nunjucks) == ours


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("write {{ and stop", {}, "write {{ and stop"),  # never closed: it is text
        ("a{{ x }}b", {}, "ab"),  # no test gives it
        ("{{ x }} {{ y }}", {"x": ["a"], "y": True}, '["a"] true'),
        (literal("say {{ this }}"), {"this": "no"}, "say {{ this }}"),
    ],
)
def test_templates_render_as_nunjucks_does(
    template: str, values: dict[str, Any], text: str
) -> None:
    assert rendered(template, values) == text


def test_what_is_structured_is_printed_as_json() -> None:
    assert printing_json("{{ x }}{{ y }}", frozenset("x")) == "{{ x | tojson }}{{ y }}"


@pytest.mark.parametrize(
    ("template", "why"),
    [("{{ env.SECRET }}", "cannot read the environment"), ("{{ x | nl2br }}", "nl2br")],
)
def test_what_has_no_counterpart_is_reported(template: str, why: str) -> None:
    with pytest.raises(NotCarried, match=why):
        names_in(converted(template))
