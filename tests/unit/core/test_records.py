"""What was written by an earlier llmops keeps its name when later ones know more fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.digest import InvalidRecord, digest
from llmops_cli.core.records import Event, Version
from tests.unit.releases import event, released


def an_event(root: Path) -> Event:
    return event(released(root))


def test_an_event_without_a_later_field_keeps_its_digest(tmp_path: Path) -> None:
    written = dict(an_event(tmp_path).record())
    del written["accept_inconclusive"]
    read = Event.of(written)
    assert not read.accept_inconclusive
    assert digest(Event.SCHEMA, written) == read.digest
    assert written == read.record()


def test_a_version_without_a_later_field_keeps_its_digest(tmp_path: Path) -> None:
    written = dict(released(tmp_path).record())
    del written["files"]
    assert digest(Version.SCHEMA, written) == Version.of(written).digest


def test_a_field_of_a_later_llmops_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match="unknown field"):
        Event.of({**an_event(tmp_path).record(), "signature": "…"})


def test_what_was_read_equals_what_was_written(tmp_path: Path) -> None:
    made = an_event(tmp_path)
    assert made == Event.of(made.record())
    assert made.digest == Event.of(made.record()).digest
