"""Everything a server and a network can do to a call, through the engine and a real socket."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest

from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.call import Engine, run
from llmops_cli.providers.openai.model import open_openai
from tests.outcomes import completion, failed
from tests.servers import faulty
from tests.servers.faulty import Behaviour
from tests.unit.providers.calls import CONTEXT, ask, engine, model, request


def in_time(**after: float) -> str:
    """A date in HTTP, so long after now."""
    return format_datetime(datetime.now(UTC) + timedelta(**after), usegmt=True)


@pytest.mark.parametrize(
    ("refusal", "least"),
    [
        (lambda: faulty.status(429, retry_after="0.3"), 0.3),
        (lambda: faulty.status(429, retry_after=in_time(seconds=2)), 0.8),
        (
            lambda: faulty.status(
                429, retry_after=in_time(days=9, seconds=1), date=in_time(days=9)
            ),
            1.0,
        ),
    ],
    ids=["seconds", "date", "date by the clock of the server"],
)
def test_a_429_is_waited_out(refusal: Callable[[], Behaviour], least: float) -> None:
    outcome, server = ask(refusal())
    assert completion(outcome).attempts == 2
    assert least <= server.arrivals[1] - server.arrivals[0] < 5.0


def test_a_quota_that_is_used_up_is_not_asked_again() -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    outcome, server = ask(faulty.status(429, body=body))
    assert failed(outcome).kind is FailureKind.RATE_LIMITED
    assert server.requests == 1


@pytest.mark.parametrize("code", [500, 502, 503, 504, 529])
def test_a_server_in_trouble_is_asked_again(code: int) -> None:
    outcome, server = ask(faulty.status(code), faulty.status(code))
    assert completion(outcome).attempts == 3
    assert server.requests == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.AUTHENTICATION),
        (402, FailureKind.RATE_LIMITED),
        (403, FailureKind.AUTHENTICATION),
        (404, FailureKind.NOT_FOUND),
        (422, FailureKind.BAD_REQUEST),
    ],
)
def test_a_refusal_is_final_and_in_the_words_of_the_server(code: int, kind: FailureKind) -> None:
    outcome, server = ask(faulty.status(code, message="because I say so"))
    assert (failed(outcome).kind, failed(outcome).status) == (kind, code)
    assert failed(outcome).message.startswith(f"the server answered {code}: because I say so (")
    assert server.requests == 1


@pytest.mark.slow
def test_a_closed_port_ends_the_run_within_seconds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def main() -> list[Failure]:
        outcome: list[Failure] = []
        async with Engine(providers=lambda of: open_openai(of, CONTEXT)) as ours:

            async def work(_: int) -> None:
                of = model(f"http://127.0.0.1:{port}/v1", retries=5)
                outcome.append(failed(await ours.ask(of, request())))

            await run(range(200), work, workers=16)
            return outcome

    outcome = anyio.run(main)
    assert sum(item.kind is FailureKind.CONNECTION for item in outcome) < 40
    assert {item.kind for item in outcome} == {
        FailureKind.CONNECTION,
        FailureKind.NOT_ATTEMPTED,
    }
    assert f"no server answers at http://127.0.0.1:{port}/v1" in outcome[-1].message


def test_a_host_that_nothing_resolves_is_a_failure_of_the_connection() -> None:
    async def main() -> Outcome:
        async with engine() as ours:
            return await ours.ask(model("http://nowhere.internal/v1", retries=0), request())

    assert failed(anyio.run(main)).kind is FailureKind.CONNECTION


@pytest.mark.parametrize("where", ["at once", "headers", "body"])
def test_a_reset_connection_is_tried_again_and_half_an_answer_is_none(where: str) -> None:
    outcome, server = ask(faulty.reset(where))
    assert completion(outcome).text == "hello"
    assert server.requests == 2


@pytest.mark.parametrize("broken", [faulty.short(), faulty.cut_chunked()])
def test_a_body_that_is_cut_off_is_tried_again_and_then_a_failure(broken: Behaviour) -> None:
    outcome, _ = ask(broken)
    assert completion(outcome).text == "hello"
    outcome, server = ask(then=broken, retries=2)
    assert failed(outcome).kind is FailureKind.CONNECTION
    assert server.requests == 3


def test_truncated_json_is_asked_for_once_more_and_named_by_its_digest() -> None:
    outcome, server = ask(then=faulty.truncated())
    assert failed(outcome).kind is FailureKind.BAD_ANSWER
    assert server.requests == 2
    assert "answers no JSON but application/json" in failed(outcome).message
    assert " bytes, " in failed(outcome).message


@pytest.mark.parametrize(
    ("error", "kind", "again"),
    [
        ("overloaded_error", FailureKind.OVERLOADED, True),
        ("rate_limit_exceeded", FailureKind.RATE_LIMITED, True),
        ("server_error", FailureKind.SERVER, True),
        ("invalid_request_error", FailureKind.BAD_REQUEST, False),
        ("authentication_error", FailureKind.AUTHENTICATION, False),
    ],
)
def test_a_200_with_an_error_is_that_error(error: str, kind: FailureKind, again: bool) -> None:
    said = faulty.error_object(error, "upstream says no")
    outcome, _ = ask(said, retries=0)
    assert failed(outcome).kind is kind
    assert failed(outcome).message.startswith("the server answered 200: upstream says no")
    outcome, _ = ask(said)
    assert isinstance(outcome, Completion) is again


def test_a_login_page_is_named_for_what_it_is() -> None:
    outcome, server = ask(then=faulty.html())
    message = failed(outcome).message
    assert message.startswith(f"{server.url}/chat/completions answers no JSON but text/html (")
    assert message.endswith("<!DOCTYPE html><html><h1>Please log in</h1></html>")


def choice(text: str, finish: str | None = "stop") -> Behaviour:
    return faulty.answer(choices=[{"message": {"content": text}, "finish_reason": finish}])


USAGE = (
    b'{"usage":{"prompt_tokens":1e999,"completion_tokens":-3},'
    b'"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
)


@pytest.mark.parametrize(
    "body",
    [
        faulty.bad_utf8(),
        faulty.raw_body(b'{"choices": [\x00]}'),
        faulty.raw_body(b'{"choices": NaN}'),
        faulty.raw_body(b"[" * 100_000 + b"]" * 100_000),
    ],
    ids=["invalid UTF-8", "NUL", "NaN", "nested 100,000 deep"],
)
def test_a_body_that_is_no_json_is_a_failure_and_not_a_crash(body: Behaviour) -> None:
    outcome, _ = ask(then=body)
    assert failed(outcome).kind is FailureKind.BAD_ANSWER


def test_a_server_that_speaks_no_http_is_a_failure_and_not_a_crash() -> None:
    outcome, _ = ask(then=faulty.garbage())
    assert failed(outcome).kind in {FailureKind.BAD_ANSWER, FailureKind.CONNECTION}


def test_an_answer_without_a_finish_reason_is_not_a_whole_one() -> None:
    outcome, _ = ask(then=choice("cut", None))
    assert failed(outcome).kind is FailureKind.BAD_ANSWER
    assert "finish_reason" in failed(outcome).message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (faulty.marked(), "hello"),
        (faulty.gzipped(), "hello"),
        (choice("a\x00b"), "a\x00b"),
        (choice("a\ud800b"), "a\ufffdb"),
        (choice("ä" * 1_000_000), "ä" * 1_000_000),
        (faulty.raw_body(USAGE), "x"),
    ],
    ids=["byte order mark", "gzip", "NUL", "half a surrogate pair", "a megabyte", "no usage"],
)
def test_a_good_answer_is_read_however_it_is_written(body: Behaviour, text: str) -> None:
    outcome, _ = ask(body)
    assert completion(outcome).text == text
    assert completion(outcome).digest.startswith("sha256:")
    assert (completion(outcome).usage is None) == (text == "x")  # numbers that are none


def test_a_dripping_body_is_ended_by_the_deadline() -> None:
    async def main() -> Outcome:
        async with faulty.serve(then=faulty.drip(0.05)) as server, engine() as ours:
            return await ours.ask(model(server.url, timeout=0.5, retries=0), request())

    assert failed(anyio.run(main)).kind is FailureKind.TIMEOUT  # the whole answer takes 20 s


def test_a_hang_before_the_headers_is_ended_by_the_deadline_and_tried_again() -> None:
    outcome, server = ask(faulty.hang(), timeout=1.0)
    assert completion(outcome).attempts == 2
    assert server.requests == 2


def test_a_stale_connection_is_replaced_without_a_word() -> None:
    async def main() -> list[Outcome]:
        script = [faulty.stale(), faulty.stale(delay=0.05), faulty.stale()]
        async with faulty.serve(*script) as server, engine() as ours:
            outcome = []
            for _ in range(6):
                outcome.append(await ours.ask(model(server.url), request()))
                await anyio.sleep(0.06)
            return outcome

    assert all(isinstance(item, Completion) for item in anyio.run(main))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
def test_a_body_in_an_encoding_that_it_is_not_in_is_a_failure(encoding: str) -> None:
    outcome, _ = ask(then=faulty.raw_body(b"plainly not", content_encoding=encoding), retries=1)
    assert failed(outcome).kind in {FailureKind.CONNECTION, FailureKind.BAD_ANSWER}


@pytest.mark.parametrize("bomb", [faulty.gzip_bomb, faulty.endless])
def test_a_bomb_is_cut_off_at_the_cap_and_memory_stays_flat(
    bomb: Callable[[], Behaviour],
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, server = ask(then=bomb())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert failed(outcome).kind is FailureKind.TOO_LARGE
    assert failed(outcome).message == "the answer is larger than 16 MB and was cut off"
    assert server.requests == 1
    assert grown < 120


def test_a_redirect_is_not_followed() -> None:
    metadata = "http://169.254.169.254/latest/meta-data"
    outcome, server = ask(then=faulty.redirect(metadata), retries=0)
    assert failed(outcome).kind is FailureKind.BAD_ANSWER
    assert metadata in failed(outcome).message
    assert server.requests == 1


def test_concurrency_stays_under_the_limit_of_open_files() -> None:
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "import anyio\n"
        "from tests.unit.providers.openai.test_faults import many\n"
        "print(anyio.run(many))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "300"


async def many() -> int:
    """300 calls with 1,000 allowed at once; how many were answered."""
    answered = 0
    async with faulty.serve(then=faulty.answer(delay=0.02)) as server, engine() as ours:

        async def work(_: int) -> None:
            nonlocal answered
            outcome = await ours.ask(model(server.url, concurrency=1000), request())
            answered += isinstance(outcome, Completion)

        await run(range(300), work, workers=300)
    return answered


def test_answers_that_arrive_out_of_order_belong_to_their_questions() -> None:
    def slow_first(number: int) -> Behaviour:
        return faulty.answer(delay=0.2 if number < 5 else 0.0)

    async def main() -> list[tuple[int, str | None]]:
        answers: list[tuple[int, str | None]] = []
        script = [slow_first(i) for i in range(40)]
        async with faulty.serve(*script) as server, engine() as ours:

            async def work(i: int) -> None:
                outcome = await ours.ask(model(server.url), request(f"question {i}"))
                answers.append((i, completion(outcome).text))

            await run(range(40), work, workers=8)
        return answers

    outcome = anyio.run(main)
    assert [i for i, _ in outcome] != sorted(i for i, _ in outcome)
    assert all(text == f"question {i}" for i, text in outcome)
