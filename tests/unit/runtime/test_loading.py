"""Loading: where prompts are found, once per process, pinned, and loud about quarantine."""

from __future__ import annotations

import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmops_cli import load_prompt
from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.runtime import QuarantinedVersion
from llmops_cli.stores.bundle import bundle
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, released
from tests.unit.runtime.conftest import quarantine


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
    [("production", 2), ("production~1", 1), ("v1", 1), ("v2", 2), ("DIGEST", 1)],
)
def test_a_bundle_answers_as_the_registry_does(
    root: Path, bundled: Path, selector: str, number: int
) -> None:
    selector = selector.replace("DIGEST", Registry(root).version("support", 1).target[:20])
    prompts = [load_prompt(f"support@{selector}", source=source) for source in (root, bundled)]
    assert [prompt.version for prompt in prompts] == [number, number]
    sent = [prompt.render(question="hi").openai() for prompt in prompts]
    assert sent[0] == sent[1]


def test_without_any_source_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=r"no \.llmops/ in .* or above it, and no bundle") as error:
        load_prompt("support@production")
    assert "llmops bundle ENV --out FILE" in str(error.value.hint)


BUNDLE = "production.bundle.json"


@pytest.fixture
def places(root: Path, bundled: Path, tmp_path: Path) -> Path:
    """A folder with a bundle, a registry (`project`) and an empty folder."""
    assert {root, bundled} <= set(tmp_path.iterdir())
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("address", "source", "error", "message", "hint"),
    [
        ("support", BUNDLE, Refused, "an application runs what was promoted", "@production"),
        ("support@working", BUNDLE, Refused, "an application runs what was promoted", ""),
        ("support@latest", BUNDLE, Refused, "an application runs what was promoted", ""),
        ("support@v7", BUNDLE, Refused, "is not in this bundle of production", "support@v1"),
        ("support@staging", BUNDLE, Refused, "is not in this bundle of production", ""),
        ("suport@production", BUNDLE, UnknownName, ".", "did you mean 'support'?"),
        ("suport@production", "project", Refused, "production does not run suport", ""),
        ("support@production", "gone.json", Refused, "no bundle: .*gone.json: No such file", ""),
        ("support@production", "empty", Refused, r"no \.llmops/ in", ""),
    ],
)
def test_what_is_not_there_is_refused_with_a_way_out(
    address: str, source: str, error: type[Refused], message: str, hint: str, places: Path
) -> None:
    with pytest.raises(error, match=message) as refused:
        load_prompt(address, source=places / source)
    assert hint in str(refused.value.hint)
    assert not isinstance(refused.value, IntegrityBroken)


@pytest.mark.parametrize("resource", ["no_such_package:x.json", "tests:none.json", "tests", ":x"])
def test_a_resource_that_is_not_there_is_refused(
    resource: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="no bundle in the package"):
        load_prompt("support@production", resource=resource)


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


def test_a_prompt_is_loaded_once(root: Path, bundled: Path) -> None:
    for source in (root, bundled):
        first = load_prompt("support@production", source=source)
        assert load_prompt("support@production", source=source) is first
        assert load_prompt("intent@production", source=source) is not first


def test_a_running_application_keeps_what_it_has_started_with(bundled: Path) -> None:
    first = load_prompt("support@production", source=bundled)
    bundled.write_bytes(b"something else")
    assert load_prompt("support@production", source=bundled) is first


def test_many_threads_share_one_prompt(bundled: Path) -> None:
    def work(number: int) -> tuple[int, object]:
        prompt = load_prompt("support@production", source=bundled)
        return id(prompt), prompt.render(question=f"number {number}").messages[1]["content"]

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(work, range(400)))
    assert len({identity for identity, _ in results}) == 1
    assert [content for _, content in results] == [
        [{"type": "text", "text": f"number {number}"}] for number in range(400)
    ]


def test_a_pin_switches_without_a_deploy(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_prompt("support@production", source=bundled).version == 2
    monkeypatch.setenv("LLMOPS_PIN", "other=v9, support=v1,")
    assert load_prompt("support@production", source=bundled).version == 1
    assert load_prompt("intent@production", source=bundled).version == 1
    monkeypatch.delenv("LLMOPS_PIN")
    assert load_prompt("support@production", source=bundled).version == 2


@pytest.mark.parametrize(
    ("pin", "message"),
    [
        *((pin, "is no pin") for pin in ("support", "support=", "=v1", "support:v1")),
        ("support=v9", "is not in this bundle"),
        ("support=working", "runs what was promoted"),
        ("support=latest", "runs what was promoted"),
    ],
)
def test_a_pin_that_is_none_or_leads_nowhere_is_refused(
    bundled: Path, monkeypatch: pytest.MonkeyPatch, pin: str, message: str
) -> None:
    monkeypatch.setenv("LLMOPS_PIN", pin)
    with pytest.raises(Refused, match=message):
        load_prompt("support@production", source=bundled)


def test_a_quarantined_version_warns_and_runs(root: Path, tmp_path: Path) -> None:
    quarantine(root, 2)
    path = tmp_path / "after.json"
    path.write_bytes(bundle(Registry(root), "production").to_bytes())
    for source in (root, path):
        with pytest.warns(QuarantinedVersion, match="support@v2 is quarantined") as caught:
            prompt = load_prompt("support@production", source=source)
        assert prompt.version == 2
        assert [warning.filename for warning in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_prompt("support@production~1", source=source).version == 1
