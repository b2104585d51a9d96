"""The `vllm serve` processes of one command: started when first asked for, ended with the command.

One engine serves every model that is started in the same way, whichever of its adapters they ask
for. It listens on loopback only, at a port of its own, and answers only who knows a key that is
made for it. It sees no key of the project. What it writes is kept in `.llmops/store/vllm-….log`.
Engines start one after the other: a second one would disturb what the first measures of the
memory.
"""

from __future__ import annotations

import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import anyio

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World
from llmops_cli.core.prompt import Model
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.workers.server import Server, fresh_log

KEY_ENV = "VLLM_API_KEY"
"""Where `vllm serve` looks for the key that it asks for."""
MODULE = "vllm.entrypoints.cli.main"
"""What `python -m` starts where `command` is a Python."""
STARTUP = 600.0
"""Seconds until an engine must be ready: a large model is read from a disk."""
LOOK = 0.25
"""Seconds between two questions whether it is."""
STORE = Path(".llmops") / "store"
KEPT_LOGS = 9
HUGGING_FACE = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
"""Keys that the engine itself needs, to fetch a model."""
OURS = frozenset(
    {"--host", "--port", "--uds", "--api-key", "--served-model-name", "--lora-modules"}
)
"""Arguments that llmops sets; the same in `args` would contradict it."""

