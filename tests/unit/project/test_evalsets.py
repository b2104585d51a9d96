"""Evalset files: which prompts, which scorers, which gate."""

from __future__ import annotations

import pytest

from llmops_cli.core.prompt import ScorerSpec
from llmops_cli.project.policy import policy_of
from tests.unit.project.conftest import CASE, Written

PATH = "evalsets/support.yaml"
CASES = "evalsets/support.jsonl"


def evalset(*lines: str) -> str:
    """An evalset of the scorers on these lines, of which the first is line 3."""
    return "cases: support.jsonl\nscorers:\n" + "".join(f"  - {line}\n" for line in lines)


def scorers(project: Written, *lines: str) -> tuple[ScorerSpec, ...]:
    project.write(PATH, evalset(*lines))
    return project.evalset().scorers


def test_a_scorer_has_three_forms(project: Written) -> None:
    one, two, three = scorers(
        project, "json", "contains: here", "exact: {value: here, ignore_case: true, name: same}"
    )
    assert (one.kind, one.label, one.options) == ("json", "json", {})
    assert (two.kind, two.label, two.options) == ("contains", "contains", {"value": "here"})
    assert (three.label, three.options) == ("same", {"value": "here", "ignore_case": True})


def test_not_wraps_any_form(project: Written) -> None:
    specs = scorers(
        project, "{not: json}", "{not: {contains: sorry}}", "{not: {not: {contains: here}}}"
    )
    negated = [("not-json", True), ("not-contains", True), ("contains", False)]
    assert [(spec.label, spec.negate) for spec in specs] == negated


def test_labels_are_made_unique_and_give_way_to_chosen_ones(project: Written) -> None:
    specs = scorers(project, "contains: a", "contains: b", "contains: {value: c, name: contains-2}")
    assert [spec.label for spec in specs] == ["contains", "contains-3", "contains-2"]


def test_thresholds_are_the_given_ones_or_the_kinds(project: Written) -> None:
    limits = {
        "similarity: {value: x, name: a}": (0.8, None),
        "similarity: {value: x, max: 0.5, name: b}": (None, 0.5),
        "latency: 3": (None, 3.0),
        "length: {min: 1, max: 9}": (1.0, 9.0),
        "contains: x": (1.0, None),
    }
    specs = scorers(project, *limits)
    assert [(spec.minimum, spec.maximum) for spec in specs] == list(limits.values())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("contians: x", "unknown scorer 'contians' (did you mean 'contains'?)"),
        ("contains: {valu: x}", "'contains' has no option 'valu' (did you mean 'value'?)"),
        ("contains: {value: x, threshold: 1}", "(did you mean 'min'?)"),
        ("similarity: {value: x, min: high}", "'similarity.min' must be a number"),
        ("similarity: {value: x, min: 0.9, max: 0.1}", "min 0.9 is above max 0.1: nothing passes"),
        (
            "similarity: {value: x, min: 80}",
            "can never pass (give `min` or `max`: its values are from 0 to 1)",
        ),
        ("similarity: {value: x, max: 5}", "'similarity' gates but can never fail"),
        ("exact: {value: x, max: 1}", "'exact' gates but can never fail"),
        ("length: {min: 0}", "'length' gates but can never fail"),
        ("not: {length: {min: 0}}", "'length' gates but can never pass"),
        ("contains: {value: x, advisory: maybe}", "'contains.advisory' must be true or false"),
        ("regex: {}", "'regex' needs 'pattern'"),
        ("regex: '('", "is not a regular expression"),
        ("contains: {value: x, ignore_case: 'yes'}", "'contains.ignore_case'"),
        ("number: {value: many}", "is not a number"),
        ("latency", "latency measures seconds and passes nothing without `min` or `max`"),
        ("refusal: x", "'refusal' takes no bare value"),
        ("[contains]", "not a scorer"),
        ("{contains: x, exact: y}", "not a scorer"),
        (
            "contains: '{{ expcted }}'",
            "uses 'expcted', which no case has (did you mean 'expected'?)",
        ),
        ("contains: '{{ expected | uper }}'", "unknown filter 'uper' (did you mean 'upper'?)"),
        ("contains: '{{ expected'", "'contains.value': unexpected"),
        ("json_schema: schemas/none.json", "there is no file 'schemas/none.json'"),
        ("json_schema: ../reply.json", "could leave the project"),
        ("python: own.py", "'own.py' names no function (write path/to/file.py:function)"),
        ("python: own.py:check", "there is no file 'own.py'"),
        (
            "contains: {value: {a: 1}}",
            "must be text or a whole number or a number or true or false",
        ),
        ("contains: {all: [a, [b]]}", "'contains.all' item 2 must be text or a whole number"),
    ],
)
def test_a_wrong_scorer_is_named_at_its_line(project: Written, line: str, said: str) -> None:
    (problem,) = project.wrong(PATH, evalset("exact", line))
    assert problem.startswith(f"{PATH}:4: ")
    assert said in problem


