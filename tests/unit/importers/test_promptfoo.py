"""A promptfoo configuration becomes prompts, models and cases; what is lost has its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.result import Score
from llmops_cli.importers.import_files import read_foreign
from llmops_cli.importers.imported import ImportChoices, Imported
from llmops_cli.plugins.catalog import catalog, open_scorer
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.project.paths import Folder
from tests.unit.scorers.answers import expecting, reply

ONE = "prompts: ['Say {{ x }}']\nproviders: [openai:gpt-4.1]\n"


def imported(folder: Path, config: str, **files: str) -> Imported:
    (folder / "promptfooconfig.yaml").write_text(config, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return read_foreign(Folder(folder), "promptfooconfig.yaml", ImportChoices(name="it"), catalog())


def told(made: Imported) -> list[str]:
    return [f"{note.where}: {note.what}: {note.why}" for note in made.notes]


def cases(made: Imported) -> list[Any]:
    (evalset,) = made.evalsets
    return list(evalset.cases)


def test_a_whole_configuration_is_carried_over_without_a_note(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests: [{vars: {x: yes}, assert: [{type: equals, value: a}]}]")
    assert told(made) == []
    assert made.models[0].fields == {"provider": "openai", "model": "gpt-4.1"}
    assert made.prompts[0].inputs == {"x": {"type": "string"}}
    assert made.evalsets[0].scorers == [{"exact": {"value": "a", "strip": False}}]


def test_several_prompts_are_files_that_one_evalset_gates(tmp_path: Path) -> None:
    config = "prompts: [a, b]\nproviders: [openai:gpt-4.1]\ntests: [{assert: [{type: is-json}]}]"
    made = imported(tmp_path, config)
    assert [note.name for note in made.prompts] == ["it", "it-2"]
    assert made.evalsets[0].prompts == ["it", "it-2"]


def test_a_prompt_runs_on_the_provider_that_asks_for_it(tmp_path: Path) -> None:
    config = (
        "prompts: [{id: file://a.txt, label: first}, {raw: b, label: second}]\n"
        "providers:\n"
        "  - {id: openai:gpt-4.1, prompts: [second]}\n"
        "  - {id: openai:gpt-4.1-mini, prompts: [first]}\n"
        "tests: [{assert: [{type: is-json}]}]\n"
    )
    made = imported(tmp_path, config, a__txt="a")
    assert [note.model for note in made.prompts] == ["gpt-4.1-mini", "gpt-4.1"]


def test_a_chat_in_json_becomes_turns_and_a_dumped_variable_is_one_text(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": {{x|dump}}}]'
    made = imported(tmp_path, "prompts: file://chat.json\n", chat__json=chat)
    assert list(made.prompts[0].messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "{{ x }}"},
    ]


def test_a_text_file_holds_several_prompts_each_with_its_line(tmp_path: Path) -> None:
    made = imported(tmp_path, "prompts: file://p.txt\n", p__txt="one\n---\ntwo {{ x | nope }}\n")
    assert [note.messages[0]["content"] for note in made.prompts] == ["one"]
    assert any("unknown filter 'nope'" in note for note in told(made))


def test_a_variable_that_no_prompt_uses_is_metadata(tmp_path: Path) -> None:
    made = imported(
        tmp_path, ONE + "tests: [{vars: {x: a, y: b}, assert: [{type: contains, value: '{{y}}'}]}]"
    )
    assert cases(made)[0]["metadata"] == {"y": "b"}
    assert made.evalsets[0].scorers == [{"contains": {"value": "b"}}]


def test_one_text_per_case_becomes_what_is_expected(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests: file://t.csv", t__csv="x,__expected\na,1\nb,2\n")
    assert made.evalsets[0].scorers == [{"exact": {"strip": False}}]
    assert [note["expected"] for note in cases(made)] == ["1", "2"]


def test_a_test_that_asserts_nothing_checks_that_there_is_an_answer(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests:\n  - vars: {x: a}")
    assert made.evalsets[0].scorers == [{"length": {"name": "answered", "min": 1}}]
    assert [note.lost for note in made.notes] == [False]


@pytest.mark.parametrize("prompt", ["file://p.py:make", "exec:touch ran", "file://p.js"])
def test_no_code_is_run(tmp_path: Path, prompt: str) -> None:
    ran = "open('ran', 'w')"
    made = imported(tmp_path, f"prompts: ['{prompt}', ok]\n", p__py=ran, p__js=ran)
    assert not (tmp_path / "ran").exists()
    assert len(made.prompts) == 1


def test_settings_stand_where_they_belong(tmp_path: Path) -> None:
    config = """\
