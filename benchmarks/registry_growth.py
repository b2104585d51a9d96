"""Measure the size of a registry after years: the tree after `gc`, and git's history.

    python -m benchmarks.registry_growth --prompts 60 --weeks 104 --cases 500

Every week every prompt gets a new version, evidence of all its cases and a promotion, and all of
it is committed; every fourth week `gc` clears away what nothing cites. Nothing is simulated but
the models: versions, evidence and events are written by the code that `release`, `measure` and
`promote` write with, answers are texts of the given length from real English words, and half of a
version's answers equal those of the version before it. Weeks can be fewer than asked for
(`--measured`), and the rest is then a straight line through the last of them: the table says so.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.core.digest import digest
from llmops_cli.core.policy import Decision, Environment, Policy, Verdict
from llmops_cli.core.prompt import Message, Model, Prompt, Target
from llmops_cli.core.records import (
    EvalsetFacts,
    Measurement,
    Provenance,
    SideFacts,
    Version,
)
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    OWN_BASELINE,
    CaseResult,
    Completion,
    Metric,
    SideResult,
    Trial,
)
from llmops_cli.registry.deliver import EventOrigin
from llmops_cli.registry.gc import gc
from llmops_cli.registry.promote import PromotionRequest, append_promotion
from llmops_cli.registry.release import release_target
from llmops_cli.stores.registry import Registry

ROOT = Path(__file__).parents[1]
SCORERS = ("contains", "length")
BASELINE_TRIALS = 3
PRODUCTION = Environment(name="production")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The parameters of the simulated registry."""

    prompts: int
    cases: int
    words: int
    """Of an answer."""
    outputs: bool
    """Whether texts are committed."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Megabytes after a number of weeks."""

    week: int
    tree: float
    thin: float
    """What a clone of depth 1 fetches."""
    history: float
    files: int


