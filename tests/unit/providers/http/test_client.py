"""Every exception that the SDKs and the transport know has its place in our tables."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import aiohttp
import anthropic
import anyio
import openai
import pytest
from aiohttp import client_exceptions

from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.providers.http.client import EXCEPTIONS, open_client, proxy_for
from llmops_cli.providers.http.responses import STATUSES
from tests.servers import faulty

NOT_ON_OUR_WIRE = {
    # bases, which carry no meaning of their own
    "OpenAIError", "AnthropicError", "APIError", "APIStatusError",
    # any status from 500 up, which is SERVER where the table does not say more
    "InternalServerError",
    # raised by SDK code that no call of ours passes through
    "APIResponseValidationError", "APIWebhookValidationError", "InvalidWebhookSignatureError",
    "LengthFinishReasonError", "ContentFilterFinishReasonError", "OAuthError", "RetryableError",
    "SubjectTokenProviderError", "WebSocketConnectionClosedError", "WebSocketQueueFullError",
    "CredentialsError", "IdentityTokenFileError",
    # what the transport's own exceptions below stand for
    "APIConnectionError", "APITimeoutError",
}  # fmt: skip


def exceptions_of(sdk: ModuleType) -> Iterator[type[Exception]]:
    """Every exception class that the SDK defines among its exceptions."""
    for _, outcome in inspect.getmembers(sdk._exceptions, inspect.isclass):
        if issubclass(outcome, Exception) and outcome.__module__.startswith(sdk.__name__):
            yield outcome


def status_of(error: type[Exception]) -> int | None:
    """The one status that an exception class stands for."""
    for of in error.__mro__:
        said = inspect.get_annotations(of, eval_str=False).get("status_code")
        if said is not None:
            default: Any = of.__dict__.get("status_code")
            return default if isinstance(default, int) else None
    return None


@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
def test_every_exception_of_the_sdk_has_its_place(sdk: ModuleType) -> None:
    unmapped = {
        item.__name__
        for item in exceptions_of(sdk)
        if item.__name__ not in NOT_ON_OUR_WIRE and status_of(item) not in STATUSES
    }
    assert unmapped == set()


def test_nothing_is_excused_that_is_not_there() -> None:
    there = {item.__name__ for sdk in (openai, anthropic) for item in exceptions_of(sdk)}
    assert NOT_ON_OUR_WIRE - there == set()


@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
def test_a_status_with_a_class_of_its_own_is_found(sdk: ModuleType) -> None:
    outcome = {status_of(item) for item in exceptions_of(sdk)}
    assert {400, 401, 403, 404, 409, 422, 429} <= outcome


FINAL, AGAIN = False, True
EXPECTED = {
    "ClientError": (FailureKind.CONNECTION, AGAIN),
    "ClientConnectionError": (FailureKind.CONNECTION, AGAIN),
    "ClientOSError": (FailureKind.CONNECTION, AGAIN),
    "ClientConnectorError": (FailureKind.CONNECTION, AGAIN),
    "ClientConnectorDNSError": (FailureKind.CONNECTION, AGAIN),
    "ClientConnectionResetError": (FailureKind.CONNECTION, AGAIN),
    "ClientProxyConnectionError": (FailureKind.CONNECTION, AGAIN),
    "ClientSSLError": (FailureKind.CONNECTION, FINAL),
    "ClientConnectorSSLError": (FailureKind.CONNECTION, FINAL),
    "ClientConnectorCertificateError": (FailureKind.CONNECTION, FINAL),
    "ServerConnectionError": (FailureKind.CONNECTION, AGAIN),
    "ServerTimeoutError": (FailureKind.CONNECTION, AGAIN),
    "ConnectionTimeoutError": (FailureKind.CONNECTION, AGAIN),
    "SocketTimeoutError": (FailureKind.CONNECTION, AGAIN),
    "ServerDisconnectedError": (FailureKind.CONNECTION, AGAIN),
    "ServerFingerprintMismatch": (FailureKind.CONNECTION, FINAL),
    "UnixClientConnectorError": (FailureKind.CONNECTION, AGAIN),
    "ClientResponseError": (FailureKind.BAD_ANSWER, AGAIN),
    "ClientHttpProxyError": (FailureKind.CONNECTION, FINAL),
    "WSServerHandshakeError": (FailureKind.BAD_ANSWER, AGAIN),
    "WSMessageTypeError": None,
    "ContentTypeError": (FailureKind.BAD_ANSWER, AGAIN),
    "TooManyRedirects": (FailureKind.BAD_ANSWER, AGAIN),
    "ClientPayloadError": (FailureKind.CONNECTION, AGAIN),
    "InvalidURL": (FailureKind.BAD_REQUEST, FINAL),
    "InvalidUrlClientError": (FailureKind.BAD_REQUEST, FINAL),
    "InvalidUrlRedirectClientError": (FailureKind.BAD_REQUEST, FINAL),
    "NonHttpUrlClientError": (FailureKind.BAD_REQUEST, FINAL),
    "NonHttpUrlRedirectClientError": (FailureKind.BAD_REQUEST, FINAL),
    "UploadAbortedError": (FailureKind.CONNECTION, AGAIN),
    "RedirectClientError": (FailureKind.CONNECTION, AGAIN),
}
"""aiohttp's exceptions; None: only web sockets raise it."""


