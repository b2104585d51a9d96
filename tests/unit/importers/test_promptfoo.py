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
    return [f"{each.where}: {each.what}: {each.why}" for each in made.notes]


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
    assert [each.name for each in made.prompts] == ["it", "it-2"]
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
    assert [each.model for each in made.prompts] == ["gpt-4.1-mini", "gpt-4.1"]


def test_a_chat_in_json_becomes_turns_and_a_dumped_variable_is_one_text(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": {{x|dump}}}]'
    made = imported(tmp_path, "prompts: file://chat.json\n", chat__json=chat)
    assert list(made.prompts[0].messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "{{ x }}"},
    ]


def test_a_text_file_holds_several_prompts_each_with_its_line(tmp_path: Path) -> None:
    made = imported(tmp_path, "prompts: file://p.txt\n", p__txt="one\n---\ntwo {{ x | nope }}\n")
    assert [each.messages[0]["content"] for each in made.prompts] == ["one"]
    assert any("unknown filter 'nope'" in each for each in told(made))


def test_lists_among_the_variables_multiply_a_test(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests: [{vars: {x: [a, b]}, assert: [{type: is-json}]}]")
    assert [each["inputs"] for each in cases(made)] == [{"x": "a"}, {"x": "b"}]


def test_a_variable_that_no_prompt_uses_is_metadata(tmp_path: Path) -> None:
    made = imported(
        tmp_path, ONE + "tests: [{vars: {x: a, y: b}, assert: [{type: contains, value: '{{y}}'}]}]"
    )
    assert cases(made)[0]["metadata"] == {"y": "b"}
    assert made.evalsets[0].scorers == [{"contains": {"value": "b"}}]


def test_one_text_per_case_becomes_what_is_expected(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests: file://t.csv", t__csv="x,__expected\na,1\nb,2\n")
    assert made.evalsets[0].scorers == [{"exact": {"strip": False}}]
    assert [each["expected"] for each in cases(made)] == ["1", "2"]


def test_a_test_that_asserts_nothing_checks_that_there_is_an_answer(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "tests:\n  - vars: {x: a}")
    assert made.evalsets[0].scorers == [{"length": {"name": "answered", "min": 1}}]
    assert [each.lost for each in made.notes] == [False]


def test_what_is_lost_is_reported_with_file_and_line(tmp_path: Path) -> None:
    config = (
        ONE + "tests:\n  - vars: {x: a}\n    assert:\n      - type: is-json\n      - type: pi\n"
    )
    (note,) = imported(tmp_path, config + "extensions: [file://hook.py:go]\n").notes[:1]
    assert (str(note.where), note.what) == ("promptfooconfig.yaml:7", "the assertion 'pi'")
    assert note.instead


@pytest.mark.parametrize(
    "reference", ["file://../secret.txt", "file:///etc/passwd", "file://~/secret.txt"]
)
def test_nothing_outside_the_folder_is_read(tmp_path: Path, reference: str) -> None:
    (tmp_path / "secret.txt").write_text("SECRET", encoding="utf-8")
    inner = tmp_path / "inner"
    inner.mkdir()
    made = imported(inner, f"prompts: ['{reference}', ok]\ntests: [{{vars: '{reference}'}}]\n")
    assert "SECRET" not in repr(made)
    assert any("could leave the project" in each for each in told(made))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET", encoding="utf-8")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "p.txt").symlink_to(tmp_path / "secret.txt")
    made = imported(inner, "prompts: [file://p.txt, ok]\n")
    assert "SECRET" not in repr(made)


@pytest.mark.parametrize("prompt", ["file://p.py:make", "exec:touch ran", "file://p.js"])
def test_no_code_is_run(tmp_path: Path, prompt: str) -> None:
    ran = "open('ran', 'w')"
    made = imported(tmp_path, f"prompts: ['{prompt}', ok]\n", p__py=ran, p__js=ran)
    assert not (tmp_path / "ran").exists()
    assert len(made.prompts) == 1


def test_a_key_is_never_copied(tmp_path: Path) -> None:
    config = "prompts: [a]\nproviders:\n  - id: openai:gpt-4.1\n    config: {apiKey: sk-12345}\n"
    made = imported(tmp_path, config)
    assert "sk-12345" not in repr(made)
    assert "promptfooconfig.yaml:4: the API key: a key never stands in a file" in told(made)


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
        each.startswith("promptfooconfig.yaml:11: the setting 'mystery'") for each in told(made)
    )


def test_a_model_that_cannot_be_called_is_replaced_with_a_note(tmp_path: Path) -> None:
    made = imported(tmp_path, "prompts: [a]\nproviders: [bedrock:amazon.nova-pro-v1:0]\n")
    assert made.models[0].fields == {"provider": "embedded"}
    assert [each.what for each in made.notes if each.lost] == [
        "the model of a prompt",
        "the provider 'bedrock:amazon.nova-pro-v1:0'",
    ]


def test_anchors_and_merge_keys_of_yaml_are_expanded(tmp_path: Path) -> None:
    config = ONE + (
        "tests:\n  - &first {vars: {x: a}, assert: [{type: is-json}]}\n"
        "  - {<<: *first, vars: {x: b}}\n"
    )
    made = imported(tmp_path, config)
    assert [each["inputs"]["x"] for each in cases(made)] == ["a", "b"]
    assert made.evalsets[0].scorers == [{"json": {"fence": False}}]


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidFiles, match="more than 500,000 values"):
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
    assert [(str(each.where), each.what) for each in made.notes if each.lost] == [
        ("t.csv:2", "the option 'prefix'"),
        ("t.csv:3", "1 cells"),
    ]