@pytest.mark.parametrize(
    ("line", "option", "escape"),
    [
        (r'regex: "\bpassword\b"', "regex.pattern", r"\b"),
        (r'not: {regex: "\bpassword\b"}', "regex.pattern", r"\b"),
        (r'contains: "\frac{1}{2}"', "contains.value", r"\f"),
        (r'exact: ["a", "\e[0m"]', "exact.value", r"\e"),
        (r'number: {value: 1, after: "\vec"}', "number.after", r"\v"),
        (r'regex: "\P{L}"', "regex.pattern", r"\P"),
    ],
)
def test_an_escape_that_yaml_reads_as_a_control_character_is_refused(
    project: Written, line: str, option: str, escape: str
) -> None:
    (problem,) = project.wrong(PATH, evalset("exact", line))
    assert problem.startswith(f"{PATH}:4: '{option}' holds the control character U+")
    assert f'which is what "{escape}" means in double quotes (use single quotes' in problem


@pytest.mark.parametrize(
    "schema", [r'{pattern: "\bx\b"}', r'{properties: {a: {patternProperties: {"^\bx": {}}}}}']
)
def test_an_escape_in_a_pattern_of_a_schema_is_refused(project: Written, schema: str) -> None:
    (problem,) = project.wrong(PATH, evalset("exact", f"json_schema: {{schema: {schema}}}"))
    assert "holds the control character U+0008" in problem


@pytest.mark.parametrize(
    "lines",
    [
        (r"regex: '\bhere\b'", r'not: {contains: "a\tb\nc"}'),
        ("python: {call: 'own.py:check', identity: 1}",),
        ("python: {call: 'own.py:check', identity: [own.py]}",),
        ("similarity: {value: x, advisory: true}",),
    ],
    ids=[
        "single quotes and line breaks in patterns and texts",
        "a function identified by a revision",
        "a function identified by files",
        "an evalset that is advisory as a whole",
    ],
)
def test_what_is_right_is_accepted(project: Written, lines: tuple[str, ...]) -> None:
    project.write("own.py", "def check(case, completion): return 1.0\n")
    assert project.wrong(PATH, evalset(*lines)) == []


def test_relevant_ids_are_those_of_the_cases_metadata_by_default(project: Written) -> None:
    asked = '"inputs": {"question": "?"}, "expected": "x"'
    rows = f'{{"id": "a", {asked}, "metadata": {{"relevant": ["p1", 2]}}}}\n'
    project.write(CASES, rows)
    default, own = scorers(project, "hit_at_k: 3", 'mrr: {relevant: "{{ expected }}"}')
    assert default.options == {"k": 3, "relevant": "{{ metadata.relevant }}"}
    assert own.options == {"relevant": "{{ expected }}"}
    assert project.problems() == []
    for number, metadata in enumerate(['{"relevant": {"p": "high"}}', '{"relevant": []}', "{}"]):
        rows += f'{{"id": "{number}", {asked}, "metadata": {metadata}}}\n'
    grade, none, absent = project.wrong(CASES, rows)
    wrong = "'relevant' 'p' must be a whole number, not the text 'high'"
    assert grade == f"{CASES}:2: 'hit_at_k' of this case: {wrong}"
    assert f"{CASES}:3: 'hit_at_k' of this case: `relevant` names nothing" in none
    assert f"{CASES}:4: case '2': hit_at_k.relevant: 'metadata.relevant' is undefined" in absent


def test_an_embedding_model_must_be_able_to_embed(project: Written) -> None:
    models = "models:\n  embedded: {provider: embedded}\n  judge: {provider: anthropic, model: x}"
    project.write("llmops.yaml", models)
    assert project.wrong(PATH, evalset("answer_relevancy: {embeddings: embedded}")) == []
    (problem,) = project.wrong(PATH, evalset("answer_relevancy: {embeddings: judge}"))
    assert problem.startswith(f"{PATH}:3: 'answer_relevancy': judge cannot embed: ")
    assert problem.endswith("(these have: embedded, openai, vllm)")


