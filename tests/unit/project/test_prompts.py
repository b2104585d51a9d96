"""Prompt files: names, inputs, parameters, includes and structured answers."""

from __future__ import annotations

import pytest

from llmops_cli.providers.openai.messages import body
from tests.unit.project.conftest import Written

HELLO = "model: embedded\nmessages: [{role: user, content: hi}]\n"
ASKING = "model: embedded\ninputs: {question: {type: string}}\nmessages:\n"
SCHEMA = HELLO + "responseFormat: json_schema\njsonSchema: "


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"team/hello.prompt.yaml": HELLO}, ["support", "team/hello"]),
        ({"one.prompt.yml": "name: greet\n" + HELLO}, ["greet", "support"]),
        ({"two.prompt.yml": "name: A Friendly Greeting\n" + HELLO}, ["support", "two"]),
    ],
    ids=["by its path", "by its name", "by its path, for a name that is a title"],
)
def test_how_a_prompt_is_named(project: Written, files: dict[str, str], names: list[str]) -> None:
    for path, content in files.items():
        project.write(f"prompts/{path}", content)
    assert sorted(project.load().prompts) == names


def test_a_path_that_cannot_be_a_name_is_refused(project: Written) -> None:
    (problem,) = project.wrong("prompts/Hello World.prompt.yml", HELLO)
    assert problem == (
        "prompts/Hello World.prompt.yml:1: 'Hello World' cannot name a prompt"
        " (rename the file, or give a `name`: lower case, '/' for folders)"
    )


HALF = "3: half of a structured answer (`responseFormat: json_schema` and `jsonSchema` belong"
WRONG = {
    "no model": (
        "messages: [{role: user, content: hi}]\n",
        "1: 'model' is missing (name one here, or `default:` under `models:` of llmops.yaml)",
    ),
    "an unknown parameter": (
        HELLO + "modelParameters:\n  maxToken: 5\n",
        "4: unknown key 'maxToken' (did you mean 'maxTokens'?)",
    ),
    "a parameter in two spellings": (
        HELLO + "modelParameters: {maxTokens: 5, max_tokens: 6}\n",
        "3: unknown key 'max_tokens'",
    ),
    "an undeclared input, at its line": (
        ASKING + "  - role: system\n    content: |\n      One line.\n"
        "      {% if question %}{{ qestion }}{% endif %}\n"
        '  - {role: user, content: "{{ question }}"}\n',
        "7: the input 'qestion' is not declared (did you mean 'question'?)",
    ),
    "a default that does not fit": (
        HELLO + "inputs:\n  a:\n    type: integer\n    default: many\n",
        '6: the default must be an integer, not "many"',
    ),
    "a mistake in an included file, where it stands": (
        ASKING + "  - role: user\n    content: \"{% include 'wrong.txt' %}\"\n",
        "5: prompts/wrong.txt:2: unknown filter 'uper' (did you mean 'upper'?)",
    ),
    "a schema that is no JSON": (
        SCHEMA + '|\n  {"type":\n  object}\n',
        "6: 'jsonSchema' is not JSON: Expecting value",
    ),
    "a schema that is not plain data": (
        SCHEMA + '\'{"type": "object", "type": "array"}\'\n',
        "4: 'jsonSchema': the key 'type' is here twice",
    ),
    "a format without a schema": (HELLO + "responseFormat: json_schema\n", HALF),
    "a schema without a format": (HELLO + "jsonSchema: {}\n", HALF),
}


