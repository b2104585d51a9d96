"""The `python` scorer against real functions in real processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, ToolCall, Unscored
from llmops_cli.scorers.python import MAX_FAILURES, check, open_python
from llmops_cli.scorers.scoring import score
from tests.unit.scorers.answers import reason, reply, value, why

OWN = """
import asyncio, os, sys, time
from beside import GREETINGS

def polite(text, case):
    return any(word in text for word in GREETINGS)

def text_only(text):
    return text == "yes"

async def later(text: str, case: dict) -> float:
    await asyncio.sleep(0.01)
    return 0.25

def as_expected(text, case):
    return text == case["expected"] and case["inputs"]["q"] == "?"

def sees(text, case):
    return ",".join(sorted(case))

def followed(text, case, answer):
    (message,) = answer["trajectory"]
    calls = [part["name"] for part in message["parts"] if part["type"] == "tool_call"]
    return message["role"] == "assistant" and "call" not in message and calls == ["search"]

def called(text, case, answer):
    return answer["tool_calls"][0]["name"] == "search"

def at_most(text, case, limit=3):
    return len(text) <= limit

def explained(text, case):
    return {"score": 0.5, "reason": "half of it"}

def complaint(text, case):
    return "no greeting"

def environment(text, case):
    return ",".join(sorted(os.environ)) or "nothing"

def returns(text, case):
    return eval(text, {"nan": float("nan"), "inf": float("inf")})

def trouble(text, case):
    if text == "raise":
        raise ValueError("bad\\nsecond line")
    if text == "exit":
        sys.exit(3)
    if text == "hard exit":
        os._exit(4)
    if text == "hang":
        time.sleep(60)
    if text == "fork":
        os.fork()
    if text == "print":
        print("to the channel?", flush=True)
        os.write(1, b"{}\\n")
    if text == "read":
        return sys.stdin.read() == ""
    if text == "flood":
        return "x" * 2_000_000
    return True

def process(text, case):
    return {"score": 1, "reason": str(os.getpid())}

def leaves_a_child(text, case):
    import subprocess
    child = subprocess.Popen(["sleep", "60"])
    return {"score": 1, "reason": str(child.pid)}

alias = polite
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "scorers"
    folder.mkdir()
    (folder / "own.py").write_text(OWN)
    (folder / "beside.py").write_text('GREETINGS = ["Hello", "Dear"]\n')
    (folder / "broken.py").write_text('raise RuntimeError("cannot be imported")\n')
    return tmp_path


ScoreOf = Callable[[str | Completion], Coroutine[Any, Any, Score | Unscored]]

CALLING = reply("", tool_calls=(ToolCall(name="search", arguments={}),))
CASE = Case(id="one", inputs={"q": "?"}, expected="yes", tags=("t",), critical=True)


@asynccontextmanager
async def opened(root: Path, function: str, **options: Any) -> AsyncIterator[ScoreOf]:
    environ = {**os.environ, "OPENAI_API_KEY": "sk-canary", "HOME": "/home/x"}
    async with open_python(PluginContext(root=root, environ=environ, trust=["**"])) as scorer:
        call = {"call": f"scorers/{function}", **options}

        def score_of(text: str | Completion) -> Coroutine[Any, Any, Score | Unscored]:
            completion = text if isinstance(text, Completion) else reply(text)
            return score(scorer, call, case=CASE, completion=completion)

        yield score_of


def each_of(
    root: Path, function: str, *answers: str | Completion, **options: Any
) -> list[Score | Unscored]:
    """The scores of several answers, one after the other, by one opened scorer."""

    async def run() -> list[Score | Unscored]:
        async with opened(root, function, **options) as score_of:
            return [await score_of(text) for text in answers]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("function", "answer", "options", "score", "why_so"),
    [
        ("polite", "Hello!", {}, 1, "the function returned True"),  # imports what is beside it
        ("polite", "Hey", {}, 0, "the function returned False"),
        ("text_only", "yes", {}, 1, "the function returned True"),
        ("later", "yes", {}, 0.25, "the function returned 0.25"),  # async
        ("as_expected", "yes", {}, 1, "the function returned True"),
        ("sees", "x", {}, 0, "contexts,expected,inputs,messages,metadata"),  # a case's facts only
        ("followed", replace(CALLING, cost=0.5), {}, 1, "the function returned True"),
        ("called", CALLING, {}, 1, "the function returned True"),  # a parameter named `answer`
        ("at_most", "four", {}, 0, "the function returned False"),
        ("at_most", "four", {"arguments": {"limit": 4}}, 1, "the function returned True"),
        ("explained", "x", {}, 0.5, "half of it"),  # a mapping brings score and reason
        ("complaint", "x", {}, 0, "no greeting"),  # a text is a complaint
    ],
)
def test_a_function_takes_text_case_answer_and_arguments_and_says_a_score(
    function: str, answer: str | Completion, options: Any, score: float, why_so: str, root: Path
) -> None:
    (result,) = each_of(root, f"own.py:{function}", answer, **options)
    assert (value(result), reason(result)) == (score, why_so)