def test_a_scorer_that_must_know_the_question_says_where_it_does_not(project: Written) -> None:
    content = "[{role: user, content: '{{ a }}'}]"
    prompt = f"model: embedded\ninputs: {{a: {{}}, b: {{}}}}\nmessages: {content}\n"
    project.write("prompts/support.prompt.yml", prompt)
    project.write(CASES, '{"id": "x", "inputs": {"a": "1", "b": "2"}}\n')
    (problem,) = project.wrong(PATH, evalset("faithfulness: {model: embedded}"))
    assert problem.startswith(f"{CASES}:1: faithfulness has no `question`, and case")
    assert problem.endswith('(name the input, as `question: "{{ … }}"`)')
    scorer = "faithfulness: {model: embedded, question: '{{ b }}'}"
    (problem,) = project.wrong(PATH, evalset(scorer))
    assert "faithfulness compares with `contexts`" in problem


def test_a_scorer_that_gates_can_fail_somewhere(project: Written) -> None:
    project.write("own.py", "def check(case, completion):\n    return 1\n")
    assert scorers(project, "python: own.py:check")[0].minimum == 1.0


def test_an_evalset_gates_the_prompt_of_its_name_unless_it_says_otherwise(
    project: Written,
) -> None:
    written = "cases: support.jsonl\nscorers: [exact]\n"
    project.write("evalsets/other.yaml", "prompt: [support]\n" + written)
    assert project.load().evalsets_of("support") == ("other", "support")
    (problem,) = project.wrong("evalsets/lonely.yaml", written)
    assert problem == "evalsets/lonely.yaml:1: unknown prompt 'lonely' (known: support)"


ONE = '{"id": "a", "inputs": {"question": "x"}}\n'
WRONG = {
    "no cases": (evalset("exact"), "\n", f"{PATH}:1: the evalset 'support' has no cases"),
    "no file of cases": (evalset("exact"), None, f"{PATH}:1: there is no file '{CASES}'"),
    "two scorers of one chosen name": (
        evalset("contains: {value: a, name: x}", "exact: {value: b, name: x}"),
        ONE,
        f"{PATH}:4: two scorers are named 'x' (each name is a metric of its own)",
    ),
    "the name of all gating scorers together": (
        evalset("contains: {value: a, name: pass}"),
        ONE,
        f"{PATH}:3: 'name' cannot be 'pass' ('pass' is all gating scorers together)",
    ),
    "a name that is no text": (
        evalset("contains: {value: a, name: [x]}"),
        ONE,
        f"{PATH}:3: 'name' cannot be ['x'] (text)",
    ),
    "a case that asserts nothing": (
        (
            "cases:\n  - {id: a, inputs: {question: x}, scorers: [json]}\n"
            "  - {id: b, inputs: {question: y}}\n"
        ),
        None,
        f"{PATH}:3: the case 'b' asserts nothing (add a scorer to it or to its evalset)",
    ),
    "a retired case that is still here": (
        evalset("exact: x") + "retired: {a: no longer asked, 7: old}\n",
        ONE,
        f"{CASES}:1: the case 'a' is retired and still here",
    ),
    "a rule about an unknown metric": (
        evalset("exact: {value: x, name: same}")
        + "gate:\n  rules:\n    - floor: {metric: sane, min: 0.9}\n",
        ONE,
        (
            f"{PATH}:5: the rule 'floor' names the metric 'sane', which no case has"
            " (did you mean 'same'?)"
        ),
    ),
    "a rule about an unknown tag": (
        evalset("exact: x") + "gate:\n  rules:\n    - no_worse: {tag: vip}\n",
        ONE,
        f"{PATH}:5: the rule 'no_worse' names the tag 'vip', which no case has",
    ),
}


@pytest.mark.parametrize(("written", "cases", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_an_evalset_is_named_at_its_line(
    project: Written, written: str, cases: str | None, problem: str
) -> None:
    project.remove(CASES)
    if cases is not None:
        project.write(CASES, cases)
    assert project.wrong(PATH, written) == [problem]


def test_a_gate_has_rules_in_three_spellings(project: Written) -> None:
    project.write(CASES, CASE.replace("}\n", ', "tags": ["vip"]}\n'))
    project.write(
        PATH,
        evalset("exact") + "gate:\n  margin: 0.1\n  rules:\n"
        "    - critical\n    - floor: 0.9\n    - no_worse: {metric: exact, tag: vip}\n"
        "    - coverage: {}\n",
    )
    gate = project.evalset().gate
    no_worse = {"no_worse": {"metric": "exact", "tag": "vip"}}
    rules = ["critical", {"floor": {"min": 0.9}}, no_worse, "coverage"]
    assert gate == {"margin": 0.1, "rules": rules}
    assert policy_of(gate).margin == 0.1


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("critcal", "unknown rule 'critcal' (did you mean 'critical'?)"),
        ("flor: 0.9", "unknown rule 'flor' (did you mean 'floor'?)"),
        ("floor: {min: 2}", "'gate.rules.1.floor.min' must be 1 or less, not the number 2"),
        ("floor: {metric: pass}", "'gate.rules.1.floor.min' is missing"),
        ("floor", "'gate.rules.1.floor.min' is missing"),
        ("floor: {min: 0.5, mni: 1}", "unknown key 'mni' (did you mean 'min'?)"),
        ("critical: 3", "the rule 'critical' takes no value"),
        ("[floor]", "not a rule"),
    ],
)
def test_a_wrong_rule_is_named_at_its_line(project: Written, rule: str, said: str) -> None:
    rules = f"gate:\n  rules:\n    - coverage\n    - {rule}\n"
    (problem,) = project.wrong(PATH, evalset("exact") + rules)
    assert problem.startswith(f"{PATH}:7: ")
    assert said in problem


