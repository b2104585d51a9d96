from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import anyio
import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Model, Price, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, Usage
from llmops_cli.engine.budget import Budget
from llmops_cli.engine.call import Engine, run
from tests.outcomes import completion, failed
from tests.unit.engine import (
    GOOD,
    Act,
    Scripted,
    busy,
    failure,
    in_virtual_time,
    model,
    request,
)


def ask_once(provider: Scripted, *, of: Model | None = None, jitter: float = 0.0) -> Outcome:
    async def main() -> Outcome:
        async with Engine(providers=provider.opener(), jitter=lambda: jitter) as engine:
            return await engine.ask(of or model(), request())

    return in_virtual_time(main)


def ask_many(
    provider: Scripted,
    calls: int,
    *,
    of: Model | None = None,
    budget: Budget | None = None,
    workers: int = 100,
    jitter: float = 0.5,
) -> tuple[list[Outcome], float]:
    """Outcomes in order of arrival, and the seconds it took."""

    async def main() -> tuple[list[Outcome], float]:
        outcomes: list[Outcome] = []
        async with Engine(
            providers=provider.opener(), budget=budget, jitter=lambda: jitter
        ) as engine:

            async def work(_: int) -> None:
                outcomes.append(await engine.ask(of or model(max_concurrency=50), request()))

            await run(range(calls), work, workers=workers)
        return outcomes, anyio.current_time()

    return in_virtual_time(main)


def kinds(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return Counter(
        outcome.kind.value if isinstance(outcome, Failure) else "completion" for outcome in outcomes
    )


# F1 – F6: rate limits and bursts -------------------------------------------------------------


def test_a_429_is_asked_again_not_before_the_seconds_it_named() -> None:
    provider = Scripted([busy(7.0)])
    outcome = completion(ask_once(provider, jitter=0.5))
    assert outcome.attempts == 2
    assert provider.sent[1] - provider.sent[0] >= 7.0
    assert provider.sent[1] - provider.sent[0] <= 8.5


def test_a_model_that_named_a_wait_is_left_alone_by_every_call() -> None:
    provider = Scripted([busy(10.0)], then=1.0)
    ask_many(provider, 30, of=model(max_concurrency=1))
    quiet = [later - earlier for earlier, later in pairwise(provider.sent)]
    assert quiet[0] >= 10.0
    assert max(quiet[1:]) <= 1.5


def test_concurrency_is_cut_once_per_episode_and_recovers() -> None:
    async def crowded() -> Outcome:
        await anyio.sleep(0.1)
        return busy() if provider.running > 8 else GOOD

    provider = Scripted(then=crowded)
    outcomes, _ = ask_many(provider, 2000)
    assert kinds(outcomes) == {"completion": 2000}
    wasted = len(provider.sent) - 2000
    assert wasted < 400


def test_a_sustained_429_with_a_long_hint_never_freezes_the_model() -> None:
    async def limited_for_a_minute() -> Outcome:
        await anyio.sleep(0.05)
        return busy(20.0) if anyio.current_time() < 60 else GOOD

    provider = Scripted(then=limited_for_a_minute)
    outcomes, seconds = ask_many(provider, 500)
    assert kinds(outcomes) == {"completion": 500}
    assert seconds < 120
    assert provider.most_running <= 50


def test_a_quota_that_will_not_clear_stops_the_run_at_once_and_says_why() -> None:
    provider = Scripted(then=busy(86400.0))
    outcomes, seconds = ask_many(provider, 1000)
    assert seconds < 1
    assert kinds(outcomes)["not_attempted"] > 900
    assert {failed(outcome).kind for outcome in outcomes} == {
        FailureKind.RATE_LIMITED,
        FailureKind.NOT_ATTEMPTED,
    }
    assert "asks to wait longer than a run can" in failed(outcomes[-1]).message


def test_a_model_that_pushes_back_is_reported_once_and_when_it_answers_again() -> None:
    notices: list[str] = []
    provider = Scripted([busy(), busy(), GOOD, GOOD])

    async def main() -> None:
        async with Engine(
            providers=provider.opener(), jitter=lambda: 0.5, tell=notices.append
        ) as it:
            await it.ask(model(), request())
            await it.ask(model(), request())

    in_virtual_time(main)
    assert notices == ["m says: too many requests; waiting", ""]


def test_an_endless_429_without_a_hint_ends_after_the_patience_of_a_call() -> None:
    provider = Scripted(then=busy())
    outcomes, seconds = ask_many(provider, 1000)
    assert seconds < 400
    assert set(kinds(outcomes)) == {"rate_limited", "not_attempted"}


def test_retries_0_means_one_attempt() -> None:
    provider = Scripted([busy(1.0)])
    outcome = failed(ask_once(provider, of=model(retries=0)))
    assert (outcome.kind, outcome.attempts) == (FailureKind.RATE_LIMITED, 1)
    assert len(provider.sent) == 1


def test_the_slot_is_given_back_while_a_call_waits_for_its_retry() -> None:
    server_error = failure(FailureKind.SERVER, status=500)
    provider = Scripted([server_error], then=0.1)
    ask_many(provider, 10, of=model(max_concurrency=1), jitter=0.99)
    assert provider.most_running == 1
    assert max(later - earlier for earlier, later in pairwise(provider.sent)) < 0.2


def test_a_burst_of_500s_is_retried_with_jitter_and_without_cutting_concurrency() -> None:
    script = [failure(FailureKind.SERVER, status=500)] * 20
    provider = Scripted(script, then=0.1)
    outcomes, _ = ask_many(provider, 100)
    assert kinds(outcomes) == {"completion": 100}
    assert provider.most_running > 20


def test_jitter_spreads_calls_that_failed_together() -> None:
    async def main() -> list[float]:
        provider = Scripted([failure(FailureKind.SERVER, status=502)] * 20)
        async with (
            Engine(providers=provider.opener()) as engine,
            anyio.create_task_group() as group,
        ):
            for _ in range(20):
                group.start_soon(engine.ask, model(), request())
        return provider.sent[20:]

    again = in_virtual_time(main)
    assert len(set(again)) > 15
    assert max(again) <= 0.5


# F7, F8: the early stop ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.AUTHENTICATION, 401),
        (FailureKind.AUTHENTICATION, 403),
        (FailureKind.NOT_FOUND, 404),
    ],
)
def test_a_model_that_refuses_everyone_is_asked_a_few_times_only(
    kind: FailureKind, status: int
) -> None:
    refusal = failure(kind, status=status, retryable=False, message="wrong key")
    provider = Scripted(then=refusal)
    outcomes, seconds = ask_many(provider, 1000)
    assert seconds == 0
    assert len(provider.sent) <= 20
    assert kinds(outcomes)["not_attempted"] == 1000 - len(provider.sent)
    assert {failed(outcome).message for outcome in outcomes} == {
        "wrong key",
        "m: 3 calls in a row were refused: wrong key",
    }