@pytest.mark.parametrize("tests", ["[7]", "[{vars: [1]}]", "file://t.jsonl", "s3://bucket/t.csv"])
def test_what_is_no_test_is_reported(tmp_path: Path, tests: str) -> None:
    made = imported(tmp_path, ONE + f"tests: {tests}\n", t__jsonl="7\n[\n")
    assert any(each.lost for each in made.notes)


def test_what_belongs_to_the_runner_is_reported_one_by_one(tmp_path: Path) -> None:
    config = ONE + (
        "evaluateOptions: {repeat: 3, maxConcurrency: 2}\nscenarios: []\n"
        "tests: [{vars: {x: a}, threshold: 0.5, provider: openai:o3, assert: [{type: is-json}]}]\n"
    )
    made = imported(tmp_path, config)
    assert made.evalsets[0].repeats == 3
    assert {each.what for each in made.notes} == {
        "the option 'maxConcurrency'",
        "'scenarios'",
        "'provider' of a test",
        "'threshold' of a test",
    }


RUBRIC = "assert: [{type: llm-rubric, value: polite}]"
TWO = "prompts: ['{{ x }}']\nproviders: [openai:gpt-4.1, {id: openai:gpt-4.1-mini, label: B}]\n"


def judges(made: Imported) -> list[str]:
    shared = [entry["rubric"]["model"] for entry in made.evalsets[0].scorers]
    return shared + [entry["rubric"]["model"] for case in cases(made) for entry in case["scorers"]]


def test_the_grader_of_a_test_goes_before_the_default_one(tmp_path: Path) -> None:
    config = TWO + (
        "defaultTest: {options: {provider: openai:gpt-4.1}}\n"
        f"tests: [{{vars: {{x: a}}, {RUBRIC}}}, "
        f"{{vars: {{x: b}}, options: {{provider: B}}, {RUBRIC}}}]\n"
    )
    made = imported(tmp_path, config)
    assert told(made) == []
    assert judges(made) == ["gpt-4.1", "b"]


@pytest.mark.parametrize(
    "grader",
    [
        "openai:gpt-4.1",
        "{id: openai:gpt-4.1}",
        "{text: openai:gpt-4.1, embedding: openai:embedding:e}",
        "{text: {id: openai:gpt-4.1}}",
    ],
)
def test_a_grader_is_found_in_each_of_its_forms(tmp_path: Path, grader: str) -> None:
    default = f"{{options: {{provider: {grader}}}}}"
    config = TWO + f"defaultTest: {default}\ntests: [{{vars: {{x: a}}, {RUBRIC}}}]\n"
    made = imported(tmp_path, config)
    assert (told(made), judges(made)) == ([], ["gpt-4.1"])
    config = TWO + f"defaultTest: file://d.yaml\ntests: [{{vars: {{x: a}}, {RUBRIC}}}]\n"
    made = imported(tmp_path, config, d__yaml=default)
    assert (told(made), judges(made)) == ([], ["gpt-4.1"])


