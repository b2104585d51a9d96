"""Cases come from many kinds of files, and every one is checked before any call."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from llmops_cli.core.prompt import Case, Message
from tests.unit.project.conftest import Written

PROMPT = """\
model: embedded
inputs:
  question: {type: string}
  limit: {type: integer, required: false}
  passages: {type: array, items: {type: string}, required: false}
messages:
  - {role: user, content: "{{ question }}"}
"""


@pytest.fixture
def rich(project: Written) -> Written:
    project.write("prompts/support.prompt.yml", PROMPT)
    project.remove("evalsets/support.jsonl")
    return project


def cases(project: Written, name: str, content: str | bytes, scorer: str = "json") -> list[Case]:
    project.write("evalsets/support.yaml", f"cases: {name}\nscorers:\n  - {scorer}\n")
    project.write(f"evalsets/{name}", content)
    return list(project.evalset().cases)


def wrong(project: Written, name: str, content: str | bytes, scorer: str = "json") -> list[str]:
    project.write("evalsets/support.yaml", f"cases: {name}\nscorers:\n  - {scorer}\n")
    problems = project.wrong(f"evalsets/{name}", content)
    return [problem.removeprefix(f"evalsets/{name}:") for problem in problems]


def test_a_case_with_every_field(rich: Written) -> None:
    (case,) = cases(
        rich,
        "c.yaml",
        "- id: a\n"
        "  inputs: {question: Where?, limit: 3, passages: [one, two]}\n"
        "  expected: {a: [1]}\n"
        "  contexts: [p]\n"
        "  messages: [{role: user, content: hi}, {role: assistant, content: '{{ hello }}'}]\n"
        "  scorers: [{contains: x}]\n"
        "  tags: [vip, eu]\n"
        "  critical: true\n"
        "  group: g\n"
        "  known_failing: the index is old\n"
        "  metadata: {source: log}\n",
    )
    assert case.messages == (
        Message(role="user", content="hi"),
        Message(role="assistant", content="{{ hello }}"),
    )
    assert (case.expected, case.contexts, case.tags) == ({"a": [1]}, ("p",), ("vip", "eu"))
    assert (case.critical, case.group, case.known_failing) == (True, "g", "the index is old")
    assert [each.label for each in case.scorers] == ["contains"]
    assert case.metadata == {"source": "log"}
    assert str(case.where) == "evalsets/c.yaml:1"


def test_a_case_without_an_id_is_named_by_its_question(rich: Written) -> None:
    def ids(*questions: str) -> list[str]:
        """The ids of cases that ask this, and expect something else each time."""
        rows = (
            f'{{"inputs": {{"question": "{question}"}}, "expected": "{questions}"}}\n'
            for question in questions
        )
        return [case.id for case in cases(rich, "c.jsonl", "".join(rows))]

    first, second = ids("a", "b")
    assert first.startswith("support-")
    assert len(first) == len("support-") + 12
    assert ids("a", "c")[0] == first != second


def test_equal_ids_name_both_lines(rich: Written) -> None:
    row = '{"id": "a", "inputs": {"question": "x"}}\n'
    other = '{"inputs": {"question": "y"}}\n'
    assert wrong(rich, "c.jsonl", row + row + other + other)[1:] == [
        "4: the same inputs are here twice (first at evalsets/c.jsonl:3; give both an `id`)"
    ]
    assert wrong(rich, "c.jsonl", row + "\n" + row) == [
        "3: the id 'a' is here twice (first at evalsets/c.jsonl:1)"
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"inputs": {"qestion": "x"}}', "the input 'question' is missing"),
        ('{"inputs": {"question": 3}}', "the input 'question' must be a string, not 3"),
        ('{"inputs": {"question": "x", "limit": 1.5}}', "'limit' must be an integer, not 1.5"),
        ('{"inputs": {"question": "x", "limit": true}}', "'limit' must be an integer, not true"),
        ('{"inputs": {"question": "x", "passages": ["a", 1]}}', "'passages' item 2 must be a str"),
        ('{"asert": 1}', "unknown key 'asert' (did you mean 'scorers'?)"),
        ('{"tags": "vip"}', "'tags' must be a list, not the text 'vip'"),
        ('{"critical": "yes"}', "'critical' must be true or false, not the text 'yes'"),
        ('{"inputs": {"question": "x"}, "id": ""}', "'id'"),
        ('{"inputs": {"question": "x"}, "inputs": {}}', "the key 'inputs' is here twice"),
        ('{"expected": NaN}', "NaN is not a number that can be compared"),
        ('{"expected": -Infinity}', "-Infinity is not a number that can be compared"),
        ('{"expected": 1e999}', "1e999 is not a number that can be compared"),
        ('{"expected": 1' + "0" * 400 + "}", "10000000000000000000… is too long for a number"),
        ('{"expected": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested more than 50 levels deep"),
        ('{"expected": ' + "[" * 60 + "]" * 60 + "}", "nested more than 50 levels deep"),
        ("[1]", "must be a mapping, not a list"),
        ("nonsense", "not JSON: Expecting value at column 1"),
    ],
)
def test_a_wrong_row_is_named_at_its_line(rich: Written, row: str, said: str) -> None:
    problems = wrong(rich, "c.jsonl", '{"inputs": {"question": "ok"}}\n\n' + row + "\n")
    assert all(problem.startswith("3: ") for problem in problems)
    assert any(said in problem for problem in problems), problems


def test_a_row_that_is_not_utf_8_does_not_hide_the_others(rich: Written) -> None:
    assert wrong(rich, "c.jsonl", b'{"id": "caf\xe9"}\n{"asert": 1}\n') == [
        "1: not UTF-8 text (save the file as UTF-8)",
        "2: unknown key 'asert' (did you mean 'scorers'?)",
    ]


def test_a_csv_table(rich: Written) -> None:
    first, second = cases(
        rich,
        "c.csv",
        "\ufeffid,question,limit,passages,expected,tags,critical,contexts,metadata.source\r\n"
        'a,"Where, when?",3,"[""x"", ""y""]",here,vip; eu,TRUE,"[""p"", ""q""]",log\r\n'
        "b,012,,,,,,one passage,\r\n",
    )
    assert first.inputs == {"question": "Where, when?", "limit": 3, "passages": ["x", "y"]}
    assert (first.expected, first.tags, first.critical) == ("here", ("vip", "eu"), True)
    assert (first.contexts, first.metadata) == (("p", "q"), {"source": "log"})
    assert second.inputs == {"question": "012"}
    assert (second.expected, second.tags, second.critical) == (None, (), False)
    assert second.contexts == ("one passage",)
    assert str(second.where) == "evalsets/c.csv:3"


def test_an_input_that_is_named_like_a_field_stands_under_inputs(rich: Written) -> None:
    rich.write(
        "prompts/support.prompt.yml",
        "model: embedded\ninputs: {expected: {}}\n"
        'messages: [{role: user, content: "{{ expected }}"}]\n',
    )
    (case,) = cases(rich, "c.csv", "inputs.expected,expected\nasked,answered\n")
    assert (case.inputs, case.expected) == ({"expected": "asked"}, "answered")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("question,__expectd\nx,y\n", "1: the column '__expectd' is no field and no input"),
        ("question,expectd\nx,y\n", "(did you mean 'expected'?)"),
        ("question,question\nx,y\n", "1: the column 'question' is here twice"),
        ("question,inputs.question\nx,y\n", "1: the column 'inputs.question' is here twice"),
        ("question,limit\nx,NaN\n", "2: 'inputs.limit' cannot be read from 'NaN'"),
        ("question,limit\nx,many\n", "2: 'inputs.limit' cannot be read from 'many'"),
        ("question,critical\nx,perhaps\n", "2: 'critical' cannot be read from 'perhaps'"),
        ("question,limit\nx\n", "2: 1 cells, but the header has 2 columns"),
        ('question\n"x\n', "2: not CSV: unexpected end of data"),
        ("", "1: an empty file of cases"),
    ],
)
def test_a_wrong_table_is_named_at_its_line(rich: Written, table: str, said: str) -> None:
    assert any(said in each for each in wrong(rich, "c.csv", table))


@pytest.mark.parametrize("blank", [",,", " , ,", ",,,,", "  "])
def test_a_row_of_empty_cells_is_no_case(rich: Written, blank: str) -> None:
    table = f"id,question,expected\na,Where?,here\n{blank}\nb,Why?,so\n{blank}\n"
    assert [case.id for case in cases(rich, "c.csv", table)] == ["a", "b"]


def test_quotes_after_blanks_are_quotes(rich: Written) -> None:
    (case,) = cases(rich, "c.csv", 'id, question, expected\na, "hi, there", "Paris"\n')
    assert (case.inputs, case.expected) == ({"question": "hi, there"}, "Paris")


def test_blanks_and_quotes_within_a_cell_are_text(rich: Written) -> None:
    text = 'id,question,expected\na, Where? ,"say, ""here"""\n'
    (case,) = cases(rich, "c.csv", text)
    assert (case.inputs, case.expected) == ({"question": " Where? "}, 'say, "here"')