def test_cases_can_stand_in_a_yaml_file_of_their_own(project: Written) -> None:
    project.remove(CASES)
    project.write(PATH, "cases: support.cases.yaml\nscorers: [exact]\n")
    project.write("evalsets/support.cases.yaml", "- {id: a, inputs: {question: x}, expected: no}\n")
    (case,) = project.evalset().cases
    assert (case.id, case.expected) == ("a", "no")
    assert str(case.where) == "evalsets/support.cases.yaml:1"


@pytest.mark.parametrize(
    ("name", "text"),
    [("a/new.yaml", "- {id: a}\n"), ("new.jsonl", '{"id": "a"}\n'), ("new.csv", "id\na\n")],
)
def test_cases_that_no_evalset_names_are_not_left_out_silently(
    project: Written, name: str, text: str
) -> None:
    (problem,) = project.wrong(f"evalsets/{name}", text)
    assert problem.startswith(f"evalsets/{name}: cases that no evalset names (an evalset names it")
    assert problem.endswith(f"`cases: {name.rpartition('/')[2]}`)")


def test_unchanged_text_is_an_unchanged_evalset(project: Written) -> None:
    project.write(CASES, CASE.replace("\n", "\r\n"))
    windows = project.evalset()
    project.write(CASES, CASE)
    assert project.evalset() == windows


REFERRING = [
    ("rubric: {criteria: Is it right?, model: embedded, expected: true}", "expected"),
    ("choice: {criteria: x, choices: {a: 1, b: 0}, model: embedded, expected: true}", "expected"),
    ("pairwise: {model: embedded, expected: true}", "expected"),
    ("json: {expected: true}", "expected"),
    ("factual_correctness: {model: embedded}", "expected"),
    ("rubric: {criteria: Is it right?, model: embedded, contexts: true}", "contexts"),
    ("choice: {criteria: x, choices: {a: 1, b: 0}, model: embedded, contexts: true}", "contexts"),
    ("pairwise: {model: embedded, contexts: true}", "contexts"),
    ("faithfulness: {model: embedded}", "contexts"),
    ("context_recall: {model: embedded, reference: Paris}", "contexts"),
    ("context_precision: {model: embedded, reference: Paris}", "contexts"),
]


@pytest.mark.parametrize(("scorer", "reference"), REFERRING)
def test_a_case_without_the_reference_that_a_scorer_compares_with_is_refused(
    project: Written, scorer: str, reference: str
) -> None:
    project.write("prompts/support.prompt.yml", PROMPT.format(model="embedded"))
    project.write(PATH, evalset("refusal", scorer))
    empty = () if scorer.startswith("json") else (', "expected": ""', ', "expected": []')
    for missing in ("", ', "contexts": []', *empty):
        row = f'{{"id": "x", "inputs": {{"a": "1"}}{missing}}}\n'
        (problem,) = project.wrong(CASES, row)
        assert problem.startswith(f"{CASES}:1: ")
        assert f"`{reference}`" in problem
    both = '{"id": "x", "inputs": {"a": "1"}, "expected": "Paris", "contexts": ["It is Paris."]}\n'
    assert project.wrong(CASES, both) == []


def test_an_application_may_report_the_passages_that_a_case_does_not_have(project: Written) -> None:
    project.write(
        "llmops.yaml",
        "models:\n  embedded: {provider: embedded}\n  app: {provider: http, base_url: 'http://a.b'}\n",
    )
    project.write("prompts/support.prompt.yml", PROMPT.format(model="app"))
    project.write(CASES, '{"id": "x", "inputs": {"a": "1"}}\n')
    assert project.wrong(PATH, evalset("faithfulness: {model: embedded}")) == []


PROMPT = "model: {model}\ninputs: {{a: {{}}}}\nmessages: [{{role: user, content: '{{{{ a }}}}'}}]\n"
