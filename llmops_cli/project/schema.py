"""The schema of every file that users write, as pydantic models. JSON Schemas are generated from
them.

Nothing is guessed: unknown keys are errors, and text is not turned into numbers. What scorers and
providers add to the shapes comes from the catalog.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
)

from llmops_cli.core.policy import RULES, Rule, rule_options

NAME = r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$"
"""Names of prompts, evalsets and environments: lower case, `/` for folders."""

Reservation = Annotated[float, Field(ge=0, le=1)]
Margin = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[int, Field(ge=1)]
Repeats = Annotated[int, Field(ge=1, le=100)]
Seconds = Annotated[float, Field(gt=0)]
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


def _rule_shape(kind: type[Rule]) -> type[Written]:
    """Return the shape of a rule's options, as `core.policy` declares them."""
    shapes: dict[str, Any] = {}
    for option in rule_options(kind):
        default: Any = ... if option.required else None
        shape = option.type if option.required else option.type | None
        shapes[option.key] = shape, Field(default, description=option.help, **option.limits)
    shaped: type[Written] = create_model(kind.__name__, __base__=Written, **shapes)
    return shaped


RULE_OPTIONS: dict[str, type[Written]] = {name: _rule_shape(kind) for name, kind in RULES.items()}


class Gate(Written):
    """A patch of the policy: project < evalset < environment (docs/verdict.md)."""

    margin: Margin | None = None
    tolerance: Reservation | None = None
    alpha: Rate | None = None
    beta: Rate | None = None
    on_inconclusive: Literal["warn", "fail", "rerun"] | None = None
    rules: Annotated[list[Any], Field(min_length=1)] | None = Field(
        default=None, description="Replaces [critical, no_worse, errors, coverage]"
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
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
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
    timeout: Seconds = Field(default=120.0, description="Seconds for one call in all")
    retries: Annotated[int, Field(ge=0)] = 5
    model_parameters: ModelParameters = Field(
        default_factory=ModelParameters, alias="modelParameters"
    )
    price: WrittenPrice | None = None
    structured_output: Literal["json_schema", "json_object", "none"] | None = Field(
        default=None,
        description="What the server can enforce; default: as its provider",
    )
    identity: Identity | None = None


class WrittenEnvironment(Written):
    after: Name | None = Field(default=None, description="Must run there first")
    accept: Literal["inconclusive", "pass"] = "inconclusive"
    gate: Gate = Field(default_factory=Gate)


class Evidence(Written):
    outputs: Literal["commit", "none"] = "commit"


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
        default_factory=list, description="Project files (globs) whose code may run"
    )