@pytest.mark.parametrize(
    ("scorers", "cell", "expected"),
    [
        ("json: {expected: true}", '{"n": 1.50}', {"n": 1.5}),
        ("json: {expected: true}", "5", 5),
        ("json: {expected: true}", "no JSON", "no JSON"),
        ("json: {equals: '{{ expected }}'}", "[1, 2]", [1, 2]),
        ("tool_call", '{"name": "pay", "arguments": {}}', {"name": "pay", "arguments": {}}),
        ("tool_call", "pay", "pay"),
        ("exact", '{"n": 1}', '{"n": 1}'),
        ("exact", "[1, 2]", "[1, 2]"),
    ],
)
def test_a_cell_of_json_is_its_value_where_a_scorer_takes_values(
    rich: Written, scorers: str, cell: str, expected: Any
) -> None:
    table = 'question,expected\nWhere?,"{}"\n'.format(cell.replace('"', '""'))
    assert wrong(rich, "c.csv", table, scorers) == []
    assert rich.evalset().cases[0].expected == expected


@pytest.mark.parametrize(
    ("cell", "relevant"), [('["d1", "d2"]', ["d1", "d2"]), ('{"d1": 2}', {"d1": 2}), ("17", "17")]
)
def test_relevant_ids_in_a_cell_are_a_list(rich: Written, cell: str, relevant: Any) -> None:
    table = 'question,metadata.relevant\nWhere?,"{}"\n'.format(cell.replace('"', '""'))
    assert wrong(rich, "c.csv", table, "hit_at_k: 3") == []
    assert rich.evalset().cases[0].metadata == {"relevant": relevant}


