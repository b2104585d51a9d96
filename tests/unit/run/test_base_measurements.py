"""Under `--base`, nothing that a change brings counts as measured.

Each test is an attack of someone who may change every file of a pull request, and its store.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.policy import Decision
from llmops_cli.core.records import Evidence, Version
from llmops_cli.core.result import BASELINE, CANDIDATE, OWN_BASELINE, CaseResult, Completion
from llmops_cli.stores.codec import seal
from llmops_cli.stores.registry import Registry
from llmops_cli.stores.run_file import open_run
from tests.e2e.judging import add_judge
from tests.git_project import git
from tests.projects import Project, make_cases
from tests.servers.faulty import FaultServer, Server
from tests.unit.gated_project import CASES, gate, promoted, release, set_gate, worsen
from tests.unit.run.test_workspace import committed

LOST = 15


@pytest.fixture
def evil() -> Iterator[Server]:
    """A server of the attacker, whose answers all pass."""
    with FaultServer() as running:
        yield running


@pytest.fixture
def attacked(running: Project, server: Server) -> Project:
    """Production runs v1 at `main`; the change makes the prompt lose half of its cases."""
    trust(running, running.url)
    committed(running)
    worsen(running, server, LOST)
    return running


def trust(project: Project, url: str) -> None:
    """Let a change send anything to the server at `url`."""
    project.settings |= {"trust": [url.removesuffix("/v1")]}
    project.llmops_yaml()


def at_address(project: Project, url: str) -> None:
    """Let the project's model answer at `url`."""
    project.url = url
    project.llmops_yaml()


def forged_evidence(project: Project, evil: Server) -> Evidence:
    """Write evidence "of v1" with good answers to the candidate and bad ones to v1's requests."""
    address = project.url
    at_address(project, evil.url)
    out = project.root / "forged.jsonl"
    gate(project, out=out)
    at_address(project, address)
    run, registry = open_run(out), Registry(project.root)
    (known,) = registry.evidence("support", 1)
    rows, texts = [], []
    for entry in run.entries():
        if isinstance(entry, CaseResult):
            good = entry.sides[CANDIDATE]
            bad = replace(
                entry.sides[BASELINE],
                trials=tuple(
                    replace(trial, scores={"exact": 0.0}) for trial in entry.sides[BASELINE].trials
                ),
            )
            rows.append(replace(entry, candidate=good, baseline=None, others={OWN_BASELINE: bad}))
        elif isinstance(entry[1], Completion):
            texts.append(entry[1])
    out.unlink()
    measurement = replace(
        known.measurement,
        sides=dict.fromkeys((CANDIDATE, OWN_BASELINE), known.candidate),
    )
    return registry.write_evidence(measurement, rows, texts, redact=str)


def verdict(word: str) -> str:
    """The answer of a judge."""
    return json.dumps({"reason": "because", "verdict": word})


def forget(project: Project) -> None:
    """Remove the store, as a fresh checkout has none."""
    for file in (project.root / ".llmops/store").glob("results.sqlite3*"):
        file.unlink()


def test_added_evidence_answers_nothing_and_is_named(
    attacked: Project, server: Server, evil: Server
) -> None:
    forged = forged_evidence(attacked, evil)
    forget(attacked)
    before = server.requests
    result = gate(attacked, base="main")
    assert result.decision is Decision.FAIL
    assert server.requests - before == CASES
    (note,) = [text for text in result.report.notes if "evidence" in text]
    assert note.startswith("evidence added by this change is not used: ")
    assert forged.file.name in note


@pytest.mark.parametrize("base", ["main", None])
def test_evidence_of_a_version_answers_only_its_own_requests(
    attacked: Project, evil: Server, base: str | None
) -> None:
    """Even if it was merged before the change that it was made for."""
    prompt = attacked.read("prompts/support.prompt.yml")
    forged_evidence(attacked, evil)
    attacked.prompt()
    git(attacked.root, "add", "-A")
    git(attacked.root, "commit", "-qm", "evidence")
    attacked.write("prompts/support.prompt.yml", prompt)
    forget(attacked)
    assert gate(attacked, base=base).prompt.evalsets[0].metrics[0].candidate == 0.5


def test_answers_of_another_address_are_not_reused_once_it_is_reverted(
    attacked: Project, server: Server, evil: Server
) -> None:
    address = attacked.url
    at_address(attacked, evil.url)
    assert gate(attacked).decision is Decision.PASS  # the first push, against a base of its own
    at_address(attacked, address)
    assert gate(attacked, base="main").decision is Decision.FAIL
    calls = server.requests
    assert gate(attacked, base="main").decision is Decision.FAIL
    assert server.requests == calls  # the answers of main's own model are reused


@pytest.mark.parametrize("change", ["headers", "path"])
def test_a_model_that_the_base_lacks_is_measured_in_every_run(
    attacked: Project, server: Server, change: str
) -> None:
    if change == "path":
        attacked.url = attacked.url.replace("/v1", "/mine/v1")
    attacked.model |= {"headers": {"x-route": "mine"}} if change == "headers" else {}
    attacked.llmops_yaml()
    calls = []
    for _ in range(2):
        before = server.requests
        assert gate(attacked, base="main").decision is Decision.FAIL
        calls.append(server.requests - before)
    assert calls == [CASES, CASES]  # v1 answers from its evidence at main


