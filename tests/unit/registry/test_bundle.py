"""A bundle is a function of the registry, and what is not of this registry is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken, Refused, UnknownName
from llmops_cli.core.records import Event
from llmops_cli.registry.verify import RegistryProblem, compare_bundle
from llmops_cli.stores.bundle import Bundle, bundle, bundle_of, record_of
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, promote_all, released

WHERE = "production.bundle.json"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """production ran v1, v2 and v1 of support, and runs v3; it runs v1 of intent."""
    found = Registry(tmp_path)
    one, two, three = (released(tmp_path, text) for text in ("Answer.", "Well.", "Better."))
    promote_all(found, one, two, one, three)
    found.append(event(released(tmp_path, name="intent")))
    return found


def moved(registry: Registry, text: str = "Best.") -> Event:
    """Promotes one more version of support."""
    version = released(registry.folder.parent, text)
    last = registry.history("production", "support")[-1]
    registry.append(event(version, after=last))
    return registry.history("production", "support")[-1]


def found(registry: Registry, shipped: Bundle) -> tuple[RegistryProblem, ...]:
    return compare_bundle(registry, shipped, WHERE)


def test_it_holds_what_runs_and_the_distinct_version_before(registry: Registry) -> None:
    made = bundle(registry, "production")
    held = {name: [each.number for each in made.prompt(name).versions] for name in made.records}
    assert held == {"intent": [1], "support": [3, 1]}
    assert [each.seq for each in made.prompt("support").events] == [4]


def test_the_same_registry_makes_the_same_bytes(registry: Registry) -> None:
    first = bundle(registry, "production").to_bytes()
    assert bundle(Registry(registry.folder.parent), "production").to_bytes() == first
    moved(registry)
    assert bundle(registry, "production").to_bytes() != first


def test_it_is_read_as_it_was_written(registry: Registry) -> None:
    made = bundle(registry, "production")
    assert bundle_of(made.to_bytes(), Path(WHERE)) == made


def test_its_layout_may_change_and_its_content_may_not(registry: Registry) -> None:
    made = bundle(registry, "production")
    content = json.loads(made.to_bytes())
    assert bundle_of(json.dumps(content).encode(), Path(WHERE)) == made
    content["prompts"].pop("intent")
    with pytest.raises(IntegrityBroken, match="its content is not what was bundled"):
        bundle_of(json.dumps(content).encode(), Path(WHERE))


def test_a_bundle_holds_quarantines(registry: Registry) -> None:
    last = registry.history("production", "support")[-1]
    changes = {"action": "quarantine", "from_version": last.to_version, "to_version": None}
    registry.append(event(registry.version("support", 3), after=last, changes=changes))
    held = bundle(registry, "production").prompt("support")
    assert held.quarantined == (3,)
    assert [each.action for each in held.events] == ["promote", "quarantine"]


def test_an_environment_that_runs_nothing_has_no_bundle(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UnknownName, match="unknown environment 'prodction'") as error:
        bundle(registry, "prodction")
    assert error.value.hint == "did you mean 'production'?"
    with pytest.raises(Refused, match="production runs nothing yet"):
        bundle(Registry(tmp_path / "empty"), "production")


def test_an_event_that_points_at_another_snapshot_is_not_bundled(registry: Registry) -> None:
    last = registry.history("production", "support")[-1]
    assert last.to_version is not None
    registry.event_file(last).unlink()
    registry.append(replace(last, to_version=replace(last.to_version, digest=last.digest)))
    with pytest.raises(IntegrityBroken, match=r"000004\.json: support@v3 is not the version"):
        bundle(registry, "production")


def test_a_bundle_of_this_registry_has_no_problem(registry: Registry) -> None:
    assert found(registry, bundle(registry, "production")) == ()


def test_a_bundle_that_is_behind_is_a_warning_and_says_how_far(registry: Registry) -> None:
    shipped = bundle(registry, "production")
    moved(registry)
    message = "it is behind: support@v3 (event 4), and production has support@v4 (event 5)"
    assert found(registry, shipped) == (
        RegistryProblem(where=WHERE, message=message, warning=True),
    )


def test_a_bundle_from_before_a_quarantine_is_behind(registry: Registry) -> None:
    shipped = bundle(registry, "production")
    last = registry.history("production", "support")[-1]
    changes = {"action": "quarantine", "from_version": last.to_version, "to_version": None}
    registry.append(event(registry.version("support", 3), after=last, changes=changes))
    (problem,) = found(registry, shipped)
    assert problem.warning
    assert problem.message.endswith("production has support@v3 (event 5, v3 quarantined)")


def test_a_prompt_that_is_missing_is_a_warning(registry: Registry) -> None:
    shipped = bundle(registry, "production")
    less = replace(shipped, records={"support": shipped.records["support"]})
    message = "intent runs in production and is not in it"
    assert found(registry, less) == (RegistryProblem(where=WHERE, message=message, warning=True),)


def test_what_never_ran_there_is_a_problem(registry: Registry, tmp_path: Path) -> None:
    elsewhere = Registry(tmp_path / "elsewhere")
    elsewhere.append(event(released(tmp_path / "elsewhere", "Forged.")))
    (problem, other) = found(registry, bundle(elsewhere, "production"))
    assert (problem.message, problem.warning) == (
        "intent runs in production and is not in it",
        True,
    )
    assert other.message == "support@v1 (event 1) is not what the log of production says"
    assert not other.warning


def test_a_version_put_beside_genuine_events_is_a_problem(registry: Registry) -> None:
    shipped = bundle(registry, "production")
    held = shipped.prompt("support")
    forged = replace(held, versions=(registry.version("support", 2), held.versions[1]))
    records = {**shipped.records, "support": record_of(forged)}
    (problem,) = found(registry, replace(shipped, records=records))
    assert not problem.warning
    assert problem.message == "support@v2 (event 4) is not what the log of production says"


def test_a_bundle_of_an_environment_that_is_not_here_is_a_problem(registry: Registry) -> None:
    shipped = replace(bundle(registry, "production"), environment="staging")
    assert [problem.warning for problem in found(registry, shipped)] == [False, False]


def test_a_bundle_that_was_touched_is_not_compared(registry: Registry) -> None:
    content = bundle(registry, "production").to_bytes()
    touched = bundle_of(content.replace(b"Answer.", b"Answer!"), Path(WHERE))
    with pytest.raises(IntegrityBroken, match=f"{WHERE}: intent is not what was bundled"):
        found(registry, touched)
