"""The schema of every file that users write, as pydantic models, and the reading of values by it.

Nothing is guessed: unknown keys are errors, and text is not turned into numbers. What scorers and
providers add to the shapes comes from the catalog. `validated` turns pydantic's errors into plain
sentences with file:line and the nearest known key; JSON Schemas are generated from the models.

A gate is a patch of the policy: project < evalset < environment. A later patch overrides key by
key; `rules` replaces the whole list. Rules have three spellings, like scorers: `critical` ·
`{floor: 0.9}` · `{floor: {metric: tone, min: 0.9}}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
)

from llmops_cli.core.errors import Location, suggestion
from llmops_cli.core.policy import RULES, Rule, rule_options
from llmops_cli.project.paths import Problems

NAME = r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$"
"""Names of prompts, evalsets and environments: lower case, `/` for folders."""
URL = r"^https?://[^\s]+$"

Reservation = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[int, Field(ge=1)]
Repeats = Annotated[int, Field(ge=1, le=100)]
Name = Annotated[str, Field(pattern=NAME, max_length=200)]
Text = Annotated[str, Field(min_length=1)]
Spelled = str | int | float | bool | None
"""A text that people write without quotes: its spelling is meant."""


class Written(BaseModel):
    """The base of everything that users write."""

    # A run needs few of these models: each is built where it is first used.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


def _shape(value: Any) -> str:
    """Which alternative of a union a value is meant to be, so that only that one complains."""
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "neither"


def _spelled(value: Any) -> Any:
    """Return a number or boolean as its text, as GitHub reads it."""
    return str(value).lower() if isinstance(value, bool) else _text(value)


def _text(value: Any) -> Any:
    """Return a number as its text: `17` and `"17"` name one case, as `1.10` and `"1.10"` do."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class TextPart(Written):
    type: Literal["text"]
    text: str


class ImageUrl(Written):
    url: str = Field(description="https or data URL; may be a template")
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Written):
    type: Literal["image_url"]
    image_url: ImageUrl


Parts = list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class WrittenMessage(Written):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[Parts, Tag("list")], Discriminator(_shape)
    ] = Field(description="Text, or parts (text, image_url)")


class InputSchema(Written):
    """The subset of JSON Schema in which inputs are declared."""

    type: Literal["string", "number", "integer", "boolean", "array", "object"] | None = None
    description: str | None = None
    enum: Annotated[list[Any], Field(min_length=1)] | None = None
    items: InputSchema | None = None
    properties: dict[str, InputSchema] | None = None
    required: bool | list[str] | None = Field(
        default=None, description="false: may be left out; in an object: the required properties"
    )
    default: Any = None


class ModelParameters(Written):
    """Parameters of the call; what only one server knows goes under a model's `extra_body`.

    Each may be written as `maxTokens` or, as the APIs have it, as `max_tokens`.
    """

    model_config = ConfigDict(populate_by_name=True)

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Reservation | None = Field(default=None, alias="topP")
    top_k: Positive | None = Field(default=None, alias="topK")
    max_tokens: Positive | None = Field(default=None, alias="maxTokens")
    max_completion_tokens: Positive | None = Field(default=None, alias="maxCompletionTokens")
    frequency_penalty: float | None = Field(default=None, alias="frequencyPenalty")
    presence_penalty: float | None = Field(default=None, alias="presencePenalty")
    stop: str | list[str] | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = Field(default=None, alias="logitBias")
    reasoning_effort: Text | None = Field(default=None, alias="reasoningEffort")
    verbosity: Text | None = None
    tool_choice: str | dict[str, Any] | None = Field(default=None, alias="toolChoice")
    parallel_tool_calls: bool | None = Field(default=None, alias="parallelToolCalls")
    service_tier: Text | None = Field(default=None, alias="serviceTier")


class ToolFunction(Written):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Written):
    type: Literal["function"]
    function: ToolFunction


SpelledText = Annotated[str | None, BeforeValidator(_spelled, json_schema_input_type=Spelled)]


class StringEvaluator(Written):
    equals: SpelledText = None
    contains: SpelledText = None
    starts_with: SpelledText = Field(default=None, alias="startsWith")
    ends_with: SpelledText = Field(default=None, alias="endsWith")
    is_json: Literal[True] | None = Field(default=None, alias="isJSON")


class EvaluatorChoice(Written):
    choice: Annotated[Text, BeforeValidator(_spelled, json_schema_input_type=Spelled)]
    score: float


