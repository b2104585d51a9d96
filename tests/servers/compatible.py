"""What servers that speak like OpenAI really answer, one answer per server and situation.

Written from the servers' sources and documentation; each entry names where its shape is laid
down. Nothing here was copied: the texts are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.faulty import Behaviour, Exchange

TOKENS = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One answer of one server."""

    server: str
    situation: str
    source: str
    """Project and file, or page, where the shape is laid down."""
    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.server}: {self.situation}"

    @property
    def behaviour(self) -> Behaviour:
        """What the local server does."""

        async def behave(exchange: Exchange) -> None:
            exchange.send(self.body, status=self.status, kind=self.kind, headers=self.headers)

        return behave


def chat(message: Any, finish: Any = "stop", usage: Any = TOKENS, **more: Any) -> bytes:
    """A chat completion with one choice; `usage` None leaves it out."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"object": "chat.completion", "model": "m-1", "choices": [choice], **more}
    return json.dumps(body if usage is None else {**body, "usage": usage}).encode()


def say(text: Any, **more: Any) -> dict[str, Any]:
    """A message of the assistant."""
    return {"role": "assistant", "content": text, **more}


def call(arguments: Any, **more: Any) -> list[dict[str, Any]]:
    """One tool call."""
    function = {"name": "look", "arguments": arguments}
    return [{"id": "call_1", "type": "function", "function": function, **more}]


def error(**fields: Any) -> bytes:
    """OpenAI's nested error."""
    return json.dumps({"error": fields}).encode()


def flat(**fields: Any) -> bytes:
    """A body as it is."""
    return json.dumps(fields).encode()


TGI = "huggingface/text-generation-inference router/src"
OLLAMA = "ollama/ollama openai/openai.go"
SGLANG = "sgl-project/sglang python/sglang/srt/entrypoints/openai/protocol.py"
TRT = "NVIDIA/TensorRT-LLM tensorrt_llm/serve/openai_protocol.py"
VLLM = "vllm-project/vllm pull 22099 and docs/features/reasoning_outputs"
GEMINI = "microsoft/autogen issue 4878; CLIProxyAPI issue 5733"
LITELLM = "BerriAI/litellm docs/my-website/docs/completion/prompt_caching.md"
PORTKEY = "portkey.ai/docs/api-reference/inference-api/error-codes"
AZURE = "learn.microsoft.com/azure/ai-services/openai/concepts/content-filter"
NIM = "docs.nvidia.com/nim/large-language-models (vLLM, SGLang or TensorRT-LLM inside)"
HELICONE = "docs.helicone.ai/helicone-headers: answers of the vendor behind it, passed through"
OPENROUTER = "openrouter.ai/docs/api/reference/errors-and-debugging"


def _of(server: str, source: str, situation: str, body: bytes, **more: Any) -> Recorded:
    return Recorded(server=server, source=source, situation=situation, body=body, **more)