def test_a_key_that_is_revoked_midway_stops_the_rest() -> None:
    refusal = failure(FailureKind.AUTHENTICATION, status=401, retryable=False)
    provider = Scripted([GOOD] * 14, then=refusal)
    outcomes, _ = ask_many(provider, 100, of=model(max_concurrency=1), workers=1)
    assert kinds(outcomes) == {"completion": 14, "authentication": 3, "not_attempted": 83}


def test_a_server_that_is_not_there_ends_the_run_within_seconds() -> None:
    provider = Scripted(then=failure(FailureKind.CONNECTION, message="refused"))
    outcomes, seconds = ask_many(provider, 1000)
    assert seconds < 6
    assert kinds(outcomes)["not_attempted"] > 800
    assert "no call was ever answered: refused" in failed(outcomes[-1]).message


def test_a_server_that_restarts_is_given_its_time() -> None:
    async def down_for_two_seconds() -> Outcome:
        return failure(FailureKind.CONNECTION) if anyio.current_time() < 2 else GOOD

    outcomes, _ = ask_many(Scripted(then=down_for_two_seconds), 100)
    assert kinds(outcomes) == {"completion": 100}


def test_a_bad_request_is_not_asked_again_and_others_go_on() -> None:
    bad = failure(FailureKind.BAD_REQUEST, status=422, retryable=False)
    provider = Scripted([GOOD, bad, bad])
    outcomes, _ = ask_many(provider, 50, of=model(max_concurrency=1))
    assert kinds(outcomes) == {"completion": 48, "bad_request": 2}
    assert len(provider.sent) == 50


def test_an_unreadable_answer_is_asked_for_once_more() -> None:
    provider = Scripted(then=failure(FailureKind.BAD_ANSWER, status=200))
    outcome = failed(ask_once(provider))
    assert (outcome.kind, outcome.attempts) == (FailureKind.BAD_ANSWER, 2)


# F16, F17, F52: deadlines and slow calls -----------------------------------------------------


def test_a_call_that_never_ends_is_ended_by_its_deadline_and_tried_again() -> None:
    provider = Scripted([1e9])
    outcome = completion(ask_once(provider, of=model(timeout=30.0)))
    assert outcome.attempts == 2
    assert provider.sent[1] >= 30.0


