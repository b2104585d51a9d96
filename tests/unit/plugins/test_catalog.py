from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.plugins.catalog import catalog, load_scorer
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
    found = catalog([])
    assert found.scorers.keys() == SCORERS.keys()
    assert dict(found.providers) == dict(PROVIDERS)


def test_a_plug_in_adds_its_rows(site: Path) -> None:
    installed(
        site,
        "plugged",
        "[console_scripts]\nx = y:z\n\n[llmops.scorers]\nshouts = plugged:shouts\n"
        "[llmops.providers]\nmute = plugged:mute\n",
    )
    found = catalog([str(site), str(site)])
    assert found.scorers.keys() - SCORERS.keys() == {"shouts"}
    assert found.providers.keys() - PROVIDERS.keys() == {"mute"}
    assert found.scorers["shouts"].minimum == 1.0
    assert callable(load_scorer(found.scorers["shouts"]))


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
    found = catalog([str(tmp_path / "absent"), str(tmp_path / "some.zip")])
    assert found.scorers.keys() == SCORERS.keys()


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