ANSWERS: tuple[tuple[Recorded, Mapping[str, Any]], ...] = (
    # TGI: arguments are an object, the id is "0", older ones have their own words for the end.
    (
        _of("TGI", f"{TGI}/chat.rs", "tool call", chat(say(None, tool_calls=call({"at": 3})))),
        {"text": "", "finish_reason": "tool_calls", "calls": [("look", {"at": 3})]},
    ),
    (
        _of("TGI", f"{TGI}/lib.rs FinishReason", "end of text", chat(say("hi"), "eos_token")),
        {"text": "hi", "finish_reason": "stop", "usage": (12, 5, 0)},
    ),
    # SGLang: usage details null unless --enable-cache-report, `matched_stop`, reasoning apart.
    (
        _of(
            "SGLang",
            SGLANG,
            "plain",
            chat(
                say("hi", reasoning_content=None, tool_calls=None),
                usage={**TOKENS, "prompt_tokens_details": None, "reasoning_tokens": 0},
                metadata={"weight_version": "default"},
            ),
        ),
        {"text": "hi", "usage": (12, 5, 0)},
    ),
    (
        _of(
            "SGLang",
            SGLANG,
            "cached tokens",
            chat(say("hi"), usage={**TOKENS, "prompt_tokens_details": {"cached_tokens": 8}}),
        ),
        {"usage": (12, 5, 8)},
    ),
    (
        _of("SGLang", SGLANG, "aborted", chat(say("ha"), "abort")),
        {"failure": "server", "says": "broke the answer off (abort)", "retryable": True},
    ),
    # Ollama: reasoning under `reasoning`, tokens 0 where it did not count, ids as it likes.
    (
        _of("Ollama", OLLAMA, "reasoning", chat(say("42", reasoning="6 times 7"))),
        {"text": "42", "finish_reason": "stop"},
    ),
    (
        _of(
            "Ollama",
            OLLAMA,
            "nothing counted",
            chat(
                say("hi"),
                usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
                system_fingerprint="fp_ollama",
            ),
        ),
        {"text": "hi", "usage": None},
    ),
    (
        _of("Ollama", OLLAMA, "no reason to end", chat(say("hi"), None)),
        {"failure": "bad_answer", "says": "no finish_reason", "retryable": True},
    ),
    (
        _of("Ollama", OLLAMA, "tool call", chat(say("", tool_calls=call("{}", index=0)))),
        {"text": "", "finish_reason": "tool_calls", "calls": [("look", {})]},
    ),
    # vLLM: `reasoning` (older: `reasoning_content`), content null while it thinks.
    (
        _of(
            "vLLM",
            VLLM,
            "cut off while thinking",
            chat(say(None, reasoning="Let me see", tool_calls=[]), "length"),
        ),
        {"text": "", "finish_reason": "length"},
    ),
    (
        _of("vLLM", VLLM, "no reasoning parser", chat(say("<think>6*7</think>42"))),
        {"text": "<think>6*7</think>42"},
    ),
    (
        _of("vLLM", VLLM, "a call without arguments", chat(say(None, tool_calls=call("")))),
        {"finish_reason": "tool_calls", "calls": [("look", {})]},
    ),
    # TensorRT-LLM: completion tokens may be null.
    (
        _of("TensorRT-LLM", TRT, "plain", chat(say("hi"), usage={**TOKENS, "total_tokens": 17})),
        {"text": "hi", "usage": (12, 5, 0)},
    ),
    (
        _of(
            "TensorRT-LLM",
            TRT,
            "output not counted",
            chat(say("hi"), usage={"prompt_tokens": 12, "completion_tokens": None}),
        ),
        {"text": "hi", "usage": None},
    ),
    (
        _of("NIM", NIM, "reasoning", chat(say("42", reasoning_content="6 times 7"))),
        {"text": "42"},
    ),
    # Gemini: `stop` beside tool calls, ids empty, thoughts in no count but the total.
    (
        _of(
            "Gemini",
            GEMINI,
            "tool call",
            chat(say(None, refusal=None, tool_calls=call('{"at": 3}', id=""))),
        ),
        {"text": "", "finish_reason": "tool_calls", "calls": [("look", {"at": 3})]},
    ),
    (
        _of(
            "Gemini",
            GEMINI,
            "thoughts",
            chat(say("hi"), usage={**TOKENS, "total_tokens": 517}),
        ),
        {"usage": (12, 505, 0)},
    ),
    (
        _of(
            "Gemini",
            GEMINI,
            "thought until the limit",
            chat({"role": "assistant"}, "length", {"prompt_tokens": 12, "total_tokens": 72}),
        ),
        {"text": "", "finish_reason": "length", "usage": (12, 60, 0)},
    ),
    (
        _of("Gemini", GEMINI, "stopped by safety", chat({"role": "assistant"}, "SAFETY")),
        {"text": "", "finish_reason": "content_filter"},
    ),
    (
        _of("Gemini", GEMINI, "no message at all", flat(choices=[{"finish_reason": "stop"}])),
        {"failure": "bad_answer", "says": "no choices", "retryable": True},
    ),
    # LiteLLM: Claude's cache counts beside OpenAI's, a refusal of Claude is a content filter.
    (
        _of(
            "LiteLLM",
            LITELLM,
            "Claude from its cache",
            chat(
                say("hi", provider_specific_fields={"citations": None}),
                usage={
                    **TOKENS,
                    "prompt_tokens_details": {"cached_tokens": None},
                    "cache_read_input_tokens": 8,
                    "cache_creation_input_tokens": 2,
                },
            ),
        ),
        {"usage": (12, 5, 8)},
    ),
    (
        _of(
            "LiteLLM",
            "BerriAI/litellm issue 40857",
            "Claude refuses",
            chat(say("", refusal=None), "content_filter"),
        ),
        {"text": "", "finish_reason": "content_filter"},
    ),
    # Azure: the prompt is filtered with 400, the answer with a finish reason.
    (
        _of(
            "Azure OpenAI",
            AZURE,
            "answer filtered",
            chat(say(None), "content_filter", prompt_filter_results=[{"prompt_index": 0}]),
        ),
        {"text": "", "finish_reason": "content_filter"},
    ),
    (
        _of(
            "Azure OpenAI",
            AZURE,
            "prompt filtered",
            error(
                code="content_filter",
                message="The prompt was filtered",
                status=400,
                innererror={"code": "ResponsibleAIPolicyViolation"},
            ),
            status=400,
        ),
        {"text": "", "finish_reason": "content_filter", "usage": None},
    ),
    (
        _of(
            "LiteLLM",
            "BerriAI/litellm docs/my-website/docs/exception_mapping.md",
            "prompt filtered by the vendor behind it",
            error(
                message="litellm.ContentPolicyViolationError: AzureException - filtered",
                type=None,
                param=None,
                code="400",
            ),
            status=400,
        ),
        {"text": "", "finish_reason": "content_filter"},
    ),
    (
        _of(
            "OpenRouter",
            OPENROUTER,
            "prompt flagged",
            error(
                code=403,
                message="Your chosen model requires moderation and your input was flagged",
                metadata={"reasons": ["violence"], "flagged_input": "…"},
            ),
            status=403,
        ),
        {"text": "", "finish_reason": "content_filter"},
    ),
    # Portkey: guardrails have statuses of their own; without strict compliance, the vendor's words.
    (
        _of("Portkey", PORTKEY, "guardrail failed, let through", chat(say("hi")), status=246),
        {"text": "hi"},
    ),
    (
        _of("Portkey", PORTKEY, "the vendor's own words", chat(say("hi"), "end_turn")),
        {"text": "hi", "finish_reason": "stop"},
    ),
    (_of("Helicone", HELICONE, "passed through", chat(say("hi"))), {"text": "hi"}),
    (
        _of("Mistral", "docs.mistral.ai reasoning: content in parts", "content in parts", chat(
            say([
                {"type": "thinking", "thinking": [{"type": "text", "text": "6 times 7"}]},
                {"type": "text", "text": "4"},
                {"type": "text", "text": "2"},
            ])
        )),
        {"text": "42"},
    ),
    (
        _of("OpenAI", "openai-python chat_completion_message.py", "refusal", chat(
            say(None, refusal="I cannot help."))),
        {"text": "I cannot help.", "finish_reason": "refusal"},
    ),
    (
        _of(
            "DeepSeek",
            "api-docs.deepseek.com guides/kv_cache",
            "cached tokens",
            chat(say("hi"), usage={**TOKENS, "prompt_cache_hit_tokens": 8}),
        ),
        {"usage": (12, 5, 8)},
    ),
    (
        _of(
            "a gateway",
            "Calcium-Ion/new-api-horizon issue 9",
            "an empty error beside the answer",
            chat(say("hi"), error={"message": "", "type": "", "param": "", "code": None}),
        ),
        {"text": "hi"},
    ),
    (
        _of(
            "OpenRouter",
            OPENROUTER,
            "upstream lost amid the answer",
            flat(choices=[{
                "message": say("half an"),
                "finish_reason": "error",
                "error": {"code": 502, "message": "Provider disconnected"},
            }]),
        ),
        {"failure": "server", "says": "Provider disconnected", "retryable": True},
    ),
)  # fmt: skip