class LlmEvaluator(Written):
    model_id: Text = Field(validation_alias=AliasChoices("modelId", "model"))
    prompt: Text
    choices: Annotated[list[EvaluatorChoice], Field(min_length=1)]
    system_prompt: str | None = Field(default=None, alias="systemPrompt")


class Evaluator(Written):
    """A GitHub Models evaluator: exactly one of `string`, `llm` and `uses`."""

    name: Text | None = None
    description: str | None = None
    string: StringEvaluator | None = None
    llm: LlmEvaluator | None = None
    uses: str | None = None


class WrittenPrompt(Written):
    """A prompt: `prompts/<name>.prompt.yml`, a superset of GitHub's format."""

    name: str | None = Field(default=None, description="Default: the path under prompts/")
    description: str = ""
    model: str | None = Field(
        default=None,
        description="A name from llmops.yaml, or provider/model; default: the model `default`",
    )
    model_parameters: ModelParameters = Field(
        default_factory=ModelParameters, alias="modelParameters"
    )
    inputs: dict[str, InputSchema] | None = None
    messages: Annotated[list[WrittenMessage], Field(min_length=1)] | None = Field(
        default=None, description="What the model reads; an application needs none"
    )
    response_format: Literal["text", "json_object", "json_schema"] | None = Field(
        default=None, alias="responseFormat"
    )
    json_schema: str | dict[str, Any] | None = Field(
        default=None,
        alias="jsonSchema",
        description="A JSON Schema, alone or as the API's {name, strict, schema}, or the JSON text",
    )
    tools: list[Tool] = Field(default_factory=list)
    test_data: list[dict[str, Any]] | None = Field(default=None, alias="testData")
    evaluators: list[Evaluator] | None = None


class WrittenCase(Written):
    """A case: inputs and what is expected."""

    id: Annotated[
        Text | None, BeforeValidator(_text, json_schema_input_type=str | int | float | None)
    ] = Field(default=None, description="Default: the evalset's name and a digest of the inputs")
    inputs: dict[str, Any] = Field(default_factory=dict)
    expected: Any = None
    contexts: list[str] = Field(default_factory=list, description="Passages, for RAG scorers")
    messages: list[WrittenMessage] = Field(default_factory=list, description="Earlier turns")
    scorers: list[Any] = Field(
        default_factory=list, description="Added to the evalset's, for this case"
    )
    tags: list[Text] = Field(default_factory=list)
    critical: bool = False
    group: Text | None = Field(
        default=None, description="Cases that are not independent, such as those of one document"
    )
    known_failing: Text | None = Field(default=None, description="Why it fails today")
    metadata: dict[str, Any] = Field(default_factory=dict)
    draft: bool = Field(default=False, description="Waits for a review: it is not evaluated")


def _rule_shape(kind: type[Rule]) -> type[Written]:
    """Return the shape of a rule's options, as `core.policy` declares them."""
    shapes: dict[str, Any] = {
        option.key: (
            option.type if option.required else option.type | None,
            Field(... if option.required else None, description=option.help, **option.limits),
        )
        for option in rule_options(kind)
    }
    shaped: type[Written] = create_model(kind.__name__, __base__=Written, **shapes)
    return shaped


RULE_OPTIONS: dict[str, type[Written]] = {name: _rule_shape(kind) for name, kind in RULES.items()}


class Gate(Written):
    """A patch of the policy: project < evalset < environment (docs/verdict.md)."""

    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    tolerance: Reservation | None = None
    alpha: Rate | None = None
    beta: Rate | None = None
    on_inconclusive: Literal["warn", "fail", "rerun"] | None = None
    rules: Annotated[list[Any], Field(min_length=1)] | None = Field(
        default=None,
        description="Replaces [no_worse]; critical, errors, coverage hold, or are `off`",
    )
    baseline_repeats: Repeats | None = None
    baseline_max_age: Positive | None = Field(default=None, description="Days")
    judges: Literal["any", "calibrated"] | None = None
    scale_margin: bool | None = None


class WrittenEvalset(Written):
    """An evalset: `evalsets/<name>.yaml`."""

    prompt: str | list[Text] | None = Field(default=None, description="Default: the file's name")
    cases: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[WrittenCase], Tag("list")],
        Discriminator(_shape),
    ] = Field(description="A JSONL, CSV, YAML or Parquet file next to this one, or the cases")
    repeats: Repeats = Field(default=1, description="Gate trials per case")
    scorers: list[Any] = Field(default_factory=list)
    gate: Gate = Field(default_factory=Gate)
    retired: dict[str, Text] = Field(
        default_factory=dict, description="Removed cases: id to reason"
    )