def test_the_deadline_is_named_in_the_failure() -> None:
    outcome = failed(ask_once(Scripted(then=1e9), of=model(timeout=1.5, retries=0)))
    assert (outcome.kind, outcome.message) == (
        FailureKind.TIMEOUT,
        "no whole answer within 1.5 s (`timeout` in llmops.yaml)",
    )


def test_a_slow_call_holds_up_no_other() -> None:
    provider = Scripted([100.0], then=0.1)
    _, seconds = ask_many(provider, 200, of=model(max_concurrency=20), workers=20)
    assert seconds == pytest.approx(100.0)
    assert provider.sent[-1] < 2


# F43, F44: budgets ---------------------------------------------------------------------------


def test_no_call_starts_once_the_budget_of_calls_is_used_up() -> None:
    provider = Scripted(then=0.1)
    outcomes, _ = ask_many(provider, 200, budget=Budget(calls=77))
    assert kinds(outcomes) == {"completion": 77, "budget": 123}
    assert len(provider.sent) == 77


@pytest.mark.parametrize("cache_write", [0, 10])
def test_a_budget_of_dollars_is_never_overshot_with_fifty_in_flight(cache_write: int) -> None:
    # A dollar per input token, and a quarter more where it is written to a cache.
    price = Price(input=1_000_000.0, output=0.0, cache_write=1_250_000.0)
    answer = Completion(text="x", usage=Usage(input=10, output=1, cache_write=cache_write))
    outcomes, _ = ask_many(
        Scripted(then=answer),
        500,
        of=model(price=price, max_concurrency=50),
        budget=Budget(cost=1000.0),
    )
    spent = sum(outcome.cost or 0.0 for outcome in outcomes if isinstance(outcome, Completion))
    assert spent <= 1000.0
    assert spent >= 980.0


def test_a_budget_of_tokens_counts_an_answer_without_usage_at_its_ceiling() -> None:
    provider = Scripted(then=Completion(text="x"))
    outcomes, _ = ask_many(provider, 50, of=model(max_concurrency=1), budget=Budget(tokens=10_000))
    assert kinds(outcomes) == {"completion": 9, "budget": 41}


def test_what_one_engine_spent_is_gone_for_the_next_one_of_the_run() -> None:
    async def main() -> tuple[Budget, dict[str, int]]:
        provider = Scripted(then=1.0)
        outcomes: list[Outcome] = []
        budget = Budget(calls=5, tokens=10_000, seconds=100.0)
        for _ in range(2):
            async with Engine(providers=provider.opener(), budget=budget) as engine:
                outcomes += [await engine.ask(model(), request()) for _ in range(3)]
            budget = engine.left
        return budget, kinds(outcomes)

    left, counted = in_virtual_time(main)
    assert left == Budget(calls=0, tokens=10_000 - 5 * 15, seconds=95.0)
    assert counted == {"completion": 5, "budget": 1}


def test_the_time_allowed_starts_no_call_after_it_is_over() -> None:
    provider = Scripted(then=1.0)
    outcomes, _ = ask_many(provider, 100, of=model(max_concurrency=1), budget=Budget(seconds=10.5))
    assert kinds(outcomes) == {"completion": 11, "budget": 89}
    assert "the time allowed is over: --max-seconds 10.5" in failed(outcomes[-1]).message


def test_a_budget_of_dollars_without_a_price_is_refused_before_any_call() -> None:
    provider = Scripted()
    unpriced = model(provider="vllm", name="local")
    with pytest.raises(ExceptionGroup) as group:
        ask_many(provider, 3, of=unpriced, budget=Budget(cost=1.0))
    refusal = group.value.exceptions[0]
    assert isinstance(refusal, Refused)
    assert "no price is known for local" in refusal.message
    assert "price:" in (refusal.hint or "")
    assert provider.sent == []


def test_what_is_unpriced_is_said_and_not_guessed() -> None:
    async def main() -> tuple[float, int, float | None]:
        async with Engine(providers=Scripted().opener()) as engine:
            outcome = completion(await engine.ask(model(provider="vllm"), request()))
            return engine.spent.cost, engine.spent.unpriced, outcome.cost

    assert in_virtual_time(main) == (0.0, 1, None)


# Rates per minute ----------------------------------------------------------------------------


def test_requests_per_minute_are_kept_and_used() -> None:
    provider = Scripted()
    _, seconds = ask_many(provider, 300, of=model(rpm=120, max_concurrency=50))
    assert 148 <= seconds <= 151
    for start in provider.sent:
        assert sum(start <= at < start + 60 for at in provider.sent) <= 122


