"""A `vllm` that holds no model: a real program with the arguments of `vllm serve`, and helpers.

    program = a_vllm(folder)                    # folder/vllm, to be put on the PATH
    project.run("eval", env={"PATH": …, "STAND_IN": "dies"})

It answers as `faulty` does, at the port and to the key that it is given, and like the real one it
has helpers: one in its process group and one in a session of its own. What it was started with
stands in `engines/PID.json` of its working folder, what it was asked in `engines/PID.asked`.
`STAND_IN` holds words: `dies` (with a traceback), `never` (is ready), `slow` (takes 0.1 s for an
answer), `stubborn` (ignores SIGTERM).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tests.servers.faulty import Exchange, Server, answer, status

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "#!{python}\nimport runpy, sys\nsys.path.insert(0, {root!r})\nrunpy.run_module({name!r}, "
SCRIPT += 'run_name="__main__")\n'
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def make_vllm(folder: Path) -> Path:
    """The program, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "vllm"
    text = SCRIPT.format(python=sys.executable, root=str(ROOT), name="tests.servers.engine")
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program


def engines(root: Path) -> list[dict[str, Any]]:
    """What was started in `root`, first to last: `pid`, `helpers`, `arguments`, `environ`."""
    files = sorted((root / "engines").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def calls_of(root: Path) -> list[tuple[str, str]]:
    """Every call that was answered: by which name the model was asked for, and the last turn."""
    lines = (path.read_text(encoding="utf-8") for path in (root / "engines").glob("*.asked"))
    return [cast("tuple[str, str]", tuple(json.loads(line))) for item in lines
            for line in item.splitlines()]  # fmt: skip


def alive(root: Path) -> Iterator[int]:
    """The processes of every engine started in `root` that still run."""
    for engine in engines(root):
        for pid in (engine["pid"], *engine["helpers"]):
            try:
                state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
            except OSError:
                continue
            if state.split()[0] != "Z":
                yield pid


def all_gone(root: Path, within: float = 15.0) -> bool:
    """Whether none of them runs any more, in a while."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not list(alive(root)):
            return True
        time.sleep(0.05)
    return False


async def serve(arguments: argparse.Namespace, words: frozenset[str]) -> None:
    """Answers whoever knows the key."""
    log = Path("engines") / f"{os.getpid()}.asked"
    good, refused = answer(delay=0.1 if "slow" in words else 0.0), status(401)

    async def then(exchange: Exchange) -> None:
        if exchange.headers.get("authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            return await refused(exchange)
        if exchange.path.endswith("/chat/completions"):
            body = exchange.body
            text = json.dumps([body["model"], exchange.server.reply(body)]) + "\n"
            await good(exchange)
            with log.open("a", encoding="utf-8") as file:
                file.write(text)
            return None
        return await good(exchange)

    async with Server((), then=then).listening(arguments.port):
        await asyncio.Event().wait()


def main() -> None:
    words = frozenset(os.environ.get("STAND_IN", "").split())
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments, _ = parser.parse_known_args()
    helpers = [
        subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL),
        subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL, start_new_session=True),
    ]
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    record = {
        "pid": os.getpid(),
        "helpers": [helper.pid for helper in helpers],
        "arguments": sys.argv[1:],
        "environ": dict(os.environ),
    }
    Path("engines").mkdir(exist_ok=True)
    Path(f"engines/{os.getpid()}.part").write_text(json.dumps(record), encoding="utf-8")
    Path(f"engines/{os.getpid()}.part").rename(f"engines/{os.getpid()}.json")
    print("environment", dict(os.environ), flush=True)  # noqa: T201 - as a careless program would
    if "dies" in words:
        print("(EngineCore pid=7) ERROR 11-21 09:39:42 [core.py:7] ValueError: no such weights")  # noqa: T201
        sys.exit(1)
    if "never" in words:
        time.sleep(600)
    asyncio.run(serve(arguments, words))


if __name__ == "__main__":
    main()
