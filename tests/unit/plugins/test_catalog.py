from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import ScorerSpec
from llmops_cli.plugins.catalog import (
    catalog,
    load,
    open_provider,
    open_scorer,
    scorer_digest,
    volatile,
    wrong_options,
)
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS
from tests.counting import calls_made_by

PLUG_IN = """
from llmops_cli.core.ports import ProviderKind, ScorerKind

shouts = ScorerKind(name="shouts", target="{module}:score", summary="The answer shouts.")
mute = ProviderKind(name="mute", target="{module}:open_mute", summary="Says nothing.")
contains = ScorerKind(name="contains", target="x:y", summary="Another one.")
not_a_row = "a text"

def score(case, completion):
    return completion.text
"""


def installed(site: Path, module: str, entry_points: str) -> None:
    """Puts a distribution called `module` into the folder `site`, as pip would."""
    (site / f"{module}.py").write_text(PLUG_IN.format(module=module))
    metadata = site / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_built_in_rows_are_there() -> None:
    rows = catalog([])
    assert rows.scorers.keys() == SCORERS.keys()
    assert dict(rows.providers) == dict(PROVIDERS)


def test_a_plug_in_adds_its_rows(site: Path) -> None:
    installed(
        site,
        "plugged",
        "[console_scripts]\nx = y:z\n\n[llmops.scorers]\nshouts = plugged:shouts\n"
        "[llmops.providers]\nmute = plugged:mute\n",
    )
    rows = catalog([str(site), str(site)])
    assert rows.scorers.keys() - SCORERS.keys() == {"shouts"}
    assert rows.providers.keys() - PROVIDERS.keys() == {"mute"}
    assert rows.scorers["shouts"].minimum == 1.0
    assert callable(load(rows.scorers["shouts"].target))


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("shouts = absent:shouts", "ModuleNotFoundError: No module named 'absent'"),
        ("shouts = broken:whispers", "AttributeError: module 'broken' has no attribute"),
        ("shouts = broken:not_a_row", "it is a str, not a ScorerKind"),
        ("shouts = broken:mute", "it is a ProviderKind, not a ScorerKind"),
        ("loud = broken:shouts", "the row it names is called 'shouts'"),
        ("contains = broken:contains", "the name is taken"),
    ],
)
def test_a_broken_entry_point_is_named_and_refused(entry: str, wrong: str, site: Path) -> None:
    installed(site, "broken", f"[llmops.scorers]\n{entry}\n")
    sys.modules.pop("broken", None)
    with pytest.raises(Refused) as refused:
        catalog([str(site)])
    name, _, target = entry.partition(" = ")
    assert refused.value.message.startswith(
        f"the entry point {name!r} of llmops.scorers ({target}) is broken: {wrong}"
    )
    assert refused.value.exit_code == 2


def test_a_module_that_fails_on_import_is_named(site: Path) -> None:
    installed(site, "failing", "[llmops.scorers]\nx = failing:x\n")
    (site / "failing.py").write_text("1 / 0\n")
    with pytest.raises(Refused, match="ZeroDivisionError"):
        catalog([str(site)])


def test_folders_that_are_not_there_and_zip_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "some.zip").write_bytes(b"PK")
    rows = catalog([str(tmp_path / "absent"), str(tmp_path / "some.zip")])
    assert rows.scorers.keys() == SCORERS.keys()


def test_looking_for_plug_ins_is_little_work() -> None:
    catalog()
    packages = len(list(distributions()))
    assert calls_made_by(catalog) < 100 * packages


def test_the_catalog_imports_no_vendor_and_no_scorer() -> None:
    code = (
        "import sys; from llmops_cli.plugins.catalog import catalog; catalog();"
        "print(*sorted(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    heavy = {"numpy", "pydantic", "jsonschema", "regex", "rapidfuzz", "anyio", "openai"}
    assert (
        loaded & (heavy | {"anthropic", "importlib.metadata", "llmops_cli.scorers.text"}) == set()
    )


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    return PluginContext(root=tmp_path, environ={})


def test_a_target_names_a_module_and_an_attribute() -> None:
    assert load("os.path:join")("a", "b") == "a/b"  # type: ignore[operator]  # a function


def test_a_missing_library_of_an_extra_names_what_to_install(
    context: PluginContext, site: Path
) -> None:
    (site / "needs_a_library.py").write_text("import surely_not_installed\n")
    kind = replace(SCORERS["rouge"], target="needs_a_library:score")
    with pytest.raises(MissingExtra) as refused:
        open_scorer(kind, context)
    assert str(refused.value) == "the scorer 'rouge' needs a library that is not installed"
    assert refused.value.hint == "pip install 'llmops-cli[text]'"


@pytest.mark.parametrize("name", ["rouge", "json_schema"])
@pytest.mark.parametrize("target", ["surely_not.there:score", "os:surely_not_there"])
def test_a_target_that_is_not_there_is_refused_and_no_matter_of_extras(
    name: str, target: str, context: PluginContext
) -> None:
    with pytest.raises(Refused, match=f"the scorer '{name}' cannot be loaded from") as refused:
        open_scorer(replace(SCORERS[name], target=target), context)
    assert not isinstance(refused.value, MissingExtra)


def test_a_provider_s_code_is_what_opens_it() -> None:
    assert callable(open_provider(PROVIDERS["replay"]))


def test_options_are_looked_at_by_the_scorer_s_own_check(context: PluginContext) -> None:
    assert wrong_options(SCORERS["exact"], {"value": "x"}, context) is None
    assert wrong_options(SCORERS["regex"], {"pattern": "("}, context) is not None


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
