"""Where prompts are found, in which order, and what is said where there are none."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from llmops_cli import load_prompt
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.stores.bundle import bundle
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, released


def other(folder: Path, text: str) -> Path:
    """Another project, whose production runs one version of support."""
    Registry(folder).append(event(released(folder, text)))
    return folder


def system(address: str = "support@production", **where: str | Path | None) -> str:
    """The system turn of a prompt that was loaded."""
    rendered = load_prompt(address, **where).render(question="?")  # type: ignore[arg-type]  # by name
    return str(rendered.messages[0]["content"])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An application that ships a bundle."""
    made = other(tmp_path / "shipped", "From a package.")
    folder = tmp_path / "lib" / "bot_of_sources"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "prompts.json").write_bytes(bundle(Registry(made), "production").to_bytes())
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, "bot_of_sources", raising=False)
    return "bot_of_sources:prompts.json"


def test_the_argument_comes_first_then_the_variable_then_the_package_then_the_folder(
    root: Path, bundled: Path, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(other(tmp_path / "nearest", "From the nearest."))
    assert system() == "From the nearest."
    assert system(resource=package) == "From a package."
    monkeypatch.setenv("LLMOPS_BUNDLE", str(bundled))
    assert system(resource=package) == "Answer well."
    argument = other(tmp_path / "argument", "From the argument.")
    assert system(source=argument, resource=package) == "From the argument."


def test_a_folder_below_the_project_finds_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = root / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert load_prompt("support@production").version == 2


@pytest.mark.parametrize("end", ["", ".llmops"])
def test_a_folder_is_named_with_or_without_its_registry(root: Path, end: str) -> None:
    assert load_prompt("support@production", source=root / end).version == 2


@pytest.mark.parametrize(
    ("selector", "number"),
    [("production", 2), ("production~1", 1), ("v1", 1), ("v2", 2)],
)
def test_a_bundle_answers_as_the_registry_does(
    root: Path, bundled: Path, selector: str, number: int
) -> None:
    of_root, of_bundle = (
        load_prompt(f"support@{selector}", source=each) for each in (root, bundled)
    )
    assert (of_root.version, of_bundle.version) == (number, number)
    sent = [each.render(question="hi").openai() for each in (of_root, of_bundle)]
    assert sent[0] == sent[1]


def test_a_digest_finds_its_version(root: Path, bundled: Path) -> None:
    target = Registry(root).version("support", 1).target
    for each in (root, bundled):
        assert load_prompt(f"support@{target[:20]}", source=each).version == 1


def test_without_any_source_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=r"no \.llmops/ in .* or above it, and no bundle") as error:
        load_prompt("support@production")
    assert "llmops bundle ENV --out FILE" in str(error.value.hint)


@pytest.mark.parametrize("address", ["support", "support@working", "support@latest"])
def test_a_version_that_was_never_promoted_is_not_loaded(bundled: Path, address: str) -> None:
    with pytest.raises(Refused, match="an application runs what was promoted") as error:
        load_prompt(address, source=bundled)
    assert "support@production" in str(error.value.hint)


def test_a_version_that_a_bundle_lacks_is_reported_with_those_it_has(bundled: Path) -> None:
    with pytest.raises(Refused, match="support@v7 is not in this bundle of production") as error:
        load_prompt("support@v7", source=bundled)
    assert "support@v1" in str(error.value.hint)
    with pytest.raises(Refused, match="is not in this bundle of production"):
        load_prompt("support@staging", source=bundled)


def test_an_unknown_prompt_has_a_nearest_name(root: Path, bundled: Path) -> None:
    with pytest.raises(UnknownName) as error:
        load_prompt("suport@production", source=bundled)
    assert error.value.hint == "did you mean 'support'?"
    with pytest.raises(Refused, match="production does not run suport"):
        load_prompt("suport@production", source=root)


@pytest.mark.parametrize("resource", ["no_such_package:x.json", "tests:none.json", "tests", ":x"])
def test_a_resource_that_is_not_there_is_refused(
    resource: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="no bundle in the package"):
        load_prompt("support@production", resource=resource)


def test_a_bundle_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no bundle: .*gone\.json: No such file") as error:
        load_prompt("support@production", source=tmp_path / "gone.json")
    assert not isinstance(error.value, IntegrityBroken)


def test_a_folder_without_a_registry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no \.llmops/ in"):
        load_prompt("support@production", source=tmp_path)


def test_one_byte_of_a_bundled_prompt_is_found_when_it_is_loaded(bundled: Path) -> None:
    content = bundled.read_bytes()
    start = content.index(b'"support": {')
    words = (b"Answer.", b"Be kind", b"tiny", b'"seq": 2', b"sha256:", b"quarantined")
    places = [content.index(word, start) for word in words]
    places += [content.index(b"sha256:") + 9, content.rindex(b"sha256:") + 9]
    for at in places:
        touched = bundled.with_name(f"touched-{at}.json")
        touched.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(IntegrityBroken, match=touched.name):
            load_prompt("support@production", source=touched)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"digest": 1, "prompts": 2}']
)
def test_what_is_no_bundle_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityBroken, match=r"no\.json"):
        load_prompt("support@production", source=path)


def test_one_byte_of_a_version_in_the_registry_is_found(root: Path, tmp_path: Path) -> None:
    for word in (b"Answer well.", b"tiny", b"{{ question }}"):
        copy = tmp_path / f"copy-{len(word)}"
        shutil.copytree(root, copy)
        path = copy / ".llmops/versions/support@v2/version.json"
        path.write_bytes(path.read_bytes().replace(word, word.swapcase()))
        with pytest.raises(IntegrityBroken, match=r"support@v2/version\.json"):
            load_prompt("support@production", source=copy)
