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


def cases(project: Written, name: str, content: str | bytes) -> list[Case]:
    project.write("evalsets/support.yaml", f"cases: {name}\nscorers: [json]\n")
    project.write(f"evalsets/{name}", content)
    return list(project.evalset().cases)


def wrong(project: Written, name: str, content: str | bytes, scorer: str = "json") -> list[str]:
    project.write("evalsets/support.yaml", f"cases: {name}\nscorers:\n  - {scorer}\n")
    project.write(f"evalsets/{name}", content)
    return [each.removeprefix(f"evalsets/{name}:") for each in project.problems()]


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
    first, second = cases(
        rich,
        "c.jsonl",
        '{"inputs": {"question": "a"}, "expected": 1}\n{"inputs": {"question": "b"}}\n',
    )
    assert first.id.startswith("support-")
    assert len(first.id) == len("support-") + 12
    (again, _) = cases(
        rich,
        "c.jsonl",
        '{"inputs": {"question": "a"}, "expected": 2}\n{"inputs": {"question": "c"}}\n',
    )
    assert again.id == first.id
    assert second.id != first.id


def test_a_number_is_a_good_id(rich: Written) -> None:
    (case,) = cases(rich, "c.jsonl", '{"id": 7, "inputs": {"question": "a"}}')
    assert case.id == "7"


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
        (
            '{"inputs": {"question": ' + "[" * 60 + "]" * 60 + "}}",
            "nested more than 50 levels deep",
        ),
        ("[1]", "must be a mapping, not a list"),
        ("nonsense", "not JSON: Expecting value at column 1"),
    ],
)
def test_a_wrong_row_is_named_at_its_line(rich: Written, row: str, said: str) -> None:
    problems = wrong(rich, "c.jsonl", '{"inputs": {"question": "ok"}}\n\n' + row + "\n")
    assert all(each.startswith("3: ") for each in problems)
    assert any(said in each for each in problems), problems


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
        "b,Why?,,,,,,one passage,\r\n",
    )
    assert first.inputs == {"question": "Where, when?", "limit": 3, "passages": ["x", "y"]}
    assert (first.expected, first.tags, first.critical) == ("here", ("vip", "eu"), True)
    assert (first.contexts, first.metadata) == (("p", "q"), {"source": "log"})
    assert second.inputs == {"question": "Why?"}
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
        (
            "tool_call",
            '{"name": "pay", "arguments": {"n": 5}}',
            {"name": "pay", "arguments": {"n": 5}},
        ),
        ("tool_call", "pay", "pay"),
        ("exact", '{"n": 1}', '{"n": 1}'),
        ("exact", "[1, 2]", "[1, 2]"),
    ],
)
def test_a_cell_of_json_is_its_value_where_a_scorer_takes_values(
    rich: Written, scorers: str, cell: str, expected: Any
) -> None:
    quoted = cell.replace('"', '""')
    rich.write("evalsets/support.yaml", f"cases: c.csv\nscorers: [{scorers}]\n")
    rich.write("evalsets/c.csv", f'question,expected\nWhere?,"{quoted}"\n')
    assert rich.problems() == []
    (case,) = rich.evalset().cases
    assert case.expected == expected


@pytest.mark.parametrize(
    ("cell", "relevant"), [('["d1", "d2"]', ["d1", "d2"]), ('{"d1": 2}', {"d1": 2}), ("17", "17")]
)
def test_relevant_ids_in_a_cell_are_a_list(rich: Written, cell: str, relevant: Any) -> None:
    rich.write("evalsets/support.yaml", "cases: c.csv\nscorers: [hit_at_k: 3]\n")
    quoted = cell.replace('"', '""')
    rich.write("evalsets/c.csv", f'question,metadata.relevant\nWhere?,"{quoted}"\n')
    assert rich.problems() == []
    (case,) = rich.evalset().cases
    assert case.metadata == {"relevant": relevant}


def test_a_control_character_in_what_a_template_makes_is_refused(rich: Written) -> None:
    row = '{"inputs": {"question": "x"}, "expected": "x", "metadata": {"p": "\\bword\\b"}}'
    (problem,) = wrong(rich, "c.jsonl", row, 'regex: "{{ metadata.p }}"')
    assert problem.startswith(
        "1: 'regex' of this case: 'pattern' holds the control character U+0008"
    )


def test_a_control_character_in_what_is_expected_is_refused(rich: Written) -> None:
    row = '{"inputs": {"question": "x"}, "expected": "\\bword\\b"}'
    assert wrong(rich, "c.jsonl", row, "contains") == [
        (
            "1: 'expected' holds the control character U+0008, "
            'which is what "\\b" means in double quotes (use single quotes, or a second backslash)'
        )
    ]