@pytest.mark.parametrize(
    "returned", ["None", "nan", "inf", "1.5", "-0.1", "[]", "''", "{'score': 1, 'x': 2}", "{1, 2}",
                 "{'score': 'high'}", "object()"]
)  # fmt: skip
def test_what_is_no_score_is_unscored(returned: str, root: Path) -> None:
    assert why(each_of(root, "own.py:returns", returned)[0])


def test_the_process_sees_no_secret(root: Path) -> None:
    (result,) = each_of(root, "own.py:environment", "x")
    assert "OPENAI_API_KEY" not in reason(result)
    assert "HOME" in reason(result)


def test_one_process_answers_all_calls(root: Path) -> None:
    one, other = each_of(root, "own.py:process", "a", "b")
    assert reason(one) == reason(other)


@pytest.mark.parametrize(
    ("trouble", "said_why"),
    [
        ("raise", "the function raised 'ValueError: bad'"),
        ("exit", "the function ended its process (exit code 3)"),
        ("hard exit", "the function ended its process (exit code 4)"),
        ("hang", "the function took more than 1 s and was stopped"),
        ("flood", "the function returned more than 1,000,000 bytes"),
    ],
)
def test_trouble_leaves_one_answer_unscored_and_the_others_go_on(
    trouble: str, said_why: str, root: Path
) -> None:
    before, result, after = each_of(root, "own.py:trouble", "ok", trouble, "ok", timeout=1.0)
    assert why(result) == said_why
    assert (value(before), value(after)) == (1, 1)


@pytest.mark.parametrize("trick", ["fork", "print", "read"])
def test_forking_printing_and_reading_disturb_nothing(trick: str, root: Path) -> None:
    result = each_of(root, "own.py:trouble", trick, "ok", trick, "ok", timeout=5.0)
    assert [value(text) for text in result] == [1, 1, 1, 1]


def test_what_the_function_started_ends_with_the_run(root: Path) -> None:
    (result,) = each_of(root, "own.py:leaves_a_child", "x")
    status = Path(f"/proc/{reason(result)}/status")
    until = time.monotonic() + 5
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < until:
        time.sleep(0.01)
    assert not status.exists() or "zombie" in status.read_text()


def test_a_file_that_cannot_be_imported_is_reported_once_and_not_tried_again(root: Path) -> None:
    result = each_of(root, "broken.py:anything", *"abc")
    assert {why(text) for text in result} == {
        "the function cannot be loaded: 'RuntimeError: cannot be imported'"
    }


def test_a_function_that_always_dies_is_left_alone(root: Path) -> None:
    result = each_of(root, "own.py:trouble", *["exit"] * (MAX_FAILURES + 1))
    assert why(result[-1]).startswith(f"given up after {MAX_FAILURES} failures in a row")


def test_calls_made_at_once_wait_for_their_turn(root: Path) -> None:
    async def run() -> list[Score | Unscored]:
        async with opened(root, "own.py:polite") as score_of:
            return await asyncio.gather(*map(score_of, ["Hello", "Hey"] * 20))

    assert [value(text) for text in asyncio.run(run())] == [1, 0] * 20


def test_a_canceled_call_leaves_no_process_and_no_stale_answer(root: Path) -> None:
    async def run() -> Score | Unscored:
        async with opened(root, "own.py:trouble") as score_of:
            hanging = asyncio.ensure_future(score_of("hang"))
            await asyncio.sleep(0.3)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging
            return await score_of("ok")

    assert value(asyncio.run(run())) == 1


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("scorers/own.py:polite", None),
        ("scorers/own.py:later", None),
        ("scorers/own.py:alias", None),
        ("scorers/own.py:GREETINGS", None),
        ("scorers/own.py:impolite", "scorers/own.py has no function 'impolite'"),
        ("scorers/own.py", "'scorers/own.py' does not name a function"),
        ("scorers/absent.py:f", "scorers/absent.py is not a file of the project"),
        ("../own.py:f", "../own.py is outside the project"),
        ("scorers/syntax.py:f", "scorers/syntax.py:f is not Python: "),
    ],
)
def test_a_function_that_is_not_there_is_seen_before_any_call(
    call: str, wrong: str | None, root: Path
) -> None:
    (root / "scorers" / "syntax.py").write_text("def f(:\n")
    problem = check({"call": call}, PluginContext(root=root, environ={}))
    assert problem is None if wrong is None else str(problem).startswith(wrong)


def test_checking_a_function_runs_none_of_its_file(root: Path) -> None:
    (root / "scorers" / "loud.py").write_text('open("ran", "w")\ndef f(text): return True\n')
    assert check({"call": "scorers/loud.py:f"}, PluginContext(root=root, environ={})) is None
    assert not (root / "ran").exists()


def test_nothing_is_written_beside_the_project_s_code(root: Path) -> None:
    each_of(root, "own.py:polite", "Hello")
    assert sorted(text.name for text in (root / "scorers").iterdir()) == [
        "beside.py", "broken.py", "own.py",
    ]  # fmt: skip
