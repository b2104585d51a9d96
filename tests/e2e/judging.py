"""A server that answers as an application and as its judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.projects import Project

CASES = 30
TONE = {"rubric": {"name": "tone", "criteria": "Is it polite?"}}


def quoted_answer(body: Mapping[str, Any], part: str = "answer to judge") -> str:
    """The answer that the judge was shown, as the JSON string it stands in."""
    turn = body["messages"][-1]["content"]
    line = turn.split(f" {part}\n", 1)[1].splitlines()[0]
    return str(json.loads(line))


class Judge:
    """The test's server as an application and as its judge; `verdict` can be changed."""

    def __init__(self) -> None:
        self.verdict: Callable[[Mapping[str, Any]], str] = polite
        self.bodies: list[Mapping[str, Any]] = []
        self.answered = 0

    def __call__(self, body: Mapping[str, Any]) -> str:
        if body["model"] == "judge":
            self.bodies.append(body)
            return self.verdict(body)
        self.answered += 1
        return str(body["messages"][0]["content"]) + " " + str(body["messages"][-1]["content"])


def polite(body: Mapping[str, Any]) -> str:
    kind = quoted_answer(body).startswith("Please")
    return json.dumps({"reason": "it says please", "verdict": "pass" if kind else "fail"})


def add_judge(project: Project, url: str, **settings: Any) -> None:
    """Let a model at `url` judge."""
    project.models["judge"] = {"provider": "openai", "model": "judge", "base_url": url, **settings}
    project.llmops_yaml()