prompts: [a]
providers:
  - id: openai:chat:local-model
    config:
      apiBaseUrl: http://localhost:8000/v1
      apiKeyEnvar: LOCAL_KEY
      temperature: 0.5
      max_tokens: 20
      functions: [{name: find, parameters: {type: object}}]
      response_format: {type: json_object}
      mystery: 1
"""
    made = imported(tmp_path, config)
    assert made.models[0].fields == {
        "provider": "openai",
        "model": "local-model",
        "base_url": "http://localhost:8000/v1",
        "api_key_env": "LOCAL_KEY",
        "modelParameters": {"temperature": 0.5, "maxTokens": 20},
    }
    function = {"name": "find", "parameters": {"type": "object"}}
    assert made.prompts[0].shape == {
        "responseFormat": "json_object",
        "tools": [{"type": "function", "function": function}],
    }
    assert any(
        note.startswith("promptfooconfig.yaml:11: the setting 'mystery'") for note in told(made)
    )


def test_anchors_and_merge_keys_of_yaml_are_expanded(tmp_path: Path) -> None:
    config = ONE + (
        "tests:\n  - &first {vars: {x: a}, assert: [{type: is-json}]}\n"
        "  - {<<: *first, vars: {x: b}}\n"
    )
    made = imported(tmp_path, config)
    assert [note["inputs"]["x"] for note in cases(made)] == ["a", "b"]
    assert made.evalsets[0].scorers == [{"json": {"fence": False}}]


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidFiles, match="over 500,000 values"):
        imported(tmp_path, "prompts: [a]\n" + "\n".join(lines))


def test_a_file_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing that can be imported"):
        imported(tmp_path, "services: {web: {}}")


def test_a_table_says_what_it_means_in_columns_of_its_own(tmp_path: Path) -> None:
    table = (
        "x,__expected,__description,__metadata:kind,__prefix,__config:__expected:threshold\n"
        "a,levenshtein:0123456789,First,short,Dear,1\n"
        "b,is-json,,,,,surplus\n"
    )
    made = imported(tmp_path, ONE + "tests: file://t.csv", t__csv=table)
    first, second = cases(made)
    assert first == {
        "id": "First",
        "inputs": {"x": "a"},
        "scorers": [{"similarity": {"value": "0123456789", "min": 0.9}}],
        "metadata": {"kind": "short"},
    }
    assert second["scorers"] == [{"json": {"fence": False}}]
    assert [(str(note.where), note.what) for note in made.notes if note.lost] == [
        ("t.csv:2", "the option 'prefix'"),
        ("t.csv:3", "1 cells"),
    ]


@pytest.mark.parametrize(
    ("outer", "inner", "advisory"), [("0", "1", True), ("1", "0", True), ("1", "1", False)]
)
def test_a_set_without_weight_decides_nothing(
    tmp_path: Path, outer: str, inner: str, advisory: bool
) -> None:
    config = ONE + (
        f"tests: [{{vars: {{x: a}}, assert: [{{type: assert-set, weight: {outer}, "
        f"assert: [{{type: contains, value: a, weight: {inner}}}]}}]}}]\n"
    )
    ((_, options),) = imported(tmp_path, config).evalsets[0].scorers[0].items()
    assert options.get("advisory", False) is advisory


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{name: n, strict: false, schema: {type: object}}", {"name": "n", "strict": False}),
        ("{name: n, strict: true, schema: {type: object}}", {"name": "n", "strict": True}),
        ("{schema: {type: object}}", {"name": "answer", "strict": False}),  # OpenAI's default
    ],
)
def test_name_and_strictness_of_a_schema_are_carried_over(
    tmp_path: Path, written: str, expected: dict[str, Any]
) -> None:
    form = f"response_format: {{type: json_schema, json_schema: {written}}}"
    made = imported(tmp_path, f"prompts: [a]\nproviders: [{{id: openai:x, config: {{{form}}}}}]\n")
    schema = made.prompts[0].shape["jsonSchema"]
    assert schema == {**expected, "schema": {"type": "object"}}


def test_formats_of_a_schema_are_checked_as_they_were(tmp_path: Path) -> None:
    schema = "{type: object, properties: {to: {type: string, format: email}}}"
    config = ONE + f"tests: [{{vars: {{x: a}}, assert: [{{type: is-json, value: {schema}}}]}}]\n"
    (entry,) = imported(tmp_path, config).evalsets[0].scorers
    context = PluginContext(root=tmp_path, environ={})

    async def scored(answer: str) -> float:
        async with open_scorer(SCORERS["json_schema"], context) as scorer:
            score = scorer(expecting(), reply(answer), **entry["json_schema"])
            assert isinstance(score, Score)
            return score.value

    assert anyio.run(scored, '{"to": "a@b.example"}') == 1
    assert anyio.run(scored, '{"to": "nobody"}') == 0


def test_numbers_read_as_javascript_reads_them(tmp_path: Path) -> None:
    config = ONE + "tests: [file://t.jsonl, {vars: {x: 2.0}, assert: [{type: is-json}]}]\n"
    row = '{"vars": {"x": 3.10}, "assert": [{"type": "contains", "value": "{{ x }}"}]}'
    first, second = cases(imported(tmp_path, config, t__jsonl=row))
    assert first["scorers"] == [{"contains": {"value": "3.1"}}]
    assert second["inputs"] == {"x": 2}


RUBRIC = "assert: [{type: llm-rubric, value: polite}]"
TWO = "prompts: ['{{ x }}']\nproviders: [openai:gpt-4.1, {id: openai:gpt-4.1-mini, label: B}]\n"


JUDGED_BY_NOBODY = f"""\
defaultTest: {{options: {{provider: 'bedrock:x'}}}}
tests: [{{vars: {{x: a}}, {RUBRIC}}}]
"""


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (
            "tests:\n  - {vars: {x: a}}\n  - assert:\n    - type: pi",
            ":6: the assertion 'pi': it has",
        ),
        ("tests: [{vars: {x: a}, assert: [{type: contains-json}]}]", "a single value passes"),
        ("tests: [{vars: {x: a}, threshold: 0.5}]", ":3: 'threshold' of a test"),
        ("tests: [{vars: {x: a}, provider: openai:o3}]", ":3: 'provider' of a test"),
        ("tests: [7]", ":3: a test: it is no mapping and no path"),
        ("tests: [{vars: [1]}]", ":3: the variables of a test: they are no mapping"),
        ("tests: file://t.jsonl", "t.jsonl:1: a test: it is no mapping"),
        ("tests: file://t.jsonl", "t.jsonl:2: a test: it is not JSON"),
        ("tests: s3://bucket/t.csv", "it is kept elsewhere, and imports use no network"),
        (JUDGED_BY_NOBODY, "'llm-rubric': its grader 'bedrock:x' cannot be called here"),
        ("providers:\n- id: openai:x\n  config: {apiKey: sk-1}", ":4: the API key: a key never"),
        (
            "providers: ['openai:chat:{{env.MODEL}}']",
            ":2: the provider 'openai:chat:{{env.MODEL}}'",
        ),
        ("providers: [bedrock:nova]", ":2: the provider 'bedrock:nova': nothing here calls it"),
        ("providers: [bedrock:nova]", ":1: the model of a prompt: no provider"),
        (
            "providers: [{id: openai:x, config: {passthrough: {u: '{{u}}'}}}]",
            "'passthrough': it holds",
        ),
        ("providers: [{id: openai:x, config: {tools: [{name: '{{u}}'}]}}]", "'tools': it holds a"),
        (
            "providers: [{id: openai:x, config: {response_format: '{{u}}'}}]",
            "'response_format': it h",
        ),
        ("outputPath: out.html", ":3: 'outputPath': results are written where the command says"),
        ("evaluateOptions: {maxConcurrency: 2}", ":3: the option 'maxConcurrency'"),
        ("scenarios: []", ":3: 'scenarios': sets of tests are not multiplied"),
        ("prompts:", ":2: 'prompts': there are none"),
        ("prompts: []", ":2: 'prompts': there are none"),
        ("prompts: {}", ":2: 'prompts': there are none"),
        ("prompts: [file://link.txt, ok]", "is a link that leaves the project"),
        ("prompts: [file://../secret.txt, ok]", "could leave the project"),
        ("prompts: ['file:///etc/passwd', ok]", "could leave the project"),
        ("tests: [{vars: 'file://~/secret.txt'}]", "could leave the project"),
        ("tests: [{vars: {x: 'file://../secret.txt'}}]", "could leave the project"),
    ],
)
def test_what_is_left_out_or_differs_is_reported(tmp_path: Path, config: str, note: str) -> None:
    (tmp_path / "secret.txt").write_text("SECRET", encoding="utf-8")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.txt").symlink_to(tmp_path / "secret.txt")
    needed = [line for line in ONE.splitlines(keepends=True) if line.split(":")[0] not in config]
    made = imported(inner, "".join(needed) + config, t__jsonl="7\n[\n")
    assert any(note in line for line in told(made)), told(made)
    assert all(item.instead for item in made.notes)
    content = repr((made.models, made.prompts, made.evalsets))
    assert not any(text in content for text in ("SECRET", "root:", "sk-1", "{{u}}"))


@pytest.mark.parametrize("name", ["bedrock:nova", "openai:chat:{{env.MODEL}}"])
def test_a_model_that_cannot_be_called_is_replaced(tmp_path: Path, name: str) -> None:
    made = imported(tmp_path, f"prompts: [a]\nproviders: ['{name}']\n")
    assert [model.fields for model in made.models] == [{"provider": "embedded"}]


@pytest.mark.parametrize(
    ("expansion", "inputs"),
    [("false", [{"x": "a"}, {"x": "b"}]), ("true", [{"x": ["a", "b"]}])],
)
def test_lists_among_the_variables_multiply_a_test_unless_disabled(
    tmp_path: Path, expansion: str, inputs: list[Any]
) -> None:
    config = ONE + (
        f"defaultTest: {{options: {{disableVarExpansion: {expansion}}}}}\n"
        "evaluateOptions: {repeat: 3}\n"
        "tests: [{vars: {x: [a, b]}, assert: [{type: is-json}]}]\n"
    )
    made = imported(tmp_path, config)
    assert [case["inputs"] for case in cases(made)] == inputs
    assert made.evalsets[0].repeats == 3


@pytest.mark.parametrize(
    ("default", "test", "judge"),
    [
        ("openai:gpt-4.1", "", "gpt-4.1"),
        ("{id: openai:gpt-4.1}", "", "gpt-4.1"),
        ("{text: openai:gpt-4.1, embedding: openai:embedding:e}", "", "gpt-4.1"),
        ("{text: {id: openai:gpt-4.1}}", "", "gpt-4.1"),
        ("openai:gpt-4.1", "options: {provider: B}, ", "b"),
        ("{id: anthropic:claude, config: {temperature: 0}}", "", "claude"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_rubric_is_judged_by_the_nearest_grader_in_any_of_its_forms(
    tmp_path: Path, default: str, test: str, judge: str, in_file: bool
) -> None:
    default = f"{{options: {{provider: {default}}}}}"
    tests = f"tests: [{{vars: {{x: a}}, {test}{RUBRIC}}}]\n"
    config = f"{TWO}defaultTest: {'file://d.yaml' if in_file else default}\n{tests}"
    made = imported(tmp_path, config, d__yaml=default)
    assert told(made) == []
    assert made.evalsets[0].scorers == [{"rubric": {"criteria": "polite", "model": judge}}]
    own = config.replace("value: polite", "value: polite, provider: B")
    (scorer,) = imported(tmp_path, own, d__yaml=default).evalsets[0].scorers
    assert scorer["rubric"]["model"] == "b"
    if judge == "claude":
        parameters = {"modelParameters": {"temperature": 0}}
        assert made.models[-1].fields == {"provider": "anthropic", "model": "claude", **parameters}


@pytest.mark.parametrize(
    ("config", "table"),
    [
        ("prompts: ['Say {{ x }}']\nproviders: [openai:gpt-4.1]\ntests: t.csv\n", "x\nyes\n"),
        ("prompts: t.csv\nproviders: [openai:gpt-4.1]\ntests: [{}]\n", "prompt\nSay it\n"),
    ],
)
def test_a_cell_that_is_too_long_is_a_problem_with_its_line(
    tmp_path: Path, config: str, table: str
) -> None:
    with pytest.raises(InvalidFiles) as caught:
        imported(tmp_path, config, t__csv=table + "x" * 140_000 + "\n")
    (problem,) = caught.value.problems
    assert str(problem.where) == "t.csv:3"
    assert "field larger than field limit" in problem.message