ERRORS: tuple[tuple[Recorded, Mapping[str, Any]], ...] = (
    (
        _of(
            "TGI",
            f"{TGI}/lib.rs ErrorResponse",
            "overloaded",
            flat(error="Model is overloaded", error_type="overloaded"),
            status=429,
        ),
        {"failure": "overloaded", "says": "Model is overloaded", "retryable": True},
    ),
    (
        _of(
            "TGI",
            f"{TGI}/server.rs",
            "generation failed",
            flat(error="Request failed during generation", error_type="generation"),
            status=424,
        ),
        {"failure": "server", "says": "failed during generation", "retryable": True},
    ),
    (
        _of(
            "SGLang",
            SGLANG,
            "bad request",
            flat(object="error", message="context too long", type="BadRequestError", code=400),
            status=400,
        ),
        {"failure": "bad_request", "says": "context too long", "retryable": False},
    ),
    (
        _of(
            "SGLang",
            SGLANG,
            "error with 200",
            flat(object="error", message="scheduler died", type="InternalServerError", code=500),
        ),
        {"failure": "server", "says": "scheduler died", "retryable": True},
    ),
    (
        _of(
            "TensorRT-LLM",
            TRT,
            "bad request",
            flat(object="error", message="max_tokens too large", type="BadRequest", code=400),
            status=400,
        ),
        {"failure": "bad_request", "says": "max_tokens too large", "retryable": False},
    ),
    (
        _of(
            "vLLM",
            VLLM,
            "model not served",
            error(message="The model `x` does not exist.", type="NotFoundError", code=404),
            status=404,
        ),
        {"failure": "not_found", "says": "does not exist", "retryable": False},
    ),
    (
        _of(
            "NIM",
            "docs.nvidia.com/nim: FastAPI validation",
            "field refused",
            flat(detail=[{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]),
            status=422,
        ),
        {"failure": "bad_request", "says": "body.top_k: Extra inputs", "retryable": False},
    ),
    (
        _of(
            "NIM",
            "build.nvidia.com: problem details",
            "no such function",
            flat(status=404, title="Not Found", detail="Function is not found for account"),
            status=404,
        ),
        {"failure": "not_found", "says": "Function is not found", "retryable": False},
    ),
    (
        _of("FastAPI", "fastapi HTTPException", "401", flat(detail="Invalid token"), status=401),
        {"failure": "authentication", "says": "Invalid token", "retryable": False},
    ),
    (
        _of(
            "Ollama",
            "ollama/ollama openai/openai.go NewError",
            "model not pulled",
            error(message="model 'x' not found", type="not_found_error", param=None, code=None),
            status=404,
        ),
        {"failure": "not_found", "says": "model 'x' not found", "retryable": False},
    ),
    (
        _of(
            "Ollama",
            "ollama/ollama api: every error outside the OpenAI routes",
            "a text under error",
            flat(error="server busy, please try again"),
            status=503,
        ),
        {"failure": "overloaded", "says": "server busy", "retryable": True},
    ),
    (
        _of(
            "Ollama",
            "gin-gonic/gin: an unknown path",
            "wrong base_url",
            b"404 page not found",
            status=404,
            kind="text/plain",
        ),
        {"failure": "not_found", "says": "404 page not found", "retryable": False},
    ),
    (
        _of(
            "Gemini",
            "Simpleyyt/ai-manus issue 101",
            "wrapped in a list",
            json.dumps([{"error": {"code": 400, "message": "not with a mime type",
                                   "status": "INVALID_ARGUMENT"}}]).encode(),
            status=400,
        ),
        {"failure": "bad_request", "says": "not with a mime type", "retryable": False},
    ),
    (
        _of(
            "Gemini",
            "googleapis google/rpc/error_details.proto RetryInfo",
            "quota, with the wait in the body",
            json.dumps([{"error": {
                "code": 429,
                "message": "Resource exhausted",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.Help"},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
                ],
            }}]).encode(),
            status=429,
        ),
        {"failure": "rate_limited", "says": "exhausted", "retryable": True, "wait": 34.0},
    ),
    (
        _of(
            "LiteLLM",
            "BerriAI/litellm litellm/proxy/_types.py ProxyException: the code is a text",
            "budget of the key used up",
            error(message="Budget has been exceeded!", type="budget_exceeded", code="400"),
            status=400,
        ),
        {"failure": "bad_request", "says": "Budget has been exceeded", "retryable": False},
    ),
    (
        _of(
            "LiteLLM",
            "docs.litellm.ai/docs/proxy/response_headers",
            "rate limit",
            error(message="litellm.RateLimitError", type="None", param="None", code="429"),
            status=429,
            headers={"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "21"},
        ),
        {"failure": "rate_limited", "says": "RateLimitError", "retryable": True, "wait": 21.0},
    ),
    (
        _of(
            "Portkey",
            PORTKEY,
            "guardrail failed",
            flat(error={"message": "The guardrail checks defined in the config failed.",
                        "type": "hooks_failed", "param": None, "code": None}, hook_results={}),
            status=446,
        ),
        {"failure": "bad_request", "says": "guardrail checks", "retryable": False},
    ),
    (
        _of(
            "Portkey",
            "portkey.ai gateway: errors of its own",
            "wrong configuration",
            flat(status="failure", message="x-portkey-config is not valid"),
            status=400,
        ),
        {"failure": "bad_request", "says": "x-portkey-config is not valid", "retryable": False},
    ),
    (
        _of(
            "Helicone",
            "docs.helicone.ai rate limits: 429 with Retry-After",
            "rate limit",
            flat(message="Rate limit reached"),
            status=429,
            headers={"retry-after": "7"},
        ),
        {"failure": "rate_limited", "says": "Rate limit reached", "retryable": True, "wait": 7.0},
    ),
    (
        _of(
            "Azure OpenAI",
            "learn.microsoft.com/azure/ai-services/openai quotas: API Management",
            "rate limit",
            error(code="429", message="Requests have exceeded the call rate limit."),
            status=429,
            headers={"retry-after-ms": "1500", "retry-after": "2"},
        ),
        {"failure": "rate_limited", "says": "call rate limit", "retryable": True, "wait": 1.5},
    ),
    (
        _of(
            "Azure OpenAI",
            "learn.microsoft.com/azure: API Management",
            "wrong key",
            flat(statusCode=401, message="Access denied due to invalid subscription key"),
            status=401,
        ),
        {"failure": "authentication", "says": "invalid subscription key", "retryable": False},
    ),
    (
        _of("OpenRouter", OPENROUTER, "error with 200", error(code=429, message="Slow down")),
        {"failure": "rate_limited", "says": "Slow down", "retryable": True},
    ),
    (
        _of(
            "a proxy",
            "a company's login page",
            "HTML",
            b"<!DOCTYPE html><title>Sign in</title>",
            kind="text/html",
        ),
        {"failure": "bad_answer", "says": "text/html", "retryable": True},
    ),
)  # fmt: skip