def test_tokens_per_minute_are_settled_by_what_was_used() -> None:
    answer = Completion(text="x", usage=Usage(input=50, output=50))
    provider = Scripted(then=answer)
    _, seconds = ask_many(provider, 100, of=model(tpm=1000, max_concurrency=1), workers=1)
    assert 580 <= seconds <= 600 + 70


def test_a_generous_ceiling_wastes_nothing_of_the_tokens_per_minute() -> None:
    answer = Completion(text="x", usage=Usage(input=50, output=50))
    provider = Scripted(then=answer)
    _, seconds = ask_many(provider, 600, of=model(tpm=60_000, max_concurrency=50))
    assert 55 <= seconds <= 75


def test_one_answer_holds_up_the_next_for_a_minute_at_most_whatever_usage_it_claims() -> None:
    claims = Completion(text="x", usage=Usage(input=10**5, output=10**5))
    provider = Scripted(then=claims)
    _, seconds = ask_many(provider, 3, of=model(tpm=1000, max_concurrency=1), workers=1)
    assert 60 <= seconds <= 121


# Cancellation --------------------------------------------------------------------------------


def test_an_interrupt_starts_nothing_more_and_lets_running_calls_finish() -> None:
    provider = Scripted(then=2.0)

    async def main() -> tuple[list[Outcome], float]:
        outcomes: list[Outcome] = []
        async with Engine(providers=provider.opener()) as engine:

            async def work(_: int) -> None:
                outcomes.append(await engine.ask(model(max_concurrency=10), request()))

            async with anyio.create_task_group() as group:
                group.start_soon(lambda: run(range(100), work, workers=20))
                await anyio.sleep(1)
                engine.interrupt()
        return outcomes, anyio.current_time()

    outcomes, seconds = in_virtual_time(main)
    assert seconds == 2.0
    assert kinds(outcomes) == {"completion": 10, "not_attempted": 90}
    assert failed(outcomes[0]).message == "m: interrupted"


def test_an_interrupt_ends_waiting_for_a_retry_and_is_no_error_of_the_call() -> None:
    async def main() -> tuple[Outcome, float]:
        found: list[Outcome] = []
        async with Engine(providers=Scripted([busy(200.0)]).opener()) as engine:

            async def work() -> None:
                found.append(await engine.ask(model(), request()))

            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await anyio.sleep(1)
                engine.interrupt()
        return found[0], anyio.current_time()

    outcome, seconds = in_virtual_time(main)
    assert seconds == 1.0
    assert (failed(outcome).kind, outcome.attempts) == (FailureKind.NOT_ATTEMPTED, 1)


def test_a_canceled_run_closes_its_providers() -> None:
    provider = Scripted(then=1000.0)

    async def main() -> None:
        with anyio.move_on_after(1):
            async with Engine(providers=provider.opener()) as engine:
                await engine.ask(model(timeout=5000.0), request())

    in_virtual_time(main)
    assert (provider.opened, provider.closed) == (1, 1)


def test_a_run_that_is_canceled_while_a_provider_opens_ends() -> None:
    provider = Scripted()

    async def main() -> float:
        @asynccontextmanager
        async def opens(of: Model) -> AsyncIterator[Scripted]:
            async with provider.opener()(of):
                scope.cancel()  # Ctrl-C, before the call that opens it has heard that it is open
                yield provider

        with anyio.CancelScope() as scope:
            async with Engine(providers=opens) as engine:
                asyncio.get_running_loop().call_later(60, engine._closing.set)  # else it hung
                async with anyio.create_task_group() as group:
                    group.start_soon(engine.ask, model(), request())
        return anyio.current_time()

    assert in_virtual_time(main) < 60
    assert (provider.opened, provider.sent) == (1, [])


# Providers and what they give ----------------------------------------------------------------


def test_a_provider_is_opened_once_at_the_first_call_and_closed_at_the_end() -> None:
    provider = Scripted()

    async def main() -> tuple[int, int]:
        async with Engine(providers=provider.opener()) as engine:
            before = provider.opened
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(engine.ask, model(), request())
            return before, provider.closed

    assert in_virtual_time(main) == (0, 0)
    assert (provider.opened, provider.closed) == (1, 1)


def test_candidate_and_baseline_on_one_model_share_its_limits() -> None:
    provider = Scripted(then=1.0)

    async def main() -> None:
        hot = replace(model(max_concurrency=3), parameters={"temperature": 1}, name="other")
        async with (
            Engine(providers=provider.opener()) as engine,
            anyio.create_task_group() as group,
        ):
            for of in [model(max_concurrency=3), hot] * 5:
                group.start_soon(engine.ask, of, request())

    in_virtual_time(main)
    assert (provider.opened, provider.most_running) == (1, 3)