@pytest.mark.parametrize(
    ("scorer", "more", "what"),
    [
        (
            'regex: "{{ metadata.p }}"',
            '"metadata": {"p": "\\b"}',
            "'regex' of this case: 'pattern'",
        ),
        ("contains", '"expected": "\\bword\\b"', "'expected'"),
    ],
)
def test_a_control_character_is_refused(rich: Written, scorer: str, more: str, what: str) -> None:
    (problem,) = wrong(rich, "c.jsonl", f'{{"inputs": {{"question": "x"}}, {more}}}', scorer)
    message = f'1: {what} holds the control character U+0008, which is what "\\b" means in double'
    assert problem.startswith(message)
    assert "use single quotes, or a second backslash" in problem


def parquet_of(columns: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def test_a_parquet_table(rich: Written) -> None:
    table = {
        "id": ["a", "b"],
        "question": ["Where?", "Why?"],
        "limit": [3, None],
        "expected": [1.5, float("nan")],
        "tags": [["vip"], None],
    }
    first, second = cases(rich, "c.parquet", parquet_of(table))
    assert first.inputs == {"question": "Where?", "limit": 3}
    assert (first.expected, first.tags) == (1.5, ("vip",))
    assert (second.inputs, second.expected) == ({"question": "Why?"}, None)


def test_structured_text_and_empty_rows_of_parquet_are_read_as_those_of_csv(rich: Written) -> None:
    table = parquet_of({"question": ["Where?", None], "expected": ['{"n": 1}', None]})
    (case,) = cases(rich, "c.parquet", table, "json: {expected: true}")
    assert case.expected == {"n": 1}


@pytest.mark.parametrize(
    ("column", "read"),
    [
        (pa.array([18.0, None, 7.0], pa.float64(), from_pandas=False), ["18", "None", "7"]),
        (pa.array([18.0, float("nan"), 7.0], from_pandas=False), ["18", "None", "7"]),
        (pa.array([18.0, 1.0, 7.0]), ["18.0", "1.0", "7.0"]),
        (pa.array([3.1, 0.5, 2.0], pa.float32()), ["3.1", "0.5", "2.0"]),
    ],
    ids=["integers with gaps", "integers with NaN", "whole floats", "short floats"],
)
def test_a_column_of_floats_reads_as_it_was_meant(
    rich: Written, column: object, read: list[str]
) -> None:
    table = parquet_of({"question": ["a", "b", "c"], "expected": column})
    assert [str(case.expected) for case in cases(rich, "c.parquet", table)] == read


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("c.parquet", "not a Parquet file"),
        ("c.xlsx", "not a file of cases (it ends in .jsonl"),
    ],
)
def test_what_is_no_file_of_cases_is_an_error(rich: Written, name: str, said: str) -> None:
    (problem,) = wrong(rich, name, b"PAR1 nonsense")
    assert said in problem