_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) ?)?((INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
_SHOWN = 3
"""Lines of the log in a message."""
_LONGEST = 240
"""Characters of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What an engine is started with."""

    model: str
    command: tuple[str, ...]
    """All but host and port."""
    offline: bool
    """The model stands on this machine: there is nothing to fetch."""
    log_name: str


def launch_of(model: Model, world: World) -> Launch:
    """How the engine of `model` is started. Raises `Refused` where there is no vllm to start."""
    adapters = _adapters(model)
    lora = [f"{name}={path}" for name, path in adapters.items()]
    return Launch(
        model=model.model,
        command=(
            *_program(model, world),
            "serve",
            model.model,
            *map(str, _list(model.options.get("args"))),
            *("--served-model-name", model.model),
            *(("--enable-lora", "--lora-modules", *lora) if lora else ()),
        ),
        offline=(world.root / model.model).is_dir(),
        log_name="vllm-" + re.sub(r"[^A-Za-z0-9]+", "-", model.model).strip("-")[-40:],
    )


def served_name(model: Model) -> str:
    """The name by which `model` is asked for: its own, or that of an adapter."""
    named = model.options.get("served_name")
    if named is not None:
        return str(named)
    return next(iter(_adapters(model)), model.model)


def contradiction(model: Model) -> str | None:
    """What the options of `model` say that cannot be; None: nothing."""
    starting = [name for name in ("command", "args", "lora", "startup_timeout")
                if name in model.options]  # fmt: skip
    if model.base_url is not None and starting:
        return f"`base_url` names a server that runs, `{starting[0]}` how to start one"
    for each in map(str, _list(model.options.get("args"))):
        flag = each.partition("=")[0].replace("_", "-")
        if flag in OURS:
            return f"`args` sets {flag}, which llmops does (`served_name`, `lora`)"
    if _seconds(model) <= 0:
        return "`startup_timeout` is more than 0 seconds"
    adapters, named = _adapters(model), model.options.get("served_name")
    if model.model.startswith("-"):
        return f"{model.model!r} is no name of a model"
    if any(not re.fullmatch(r"[\w./-]+", name) or name == model.model for name in adapters):
        return f"an adapter in `lora` has a name of its own, not {', '.join(adapters)}"
    if len(adapters) > 1 and named is None:
        return f"`served_name` says which answers: {', '.join((model.model, *adapters))}"
    if model.base_url is None and named is not None and named not in (model.model, *adapters):
        return f"`served_name` is one of {', '.join((model.model, *adapters))}"
    return None


class Engine:
    """One `vllm serve` and how to reach it."""

    def __init__(self, launch: Launch, world: World) -> None:
        """Starts it. Raises `OSError` where that is not possible."""
        self.key = secrets.token_urlsafe(24)
        self.launch = launch
        self.ready = False
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        (world.root / STORE).mkdir(parents=True, exist_ok=True)
        log = fresh_log(world.root / STORE, launch.log_name, keep=KEPT_LOGS)
        self._log = log.relative_to(world.root).as_posix()
        self._late: str | None = None
        self._server = Server(
            [*launch.command, "--host", "127.0.0.1", "--port", str(port)],
            folder=world.root,
            environ=_environment(world, self.key, offline=launch.offline),
            log=log,
            redact=world.redact,
        )

    @property
    def failure(self) -> Failure | None:
        """Why it does not answer and never will; None while it runs."""
        ended = self._late or self._server.ended
        if ended is None:
            return None
        when = "while it answered" if self.ready else "before it was ready"
        said = " / ".join(last_words(self._server.last(100)))
        message = f"`vllm serve {self.launch.model}` ended {when}: {ended}"
        message += f"; it said: {said}" if said else ""
        return Failure(kind=FailureKind.CONNECTION, message=f"{message} (all of it: {self._log})")

    async def wait(self, seconds: float) -> None:
        """Until it answers, or is known to never do: after `seconds` it is stopped."""
        with anyio.move_on_after(seconds):
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=aiohttp.ClientTimeout(total=5.0),
            ) as session:
                while self.failure is None:
                    if await self._answers(session):
                        self.ready = True
                        return
                    await anyio.sleep(LOOK)
            return
        self._late = f"it took more than {seconds:g} s (`startup_timeout` in llmops.yaml)"
        self.stop()

    async def gone(self, within: float) -> Failure | None:
        """Why it does not answer any more, which may take a moment to be seen."""
        with anyio.move_on_after(within):
            while self.failure is None:  # noqa: ASYNC110 - a process, which wakes nobody
                await anyio.sleep(LOOK / 5)
        return self.failure

    def stop(self) -> None:
        """Ends it and all it started."""
        self._server.stop()

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        """Whether it says, to who knows its key, what it serves."""
        try:
            async with session.get(f"{self.url}/models") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False


class Engines:
    """The engines of one command. Use as `with Engines()`."""

    def __init__(self) -> None:
        self._engines: dict[Launch, Engine] = {}
        self._turn = anyio.Lock()

    async def of(self, model: Model, world: World) -> Engine | Failure:
        """The engine that answers for `model`, ready, or why it does not."""
        launch = launch_of(model, world)
        async with self._turn:
            engine = self._engines.get(launch)
            if engine is None:
                try:
                    engine = Engine(launch, world)
                except OSError as error:
                    message = f"`vllm serve {model.model}` cannot be started: {error}"
                    return Failure(kind=FailureKind.CONNECTION, message=message)
                self._engines[launch] = engine
            if not engine.ready and engine.failure is None:
                world.tell(f"starting vllm serve {model.model}")
                try:
                    await engine.wait(_seconds(model))
                finally:
                    world.tell("")
            return engine.failure or engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for engine in self._engines.values():
            engine.stop()


def last_words(lines: Iterable[str]) -> list[str]:
    """What is worth telling of a log: its last errors, else its last lines, without prefixes."""
    plain = list(dict.fromkeys(_PREFIX.sub("", line).strip() for line in lines))
    said = [line[:_LONGEST] for line in plain if line]
    errors = [line for line in said if re.search(r"error\b|killed", line, re.IGNORECASE)]
    return (errors or said)[-_SHOWN:]


def _program(model: Model, world: World) -> list[str]:
    named = model.options.get("command")
    path = world.environ.get("PATH", "")
    if named is None:
        found = shutil.which("vllm", path=path)
        found = found or shutil.which("vllm", path=str(Path(sys.executable).parent))
        if found is None:
            raise Refused(
                f"{model.name}: there is no `vllm` on the PATH to serve {model.model} with",
                hint="pip install 'llmops-cli[vllm]', name one by `command` in llmops.yaml, "
                "or a server that runs by `base_url`",
            )
        return [found]
    command = str(world.root / str(named)) if "/" in str(named) else str(named)
    found = shutil.which(command, path=path)
    if found is None:
        raise Refused(
            f"{model.name}: `command` is {str(named)!r}, and there is no such program",
            hint="the path of a `vllm`, or of a Python that has it",
        )
    is_python = Path(found).name.startswith("python")
    return [found, "-m", MODULE] if is_python else [found]


def _environment(world: World, key: str, *, offline: bool) -> Mapping[str, str]:
    """What the engine sees: everything but secrets, and nothing that calls home."""
    kept = {
        name: value
        for name, value in world.environ.items()
        if world.redact(value) == value or name in HUGGING_FACE or name.lower().endswith("_proxy")
    }
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    default = {"VLLM_HOST_IP": "127.0.0.1", **({"HF_HUB_OFFLINE": "1"} if offline else {})}
    return {**default, **kept, **quiet, KEY_ENV: key}


def _adapters(model: Model) -> Mapping[str, str]:
    lora = model.options.get("lora")
    return {name: str(path) for name, path in lora.items()} if isinstance(lora, Mapping) else {}


def _seconds(model: Model) -> float:
    given = model.options.get("startup_timeout")
    return float(given) if isinstance(given, (int, float)) else STARTUP


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