def test_a_parquet_table(rich: Written) -> None:
    table: Any = pa.table(
        {
            "id": ["a", "b"],
            "question": ["Where?", "Why?"],
            "limit": [3, None],
            "expected": [1.5, float("nan")],
            "tags": [["vip"], None],
        }
    )
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    first, second = cases(rich, "c.parquet", sink.getvalue().to_pybytes())
    assert first.inputs == {"question": "Where?", "limit": 3}
    assert (first.expected, first.tags) == (1.5, ("vip",))
    assert (second.inputs, second.expected) == ({"question": "Why?"}, None)


def test_structured_text_and_empty_rows_of_parquet_are_read_as_those_of_csv(rich: Written) -> None:
    table: Any = pa.table({"question": ["Where?", None], "expected": ['{"n": 1}', None]})
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    rich.write("evalsets/support.yaml", "cases: c.parquet\nscorers: [json: {expected: true}]\n")
    rich.write("evalsets/c.parquet", sink.getvalue().to_pybytes())
    (case,) = rich.evalset().cases
    assert case.expected == {"n": 1}


def test_bytes_that_are_no_parquet_are_an_error(rich: Written) -> None:
    (problem,) = wrong(rich, "c.parquet", b"PAR1 nonsense")
    assert "not a Parquet file" in problem


def test_an_unknown_kind_of_file_is_an_error(rich: Written) -> None:
    (problem,) = wrong(rich, "c.xlsx", b"")
    assert "not a file of cases (it ends in .jsonl" in problem


def test_what_a_template_needs_is_in_every_case(rich: Written) -> None:
    rows = (
        '{"id": "a", "inputs": {"question": "x"}, "expected": "y"}\n'
        '{"id": "b", "inputs": {"question": "z"}}\n'
    )
    assert wrong(rich, "c.jsonl", rows, 'contains: "{{ expected }}"') == [
        "2: case 'b': contains.value: the case has no value for 'expected'"
    ]
    assert wrong(rich, "c.jsonl", rows, "contains") == [
        "2: contains has no `value`, and case 'b' no `expected` (give the case an `expected`)"
    ]
    assert wrong(rich, "c.jsonl", rows, 'contains: "{{ metadata.x }}"') == [
        "1: case 'a': contains.value: 'metadata.x' is undefined: there is no 'x'",
        "2: case 'b': contains.value: 'metadata.x' is undefined: there is no 'x'",
    ]


def test_what_a_template_makes_fits_its_option(rich: Written) -> None:
    rows = (
        '{"id": "a", "inputs": {"question": "x"}, "expected": 42}\n'
        '{"id": "b", "inputs": {"question": "y"}, "expected": "many"}\n'
        '{"id": "c", "inputs": {"question": "z"}, "expected": "1,000"}\n'
    )
    assert wrong(rich, "c.jsonl", rows, 'number: "{{ expected }}"') == [
        "2: 'number' of this case: 'many' is not a number"
    ]
    (problem,) = wrong(rich, "c.jsonl", rows, 'regex: "{{ expected }}"')
    assert problem == "1: 'regex' of this case: 'pattern' must be text, not the number 42"


def test_a_scorer_of_one_case_has_a_label_of_its_own(rich: Written) -> None:
    rich.write("evalsets/support.yaml", "cases: c.jsonl\nscorers: [{contains: x}]\n")
    rich.write(
        "evalsets/c.jsonl",
        '{"id": "a", "inputs": {"question": "x"}, "scorers": [{"contains": "y"}, "json"]}\n'
        '{"id": "b", "inputs": {"question": "z"}, "scorers": [{"contains": "w"}]}\n',
    )
    labels = [[spec.label for spec in case.scorers] for case in rich.evalset().cases]
    assert labels == [["contains-2", "json"], ["contains-2"]]


def test_a_wrong_scorer_of_one_case_has_its_line(rich: Written) -> None:
    assert wrong(
        rich,
        "c.yaml",
        "- id: a\n  inputs: {question: x}\n  scorers:\n    - json\n    - contians: x\n",
    ) == ["5: unknown scorer 'contians' (did you mean 'contains'?)"]


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
    rich.write(
        "evalsets/support.jsonl",
        "".join(
            f'{{"id": "{n}", "inputs": {{"question": "What is number {n}?"}}, "expected": "{n}"}}\n'
            for n in range(count)
        ),
    )
    loaded = rich.load()
    tracemalloc.start()
    evalset = loaded.evalset("support")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(evalset.cases) == count
    assert peak / count < 1_200
