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
        ("{{ 'b' in ('a', 'b') and q != 'x' and 1 < 2 }}", "True"),
        ("{{ {'a': {q: 1}}['a'][q] }}", "1"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}", "[[1, 2], [3, 0]]"),
        ("{{ [1.26, 2] | sum | round(1) }}", "3.3"),
        ("{{ [5000, 7] | select('ge', 5000) | select('even') | list }}", "[5000]"),
        ("{{ [data, {}] | map(attribute='k') | select('defined') | join }}", "<é>"),
        ("{% for x in [1, 2, 3] if x is odd %}{{ loop.cycle('a', 'b') }}{% endfor %}", "ab"),
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


DOUBLED = "{% set a = [0] %}" + "{% set a = [a, a] %}" * 50

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
    DOUBLED + "{% set b = [0] %}" + DOUBLED.replace("a", "b")[16:] + "{{ a == b }}",
    DOUBLED + "{% if [a] < [a + 1] %}x{% endif %}",
    DOUBLED + "{{ a in [1, a + 1] }}",
    DOUBLED + "{{ a is eq(1) }}",
    DOUBLED + "{{ [a] | select('in', [a]) | list }}",
    DOUBLED + "{{ [1].count(a) }}",
    DOUBLED + "{{ a.index(1) }}",
    DOUBLED + "{{ [a, a] | sort }}",
    DOUBLED + "{{ [a, 1] | batch(2) | max }}",
    "{% set a = 'a' | dictsort %}",
    "{% set a = (0, 1) %}" + "{% set a = (a, a) %}" * 40 + "{{ {a: 1} }}",
    "{% set a = (0, 1) %}" + "{% set a = (a, a) %}" * 40 + "{{ data[a] }}",
    "{% set a = (0, 1) %}" + "{% set a = (a, a) %}" * 40 + "{{ data.get(a) }}",
    "{% set a = {'k': 1} %}" + "{% set a = {'k': a, 'l': a} %}" * 40 + "{{ a == a }}",
    "{% set a = {'" + "k" * 3000 + "': 1} %}{% set a = [a, a, a, a] %}"
    "{% set a = [a, a, a, a] %}{% set a = [a, a, a, a] %}{% set a = [a, a, a, a] %}"
    "{% set a = [a, a, a, a] %}{% set a = [a, a, a, a] %}{{ a | tojson }}",
    "{% for a in big %}{% for b in big %}{{ '' if b > a }}{% endfor %}{% endfor %}",
    "{{ [1] | batch(4000000, 'x') | list | length }}",
    "{{ [1] | slice(4000000) | list | length }}",
    "{{ 'a' | round(9, 'ceil') }}",
    "{{ [1] | round(9, 'floor') }}",
    "{{ 1 | round(3000000, 'floor') }}",
    "{{ '%01000000000d' is odd }}",
    "{{ '%01000000000d' is even }}",
    "{{ '%01000000000d' is divisibleby(3) }}",
    "{{ ['%01000000000d'] | select('odd') | list }}",
    "{{ big | list | map('list') | sum(start=[]) }}",
    "{{ ['a'] | map('replace', 'a', big * 1) | list }}",
    "{{ q }}" * 100_000,
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


@pytest.mark.slow
@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_no_template_makes_much_of_little(source: str) -> None:
    begun = time.process_time()
    with pytest.raises(BadTemplate) as caught:
        rendered(source, q="abc", big="x" * 3000, data={"k": "v"})
    spent = cpu_in_loops(time.process_time() - begun)
    # What the time limit ended took as long as that: tests/unit/core/test_limits.py
    assert "s of CPU time" in str(caught.value) or spent < 300


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


ODD = [
    "{{ q | dictsort }}",
    "{{ data | dictsort(by='neither') }}",
    "{{ q | truncate(1) }}",
    "{{ q | truncate(-5) }}",
    "{{ q | truncate('x') }}",
    "{{ q | items }}",
    "{{ none | dictsort }}",
    "{{ q | slice(0) | list }}",
    "{{ data | groupby('k') }}",
    "{{ q | indent('x') }}",
    "{{ q | tojson('x') }}",
    "{{ 5 | join }}",
    "{{ q | join(5) }}",
    "{{ q | map }}",
    "{{ q | map('no such') | list }}",
    "{{ q | select('no such') | list }}",
    "{{ q | selectattr | list }}",
    "{{ q | sum }}",
    "{{ [1, 'a'] | sort }}",
    "{{ [data] | unique | list }}",
    "{{ q.split(5) }}",
    "{{ q.startswith(none) }}",
    "{{ q | upper(1, 2, 3) }}",
    "{{ q is divisibleby }}",
    "{{ q is in }}",
    "{{ -q }}",
    "{{ q[data] }}",
    "{% for a, b in q %}{% endfor %}",
    "{% for a in 5 %}{% endfor %}",
    "{{ {data: 1} }}",
    "{{ loop }}",
    "{{ q() }}",
    "{{ 9 | tojson(indent=99) }}",
    "{% set a = [] %}" + "{% set a = [a] %}" * 5000 + "{{ a == [a] }}",
    "{% set a = [] %}" + "{% set a = [a] %}" * 5000 + "{{ a }}",
    "{% set a = [] %}" + "{% set a = [a] %}" * 5000 + "{{ a | tojson }}",
]


@pytest.mark.parametrize("source", ODD, ids=range(len(ODD)))
def test_what_a_template_cannot_do_is_its_problem(source: str) -> None:
    with pytest.raises(BadTemplate):
        rendered(source, q="abc", none=None, data={"k": "v"})
