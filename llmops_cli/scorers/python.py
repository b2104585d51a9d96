"""The `python` scorer: a function of the project, run in a process of its own.

    def polite(text: str, case: dict) -> bool: ...

`text` is the answer. `case` has the facts of the case (`inputs`, `expected`, `contexts`,
`messages`, `metadata`) and nothing else, since only facts are part of a score's key. A third
parameter named `answer` gets `tool_calls`, `finish_reason`, `contexts`, `ids` and `trajectory`. The
function may be async, and returns True or False, a number from 0 to 1, a text (what is wrong: a 0
with its reason), or `{"score": …, "reason": …}`.

Whatever else it does — raise, return NaN, exit, hang, fork — leaves that one answer Unscored; its
process is killed and started again. The process sees no secrets: its environment is a short list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import anyio

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext, Scorer
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.core.trajectory import trajectory_of_completion
from llmops_cli.scorers.scoring import quoted
from llmops_cli.workers.process import CodeFailure, Message, Worker
from llmops_cli.workers.project_code import located, what_is_wrong

PARAMETERS = ("text", "case", "answer")
"""What the function is called with, by position."""

LARGEST_ANSWER = 1_000_000
"""Bytes of one score with its reason."""

MAX_FAILURES = 5
"""Failures in a row after which a function is not called again: a hang costs its whole timeout."""


@asynccontextmanager
async def open_python(context: PluginContext) -> AsyncIterator[Scorer]:
    """Open the scorer, with one process for each function that it is asked for."""
    async with AsyncExitStack() as stack:
        functions: dict[str, FunctionScorer] = {}

        async def python(
            case: Case,
            completion: Completion,
            *,
            call: str,
            arguments: Mapping[str, Json] | None = None,
            timeout: float = 30.0,  # noqa: ASYNC109 - an option that people write, per call
            identity: Json = None,  # noqa: ARG001 - a part of the scorer's key, and of nothing else
        ) -> Score | Unscored:
            if call not in functions:
                worker = Worker(
                    located(call, context), context, parameters=PARAMETERS, largest=LARGEST_ANSWER
                )
                stack.push_async_callback(worker.stop)
                functions[call] = FunctionScorer(worker)
            return await functions[call].score(
                _arguments(case, completion), arguments or {}, seconds=timeout
            )

        yield cast("Scorer", python)  # its options have names and types


def check(options: Mapping[str, Any], context: PluginContext) -> str | None:
    """Return why the function cannot be called, if so. The file is parsed, not run."""
    return what_is_wrong(options["call"], context)


class FunctionScorer:
    """One function in one process, one answer at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._turn = anyio.Lock()
        self._failures = 0
        self._given_up: str | None = None

    async def score(
        self, arguments: list[Json], named: Mapping[str, Json], *, seconds: float
    ) -> Score | Unscored:
        """Score one answer, in at most `seconds` from its turn."""
        async with self._turn:
            if self._given_up is not None:
                return Unscored(why=self._given_up)
            message = await self._worker.call(arguments, arguments=named, seconds=seconds)
            if not isinstance(message, CodeFailure):
                self._failures = 0
                return _read(message)
            self._failures += 1
            why = message.why
            if message.cause == "unloaded":
                why = self._given_up = f"the function cannot be loaded: {quoted(why, 300)}"
            elif self._failures == MAX_FAILURES:
                self._given_up = f"given up after {MAX_FAILURES} failures in a row: {why}"
            return Unscored(why=why)


def _arguments(case: Case, completion: Completion) -> list[Json]:
    # scores are cached by the answer's digest, which knows no usage, cost or time
    unmeasured = replace(completion, usage=None, cost=None, latency=None, first_token=None)
    return [
        completion.text,
        {
            "inputs": dict(case.inputs),
            "expected": case.expected,
            "contexts": list(case.contexts),
            "messages": [message.plain() for message in case.messages],
            "metadata": dict(case.metadata),
        },
        {
            "tool_calls": [
                {"name": call.name, "arguments": call.arguments} for call in completion.tool_calls
            ],
            "finish_reason": completion.finish_reason,
            "contexts": list(completion.contexts or ()),
            "ids": list(completion.ids or ()),
            "trajectory": trajectory_of_completion(unmeasured).plain(),
        },
    ]


def _read(message: Message) -> Score | Unscored:
    """Return the score in a message of the process."""
    if "raised" in message:
        return Unscored(why=f"the function raised {quoted(str(message['raised']), 300)}")
    value: Json = message.get("value")
    reason = ""
    if isinstance(value, Mapping):
        if not value.keys() <= {"score", "reason"}:
            return Unscored(why="the function returned a mapping with more than score and reason")
        reason = str(value.get("reason") or "")
        value = value.get("score")
    elif isinstance(value, str) and value:
        reason = value
        value = False
    if not isinstance(value, (bool, int, float)):
        return Unscored(why=f"the function returned {quoted(str(value))}, which is no score")
    if not 0 <= value <= 1:  # as NaN is not
        return Unscored(why=f"the function returned {value}; a score is from 0 to 1")
    return Score(value=float(value), reason=reason[:1000] or f"the function returned {value}")
