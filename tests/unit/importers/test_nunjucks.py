"""Nunjucks becomes the template language of prompts, or is told."""

from __future__ import annotations

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


def test_a_tag_that_is_never_closed_is_text() -> None:
    assert rendered("write {{ and stop", {}) == "write {{ and stop"


def test_the_environment_is_not_read() -> None:
    with pytest.raises(NotCarried, match="cannot read the environment"):
        converted("{{ env.SECRET }}")


def test_an_unknown_filter_is_reported() -> None:
    with pytest.raises(NotCarried, match="nl2br"):
        names_in(converted("{{ x | nl2br }}"))


def test_a_variable_that_no_test_gives_is_empty() -> None:
    assert rendered("a{{ x }}b", {}) == "ab"


def test_lists_mappings_and_booleans_are_printed_as_json() -> None:
    assert rendered("{{ x }} {{ y }}", {"x": ["a"], "y": True}) == '["a"] true'
    assert printing_json("{{ x }}{{ y }}", frozenset("x")) == "{{ x | tojson }}{{ y }}"


def test_a_literal_survives_the_template_language() -> None:
    assert rendered(literal("say {{ this }}"), {"this": "no"}) == "say {{ this }}"