def test_scores_of_another_judge_are_not_reused_once_it_is_reverted(
    running: Project, evil: Server
) -> None:
    with FaultServer(reply=lambda _: verdict("fail")) as judge:
        evil.reply = lambda _: verdict("pass")
        add_judge(running, judge.url)
        running.evalset(scorers=[{"rubric": {"criteria": "Is it polite?"}}])
        committed(running)
        running.prompt(system="Worse.")
        add_judge(running, evil.url)
        assert gate(running).passing.candidate == 1.0  # the first push, against a base of its own
        add_judge(running, judge.url)
        assert gate(running, base="main").passing.candidate == 0.0
        calls = judge.requests
        assert gate(running, base="main").passing.candidate == 0.0
        assert judge.requests == calls


def test_a_judge_that_the_base_lacks_judges_in_every_run(running: Project, evil: Server) -> None:
    evil.reply = lambda _: verdict("fail")
    trust(running, evil.url)
    add_judge(running, evil.url)
    running.evalset(scorers=[{"rubric": {"criteria": "Is it polite?"}}])
    committed(running)
    running.prompt(system="Worse.")
    add_judge(running, evil.url, headers={"x-route": "mine"})
    calls = []
    for _ in range(2):
        before = evil.requests
        assert gate(running, base="main").passing.candidate == 0.0
        calls.append(evil.requests - before)
    assert calls[0] == calls[1] > 0


def test_a_run_file_counts_if_the_command_names_it(attacked: Project, server: Server) -> None:
    out = attacked.root.parent / "run.jsonl"
    gate(attacked, base="main", out=out)
    forget(attacked)
    calls = server.requests
    gate(attacked, base="main", reuse=[out])
    assert server.requests == calls
    gate(attacked, base="main")  # stored by now, and not named
    assert server.requests == calls + CASES


@pytest.mark.parametrize("base", ["main", None])
def test_scores_of_changed_code_are_not_reused_once_it_is_reverted(
    attacked: Project, base: str | None
) -> None:
    """A trusted scorer imports a file that its identity does not name."""
    honest = "def compare(text, case): return float(text == case['expected'])\n"
    attacked.write("scorers/helper.py", honest)
    attacked.write(
        "scorers/own.py",
        "from scorers.helper import compare\n\ndef check(text, case): return compare(text, case)\n",
    )
    attacked.evalset(scorers=[{"python": {"call": "scorers/own.py:check", "identity": 1}}])
    attacked.settings["trust"] = ["scorers/*.py"]
    attacked.llmops_yaml()
    git(attacked.root, "add", "-A", "--", "scorers", "evalsets", "llmops.yaml")
    git(attacked.root, "commit", "-qm", "own scorer")

    attacked.write("scorers/helper.py", "def compare(text, case): return 1.0\n")
    # the first push; with a base, the code of the base scores
    assert gate(attacked, base=base).passing.candidate == (0.5 if base else 1)
    attacked.write("scorers/helper.py", honest)
    assert gate(attacked, base="main").passing.candidate == 0.5


def forge_version(versions: Path, number: int, *, as_number: int) -> None:
    """Give a version another number; every digest in it is right."""
    folder = (versions / f"support@v{number}").rename(versions / f"support@v{as_number}")
    file = folder / "version.json"
    record = json.loads(file.read_text()) | {"number": as_number}
    version = Version.of({name: value for name, value in record.items() if name != "digest"})
    file.write_text(json.dumps(seal(version)))


def test_a_version_that_a_change_replaces_is_no_anchor(running: Project, server: Server) -> None:
    set_gate(running, {"margin": 0.1, "rules": [{"anchor": "v1"}]})
    running.prompt(system="Second.")
    promoted(running)
    committed(running)
    worsen(running, server, LOST)
    assert gate(running, base="main").decision is Decision.FAIL
    versions = running.root / ".llmops/versions"
    shutil.rmtree(versions / "support@v1")
    release(running)
    forge_version(versions, 3, as_number=1)
    with pytest.raises(IntegrityBroken, match=r"v1/version.json: it is not the version at main"):
        gate(running, base="main")


def test_answers_that_a_change_records_are_a_finding(tmp_path: Path) -> None:
    project = Project(root=tmp_path)
    models = {"tiny": {"provider": "replay", "file": "said.jsonl"}}
    project.write("llmops.yaml", json.dumps({"models": models, "gate": {"margin": 0.1}}))
    project.prompt()
    project.cases(make_cases(CASES))
    project.evalset()
    answers = [{"id": case["id"], "text": case["expected"]} for case in make_cases(CASES)]
    project.write("said.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    committed(project)
    assert not gate(project, base="main").findings("models")
    answers[0]["text"] += "!"
    project.write("said.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    finding = gate(project, base="main").finding("models")
    assert "other recorded answers (said.jsonl)" in finding.why