def test_a_grader_that_is_no_provider_of_the_file_becomes_a_model(tmp_path: Path) -> None:
    grader = "{id: anthropic:claude-haiku-4-5, config: {temperature: 0}}"
    config = TWO + (
        f"defaultTest: {{options: {{provider: {grader}}}}}\ntests: [{{vars: {{x: a}}, {RUBRIC}}}]\n"
    )
    made = imported(tmp_path, config)
    assert (told(made), judges(made)) == ([], ["claude-haiku-4-5"])
    assert made.models[-1].fields == {
        "provider": "anthropic",
        "model": "claude-haiku-4-5",
        "modelParameters": {"temperature": 0},
    }


def test_a_grader_that_cannot_be_called_is_named(tmp_path: Path) -> None:
    default = "defaultTest: {options: {provider: 'bedrock:x'}}\n"
    config = TWO + default + f"tests: [{{vars: {{x: a}}, {RUBRIC}}}]\n"
    (lost,) = [each for each in told(imported(tmp_path, config)) if "llm-rubric" in each]
    assert lost.endswith("its grader 'bedrock:x' cannot be called here")


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


def test_a_model_that_the_environment_names_is_reported(tmp_path: Path) -> None:
    made = imported(tmp_path, "prompts: [a]\nproviders: ['openai:chat:{{env.MODEL}}']\n")
    assert [model.fields for model in made.models] == [{"provider": "embedded"}]
    assert any("its id is a template" in each for each in told(made))


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("passthrough: {user: '{{env.USER}}'}", "'passthrough'"),
        ("tools: [{type: function, function: {name: '{{f}}'}}]", "'tools'"),
        ("response_format: {type: '{{kind}}'}", "'response_format'"),
    ],
)
def test_a_template_in_a_setting_is_reported(tmp_path: Path, setting: str, name: str) -> None:
    config = f"prompts: [a]\nproviders: [{{id: openai:x, config: {{{setting}}}}}]\n"
    made = imported(tmp_path, config)
    assert [each.what for each in made.notes if each.lost] == [name]
    assert "{{" not in repr((made.models, made.prompts))


def test_lists_are_not_multiplied_where_the_default_test_says_so(tmp_path: Path) -> None:
    config = ONE + (
        "defaultTest: {options: {disableVarExpansion: true}}\n"
        "tests: [{vars: {x: [a, b, c]}, assert: [{type: is-json}]}]\n"
    )
    assert [case["inputs"] for case in cases(imported(tmp_path, config))] == [
        {"x": ["a", "b", "c"]}
    ]


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


def test_where_results_went_is_reported(tmp_path: Path) -> None:
    made = imported(tmp_path, ONE + "outputPath: out.html\ntests: [{assert: [{type: is-json}]}]\n")
    assert "promptfooconfig.yaml:3: 'outputPath': results are written where the command says" in (
        told(made)
    )


def test_that_any_json_passes_for_an_object_is_reported(tmp_path: Path) -> None:
    config = ONE + "tests: [{vars: {x: a}, assert: [{type: contains-json}]}]\n"
    (note,) = imported(tmp_path, config).notes
    assert "a list or a single value passes" in note.why


@pytest.mark.parametrize("prompts", ["", "[]", "{}"])
def test_no_prompts_are_reported(tmp_path: Path, prompts: str) -> None:
    made = imported(tmp_path, f"prompts: {prompts}\nproviders: [openai:gpt-4.1]\n")
    assert "promptfooconfig.yaml:1: 'prompts': there are none" in told(made)


def test_numbers_read_as_javascript_reads_them(tmp_path: Path) -> None:
    config = ONE + "tests: [file://t.jsonl, {vars: {x: 2.0}, assert: [{type: is-json}]}]\n"
    row = '{"vars": {"x": 3.10}, "assert": [{"type": "contains", "value": "{{ x }}"}]}'
    first, second = cases(imported(tmp_path, config, t__jsonl=row))
    assert first["scorers"] == [{"contains": {"value": "3.1"}}]
    assert second["inputs"] == {"x": 2}
