"""The registry: what is read is what was written, and what was written is never changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.records import VersionRef
from llmops_cli.stores.evidence import read_rows, read_texts
from llmops_cli.stores.registry import Registry, target_of
from tests.unit.releases import event, measured, promote_all, released, rows, target

TEXTS = ("Answer.", "Answer well.", "Answer better.")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def test_a_version_rebuilds_its_target_from_the_registry_alone(tmp_path: Path) -> None:
    released(tmp_path / "there")
    shutil.copytree(tmp_path / "there" / ".llmops", tmp_path / "here" / ".llmops")
    version = Registry(tmp_path / "here").version("support", 1)
    assert target_of(version) == target()
    assert target_of(version).digest == version.target == target().digest


def test_the_sources_are_kept_as_people_wrote_them(tmp_path: Path) -> None:
    released(tmp_path)
    files = tmp_path / ".llmops/versions/support@v1/files"
    assert (files / "support.prompt.yml").read_bytes() == b"messages: Answer.\r\n"
    assert (files / "parts/tone.txt").read_bytes() == b"Be kind."


def test_names_with_a_slash_are_folders(tmp_path: Path, registry: Registry) -> None:
    version = released(tmp_path, name="team/support")
    released(tmp_path, name="team")
    registry.append(event(version))
    assert (tmp_path / ".llmops/versions/team/support@v1/version.json").is_file()
    assert (tmp_path / ".llmops/log/production/team/support/000001.json").is_file()
    assert registry.names() == ("team", "team/support")
    assert registry.running("production") == ("team/support",)
    assert registry.pointer("production", "team") is None


@pytest.mark.parametrize("name", ["../outside", "/etc", "a//b", "Support", "", "a/../b", ".."])
def test_a_name_never_leads_out_of_the_registry(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="is not a name"):
        Registry(tmp_path).versions(name)


def test_every_byte_of_a_version_counts(tmp_path: Path) -> None:
    released(tmp_path)
    folder = tmp_path / ".llmops/versions/support@v1"
    for path in (each for each in folder.rglob("*") if each.is_file()):
        content = path.read_bytes()
        for at in range(0, len(content), 7):
            flipped = bytes([content[at] ^ 1])
            path.write_bytes(content[:at] + flipped + content[at + 1 :])
            if _means_the_same(path, content):
                continue
            with pytest.raises(IntegrityBroken) as broken:
                Registry(tmp_path).version("support", 1)
            assert str(path) in broken.value.message
        path.write_bytes(content)
    assert Registry(tmp_path).version("support", 1).number == 1


def _means_the_same(path: Path, content: bytes) -> bool:
    """White space of JSON carries nothing."""
    try:
        return path.suffix == ".json" and json.loads(path.read_bytes()) == json.loads(content)
    except ValueError:
        return False


def test_a_version_that_was_renumbered_is_broken(tmp_path: Path) -> None:
    released(tmp_path)
    versions = tmp_path / ".llmops/versions"
    (versions / "support@v1").rename(versions / "support@v2")
    with pytest.raises(IntegrityBroken, match="it says it is support@v1"):
        Registry(tmp_path).version("support", 2)


def test_a_second_writer_of_a_number_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    version = released(tmp_path)
    other = replace(version, target=target("Else.").digest, prompt=target("Else.").prompt, files={})
    with pytest.raises(Refused, match="released by someone else") as refused:
        Registry(tmp_path).add_version(other, {})
    assert "llmops release support" in str(refused.value.hint)
    assert Registry(tmp_path).versions("support") == (version,)
    assert [each.name for each in (tmp_path / ".llmops/versions").iterdir()] == ["support@v1"]


def test_events_make_a_chain_whose_last_one_says_what_runs(
    tmp_path: Path, registry: Registry
) -> None:
    one, two = (released(tmp_path, text) for text in TEXTS[:2])
    events = promote_all(registry, one, two)
    assert registry.history("production", "support") == tuple(events)
    assert registry.pointer("production", "support") == events[1]
    assert registry.pointer("staging", "support") is None


def test_of_two_promoters_one_wins_and_the_other_gets_an_error(
    tmp_path: Path, registry: Registry
) -> None:
    one, two = (released(tmp_path, text) for text in TEXTS[:2])
    registry.append(event(one))
    with pytest.raises(Refused, match="by someone else meanwhile"):
        registry.append(event(two))
    assert registry.pointer("production", "support") == event(one)


def test_an_event_that_does_not_follow_is_never_written(tmp_path: Path, registry: Registry) -> None:
    one, two = (released(tmp_path, text) for text in TEXTS[:2])
    registry.append(event(one))
    forged = event(two, after=replace(event(one), actor="Eve"))
    with pytest.raises(IntegrityBroken, match="does not follow"):
        registry.append(forged)
    assert len(registry.history("production", "support")) == 1


@pytest.mark.parametrize("harm", ["edited", "removed", "swapped"])
def test_a_middle_event_that_was_touched_breaks_the_chain(
    tmp_path: Path, registry: Registry, harm: str
) -> None:
    promote_all(registry, *(released(tmp_path, text) for text in TEXTS))
    folder = tmp_path / ".llmops/log/production/support"
    middle, third = folder / "000002.json", folder / "000003.json"
    if harm == "edited":
        middle.write_text(middle.read_text().replace("Ada", "Eve"))
    elif harm == "removed":
        middle.unlink()
    else:
        content = middle.read_bytes()
        middle.write_bytes(third.read_bytes())
        third.write_bytes(content)
    with pytest.raises(IntegrityBroken) as broken:
        registry.pointer("production", "support")
    assert str(folder) in broken.value.message


def test_a_rollback_moves_the_pointer_and_quarantines(tmp_path: Path, registry: Registry) -> None:
    one, two = (released(tmp_path, text) for text in TEXTS[:2])
    _, second = promote_all(registry, one, two)
    back = event(one, after=second, changes={"action": "rollback"})
    lifted = event(two, after=back, changes={"action": "override"})
    registry.append(back)
    assert registry.resolve("support", "production") == 1
    assert registry.quarantined("support") == {2}
    registry.append(lifted)
    assert registry.quarantined("support") == frozenset()


def test_a_quarantine_moves_nothing(tmp_path: Path, registry: Registry) -> None:
    one, two = (released(tmp_path, text) for text in TEXTS[:2])
    (first,) = promote_all(registry, one)
    bad = VersionRef(number=two.number, digest=two.digest)
    changes = {"action": "quarantine", "from_version": bad, "to_version": None}
    registry.append(event(two, after=first, changes=changes))
    assert registry.pointer("production", "support") == first
    assert registry.quarantined("support") == {2}


def test_addresses(tmp_path: Path, registry: Registry) -> None:
    one, two, three = (released(tmp_path, text) for text in TEXTS)
    promote_all(registry, one, two, one, two)
    prefix = three.target[:20]
    selectors = ["v2", "latest", "production", "production~0", "production~1", prefix]
    assert [registry.resolve("support", each) for each in selectors] == [2, 3, 2, 2, 1, 3]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("v9", "unknown version 'support@v9'"),
        ("staging", "unknown version 'support@staging'"),
        ("production~1", "has not run 2 distinct versions"),
        ("sha256:ffff", "unknown version"),
        ("v3~x!", "not a version"),
    ],
)
def test_an_address_of_nothing_says_what_there_is(
    tmp_path: Path, registry: Registry, selector: str, message: str
) -> None:
    registry.append(event(released(tmp_path)))
    with pytest.raises(Refused, match=message) as refused:
        registry.resolve("support", selector)
    assert isinstance(refused.value, UnknownName) == message.startswith("unknown")


def test_evidence_comes_back_as_it_was_written(tmp_path: Path, registry: Registry) -> None:
    one = released(tmp_path)
    found = rows("Answer.", None, wrong=2)
    evidence = measured(tmp_path, one, None, found=found)
    assert registry.evidence("support", 1) == (evidence,)
    assert list(read_rows(evidence)) == found
    assert len(read_texts(evidence)) == 120
    folder = tmp_path / ".llmops/evidence/support@v1"
    endings = sorted(each.name.partition(".")[2] for each in folder.iterdir())
    assert endings == ["cases.jsonl", "json", "summary.md", "texts.jsonl.gz"]


def test_the_same_measurement_is_the_same_files(tmp_path: Path) -> None:
    contents = []
    for root in (tmp_path / "here", tmp_path / "there"):
        measured(root, released(root), None, found=rows("Answer.", None))
        files = (path for path in root.rglob("*") if path.is_file())
        contents.append({path.relative_to(root): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_evidence_is_an_in_toto_statement(tmp_path: Path) -> None:
    one = released(tmp_path)
    measured(tmp_path, one, None, found=rows("Answer.", None))
    (path,) = (tmp_path / ".llmops/evidence/support@v1").glob("*.json")
    statement = json.loads(path.read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [
        {"name": "support@v1", "digest": {"sha256": one.target.removeprefix("sha256:")}}
    ]
    assert statement["predicate"]["result"] == "PASSED"
    names = [each["name"].partition(".")[2] for each in statement["predicate"]["configuration"]]
    assert names == ["", "cases.jsonl", "texts.jsonl.gz"]


def test_evidence_touched_anywhere_is_not_read(tmp_path: Path) -> None:
    one = released(tmp_path)
    measured(tmp_path, one, None, found=rows("Answer.", None, cases=3))
    folder = tmp_path / ".llmops/evidence/support@v1"
    for path in (each for each in folder.iterdir() if each.suffix != ".md"):
        content = path.read_bytes()
        for at in range(0, len(content), 41):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            if _means_the_same(path, content):
                continue
            try:
                (evidence,) = Registry(tmp_path).evidence("support", 1)
                list(read_rows(evidence))
                read_texts(evidence)
            except IntegrityBroken:
                continue
            else:
                assert path.suffix == ".json"  # a figure: caught by who cites the digest
                assert evidence.digest != _digest_of(tmp_path, path, content)
        path.write_bytes(content)


def _digest_of(root: Path, path: Path, content: bytes) -> str:
    touched = path.read_bytes()
    path.write_bytes(content)
    (evidence,) = Registry(root).evidence("support", 1)
    path.write_bytes(touched)
    return evidence.digest


def test_a_verdict_edited_alone_contradicts_the_statement(tmp_path: Path) -> None:
    one = released(tmp_path)
    measured(tmp_path, one, None, found=rows("Answer.", None, cases=3))
    (path,) = (tmp_path / ".llmops/evidence/support@v1").glob("*.json")
    path.write_text(path.read_text().replace('"result": "PASSED"', '"result": "FAILED"'))
    with pytest.raises(IntegrityBroken, match="contradicts"):
        Registry(tmp_path).evidence("support", 1)
