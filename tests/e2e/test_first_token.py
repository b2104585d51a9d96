"""The time to the first token in real runs: streamed where needed, and never from the cache."""

from __future__ import annotations

from pathlib import Path

from tests.projects import make_project
from tests.servers.faulty import FaultServer
from tests.servers.streaming import stream, text

RULE = {"latency": {"of": "first_token", "p95": 5}}
SCORER = {"latency": {"of": "first_token", "max": 5}}


def test_a_rule_about_the_first_token_streams_the_calls_and_gets_the_seconds(
    tmp_path: Path,
) -> None:
    with FaultServer(then=stream(*text("Question ", "0"), pause=0.02)) as server:
        project = make_project(tmp_path / "shop", server.url, cases=60)
        project.evalset(scorers=[{"contains": "Question"}], gate={"rules": ["errors", RULE]})
        first = project.run("eval", "--json")
        assert first.code == 0, first.text
        latency = first.finding("latency")
        assert latency["decision"] == "PASS"
        assert "first token p95 0.0" in latency["why"]
        assert server.last is not None
        assert server.last.body["stream"] is True
        side = first.evalset["candidate"]
        assert 0.01 < side["first_token_p50"] < side["latency_p50"]
        assert "first token 0.0" in project.run("eval", "--no-cache", "--verbose").out

        calls = server.requests
        again = project.run("eval", "--json")
        assert server.requests == calls  # answered from the store, which holds no clock
        assert again.finding("latency")["decision"] == "INCONCLUSIVE"
        assert again.evalset["candidate"].get("first_token_p50") is None


def test_a_scorer_of_the_first_token_streams_and_other_evalsets_do_not(tmp_path: Path) -> None:
    with FaultServer(then=stream(*text("Question ", "0"))) as server:
        project = make_project(tmp_path / "shop", server.url, cases=3)
        project.evalset(scorers=[SCORER])
        result = project.run("eval", "--json")
        assert server.last is not None
        assert server.last.body["stream"] is True
        assert result.metric("latency")["candidate"] == 1.0
    with FaultServer() as plain:
        project = make_project(tmp_path / "other", plain.url, cases=3)
        project.run("eval", "--json")
        assert plain.last is not None
        assert "stream" not in plain.last.body


def test_a_verdict_about_the_first_token_is_proven_from_its_evidence(tmp_path: Path) -> None:
    with FaultServer(then=stream(*text("Question ", "0"))) as server:
        project = make_project(tmp_path / "shop", server.url, cases=60)
        rules = ["errors", "coverage", {"no_worse": "pass"}, RULE]
        project.evalset(scorers=[{"contains": "Question"}], gate={"rules": rules})
        project.promote_v1()
    proven = project.run("verify", "production")
    assert proven.code == 0, proven.text
    assert "1 verdict recomputed" in proven.text
    (rows,) = project.root.glob(".llmops/evidence/*/*.cases.jsonl")
    assert '"first_token"' in rows.read_text(encoding="utf-8")
