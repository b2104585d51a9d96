"""Calls are stored once, by the hour, with the messages of those that may become cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.redact import Redactor
from llmops_cli.core.watch import SpanNames
from llmops_cli.watch import store as stores
from llmops_cli.watch.store import HOUR, TraceStore
from tests.traces import START, request, span, write_hours

NAMES = SpanNames()


def make_store(tmp_path: Path, *secrets: str) -> TraceStore:
    return TraceStore(tmp_path, Redactor(secrets))


def test_a_call_is_stored_once_however_often_its_file_is_added(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write_hours(file, 3, 10, lambda _hour, _n: {})
    other = tmp_path / "b.jsonl"
    other.write_text(file.read_text() + json.dumps(request([span(99, START)])) + "\n")
    store = make_store(tmp_path)
    assert store.add([file, file], NAMES)[0] == 30
    assert store.add([other], NAMES)[0] == 1
    assert len(store.read()) == 31


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write_hours(file, 1, 10, lambda _hour, _n: {})
    assert make_store(tmp_path).add([file], NAMES)[1].spans == 10
    again = make_store(tmp_path).add([file], NAMES)[1]
    assert (again.spans, again.lines) == (0, 1)
    with file.open("a") as stream:
        stream.write(json.dumps(request([span(99, START)])) + "\n")
    assert make_store(tmp_path).add([file], NAMES)[0] == 1


def test_late_calls_join_their_hour(tmp_path: Path) -> None:
    late, early = tmp_path / "late.jsonl", tmp_path / "early.jsonl"
    write_hours(early, 5, 4, lambda _hour, _n: {"llmops_version": "v1"})
    late.write_text(json.dumps(request([span(99, START + HOUR, llmops_version="v2")])) + "\n")
    store = make_store(tmp_path)
    store.add([early], NAMES)
    store.add([late], NAMES)
    assert [(calls, versions) for _, calls, _, versions in store.summary()][1] == (5, "v1, v2")
    assert (np.diff(store.read()["time"]) >= 0).all()


def test_batches_give_what_one_batch_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jsonl"
    write_hours(
        file, 4, 25, lambda hour, n: {"llmops_version": f"v{hour}", "error_type": f"e{n % 3}"}
    )
    whole = make_store(tmp_path / "whole")
    whole.add([file], NAMES)
    monkeypatch.setattr(stores, "BATCH", 7)
    parts = make_store(tmp_path / "parts")
    parts.add([file], NAMES)
    assert whole.summary() == parts.summary()
    assert whole.words() == parts.words()


def test_messages_are_kept_of_failures_bad_feedback_slow_calls_and_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SAMPLE", 5)
    monkeypatch.setattr(stores, "SLOWEST", 2)
    spans = [
        span(
            n,
            START + n,
            seconds=60.0 if n in {7, 8} else 1.0,
            gen__ai_input_messages="hello",
            **({"error_type": "timeout"} if n == 3 else {}),
            **({"user_feedback": "down"} if n == 4 else {}),
        )
        for n in range(1, 101)
    ]
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(request(spans)) + "\n")
    store = make_store(tmp_path)
    store.add([file], NAMES)
    kept = {int(row["span"], 16) for row in store.messages()}
    assert {3, 4, 7, 8} <= kept
    assert len(kept) <= 4 + 5


def test_secrets_in_messages_and_texts_are_not_stored(tmp_path: Path) -> None:
    secret = "sk-canary-1234567"
    one = span(1, START, gen__ai_input_messages=f"my key is {secret}", llmops_version=secret)
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(request([one])) + "\n")
    store = make_store(tmp_path, secret)
    store.add([file], NAMES)
    assert "[redacted]" in next(store.messages())["input"]
    assert secret not in str(store.words())


def test_an_attribute_with_a_new_value_in_every_call_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MOST_WORDS", 10)
    file = tmp_path / "a.jsonl"
    write_hours(file, 1, 50, lambda _hour, n: {"http_route": f"/{n}" * 1000})
    store = make_store(tmp_path)
    store.add([file], NAMES)
    assert len(store.words()) <= 11
    assert max(map(len, store.words())) <= stores.LONGEST


@pytest.mark.parametrize("ending", [".npy", ".texts.jsonl.gz"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "a.jsonl"
    write_hours(file, 1, 3, lambda _hour, _n: {"gen__ai_input_messages": "hello"})
    store = make_store(tmp_path)
    store.add([file], NAMES)
    (damaged,) = store.folder.glob(f"*{ending}")
    damaged.write_bytes(b"nonsense")
    with pytest.raises(IntegrityBroken, match="not a file of traces"):
        [store.read(), *store.messages()]
