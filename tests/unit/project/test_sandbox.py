"""What a template can do is listed; what it cannot do fails at once and cheaply."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llmops_cli.project.templates import BadTemplate, Sandbox
from tests.counting import cpu_in_loops


def rendered(source: str, **values: Any) -> str:
    sandbox = Sandbox()
    return sandbox.write(sandbox.compiled(source), values)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ q }}", "a,b"),
        ("{{ q.split(',')[1] }}", "b"),
        ("{{ q | upper }}", "A,B"),
        ("{% for x in q.split(',') %}- {{ x }}\n{% endfor %}", "- a\n- b\n"),
        ("{% if none %}x{% else %}y{% endif %}", "y"),
        ("{{ none | default('-') }}", "-"),
        ("{{ data | tojson }}", '{"k": "<é>"}'),
        ("{{ 'n' ~ 1 ~ q }}", "n1a,b"),
        ("{{ 2 * 3 + 1 }}", "7"),
        ("{% set x = q + '!' %}{{ x }}", "a,b!"),
        ("{{ q | replace('a', 'c') }}", "c,b"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{{ ['x', 1] | join('-') }}", "x-1"),
        ("line\n", "line\n"),
    ],
)
def test_the_everyday_language_works(source: str, text: str) -> None:
    assert rendered(source, q="a,b", none=None, data={"k": "<é>"}) == text


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ q.__class__ }}",
    "{{ q['__class__'] }}",
    "{{ q | attr('__class__') }}",
    "{{ self._TemplateReference__context }}",
    "{{ self }}",
    "{{ cycler.__init__.__globals__.os.system('id') }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}",
    "{{ namespace() }}",
    "{{ range(10) }}",
    "{{ '{0.__class__}'.format(q) }}",
    "{{ '%s' % q }}",
    "{{ q.format_map({}) }}",
    "{{ ['x'] | map('attr', '__class__') | list }}",
    "{{ data | map(attribute='__class__') | list }}",
    "{% include '/etc/passwd' %}",
    "{% include name %}",
    "{% include 'a' ignore missing %}",
    "{% import 'a' as a %}",
    "{% extends 'a' %}",
    "{{ data.clear() }}",
    "{{ data.update({}) }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_leads_out_of_the_template(source: str) -> None:
    with pytest.raises(BadTemplate):
        rendered(source, q="x", data={"a": 1}, name="a")


BOMBS = [
    "{{ 'a' * 10**8 }}",
    "{{ 'a' * 100000000 }}",
    "{{ [1] * 100000000 }}",
    "{{ 9 ** 9 }}",
    "{{ 99999999 * 99999999 * 99999999 }}",
    "{{ '%0100000000d' % 1 }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ 'a\t'.expandtabs(1000000000) }}",
    "{{ 'a'.replace('a', q) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a\nb' | indent(1000000000) }}",
    "{{ [1] | tojson(indent=1000000000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
    "{% set a = ['aaaa'] %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a | tojson }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a | string | length }}",
    "{% set a = 'aaaaaaaa' %}" + "{% set a = a | replace('a', 'aaaaaaaa') %}" * 20 + "{{ a }}",
    "{% set a = 'aaaaaaaa' %}" + "{% set a = [a, a, a, a] | join(a) %}" * 20 + "{{ a }}",
    "{% set a %}x{% endset %}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% for a in q %}{{ loop(q) }}{% endfor %}",
    "{% for a in q recursive %}{{ loop(q) }}{% endfor %}",
    "{% for a in q %}{% for b in q %}{% for c in q %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in big %}{% for b in big %}{{ big }}{% endfor %}{% endfor %}",
    "{% if q %}" * 95 + "x" + "{% endif %}" * 95,
    "{{ q" + " ~ q" * 500 + " }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
]


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_no_template_makes_much_of_little(source: str) -> None:
    begun = time.process_time()
    with pytest.raises(BadTemplate):
        rendered(source, q="abc", big="x" * 3000)
    assert cpu_in_loops(time.process_time() - begun) < 300


def test_a_null_is_never_written_as_the_word_none() -> None:
    with pytest.raises(BadTemplate, match="nothing to write"):
        rendered("{{ q }}", q=None)


def test_a_problem_has_its_line_and_the_nearest_name() -> None:
    with pytest.raises(BadTemplate) as caught:
        Sandbox().examine("one\ntwo {{ q | uper }}")
    assert (caught.value.line, caught.value.hint) == (2, "did you mean 'upper'?")


def test_names_and_includes_are_found_with_their_lines() -> None:
    names, includes = Sandbox().examine(
        "{% set mine = 1 %}{{ mine }}\n{{ question }}\n"
        "{% for p in passages %}{{ p }}{% endfor %}{% include 'tone.txt' %}"
    )
    assert names == {"question": 2, "passages": 3}
    assert includes == {"tone.txt": 3}


def test_division_by_zero_is_a_problem_of_the_template() -> None:
    with pytest.raises(BadTemplate, match="zero"):
        rendered("{{ 1 / 0 }}")
