"""Measure the cost of one call by each client of an OpenAI-compatible server (record 0004).

    python -m benchmarks.wire [--calls 3000] [--in-flight 64] [--delay 0.0]

Each client runs in its own process against one server that answers after `--delay` seconds (at once
by default), and prints calls per second and CPU per call, imports left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient, DefaultAsyncHttpxClient

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits, Message, Model, Request
from llmops_cli.core.result import Completion
from llmops_cli.engine.call import Engine, run
from llmops_cli.providers.openai.messages import body
from llmops_cli.providers.openai.model import open_openai

REQUEST = Request(
    provider="openai",
    model="tiny",
    messages=(Message(role="user", content="How do I reset my passcode?"),),
    parameters={"temperature": 0, "max_tokens": 50},
)
Call = Callable[[], Awaitable[object]]
Road = Callable[[str, int, AsyncExitStack], Awaitable[Call]]


def _sdk(transport: type[httpx2.AsyncClient], *, raw: bool) -> Road:
    async def road(url: str, _: int, stack: AsyncExitStack) -> Call:
        client = AsyncOpenAI(api_key="x", base_url=url, max_retries=0, http_client=transport())
        await stack.enter_async_context(client)

        async def typed() -> object:
            answer = await client.chat.completions.create(**body(REQUEST))
            return answer.choices[0].message.content

        async def posted() -> object:
            answer = await client.post(
                "/chat/completions", body=body(REQUEST), cast_to=httpx2.Response
            )
            return json.loads(answer.content)["choices"][0]["message"]["content"]

        return posted if raw else typed

    return road


async def _bare(url: str, _: int, stack: AsyncExitStack) -> Call:
    session = await stack.enter_async_context(aiohttp.ClientSession())

    async def call() -> object:
        async with session.post(url + "/chat/completions", json=body(REQUEST)) as answer:
            return json.loads(await answer.read())["choices"][0]["message"]["content"]

    return call


async def _ours(url: str, in_flight: int, stack: AsyncExitStack) -> Call:
    limits = Limits(max_concurrency=in_flight)
    model = Model(name="tiny", provider="openai", model="tiny", base_url=url, limits=limits)
    context = PluginContext(root=Path(), environ={})
    engine = await stack.enter_async_context(Engine(providers=lambda of: open_openai(of, context)))

    async def call() -> object:
        outcome = await engine.ask(model, REQUEST)
        return outcome.text if isinstance(outcome, Completion) else outcome

    return call


ROADS: dict[str, Road] = {
    "SDK, httpx": _sdk(DefaultAsyncHttpxClient, raw=False),
    "SDK, aiohttp": _sdk(DefaultAioHttpClient, raw=False),
    "SDK post, httpx": _sdk(DefaultAsyncHttpxClient, raw=True),
    "SDK post, aiohttp": _sdk(DefaultAioHttpClient, raw=True),
    "llmops engine": _ours,
    "bare aiohttp": _bare,
}


async def measure(name: str, url: str, calls: int, in_flight: int) -> None:
    """Measure one client: its line of the table."""
    async with AsyncExitStack() as stack:
        call = await ROADS[name](url, in_flight, stack)

        async def work(_: int) -> None:
            answer = await call()
            if answer != REQUEST.messages[0].content:
                raise SystemExit(f"{name} got {answer}")

        await run(range(in_flight), work, workers=in_flight)  # connections are open
        began, used = time.perf_counter(), time.process_time()
        await run(range(calls), work, workers=in_flight)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"{name:18} {calls / seconds:8,.0f} calls/s {cpu / calls * 1e6:7,.0f} µs CPU", flush=True)


def main() -> None:
    """Start the server and every client, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--delay", default="0.0")
    parser.add_argument("--road", choices=ROADS)
    parser.add_argument("--url")
    given = parser.parse_args()
    if given.road:
        asyncio.run(measure(given.road, given.url, given.calls, given.in_flight))
        return
    command = [sys.executable, "-m", "tests.servers.faulty", "--delay", given.delay]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip() if server.stdout else ""
        for road in ROADS:
            options = ["--road", road, "--url", url, "--calls", str(given.calls)]
            options += ["--in-flight", str(given.in_flight)]
            subprocess.run([sys.executable, "-m", "benchmarks.wire", *options], check=True)
        server.terminate()


if __name__ == "__main__":
    main()