class WrittenPrice(Written):
    """US dollars per million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    cache_write: Annotated[float, Field(ge=0)] | None = None
    cache_write_1h: Annotated[float, Field(ge=0)] | None = None


class Identity(Written):
    """What names an application's answers: the bytes of files, or a revision."""

    files: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="Project files, or globs of them below a folder"
    )
    revision: int | str | None = None


class WrittenModel(Written):
    """A model of llmops.yaml; providers add options of their own."""

    provider: Text
    model: Text | None = Field(default=None, description="The provider's own name for it")
    base_url: Annotated[str, Field(pattern=URL)] | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="Name of the environment variable that holds the key"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="`env:NAME` reads the environment"
    )
    extra_body: dict[str, Any] = Field(default_factory=dict)
    max_concurrency: Positive = 16
    rpm: Positive | None = Field(default=None, description="Requests per minute")
    tpm: Positive | None = Field(default=None, description="Tokens per minute")
    timeout: float = Field(default=120.0, gt=0, description="Seconds for one call in all")
    retries: Annotated[int, Field(ge=0)] = 5
    model_parameters: ModelParameters = Field(
        default_factory=ModelParameters, alias="modelParameters"
    )
    price: WrittenPrice | None = None
    structured_output: Literal["json_schema", "json_object", "none"] | None = Field(
        default=None, description="What the server can enforce; default: as its provider"
    )
    identity: Identity | None = None


class WrittenEnvironment(Written):
    after: Name | None = Field(default=None, description="Must run there first")
    accept: Literal["inconclusive", "pass"] = "inconclusive"
    gate: Gate = Field(default_factory=Gate)


class Evidence(Written):
    outputs: Literal["commit", "none"] = "commit"


class WrittenDefaults(Written):
    """What every evalset and every case has, unless its own file says otherwise."""

    scorers: list[Any] = Field(default_factory=list)
    case: dict[str, Any] = Field(
        default_factory=dict, description="Fields of a case; its `inputs` where a prompt has them"
    )


class WrittenProject(Written):
    """The project: `llmops.yaml`."""

    models: dict[Annotated[str, Field(pattern=r"^[^\s@]+$")], Any] = {}
    environments: Annotated[
        Annotated[list[Name], Field(min_length=1), Tag("list")]
        | Annotated[dict[Name, WrittenEnvironment | None], Field(min_length=1), Tag("mapping")],
        Discriminator(lambda value: "list" if isinstance(value, list) else "mapping"),
    ] = Field(default=["production"], description="In promotion order")
    gate: Gate = Field(default_factory=Gate)
    evidence: Evidence = Field(default_factory=Evidence)
    trust: list[Text] = Field(
        default_factory=list,
        description="Project files (globs) whose code may run, and servers that a change may add",
    )
    watch: dict[Name, Any] = {}
    defaults: WrittenDefaults = Field(default_factory=WrittenDefaults)


Where = Callable[..., Location]
"""From a place (keys and positions) to its line: `Document.where`, or one line of a table."""
Model = TypeVar("Model", bound=BaseModel)

ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("assert", "assertions", "metrics", "graders", "evaluators"), "scorers"),
    **dict.fromkeys(("tests", "dataset", "testData"), "cases"),
    **dict.fromkeys(("vars", "variables", "input"), "inputs"),
    **dict.fromkeys(("output", "answer", "reference"), "expected"),
    **dict.fromkeys(("params", "parameters", "temperature"), "modelParameters"),
    "threshold": "min",
    "context": "contexts",
    "api_key": "api_key_env",
}
"""What other tools call it."""

KINDS: Mapping[str, str] = {
    "string_type": "text",
    **dict.fromkeys(("int_type", "int_from_float"), "a whole number"),
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    "union_tag_invalid": "text or a list",
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
}
"""What a value must be, by pydantic's name of the error."""
PATTERNS: Mapping[str, str] = {
    NAME: "lower case letters, digits, '.', '_', '-', and '/' for folders",
    URL: "a URL that starts with http:// or https://",
}


