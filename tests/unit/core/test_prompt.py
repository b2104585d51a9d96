from __future__ import annotations

import pytest

from llmops_cli.core.prompt import own_machine


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://192.168.1.2:80", True),
        ("http://vllm:8000/v1", True),
        ("http://gpu.local/v1", True),
        ("https://models.corp.internal/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("https://localhost.example.org", False),
    ],
)
def test_a_machine_of_one_s_own_is_distinguished_from_the_internet(url: str, own: bool) -> None:
    assert own_machine(url) is own
