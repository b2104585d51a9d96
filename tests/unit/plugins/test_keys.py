from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.prompt import ScorerSpec
from llmops_cli.plugins.catalog import scorer_digest, volatile
from llmops_cli.plugins.scorers import SCORERS

FILES = {
    "a.json": b"{}",
    "same.json": b"{}",
    "b.json": b"[]",
    "own.py": b"def f(): ...",
    "beside.py": b"X = 1",
}


def key(
    name: str, options: Mapping[str, Json], files: Mapping[str, bytes] = FILES, judge: str = ""
) -> str:
    spec = ScorerSpec(kind=name, label=name, options=options)
    return scorer_digest(SCORERS[name], spec, lambda path: files[path], judge=judge or None)


def test_a_file_counts_by_its_bytes_and_not_by_where_it_stands() -> None:
    assert key("json_schema", {"schema": "a.json"}) == key("json_schema", {"schema": "same.json"})
    assert key("json_schema", {"schema": "a.json"}) != key("json_schema", {"schema": "b.json"})


def test_a_schema_written_in_the_evalset_reads_no_file() -> None:
    assert key("json_schema", {"schema": {"type": "object"}}, files={})


def test_the_function_of_a_file_counts_too() -> None:
    assert key("python", {"call": "own.py:f"}) != key("python", {"call": "own.py:g"})


def test_the_files_of_an_identity_count_and_so_does_a_revision() -> None:
    named = {"call": "own.py:f", "identity": ["beside.py"]}
    edited = {**FILES, "beside.py": b"X = 2"}
    assert key("python", named) != key("python", named, files=edited)
    assert key("python", {"call": "own.py:f", "identity": 1}) != key(
        "python", {"call": "own.py:f", "identity": 2}
    )


def test_project_code_without_identity_is_scored_again_in_every_run() -> None:
    def lives_for_one_run(**options: Json) -> bool:
        spec = ScorerSpec(kind="python", label="x", options={"call": "own.py:f", **options})
        return volatile(SCORERS["python"], spec)

    assert lives_for_one_run()
    assert not lives_for_one_run(identity=1)
    assert not lives_for_one_run(identity=["beside.py"])


def test_the_judge_s_target_counts() -> None:
    assert key("contains", {}, judge="sha256:a") != key("contains", {}, judge="sha256:b")


def test_an_option_that_is_a_template_counts_as_it_is_written() -> None:
    assert key("contains", {"value": "{{ expected }}"}) != key("contains", {"value": "yes"})


@pytest.mark.parametrize(("extra", "raised"), [("text", MissingExtra), (None, Refused)])
def test_a_library_that_is_not_installed_is_reported_before_any_call(
    extra: str | None, raised: type[Refused]
) -> None:
    kind = replace(SCORERS["rouge"], library="surely-not-installed", extra=extra)
    with pytest.raises(raised) as refused:
        scorer_digest(kind, ScorerSpec(kind="rouge", label="x"), lambda path: FILES[path])
    assert refused.value.hint