@pytest.mark.parametrize(("written", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_prompt_is_named_at_its_line(
    project: Written, written: str, problem: str
) -> None:
    project.write("prompts/wrong.txt", "one\n{{ question | uper }}")
    (message,) = project.wrong("prompts/a.prompt.yml", written)
    assert message.startswith(f"prompts/a.prompt.yml:{problem}")


def test_parameters_get_the_names_of_the_wire(project: Written) -> None:
    written = "modelParameters: {temperature: 0, maxTokens: 5, top_p: 0.9, stop: [x]}\n"
    parameters = {"temperature": 0, "max_tokens": 5, "top_p": 0.9, "stop": ["x"]}
    assert project.prompt(HELLO + written).parameters == parameters


def test_without_declarations_the_names_that_are_used_are_the_inputs(project: Written) -> None:
    prompt = project.prompt(
        "model: embedded\nmessages:\n"
        '  - {role: system, content: "{{ tone }}"}\n'
        '  - {role: user, content: "{{ question }}"}\n'
    )
    assert list(prompt.inputs) == ["tone", "question"]


def test_a_schema_keeps_what_can_be_checked_and_no_descriptions(project: Written) -> None:
    prompt = project.prompt(
        HELLO + "inputs:\n"
        "  a: {type: string, description: what it is, required: true}\n"
        "  b: {type: array, items: {type: integer, description: x}, required: false}\n"
        "  c: {type: object, properties: {x: {enum: [1, 2]}}, required: [x]}\n"
        "  d: {default: null}\n"
    )
    assert prompt.inputs == {
        "a": {"type": "string"},
        "b": {"type": "array", "items": {"type": "integer"}, "required": False},
        "c": {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"]},
        "d": {"default": None},
    }


def test_includes_are_read_from_prompts_with_what_they_include(project: Written) -> None:
    project.write("prompts/shared/tone.txt", "Be kind. {% include 'shared/more.txt' %}\r\n")
    project.write("prompts/shared/more.txt", "{{ question }}")
    turn = "  - {role: user, content: \"{% include 'shared/tone.txt' %}\"}\n"
    assert project.prompt(ASKING + turn).includes == {
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
    turn = f'  - {{role: user, content: "{{% include {included} %}}"}}\n'
    (problem,) = project.wrong("prompts/a.prompt.yml", ASKING + turn)
    assert problem.startswith("prompts/a.prompt.yml:4: ")
    assert said in problem


@pytest.mark.parametrize(
    "schema",
    [
        "{type: object, properties: {a: {type: string}}}",
        '\'{"type": "object", "properties": {"a": {"type": "string"}}}\'',
        "{schema: {type: object, properties: {a: {type: string}}}}",
    ],
)
def test_a_json_schema_in_any_of_its_wrappings(project: Written, schema: str) -> None:
    prompt = project.prompt(f"{SCHEMA}{schema}\n")
    assert prompt.response_format == "json_schema"
    assert prompt.json_schema == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_the_name_and_strictness_of_a_json_schema_are_sent(project: Written) -> None:
    prompt = project.prompt(SCHEMA + "{name: x, strict: false, schema: {type: object}}\n")
    sent = body(project.load().target(prompt).request(()))
    wrapped = {"name": "x", "strict": False, "schema": {"type": "object"}}
    assert sent["response_format"]["json_schema"] == wrapped


def test_tools_and_parts_pass_through(project: Written) -> None:
    prompt = project.prompt(
        "model: embedded\n"
        "tools:\n"
        "  - type: function\n"
        "    function: {name: look, parameters: {type: object}}\n"
        "messages:\n"
        "  - role: user\n"
        "    content:\n"
        "      - {type: text, text: hi}\n"
        "      - {type: image_url, image_url: {url: 'https://x/y.png'}}\n"
    )
    function = {"name": "look", "parameters": {"type": "object"}}
    assert prompt.tools == ({"type": "function", "function": function},)
    assert prompt.messages[0].content == (
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    )


def test_line_ends_and_a_byte_order_mark_change_no_digest(project: Written) -> None:
    text = "model: embedded\nmessages:\n  - role: user\n    content: |\n      a\n      {{ q }}\n"
    prompts = map(project.prompt, (text, "\ufeff" + text, text.replace("\n", "\r\n")))
    assert len({project.load().target(prompt).digest for prompt in prompts}) == 1