def test_the_same_alias_for_another_model_is_another_model() -> None:
    provider = Scripted()

    async def main() -> None:
        async with Engine(providers=provider.opener()) as engine:
            await engine.ask(model(), request())
            await engine.ask(replace(model(), model="newer"), request())

    in_virtual_time(main)
    assert provider.opened == 2


def test_a_call_cut_short_by_its_caller_gives_its_slot_back_and_keeps_its_share() -> None:
    provider = Scripted([1e6], then=0.1)

    async def main() -> list[Outcome]:
        async with Engine(providers=provider.opener(), budget=Budget(calls=3)) as engine:
            of = model(max_concurrency=1, timeout=1e7)
            with anyio.move_on_after(1):
                await engine.ask(of, request())
            return [await engine.ask(of, request()) for _ in range(3)]

    assert kinds(in_virtual_time(main)) == {"completion": 2, "budget": 1}


def test_a_model_that_can_never_work_is_refused_plainly_and_opened_once() -> None:
    tries: list[str] = []

    @asynccontextmanager
    async def broken(of: Model) -> AsyncIterator[Scripted]:
        tries.append(of.name)
        if not of.api_key_env:
            raise Refused("no key", hint="set one")
        yield Scripted()

    async def main() -> None:
        async with Engine(providers=broken) as engine:

            async def work(_: int) -> None:
                await engine.ask(model(), request())

            await run(range(50), work, workers=10)

    with pytest.raises(ExceptionGroup) as group:
        in_virtual_time(main)
    assert group.group_contains(Refused, match="no key")
    assert tries == ["m"]


def test_a_request_that_a_provider_cannot_send_is_refused_before_any_call() -> None:
    class Choosy(Scripted):
        def check(self, asked: Request) -> None:
            raise Refused(f"no {next(iter(asked.parameters))}")

    provider = Choosy()

    async def main() -> None:
        async with Engine(providers=provider.opener()) as engine:
            await engine.ask(model(), request(temperature=0))

    with pytest.raises(Refused, match="no temperature"):
        in_virtual_time(main)
    assert provider.sent == []


def test_an_answer_carries_its_latency_time_attempts_and_cost() -> None:
    price = Price(input=2.0, output=10.0)
    outcome = completion(
        ask_once(Scripted([failure(FailureKind.SERVER), 0.75]), of=model(price=price))
    )
    assert outcome.latency == pytest.approx(0.75)
    assert outcome.attempts == 2
    assert outcome.cost == pytest.approx((10 * 2.0 + 5 * 10.0) / 1e6)
    assert outcome.at is not None
    assert outcome.at.endswith("+00:00")


def test_a_recorded_answer_has_no_latency() -> None:
    class Recorded(Scripted):
        def identity(self, case: str, asked: Request) -> str | None:
            return "sha256:0"

    assert completion(ask_once(Recorded())).latency is None


def test_calls_and_attempts_are_counted_apart() -> None:
    async def main() -> tuple[int, int]:
        provider = Scripted([failure(FailureKind.SERVER)] * 2)
        async with Engine(providers=provider.opener(), jitter=lambda: 0.0) as engine:
            await engine.ask(model(), request())
            await engine.ask(model(), request())
            return engine.spent.calls, engine.spent.attempts

    assert in_virtual_time(main) == (2, 4)


def test_no_secret_enters_with_an_answer_or_a_failure() -> None:
    redact = Redactor(["sk-canary-123"])
    script: list[Act] = [
        Completion(text="the key is sk-canary-123", contexts=("sk-canary-123",)),
        failure(FailureKind.BAD_REQUEST, retryable=False, message="bad sk-canary-123"),
    ]

    async def main() -> str:
        async with Engine(providers=Scripted(script).opener(), redact=redact) as engine:
            return repr([await engine.ask(model(), request()) for _ in range(2)])

    assert "canary" not in in_virtual_time(main)


# Speed ---------------------------------------------------------------------------------------


def test_a_thousand_calls_of_50_ms_with_50_in_flight_take_little_more_than_a_second() -> None:
    _, seconds = ask_many(Scripted(then=0.05), 1000)
    assert seconds <= 1.2


def test_concurrency_never_exceeds_what_is_configured() -> None:
    provider = Scripted(then=0.05)
    ask_many(provider, 500, of=model(max_concurrency=7))
    assert provider.most_running == 7
