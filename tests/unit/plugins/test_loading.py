from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.plugins.catalog import load, load_scorer, open_provider, open_scorer, wrong_options
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS


def test_a_target_names_a_module_and_an_attribute() -> None:
    assert load("os.path:join")("a", "b") == "a/b"  # type: ignore[operator]  # a function


def test_a_missing_library_of_an_extra_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_a_library.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = replace(SCORERS["rouge"], target="needs_a_library:score")
    with pytest.raises(MissingExtra) as refused:
        load_scorer(kind)
    assert str(refused.value) == "the scorer 'rouge' needs a library that is not installed"
    assert refused.value.hint == "pip install 'llmops-cli[text]'"


@pytest.mark.parametrize("target", ["surely_not.there:score", "os:surely_not_there"])
def test_a_target_that_is_not_there_is_refused_and_no_matter_of_extras(target: str) -> None:
    with pytest.raises(Refused, match="the scorer 'rouge' cannot be loaded from") as refused:
        load_scorer(replace(SCORERS["rouge"], target=target))
    assert not isinstance(refused.value, MissingExtra)


def test_a_missing_extra_is_reported_on_opening(tmp_path: Path) -> None:
    kind = replace(SCORERS["json_schema"], target="surely_not.there:x")
    with pytest.raises(Refused):
        open_scorer(kind, PluginContext(root=tmp_path, environ={}))


def test_a_provider_s_code_is_what_opens_it() -> None:
    assert callable(open_provider(PROVIDERS["replay"]))


def test_options_are_looked_at_by_the_scorer_s_own_check(tmp_path: Path) -> None:
    context = PluginContext(root=tmp_path, environ={})
    assert wrong_options(SCORERS["exact"], {"value": "x"}, context) is None
    assert wrong_options(SCORERS["regex"], {"pattern": "("}, context) is not None
