"""Where the store is, by the variables of laptops and CI systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.ci import store_folder

ROOT = Path("/work/shop")
HOME = {"XDG_CACHE_HOME": "/home/ada/.cache"}
RUNS = [
    {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1"},
    {"GITLAB_CI": "true", "CI_PIPELINE_ID": "1"},
    {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "1"},
    {"JENKINS_URL": "http://ci", "BUILD_TAG": "1"},
    {"TF_BUILD": "True", "BUILD_BUILDID": "1"},
    {"BUILDKITE": "true", "CI": "true", "BUILDKITE_BUILD_ID": "1"},
    {"CI": "true", "DRONE_BUILD_NUMBER": "1"},
    {"CI": "true", "TRAVIS_BUILD_ID": "1"},
]


def test_on_a_laptop_it_is_in_the_project() -> None:
    for environ in (HOME, {"CI": "false", "BUILD_ID": "7"}, {"LLMOPS_STORE": ""}):
        assert store_folder(ROOT, environ) == ROOT / ".llmops" / "store"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: list(run)[-1])
def test_in_ci_it_is_in_the_users_cache_and_another_one_for_each_run_and_project(
    run: dict[str, str],
) -> None:
    following = {name: value.replace("1", "2") for name, value in run.items()}
    folders = [
        store_folder(root, {**HOME, **environ})
        for root, environ in ((ROOT, run), (ROOT, following), (ROOT / "sub", run))
    ]
    assert {folder.parent for folder in folders} == {Path("/home/ada/.cache/llmops")}
    assert len(set(folders)) == 3
    again = {**HOME, **run, "RUNNER_NAME": "another step", "CI_JOB_ID": "4"}
    assert store_folder(ROOT, again) == folders[0]


def test_the_variable_names_it_absolute_or_from_the_root_or_from_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for named, folder in (
        ("/cache/store", "/cache/store"),
        ("cache", "/work/shop/cache"),
        ("sub/../../cache", "/work/cache"),
        ("~/store", "/home/ada/store"),
    ):
        for environ in ({}, RUNS[0]):
            assert store_folder(ROOT, {**environ, "LLMOPS_STORE": named}) == Path(folder)


def test_without_a_cache_of_its_own_it_is_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert store_folder(ROOT, RUNS[0]).parent == Path("/home/ada/.cache/llmops")
