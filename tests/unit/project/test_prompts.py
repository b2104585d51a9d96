"""Prompt files: names, inputs, parameters, includes and structured answers."""

from __future__ import annotations

import pytest

from llmops_cli.providers.openai.messages import body
from tests.unit.project.conftest import Written

HELLO = "model: embedded\nmessages: [{role: user, content: hi}]\n"


def alone(project: Written) -> None:
    project.remove("evalsets/support.yaml")
    project.remove("prompts/support.prompt.yml")


def test_a_prompt_is_named_by_its_path(project: Written) -> None:
    project.write("prompts/team/hello.prompt.yaml", HELLO)
    assert sorted(project.load().prompts) == ["support", "team/hello"]


def test_a_name_in_the_file_wins_and_a_title_does_not(project: Written) -> None:
    project.write("prompts/one.prompt.yml", "name: greet\n" + HELLO)
    project.write("prompts/two.prompt.yml", "name: A Friendly Greeting\n" + HELLO)
    assert sorted(project.load().prompts) == ["greet", "support", "two"]


def test_a_path_that_cannot_be_a_name_is_refused(project: Written) -> None:
    project.write("prompts/Hello World.prompt.yml", HELLO)
    assert project.problems() == [
        (
            "prompts/Hello World.prompt.yml:1: 'Hello World' cannot name a prompt"
            " (rename the file, or give a `name`: lower case, '/' for folders)"
        )
    ]


def test_a_prompt_without_a_model_is_an_error(project: Written) -> None:
    project.write("prompts/a.prompt.yml", "messages: [{role: user, content: hi}]\n")
    assert project.problems() == [
        (
            "prompts/a.prompt.yml:1: 'model' is missing"
            " (name one here, or `default:` under `models:` of llmops.yaml)"
        )
    ]


def test_parameters_get_the_names_of_the_wire(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        HELLO + "modelParameters: {temperature: 0, maxTokens: 5, top_p: 0.9, stop: [x]}\n",
    )
    assert project.load().prompts["a"].parameters == {
        "temperature": 0,
        "max_tokens": 5,
        "top_p": 0.9,
        "stop": ["x"],
    }


def test_an_unknown_parameter_is_named_with_the_nearest(project: Written) -> None:
    project.write("prompts/a.prompt.yml", HELLO + "modelParameters:\n  maxToken: 5\n")
    assert project.problems() == [
        "prompts/a.prompt.yml:4: unknown key 'maxToken' (did you mean 'maxTokens'?)"
    ]


def test_a_parameter_in_two_spellings_is_refused(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml", HELLO + "modelParameters: {maxTokens: 5, max_tokens: 6}\n"
    )
    (problem,) = project.problems()
    assert "'max_tokens'" in problem


def test_an_undeclared_input_is_found_at_its_line(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\n"
        "inputs: {question: {type: string}}\n"
        "messages:\n"
        "  - role: system\n"
        "    content: |\n"
        "      One line.\n"
        "      {% if question %}{{ qestion }}{% endif %}\n"
        '  - {role: user, content: "{{ question }}"}\n',
    )
    assert project.problems() == [
        "prompts/a.prompt.yml:7: the input 'qestion' is not declared (did you mean 'question'?)"
    ]


def test_without_declarations_the_names_that_are_used_are_the_inputs(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\nmessages:\n"
        '  - {role: system, content: "{{ tone }}"}\n'
        '  - {role: user, content: "{{ question }}"}\n',
    )
    assert list(project.load().prompts["a"].inputs) == ["tone", "question"]


def test_a_schema_keeps_what_can_be_checked_and_no_descriptions(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\n"
        "inputs:\n"
        "  a: {type: string, description: what it is, required: true}\n"
        "  b: {type: array, items: {type: integer, description: x}, required: false}\n"
        "  c: {type: object, properties: {x: {enum: [1, 2]}}, required: [x]}\n"
        "  d: {default: null}\n"
        "messages: [{role: user, content: hi}]\n",
    )
    assert project.load().prompts["a"].inputs == {
        "a": {"type": "string"},
        "b": {"type": "array", "items": {"type": "integer"}, "required": False},
        "c": {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"]},
        "d": {"default": None},
    }


def test_a_default_fits_its_own_schema(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\ninputs:\n  a:\n    type: integer\n    default: many\n"
        "messages: [{role: user, content: hi}]\n",
    )
    assert project.problems() == [
        'prompts/a.prompt.yml:5: the default must be an integer, not "many"'
    ]


def test_includes_are_read_from_prompts_with_what_they_include(project: Written) -> None:
    project.write("prompts/shared/tone.txt", "Be kind. {% include 'shared/more.txt' %}\r\n")
    project.write("prompts/shared/more.txt", "{{ question }}")
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\ninputs: {question: {type: string}}\nmessages:\n"
        "  - {role: user, content: \"{% include 'shared/tone.txt' %}\"}\n",
    )
    assert project.load().prompts["a"].includes == {
        "shared/tone.txt": "Be kind. {% include 'shared/more.txt' %}\n",
        "shared/more.txt": "{{ question }}",
    }


