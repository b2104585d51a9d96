"""The same measurement for each peer: the files and commands that `run.py` uses.

Each one calls a model on the benchmark's server once per case, 50 at a time, and checks that the
answer contains the expected text, with its own scorer and no other features.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

IN_FLIGHT = 50
NODE_PROGRAMS = "promptfoo/node_modules/.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool that may be installed under the peers' folder."""

    name: str
    program: str
    """A path that exists if it is installed."""
    start: tuple[str, ...]
    """Arguments that only start it, after the program; none: it has no command line."""
    prepare: Callable[[Path, str, Path], None]
    """Writes its files into a folder, for a server's URL and a table of cases."""
    command: tuple[str, ...]
    """Arguments that measure all cases, in that folder."""
    cached: tuple[str, ...] | None = None
    """Arguments that measure them with its cache; None: it has none of answers."""

    def installed(self, peers: Path | None) -> Path | None:
        """Its program; None if it isn't installed."""
        found = None if peers is None else (peers / self.program).absolute()
        return found if found is not None and found.exists() else None


def environment(url: str, folder: Path, peers: Path) -> Mapping[str, str]:
    """Environment variables that keep the peers on the benchmark's server, off the network and in
    one folder.
    """
    return {
        "PATH": f"{peers.absolute() / NODE_PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": url,
        "PROMPTFOO_CONFIG_DIR": str(folder / "promptfoo-home"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
        "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
        "INSPECT_LOG_DIR": str(folder / "inspect-logs"),
        "LOGFIRE_SEND_TO_LOGFIRE": "false",
    }


def _promptfoo(folder: Path, url: str, cases: Path) -> None:
    rows = map(json.loads, cases.read_text().splitlines())
    config = {
        "prompts": ["{{question}}"],
        "providers": [{"id": "openai:chat:bench", "config": {"apiBaseUrl": url, "apiKey": "none"}}],
        "tests": [
            {
                "vars": {"question": row["inputs"]["question"]},
                "assert": [{"type": "contains", "value": row["expected"]}],
            }
            for row in rows
        ],
    }
    (folder / "promptfoo.json").write_text(json.dumps(config))


def _script(text: str) -> Callable[[Path, str, Path], None]:
    def write(folder: Path, _: str, cases: Path) -> None:
        (folder / "run.py").write_text(text.replace("CASES", repr(str(cases))))

    return write


INSPECT = """
import json
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def bench():
    rows = [json.loads(line) for line in open(CASES)]
    samples = [
        Sample(id=row["id"], input=row["inputs"]["question"], target=row["expected"])
        for row in rows
    ]
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""

DEEPEVAL = """
import asyncio, json
from deepeval import evaluate
from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig
from deepeval.metrics import BaseMetric
from deepeval.test_case import LLMTestCase
from openai import AsyncOpenAI

class Contains(BaseMetric):
    def __init__(self):
        self.threshold = 1.0
        self.async_mode = True
    def measure(self, case, *args, **kwargs):
        self.score = float(case.expected_output in case.actual_output)
        self.success = self.score >= 1.0
        self.reason = ""
        return self.score
    async def a_measure(self, case, *args, **kwargs):
        return self.measure(case)
    def is_successful(self):
        return self.success
    @property
    def __name__(self):
        return "contains"

async def answers(rows):
    gate = asyncio.Semaphore(50)
    async with AsyncOpenAI() as client:
        async def one(row):
            async with gate:
                completion = await client.chat.completions.create(
                    model="bench", messages=[{"role": "user", "content": row["inputs"]["question"]}]
                )
            return completion.choices[0].message.content
        return await asyncio.gather(*map(one, rows))

rows = [json.loads(line) for line in open(CASES)]
given = asyncio.run(answers(rows))
cases = [
    LLMTestCase(
        input=row["inputs"]["question"], actual_output=text, expected_output=row["expected"]
    )
    for row, text in zip(rows, given)
]
evaluate(
    cases,
    [Contains()],
    async_config=AsyncConfig(max_concurrent=50),
    cache_config=CacheConfig(write_cache=False),
    display_config=DisplayConfig(show_indicator=False, print_results=False),
)
"""

PYDANTIC_EVALS = """
import json
from openai import AsyncOpenAI
from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import Evaluator

class Contains(Evaluator):
    def evaluate(self, context):
        return context.expected_output in context.output

client = AsyncOpenAI()

async def ask(question):
    completion = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": question}]
    )
    return completion.choices[0].message.content

rows = [json.loads(line) for line in open(CASES)]
dataset = Dataset(
    name="bench",
    cases=[
        Case(name=row["id"], inputs=row["inputs"]["question"], expected_output=row["expected"])
        for row in rows
    ],
    evaluators=[Contains()],
)
report = dataset.evaluate_sync(ask, max_concurrency=50, progress=False)
print(report.averages())
"""

_FOO = ("eval", "-c", "promptfoo.json", "-j", str(IN_FLIGHT), "--no-progress-bar", "--no-table")

PEERS = (
    Peer(
        name="promptfoo",
        program=f"{NODE_PROGRAMS}/promptfoo",
        start=("--version",),
        prepare=_promptfoo,
        command=(*_FOO, "--no-cache"),
        cached=_FOO,
    ),
    Peer(
        name="Inspect",
        program="inspect/bin/inspect",
        start=("--help",),
        prepare=_script(INSPECT),
        command=(
            "eval", "run.py", "--model", "openai/bench", "-M", "responses_api=false",
            "--display", "none",
            "--max-connections", str(IN_FLIGHT), "--max-samples", str(IN_FLIGHT),
        ),
    ),
    Peer(
        name="DeepEval",
        program="deepeval/bin/python",
        start=("-c", "from deepeval.cli.main import app; app()", "--help"),
        prepare=_script(DEEPEVAL),
        command=("run.py",),
    ),
    Peer(
        name="pydantic-evals",
        program="pydantic-evals/bin/python",
        start=(),
        prepare=_script(PYDANTIC_EVALS),
        command=("run.py",),
    ),
)  # fmt: skip