NEEDS = {
    'contains: "{{ expected }}"': "contains.value: the case has no value for 'expected'",
    "contains": "contains has no `value`, and case 'b' no `expected` (give the case an `expected`)",
    'contains: "{{ metadata.x }}"': "contains.value: 'metadata.x' is undefined: there is no 'x'",
}


@pytest.mark.parametrize(("scorer", "problem"), NEEDS.items())
def test_what_a_template_needs_is_in_every_case(rich: Written, scorer: str, problem: str) -> None:
    rows = (
        '{"id": "a", "inputs": {"question": "x"}, "expected": "y", "metadata": {"x": 1}}\n'
        '{"id": "b", "inputs": {"question": "z"}}\n'
    )
    (message,) = wrong(rich, "c.jsonl", rows, scorer)
    assert message.removeprefix("2: ").removeprefix("case 'b': ") == problem


@pytest.mark.parametrize(
    ("scorer", "expected", "why"),
    [
        ("number", '"many"', "'many' is not a number"),
        ("number", '"1,000"', None),
        ("regex", "42", "'pattern' must be text, not the number 42"),
    ],
)
def test_what_a_template_makes_fits_its_option(
    rich: Written, scorer: str, expected: str, why: str | None
) -> None:
    row = f'{{"inputs": {{"question": "x"}}, "expected": {expected}}}'
    problems = wrong(rich, "c.jsonl", row, f'{scorer}: "{{{{ expected }}}}"')
    assert problems == ([f"1: '{scorer}' of this case: {why}"] if why else [])


def test_a_scorer_of_one_case_has_a_label_of_its_own(rich: Written) -> None:
    rows = (
        '{"id": "a", "inputs": {"question": "x"}, "scorers": [{"contains": "y"}, "json"]}\n'
        '{"id": "b", "inputs": {"question": "z"}, "scorers": [{"contains": "w"}]}\n'
    )
    read = cases(rich, "c.jsonl", rows, "contains: x")
    labels = [[spec.label for spec in case.scorers] for case in read]
    assert labels == [["contains-2", "json"], ["contains-2"]]


def test_a_wrong_scorer_of_one_case_has_its_line(rich: Written) -> None:
    row = "- id: a\n  inputs: {question: x}\n  scorers:\n    - json\n    - contians: x\n"
    (problem,) = wrong(rich, "c.yaml", row)
    assert problem == "5: unknown scorer 'contians' (did you mean 'contains'?)"


def test_cases_of_several_prompts_fit_each_of_them(rich: Written) -> None:
    rich.write(
        "prompts/other.prompt.yml",
        "model: embedded\ninputs: {question: {}, tone: {enum: [dry, warm]}}\n"
        'messages: [{role: user, content: "{{ question }} {{ tone }}"}]\n',
    )
    rich.write(
        "evalsets/support.yaml",
        "prompt: [support, other]\nscorers: [json]\ncases:\n"
        "  - {id: a, inputs: {question: x, tone: dry, limit: 1}}\n"
        "  - {id: b, inputs: {question: x}}\n"
        "  - {id: c, inputs: {question: x, tone: cold}}\n"
        "  - {id: d, inputs: {question: x, tone: dry, colour: red}}\n",
    )
    assert rich.problems() == [
        "evalsets/support.yaml:5: the input 'tone' is missing",
        "evalsets/support.yaml:6: the input 'tone' cannot be \"cold\" (known: dry, warm)",
        (
            "evalsets/support.yaml:7: the input 'colour' is not declared by the prompt"
            " (known: limit, passages, question, tone)"
        ),
    ]


def test_an_expectation_and_its_place_do_not_change_the_facts_of_another(rich: Written) -> None:
    one = cases(rich, "c.jsonl", '{"id": "a", "inputs": {"question": "x"}, "tags": ["t"]}')[0]
    rich.remove("evalsets/c.jsonl")
    two = cases(rich, "d.jsonl", '\n{"id": "b", "inputs": {"question": "x"}, "critical": true}')[0]
    assert one.facts == two.facts


def test_a_case_weighs_about_a_kilobyte_so_that_a_hundred_thousand_are_no_trouble(
    rich: Written,
) -> None:
    count = 10_000
    row = '{{"id": "{0}", "inputs": {{"question": "What is number {0}?"}}, "expected": "{0}"}}\n'
    rich.write("evalsets/support.jsonl", "".join(map(row.format, range(count))))
    loaded = rich.load()
    tracemalloc.start()
    evalset = loaded.evalset("support")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(evalset.cases) == count
    assert peak / count < 1_200