@pytest.mark.parametrize(
    ("included", "said"),
    [
        ("'/etc/passwd'", "could leave the project"),
        ("'../llmops.yaml'", "could leave the project"),
        ("'nothing.txt'", "there is no file 'prompts/nothing.txt'"),
        ("'loop.txt'", "'loop.txt' includes itself"),
        ("question", "an include whose name is computed"),
    ],
)
def test_an_include_that_leads_nowhere_good_is_refused(
    project: Written, included: str, said: str
) -> None:
    project.write("prompts/loop.txt", "{% include 'loop.txt' %}")
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\ninputs: {question: {type: string}}\nmessages:\n"
        f'  - {{role: user, content: "{{% include {included} %}}"}}\n',
    )
    (problem,) = project.problems()
    assert problem.startswith("prompts/a.prompt.yml:4: ")
    assert said in problem


def test_a_mistake_in_an_included_file_is_shown_where_it_stands(project: Written) -> None:
    project.write("prompts/tone.txt", "one\n{{ question | uper }}")
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\nmessages:\n  - role: user\n    content: \"{% include 'tone.txt' %}\"\n",
    )
    assert project.problems() == [
        "prompts/a.prompt.yml:4: prompts/tone.txt:2: unknown filter 'uper' (did you mean 'upper'?)"
    ]


@pytest.mark.parametrize(
    "schema",
    [
        "{type: object, properties: {a: {type: string}}}",
        '\'{"type": "object", "properties": {"a": {"type": "string"}}}\'',
        "{schema: {type: object, properties: {a: {type: string}}}}",
    ],
)
def test_a_json_schema_in_any_of_its_wrappings(project: Written, schema: str) -> None:
    project.write(
        "prompts/a.prompt.yml", HELLO + f"responseFormat: json_schema\njsonSchema: {schema}\n"
    )
    prompt = project.load().prompts["a"]
    assert prompt.response_format == "json_schema"
    assert prompt.json_schema == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_the_name_and_strictness_of_a_json_schema_are_sent(project: Written) -> None:
    wrapped = "{name: x, strict: false, schema: {type: object}}"
    project.write(
        "prompts/a.prompt.yml", HELLO + f"responseFormat: json_schema\njsonSchema: {wrapped}\n"
    )
    target = project.load().target(project.load().prompts["a"])
    sent = body(target.request(()))
    assert sent["response_format"]["json_schema"] == {
        "name": "x",
        "strict": False,
        "schema": {"type": "object"},
    }


def test_a_json_schema_that_is_no_json_has_its_line(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        HELLO + 'responseFormat: json_schema\njsonSchema: |\n  {"type":\n  object}\n',
    )
    assert project.problems() == [
        "prompts/a.prompt.yml:6: 'jsonSchema' is not JSON: Expecting value"
    ]


def test_a_json_schema_is_plain_data(project: Written) -> None:
    text = '{"type": "object", "type": "array"}'
    project.write(
        "prompts/a.prompt.yml", HELLO + f"responseFormat: json_schema\njsonSchema: '{text}'\n"
    )
    assert project.problems() == [
        "prompts/a.prompt.yml:4: 'jsonSchema': the key 'type' is here twice"
    ]


@pytest.mark.parametrize("half", ["responseFormat: json_schema\n", "jsonSchema: {}\n"])
def test_half_of_a_structured_answer_is_an_error(project: Written, half: str) -> None:
    project.write("prompts/a.prompt.yml", HELLO + half)
    assert project.problems() == [
        (
            "prompts/a.prompt.yml:3: half of a structured answer"
            " (`responseFormat: json_schema` and `jsonSchema` belong together)"
        )
    ]


def test_tools_and_parts_pass_through(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        "model: embedded\n"
        "tools:\n"
        "  - type: function\n"
        "    function: {name: look, parameters: {type: object}}\n"
        "messages:\n"
        "  - role: user\n"
        "    content:\n"
        "      - {type: text, text: hi}\n"
        "      - {type: image_url, image_url: {url: 'https://x/y.png'}}\n",
    )
    prompt = project.load().prompts["a"]
    assert prompt.tools == (
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
    )
    assert prompt.messages[0].content == (
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    )


def test_line_ends_and_a_byte_order_mark_change_no_digest(project: Written) -> None:
    text = "model: embedded\nmessages:\n  - role: user\n    content: |\n      a\n      {{ q }}\n"
    digests = set()
    for written in (text, "\ufeff" + text, text.replace("\n", "\r\n")):
        project.write("prompts/a.prompt.yml", written)
        loaded = project.load()
        digests.add(loaded.target(loaded.prompts["a"]).digest)
    assert len(digests) == 1
