"""The bot's own tests: they use the prompt that production runs, and no network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from openai import OpenAI
from support_bot import SupportBot

PAGES = ["Gift cards are valid for three years.", "We accept credit cards and PayPal."]


class Model(BaseHTTPRequestHandler):
    """Answers every chat completion with the same text and records the requests."""

    requests: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        message = {"role": "assistant", "content": "For three years."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing."""


@pytest.fixture
def requests() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def client(requests: list[dict[str, Any]]) -> Iterator[OpenAI]:
    handler = type("Handler", (Model,), {"requests": requests})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        with OpenAI(api_key="none", base_url=url) as opened:
            yield opened
        server.shutdown()


def test_a_question_is_asked_with_the_passages_that_fit(
    client: OpenAI, requests: list[dict[str, Any]]
) -> None:
    assert SupportBot(client, PAGES).answer("How long are gift cards valid?") == "For three years."
    system, user = requests[0]["messages"]
    assert "- Gift cards are valid for three years." in system["content"]
    assert user == {"role": "user", "content": "How long are gift cards valid?"}


def test_earlier_turns_come_before_the_question(
    client: OpenAI, requests: list[dict[str, Any]]
) -> None:
    earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    SupportBot(client, PAGES).answer("Do you take PayPal?", earlier)
    assert [each["role"] for each in requests[0]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