class PluginContext:
    """A repository, and answers that are made up."""

    def __init__(self, root: Path, load: Load) -> None:
        self.registry = Registry(root)
        self._root = root
        self._load = load
        self._random = random.Random(1)
        self._words = _vocabulary()
        self._answers: dict[tuple[int, int, str], list[Completion]] = {}

    def week(self, week: int) -> None:
        """One version, its evidence and its promotion for every prompt; one commit."""
        for prompt in range(self._load.prompts):
            self._promoted(prompt, week)
        if week % 4 == 0:
            gc(self.registry, {}, dry_run=False)
        git(self._root, "add", "-A")
        git(self._root, "commit", "-qm", f"week {week}")

    def _promoted(self, prompt: int, week: int) -> None:
        name = f"prompt{prompt}"
        at = f"2026-01-01T00:00:{week % 60:02}+00:00"
        who = Provenance(by="Ada Tester <ada@example.org>", at=at, commit="a" * 40)
        target = _target(name, week, self._say(300))
        sources = {f"{name}.prompt.yml": str(target.prompt.messages[0].content).encode()}
        version = release_target(
            self.registry, target, sources, who, redact=lambda text: text
        ).version
        facts = _facts(name, self._load.cases)
        rows, texts = self._rows(prompt, version)
        running = self.registry.pointer("production", name)
        before = self.registry.version(name, running.to_version.number) if running else None  # type: ignore[union-attr]  # a pointer moves to something
        sides = dict.fromkeys((CANDIDATE, OWN_BASELINE), _side(version, at))
        if before:
            sides[BASELINE] = _side(before, at)
        measurement = Measurement(
            name=name,
            number=version.number,
            environment="production",
            llmops="0.1.0",
            sides=sides,
            evalsets=(facts,),
            verdict=Verdict(decision=Decision.PASS, why="no worse", findings=()),
            made=who,
        )
        kept = texts if self._load.outputs else None
        self.registry.write_evidence(measurement, rows, kept, redact=lambda text: text)
        done = append_promotion(
            self.registry,
            PromotionRequest(address=version.address, reason="weekly", initial=running is None),
            PRODUCTION,
            evalsets=[facts],
            origin=EventOrigin(actor=who.by, at=at),
        )
        assert done.exit_code == 0, done.why

    def _rows(self, prompt: int, version: Version) -> tuple[list[CaseResult], list[Completion]]:
        rows, texts = [], []
        for case in range(self._load.cases):
            gate = self._completions(prompt, case, "gate", 1)
            own = self._completions(prompt, case, "baseline", BASELINE_TRIALS)
            theirs = self._answers.get((prompt, case, "ran"), own)
            self._answers[prompt, case, "ran"] = own
            request = digest("request", [version.target, case])
            before = digest("request", [version.number - 1, prompt, case])
            facts = digest("facts", [prompt, case])
            rows.append(
                CaseResult(
                    evalset=version.name,
                    case=f"case-{case:04}",
                    tags=("refund",),
                    candidate=_result(request, facts, gate),
                    baseline=_result(before, facts, theirs) if version.number > 1 else None,
                    others={OWN_BASELINE: _result(request, facts, own)},
                )
            )
            texts += [*gate, *own]  # theirs are committed already
        return rows, texts

    def _completions(self, prompt: int, case: int, purpose: str, count: int) -> list[Completion]:
        """Answers; half of them are what the version before answered."""
        known = self._answers.get((prompt, case, purpose), [])
        if not known or self._random.random() < 0.5:
            known = [Completion(text=self._say(self._load.words)) for _ in range(count)]
            self._answers[prompt, case, purpose] = known
        return known

    def _say(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, k=words))

    def weight(self, week: int) -> Weight:
        """Return the size of the tree and of the packed history."""
        git(self._root, "gc", "-q")
        folder = self._root / ".llmops"
        files = [path for path in folder.rglob("*") if path.is_file()]
        return Weight(
            week=week,
            tree=sum(path.stat().st_size for path in files) / 1e6,
            thin=self._thin(),
            history=_packed(self._root),
            files=len(files),
        )

    def _thin(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            git(self._root, "clone", "-q", "--depth=1", f"file://{self._root}", str(clone))
            return _packed(clone)


def _vocabulary() -> list[str]:
    """Words of the repository's own evalsets, as often as they are used there."""
    return (ROOT / "evalsets" / "qa.jsonl").read_text(encoding="utf-8").split()


def _target(name: str, week: int, text: str) -> Target:
    prompt = Prompt(
        name=name,
        model="fast",
        parameters={"temperature": 0},
        inputs={"question": {"type": "string"}},
        messages=(
            Message(role="system", content=f"{week} {text}"),
            Message(role="user", content="{{ question }}"),
        ),
        path=f"prompts/{name}.prompt.yml",
    )
    return Target(prompt=prompt, model=Model(name="fast", provider="openai", model="tiny"))


def _facts(name: str, cases: int) -> EvalsetFacts:
    return EvalsetFacts(
        evalset=name,
        digest=digest("llmops/evalset/v1", [name, cases]),
        cases=cases,
        policy=Policy(),
        metrics=tuple(
            Metric(label=each, scorer=digest("scorer", each), minimum=1.0) for each in SCORERS
        ),
    )


def _side(version: Version, at: str) -> SideFacts:
    return SideFacts(
        version=version.number,
        target=version.target,
        model="openai/tiny",
        served_models=("tiny-2026-01",),
        oldest=at,
        newest=at,
    )


def _result(request: str, facts: str, completions: Sequence[Completion]) -> SideResult:
    trials = tuple(
        Trial(
            output=each.digest,
            scores=dict.fromkeys(SCORERS, 1.0),
            finish_reason="stop",
            cost=0.000123 + len(each.text or "") * 1e-7,
            input_tokens=400,
            output_tokens=len(each.text or "") // 4,
            served_model="tiny-2026-01",
        )
        for each in completions
    )
    return SideResult(request=request, facts=facts, planned=len(trials), trials=trials)


def _packed(root: Path) -> float:
    output = git(root, "count-objects", "-v")
    sizes = dict(line.split(": ") for line in output.splitlines())
    return (int(sizes["size-pack"]) + int(sizes["size"])) * 1024 / 1e6


def git(folder: Path, *arguments: str) -> str:
    """Return the output of git."""
    identity = ["-c", "user.name=Ada Tester", "-c", "user.email=ada@example.org"]
    command = ["git", "-C", str(folder), *identity, "-c", "gc.auto=0", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--weeks", type=int, default=104)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--words", type=int, default=40, help="of an answer")
    parser.add_argument("--no-outputs", action="store_true", help="evidence: {outputs: none}")
    parser.add_argument("--measured", type=int, help="weeks that are really run; default: all")
    options = parser.parse_args()
    measured = options.measured or options.weeks
    load = Load(
        prompts=options.prompts,
        cases=options.cases,
        words=options.words,
        outputs=not options.no_outputs,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        git(root, "init", "-q", "-b", "main")
        context, began = PluginContext(root, load), time.monotonic()
        weights = []
        for week in range(1, measured + 1):
            context.week(week)
            if week % 4 == 0 and week >= measured - 8:
                weights.append(context.weight(week))
        seconds = time.monotonic() - began
    print(f"{'week':>5} {'tree MB':>8} {'depth 1 MB':>11} {'history MB':>11} {'files':>7}")
    for each in weights:
        sizes = f"{each.tree:>8.1f} {each.thin:>11.1f} {each.history:>11.1f} {each.files:>7}"
        print(f"{each.week:>5} {sizes}")
    if measured < options.weeks:
        print(_extrapolated(weights, options.weeks))
    print(f"{seconds:.0f} s")


def _extrapolated(weights: Sequence[Weight], weeks: int) -> str:
    """A straight line through the last two."""
    one, two = weights[-2:]
    steps = (weeks - two.week) / (two.week - one.week)
    tree = two.tree + (two.tree - one.tree) * steps
    history = two.history + (two.history - one.history) * steps
    files = two.files + (two.files - one.files) * steps
    thin = two.thin + (two.thin - one.thin) * steps
    line = f"{weeks:>5} {tree:>8.1f} {thin:>11.1f} {history:>11.1f} {files:>7.0f}"
    return f"{line}   a straight line, not measured"


if __name__ == "__main__":
    main()
