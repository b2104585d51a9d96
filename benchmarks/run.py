"""Compare llmops with its peers, in one run on one machine, and print one table.

    python -m benchmarks.run [--peers FOLDER] [--only ROW ...] [--repeat 3] [--largest 1000000]

FOLDER is what `install_peers.py` filled; without it, or for a peer that is not there, its column
is empty. Every figure is of a whole process, from its start to its end: wall seconds (the least
of `--repeat` runs), peak memory, CPU seconds where start-up is meant. The server
(`benchmarks/server.py`) runs in a process of its own. Nothing here is a test: figures depend on
the machine, only their ratios travel.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.peers import IN_FLIGHT, PEERS, Peer, environment

DELAY = 0.05
"""Seconds that the model takes for an answer."""
LLMOPS = (sys.executable, "-m", "llmops_cli")
HERE = Path(__file__).resolve().parent.parent
COLUMNS = ("llmops", *(peer.name for peer in PEERS))

Cells: TypeAlias = Mapping[str, str]
"""The cells of a row, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The resources that one process used."""

    seconds: float
    cpu: float
    megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The settings of a benchmark: a working folder, the peers, and the repetitions."""

    folder: Path
    peers: Path | None
    repeat: int

    def cost(
        self,
        command: Sequence[str | Path],
        folder: Path,
        *,
        url: str = "",
        before: Callable[[], object] = lambda: None,
        times: int | None = None,
    ) -> Cost:
        """The least of several runs of `command` in `folder`, `before` called ahead of each."""
        found = []
        for _ in range(times or self.repeat):
            before()
            found.append(_measured(command, folder, self._environ(url, folder)))
        return min(found, key=lambda each: each.seconds)

    def project(self, name: str, cases: int, url: str) -> Path:
        """A project of `cases` questions to the model at `url`."""
        folder = self.folder / name
        _write_project(folder, cases, url)
        return folder

    def installed(self) -> Iterator[tuple[Peer, Path]]:
        """Return the installed peers, with their programs."""
        for peer in PEERS:
            if (program := peer.installed(self.peers)) is not None:
                yield peer, program

    def _environ(self, url: str, folder: Path) -> Mapping[str, str]:
        peers = environment(url, folder, self.peers or Path())
        found = {**os.environ, "PYTHONPATH": str(HERE), **peers}
        found.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs keep their bytecode
        return found


def start_up(bench: Bench) -> Cells:
    """CPU of a program that only prints its version."""
    cells = {}
    ours = [bench.cost([*LLMOPS, each], bench.folder) for each in ("--help", "--version")]
    cells["llmops"] = " / ".join(f"{each.cpu:.2f} s" for each in ours)
    for peer, program in bench.installed():
        if peer.start:
            cells[peer.name] = f"{bench.cost([program, *peer.start], bench.folder).cpu:.2f} s"
    return cells


def check(bench: Bench) -> Cells:
    """`check` of 50 prompts and their 50 evalsets."""
    folder = bench.project("check", 20, "http://127.0.0.1:9/v1")
    for at in range(1, 50):
        for path in ("prompts/support.prompt.yml", "evalsets/support.yaml"):
            copy = folder / path.replace("support", f"support-{at}")
            shutil.copy(folder / path, copy)
    return {"llmops": f"{bench.cost([*LLMOPS, 'check'], folder).seconds:.2f} s"}


def cold(bench: Bench, cases: int) -> Cells:
    """Every case called, `IN_FLIGHT` at a time; the peers up to 1,000 cases."""
    with serving(DELAY) as url:
        folder = bench.project(f"cold-{cases}", cases, url)
        forget = partial(shutil.rmtree, folder / ".llmops", ignore_errors=True)
        ours = bench.cost([*LLMOPS, "eval"], folder, before=forget)
        ideal = cases / IN_FLIGHT * DELAY
        cells = {"llmops": f"{_shown(ours)}, {ideal / ours.seconds:.0%} of ideal"}
        if cases <= 1000:
            for peer, program in bench.installed():
                place = _prepared(bench, peer, folder, url)
                theirs = bench.cost([program, *peer.command], place, url=url)
                cells[peer.name] = _shown(theirs)
    return cells


def cached(bench: Bench, cases: int) -> Cells:
    """Every case answered from the cache."""
    with serving(0.0) as url:
        folder = bench.project(f"cached-{cases}", cases, url)
        bench.cost([*LLMOPS, "eval"], folder, times=1)
        cells = {"llmops": _shown(bench.cost([*LLMOPS, "eval"], folder))}
        for peer, program in bench.installed():
            if peer.cached is not None and cases <= 1000:
                place = _prepared(bench, peer, folder, url)
                command: tuple[str | Path, ...] = (program, *peer.cached)
                bench.cost(command, place, url=url, times=1)
                cells[peer.name] = _shown(bench.cost(command, place, url=url))
    return cells


def ceiling(bench: Bench) -> Cells:
    """Calls per second of a server that answers at once: the engine and the SDK it replaces."""
    roads = ("llmops engine", "SDK, httpx", "SDK, aiohttp", "bare aiohttp")
    best = dict.fromkeys(roads, 0.0)
    with serving(0.0) as url:
        for road in roads * bench.repeat:
            command = [sys.executable, "-m", "benchmarks.wire", "--road", road, "--url", url]
            said = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
            found = re.search(r"([\d,]+) calls/s", said.stdout)
            best[road] = max(best[road], float(found[1].replace(",", "")) if found else 0.0)
    ours = best.pop("llmops engine")
    others = ", ".join(f"{road} {rate:,.0f}" for road, rate in best.items())
    sdk = max(rate for road, rate in best.items() if road.startswith("SDK"))
    return {"llmops": f"{ours:,.0f}/s = {ours / sdk:.1f} × the SDK's fastest ({others})"}


