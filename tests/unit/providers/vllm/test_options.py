"""What a model says about its engine, and what is told of the log of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Model
from llmops_cli.providers.vllm.model import command_of, last_words
from llmops_cli.providers.vllm.options import check, ready, runs, served_name

TWO = {"a": "adapters/a", "b": "adapters/b"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"base_url": "http://x/v1", "args": []}, "`base_url` names a server that runs"),
        ({"args": ["--port=80"]}, "`args` sets --port"),
        ({"args": ["--served_model_name", "x"]}, "`args` sets --served-model-name"),
        ({"model": "--help"}, "'--help' is no name of a model"),
        ({"startup_timeout": 0}, "more than 0 seconds"),
        ({"lora": {"org/tiny": "x"}}, "needs a name of its own"),
        ({"lora": {"a=b": "x"}}, "needs a name of its own"),
        ({"lora": TWO}, "`served_name` says which answers: org/tiny, a, b"),
        ({"lora": TWO, "served_name": "c"}, "`served_name` is 'c', and there is org/tiny, a, b"),
        ({"served_name": "c"}, "`served_name` is 'c', and there is org/tiny"),
    ],
)
def test_what_contradicts_itself_is_found_when_the_project_is_read(
    written: dict[str, Any], said: str, tmp_path: Path
) -> None:
    problem = check({"model": "org/tiny", **written}, PluginContext(root=tmp_path, environ={}))
    assert problem is not None
    assert said in problem


def test_what_makes_sense_is_let_through(tmp_path: Path) -> None:
    for written in (
        {"lora": TWO, "served_name": "b"},
        {"base_url": "http://x/v1", "served_name": "anything"},
        {"args": ["--max-model-len", 512, "-0.5"]},
    ):
        assert (
            check({"model": "org/tiny", **written}, PluginContext(root=tmp_path, environ={}))
            is None
        )


def a_model(**options: Any) -> Model:
    return Model(name="local", provider="vllm", model="org/tiny", options=options)


def test_an_adapter_answers_unless_the_model_itself_is_named() -> None:
    assert served_name(a_model()) == "org/tiny"
    assert served_name(a_model(lora={"tuned": "x"})) == "tuned"
    assert served_name(a_model(lora={"tuned": "x"}, served_name="org/tiny")) == "org/tiny"


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, None),
        ({"args": ["--max-model-len", 512, "--gpu-memory-utilization=0.5"]}, None),
        ({"args": ["--trust-remote-code"]}, "vllm serve org/tiny --trust-remote-code"),
        ({"args": ["--middleware", "a.b"]}, "vllm serve org/tiny --middleware a.b"),
        ({"command": "/opt/vllm"}, "/opt/vllm serve org/tiny"),
    ],
)
def test_arguments_that_may_run_code_need_trust(
    options: dict[str, Any], command: str | None
) -> None:
    problem = runs(a_model(**options))
    assert (None if problem is None else " ".join(problem)) == command


def test_a_python_is_started_with_the_module_and_a_missing_program_is_refused(
    tmp_path: Path,
) -> None:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n", encoding="utf-8")
    python.chmod(0o755)
    context = PluginContext(root=tmp_path, environ={"PATH": "/nowhere"})
    started = command_of(a_model(command="bin/python3"), context)
    assert started[:4] == (str(python), "-m", "vllm.entrypoints.cli.main", "serve")
    for missing in ({"command": "bin/vllm"}, {"command": "no-such-vllm"}):
        with pytest.raises(Refused, match="there is no such program"):
            ready(a_model(**missing), context)


def test_the_last_words_of_a_log_are_its_errors_without_what_stands_before_them() -> None:
    log = [
        "(APIServer pid=1) INFO 11-21 09:39:20 [api.py:1] starting",
        "(EngineCore pid=2) ERROR 11-21 09:39:42 [core.py:7] ValueError: no such weights",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed.",
        "nothing else",
        "",
    ]
    assert last_words(log) == [
        "ValueError: no such weights",
        "RuntimeError: Engine core initialization failed.",
    ]
    assert last_words(["one", "", "two", "three", "four"]) == ["two", "three", "four"]