def test_every_exception_of_the_transport_has_its_place() -> None:
    classes = {
        name: outcome
        for name, outcome in inspect.getmembers(client_exceptions, inspect.isclass)
        if issubclass(outcome, Exception) and outcome.__module__ == client_exceptions.__name__
    }
    outcome = {
        name: next((place for of, (place, _) in EXCEPTIONS.items() if issubclass(item, of)), None)
        for name, item in classes.items()
    }
    expected = {name: place for name, place in EXPECTED.items() if name in classes}
    assert outcome == expected  # a newer aiohttp may drop some; what it adds must be placed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), FailureKind.CONNECTION),
        (ssl.SSLError(1, "bad"), FailureKind.CONNECTION),
        (TimeoutError(), FailureKind.CONNECTION),
        (aiohttp.ServerDisconnectedError(), FailureKind.CONNECTION),
        (aiohttp.ClientPayloadError("cut"), FailureKind.CONNECTION),
    ],
    ids=lambda item: type(item).__name__,
)
def test_an_exception_becomes_a_sentence_about_the_host(
    error: Exception, kind: FailureKind
) -> None:
    async def main() -> Failure:
        async with open_client("https://user:pass@models.internal/v1", {}, {}) as client:
            return client.failure(error)

    failure = anyio.run(main)
    assert failure.kind is kind
    assert "https://models.internal" in failure.message
    assert "pass" not in failure.message


def test_every_status_has_one_place_and_no_4xx_but_the_passing_ones_is_asked_again() -> None:
    again = {status for status, (_, retryable) in STATUSES.items() if retryable}
    assert again == {408, 409, 424, 429, 499, 500, 502, 503, 504, 529}
    assert {kind for kind, _ in STATUSES.values()} <= set(FailureKind)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"ALL_PROXY": "http://p:2"}, "http://p:2"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.org, example.org"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.org"}, "http://p:1"),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(
    environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_for("https://api.example.org/v1", environ) == proxy


def test_calls_go_through_the_proxy_and_around_it_where_it_is_not_meant() -> None:
    async def main() -> list[str]:
        paths = []
        async with faulty.serve() as server:
            for url, exempt in [
                ("http://models.internal/v1/chat/completions", ""),
                (f"{server.url}/chat/completions", "127.0.0.1"),
            ]:
                environ = {"HTTP_PROXY": server.root, "NO_PROXY": exempt}
                async with open_client(url, {}, environ) as client:
                    answer = await client.send({"messages": []})
                assert isinstance(answer, dict)
                assert server.last is not None
                paths.append(server.last.path)
        return paths

    assert anyio.run(main) == [
        "http://models.internal/v1/chat/completions",
        "/v1/chat/completions",
    ]