def validated(
    shape: type[Model],
    data: Any,
    where: Where,
    problems: Problems,
    *at: str | int,
    salvage: bool = False,
) -> Model | None:
    """Return `data` as `shape`; None, with every problem added, if it does not fit.

    `at` is where `data` stands in its file. With `salvage`, the keys that are right are still
    read, so that more can be checked: what is returned then is for looking at only.
    """
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        errors: Sequence[Any] = error.errors(include_url=False)
    for detail in errors:
        place = tuple(_path(data, detail["loc"]))
        problems.add(where(*at, *place), *_sentence(shape, place, at, detail))
    if not salvage or not isinstance(data, Mapping):
        return None
    wrong = {detail["loc"][0] for detail in errors if detail["loc"]}
    try:
        return shape.model_validate({key: data[key] for key in data if key not in wrong})
    except ValidationError:
        return None


def type_mismatch(error: ValidationError, value: Any) -> str:
    """Return why an option's `value` is not of its type: `must be text or a list, not a mapping`.

    Where an item of a list or mapping is at fault, the sentence is about the item.
    """
    errors: Sequence[Any] = error.errors(include_url=False)
    paths = [tuple(_path(value, detail["loc"], missing=False)) for detail in errors]
    deepest = max(paths, key=len)
    about = [detail for path, detail in zip(paths, errors, strict=True) if path == deepest]
    kinds = dict.fromkeys(_kind_wanted(detail) for detail in about)
    item = "".join(
        f"item {part + 1} " if isinstance(part, int) else f"'{part}' " for part in deepest
    )
    return f"{item}must be {' or '.join(kinds)}, not {_kind(about[0]['input'])}"


def nearest(name: str, known: list[str]) -> str | None:
    """Return a suggestion for an unknown key, knowing the words of other tools."""
    others = {word: ours for word, ours in ELSEWHERE.items() if ours in known and word not in known}
    near = get_close_matches(name, [*known, *others], n=1, cutoff=0.65)
    if near and near[0] in others:
        return f"did you mean {others[near[0]]!r}?"
    return suggestion(name, known)


def _path(data: Any, loc: tuple[str | int, ...], *, missing: bool = True) -> Iterator[str | int]:
    """Yield the parts of pydantic's location that stand in the data: no tags of unions.

    With `missing`, a last part that does not stand there is a missing key.
    """
    for position, part in enumerate(loc):
        if isinstance(data, Mapping) and isinstance(part, str):
            if part in data:
                data = data[part]
                yield part
            elif missing and position == len(loc) - 1:
                yield part
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            yield part


def _sentence(
    shape: type[BaseModel],
    place: tuple[str | int, ...],
    at: tuple[str | int, ...],
    error: Mapping[str, Any],
) -> tuple[str, str | None]:
    """Return the message for one error of pydantic, and the hint."""
    name = ".".join(map(str, (*at, *place))) or "the file"
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            known = _keys(shape, place[:-1])
            return f"unknown key '{place[-1]}'", nearest(str(place[-1]), known)
        case "missing":
            return f"'{name}' is missing", None
        case "literal_error":
            return f"'{name}' cannot be {value!r}", suggestion(str(value), _choices(error))
        case "string_pattern_mismatch":
            pattern = error["ctx"]["pattern"]
            hint = PATTERNS.get(pattern, f"it must match {pattern}")
            return f"'{name}' cannot be {value!r}", hint
        case "too_short" | "string_too_short":
            return f"'{name}' must not be empty", None
        case kind if kind in KINDS:
            return f"'{name}' must be {_kind_wanted(error)}, not {_kind(value)}", None
        case _:
            return f"'{name}': {error['msg'][:1].lower()}{error['msg'][1:]}", None


def _kind_wanted(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return "one of " + ", ".join(_choices(error))
    if error["type"] not in KINDS:
        return str(error["msg"])
    context = error.get("ctx", {})
    limits = {key: f"{context[key]:g}" for key in ("gt", "ge", "lt", "le") if key in context}
    return KINDS[error["type"]].format(**limits)


def _choices(error: Mapping[str, Any]) -> list[str]:
    expected = error["ctx"]["expected"].replace(" or ", ", ")
    return [choice.strip(" '") for choice in expected.split(",")]


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return "a list" if isinstance(value, list) else "a mapping"


def _keys(shape: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are known at `place`."""
    for part in place:
        fields = {field.alias or name: field for name, field in shape.model_fields.items()}
        if part in fields:
            shape = _model(fields[str(part)].annotation) or shape
    return [field.alias or name for name, field in shape.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the first pydantic model in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model, get_args(annotation))), None)