def replayed(bench: Bench, cases: int) -> Cells:
    """Two sides of recorded answers, with an empty cache."""
    folder = bench.project(f"replayed-{cases}", cases, "http://127.0.0.1:9/v1")
    _write_records(folder, cases)
    times = bench.repeat if cases <= 10_000 else 1
    took = bench.cost([*LLMOPS, "compare", "old", "new"], folder, times=times)
    shutil.rmtree(folder)
    return {"llmops": f"{_shown(took)}, {took.seconds / cases * 1e6:,.0f} µs a case"}


ROWS: Mapping[str, tuple[str, Callable[[Bench], Cells]]] = {
    "start": ("start: `--help` / `--version`, CPU", start_up),
    "check": ("`check` of 100 files", check),
    "cold-1000": ("1,000 cases, 50 ms, 50 in flight", partial(cold, cases=1000)),
    "cold-10000": ("10,000 cases, 50 ms, 50 in flight", partial(cold, cases=10_000)),
    "ceiling": ("calls per second, 64 in flight, server answers at once", ceiling),
    "cached-20": ("20 cases, all cached", partial(cached, cases=20)),
    "cached-1000": ("1,000 cases, all cached", partial(cached, cases=1000)),
    "cached-100000": ("100,000 cases, all cached", partial(cached, cases=100_000)),
    **{
        f"replayed-{cases}": (
            f"{cases:,} replayed cases, two sides",
            partial(replayed, cases=cases),
        )
        for cases in (1000, 10_000, 100_000, 1_000_000)
    },
}


@contextmanager
def serving(delay: float) -> Iterator[str]:
    """Yield the base URL of a server that runs while the context is open."""
    command = [sys.executable, str(HERE / "benchmarks" / "server.py"), "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.terminate()


def _measured(command: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> Cost:
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            said = output.read()[-2000:].decode(errors="replace")
            raise SystemExit(f"{command} in {folder} ended with {process.returncode}:\n{said}")
    return Cost(seconds=seconds, cpu=used.ru_utime + used.ru_stime, megabytes=used.ru_maxrss / 1024)


def _shown(cost: Cost) -> str:
    return f"{cost.seconds:.2f} s, {cost.megabytes:.0f} MB"


def _prepared(bench: Bench, peer: Peer, project: Path, url: str) -> Path:
    place = bench.folder / f"{peer.name}-{project.name}"
    place.mkdir()
    peer.prepare(place, url, project / "evalsets" / "support.jsonl")
    return place


def _write_project(folder: Path, cases: int, url: str) -> None:
    for name in ("prompts", "evalsets"):
        (folder / name).mkdir(parents=True)
    model = f"provider: openai, model: bench, base_url: '{url}', max_concurrency: {IN_FLIGHT}"
    (folder / "llmops.yaml").write_text(f"models:\n  bench: {{{model}}}\n")
    (folder / "prompts" / "support.prompt.yml").write_text(
        "model: bench\ninputs: {question: {type: string}}\n"
        "messages:\n  - {role: user, content: '{{ question }}'}\n"
    )
    (folder / "evalsets" / "support.yaml").write_text(
        "cases: support.jsonl\nscorers:\n  - contains: '{{ expected }}'\n"
    )
    with (folder / "evalsets" / "support.jsonl").open("w") as file:
        for at in range(cases):
            question = f"What is the answer to question number {at}?"
            case = {"id": f"case-{at}", "inputs": {"question": question}, "expected": f"{at}?"}
            file.write(json.dumps(case) + "\n")


def _write_records(folder: Path, cases: int) -> None:
    """Two models' recorded answers, right but for one in a hundred of each."""
    models = []
    for name, wrong in (("old", 0), ("new", 50)):
        models.append(f"  {name}: {{provider: replay, file: {name}.jsonl}}\n")
        with (folder / f"{name}.jsonl").open("w") as file:
            for at in range(cases):
                text = "no idea" if at % 100 == wrong else f"It is {at}?, says {name}."
                file.write(json.dumps({"id": f"case-{at}", "text": text}) + "\n")
    with (folder / "llmops.yaml").open("a") as file:
        file.writelines(models)


def main() -> None:
    """Measure the selected rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, help="where install_peers.py put them")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--largest", type=int, default=1_000_000, help="cases to replay at most")
    options = parser.parse_args()
    print(f"| {' | '.join(('', *COLUMNS))} |", flush=True)
    print(f"|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    for name in options.only:
        if name.startswith("replayed") and int(name.partition("-")[2]) > options.largest:
            continue
        title, measure = ROWS[name]
        with tempfile.TemporaryDirectory() as folder:
            cells = measure(
                Bench(
                    folder=Path(folder),
                    peers=options.peers,
                    repeat=options.repeat,
                )
            )
        print(f"| {' | '.join((title, *(cells.get(each, '') for each in COLUMNS)))} |", flush=True)


if __name__ == "__main__":
    main()
