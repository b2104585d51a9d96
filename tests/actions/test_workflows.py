"""Every CI file is valid and safe, and is run as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.actions.hub import Hub, programs
from tests.actions.runner import ROOT, Runner
from tests.git_project import GitProject, git
from tests.servers.github import CommentServer

WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
PINNED = re.compile(r"uses: (\./ |[\w./-]+@[0-9a-f]{40} # v\d)")


def block(page: str, mark: str, kind: str = "yaml") -> str:
    """The block of code that follows a comment."""
    text = (ROOT / page).read_text(encoding="utf-8")
    match = re.search(rf"<!-- {mark} -->\n```{kind}\n(.*?)```", text, re.DOTALL)
    assert match, f"{page} has lost its block {mark!r}"
    return match[1]


def program(*command: str) -> subprocess.CompletedProcess[str]:
    folder = Path(sys.executable).parent
    name, *arguments = command
    return subprocess.run(
        [str(folder / name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def valid(schema: str, *paths: Path) -> None:
    ran = program("check-jsonschema", "--builtin-schema", schema, *map(str, paths))
    assert ran.returncode == 0, ran.stdout


def test_zizmor_finds_nothing() -> None:
    ran = program("zizmor", "--offline", "--no-progress", "action.yml", ".github")
    assert ran.returncode == 0, ran.stdout


def test_workflows_actions_and_templates_are_what_their_schemas_say(tmp_path: Path) -> None:
    shown = {"README.md": "workflow", "docs/ci.md": "workflow: minimal"}
    for at, (page, mark) in enumerate(shown.items()):
        (tmp_path / f"{at}.yml").write_text(block(page, mark), encoding="utf-8")
    valid("vendor.github-workflows", *WORKFLOWS.values(), *tmp_path.glob("*.yml"))
    valid("vendor.github-actions", ROOT / "action.yml")
    valid("vendor.gitlab-ci", ROOT / "docs" / "ci" / "gitlab.yml")


def test_the_recipes_for_shards_are_what_their_schemas_say(tmp_path: Path) -> None:
    for system, schema in {"github": "github-workflows", "gitlab": "gitlab-ci"}.items():
        recipe = tmp_path / f"{system}.yml"
        recipe.write_text(block("docs/scale.md", f"recipe: {system}"), encoding="utf-8")
        valid(f"vendor.{schema}", recipe)


def test_every_action_is_pinned_to_a_commit_and_no_event_hands_secrets_to_strangers() -> None:
    for path in (ROOT / "action.yml", *WORKFLOWS.values()):
        text = path.read_text(encoding="utf-8")
        assert len(PINNED.findall(text)) == text.count("uses: "), path.name
        assert "pull_request_target" not in text


def test_the_workflow_that_the_readme_shows_is_short_and_the_same_everywhere() -> None:
    shown = block("README.md", "workflow")
    assert len(shown.splitlines()) < 25
    assert shown == block("docs/ci.md", "workflow: minimal")
    assert shown in (ROOT / "docs" / "first-gate.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_workflow_that_the_readme_shows_blocks_a_worse_prompt_without_any_registry(
    hub: Hub, comments: CommentServer
) -> None:
    """Nothing but prompts and evalsets, and this one file."""

    def bare(repo: GitProject) -> None:
        repo.git("rm", "-rq", ".llmops", "llmops.yaml", "prompts/intent.prompt.yml")
        repo.git("rm", "-rq", "evalsets/intent.yaml", "evalsets/intent.jsonl")
        say(repo, "Answer.")

    def say(repo: GitProject, system: str, broken: int = 0) -> None:
        repo.say("support", system, broken=broken)
        path = repo.root / "prompts" / "support.prompt.yml"
        path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))

    hub.push(bare)
    runner = hub.pull(lambda repo: say(repo, "Answer badly.", broken=20))
    runner.secrets = {"OPENAI_API_KEY": "sk-canary-of-the-readme"}
    ran = runner.job(block("README.md", "workflow"), "gate")
    assert ran.success is False, ran.log
    assert ran.steps[-1].outputs["verdict"] == "FAIL"
    (body,) = comments.bodies
    assert "`support@working` against `support@base`" in body
    assert "sk-canary-of-the-readme" not in ran.log + body


@pytest.mark.parametrize("result", ["success", "failure", "cancelled", "skipped"])
def test_the_required_job_is_green_for_success_alone(hub: Hub, result: str) -> None:
    runner = hub.pull(None)
    workflow = WORKFLOWS["gate.yml"].read_text(encoding="utf-8")
    assert runner.applies(workflow, "gate")
    ran = runner.job(workflow, "gate", needs={"measure": {"result": result}})
    assert ran.success is (result == "success")


def fork_run(hub: Hub) -> Runner:
    """The gate's own job on a pull request from a fork, which ran before."""
    runner = hub.pull(
        lambda repo: repo.say("support", "Answer badly.", broken=20), head="mallory/prompts"
    )
    ran = runner.job(WORKFLOWS["gate.yml"].read_text(encoding="utf-8"), "measure")
    assert ran.success is False
    return runner


def trusted(hub: Hub, earlier: Runner, programs: Path) -> Runner:
    after = hub.after(earlier, owner="mallory")
    after.env = {**after.env, "PATH": f"{programs}{os.pathsep}{after.env['PATH']}"}
    return after


@pytest.mark.slow
def test_a_fork_gets_its_comment_from_a_job_that_believes_nothing(
    hub: Hub, comments: CommentServer, tmp_path: Path
) -> None:
    workflow = WORKFLOWS["report.yml"].read_text(encoding="utf-8")
    tools = programs(tmp_path / "tools", pip="exit 0")
    earlier = fork_run(hub)
    commit = earlier.event["pull_request"]["head"]["sha"]
    assert comments.comments == []
    comments.pulls = [{"number": 7, "label": "mallory:patch-1", "head": {"sha": commit}}]

    after = trusted(hub, earlier, tools)
    assert after.applies(workflow, "comment")
    assert after.job(workflow, "comment").success
    (body,) = comments.bodies
    assert "## ❌ FAIL · 1 of 2 prompts blocked" in body
    assert body.count("<b>REGRESSED</b>") == 20

    report = earlier.artefacts / "llmops-report" / "report.json"
    document = json.loads(report.read_text())
    document["report"]["prompts"][0]["verdict"]["decision"] = "<script>@team</script>"
    report.write_text(json.dumps(document))
    ran = trusted(hub, earlier, tools).job(workflow, "comment")
    assert ran.success is False
    (body,) = comments.bodies
    assert "## ⛔ no verdict" in body
    assert "is not a report: report/prompts/0/verdict/decision" in body

    comments.pulls[0]["head"]["sha"] = "f" * 40  # it was pushed to meanwhile
    before = list(comments.bodies)
    trusted(hub, earlier, tools).job(workflow, "comment")
    assert comments.bodies == before


@pytest.mark.slow
def test_from_merge_to_production(hub: Hub, tmp_path: Path) -> None:
    """promote.yml on a merge; its branch merged by the owners; deploy.yml."""
    log = tmp_path / "gh.txt"
    tools = programs(tmp_path / "tools", pip="exit 0", gh=f'echo "$GH_TOKEN $@" >> {log}')

    def machine(runner: Runner, commit: str) -> Runner:
        path = f"{tools}{os.pathsep}{runner.env['PATH']}"
        runner.env = {**runner.env, "PATH": path, "GITHUB_SHA": commit}
        runner.secrets = {"PROMOTE_TOKEN": "canary-promote"}
        return runner

    pushed = hub.push(lambda repo: repo.say("support", "Answer kindly."))
    commit = git(hub.bare, "rev-parse", "main")
    ran = machine(pushed, commit).job(WORKFLOWS["promote.yml"].read_text(), "promote")
    assert ran.success, ran.log
    assert log.read_text().splitlines() == [
        "canary-promote auth setup-git",
        "canary-promote pr create --fill",
    ]
    branch = f"promote/{commit[:12]}"

    def merge(repo: GitProject) -> None:
        repo.git("merge", "-q", "--squash", f"origin/{branch}")

    merged = hub.push(merge)
    ran = machine(merged, git(hub.bare, "rev-parse", "main")).job(
        WORKFLOWS["deploy.yml"].read_text(), "deploy"
    )
    assert ran.success, ran.log
    assert "promote support@v2 in production" in " ".join(ran.log.split())
    bundle = merged.artefacts / "production-bundle" / "production.bundle.json"
    assert json.loads(bundle.read_text())
    assert "canary-promote" not in ran.log


def shell(
    script: str, repo: GitProject, tools: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    context = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    context["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=repo.root, env=context, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_job_for_gitlab_and_the_recipe_for_others_fail_for_a_worse_prompt(
    hub: Hub, tmp_path: Path
) -> None:
    job: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/gitlab.yml").read_text())["prompts"]
    tools = programs(tmp_path / "tools", pip="exit 0")
    runner = hub.pull(lambda repo: repo.say("support", "Answer badly.", broken=20))
    repo, base = GitProject(runner.workspace), runner.event["pull_request"]["base"]["sha"]
    for script, env in (
        (
            "\n".join([*job["before_script"], *job["script"]]),
            {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_COMMIT_BEFORE_SHA": "HEAD"},
        ),
        (block("docs/ci.md", "recipe", "sh"), {"BASE": base}),
    ):
        ran = shell(script, repo, tools, **env)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        for name in (job["artifacts"]["reports"]["junit"], *job["artifacts"]["paths"]):
            (repo.root / name).unlink()


SLURM = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}
MERGES = {"slurm": "shards/*.jsonl.gz", "kubernetes": "../shards/*.jsonl.gz"}


@pytest.mark.slow
@pytest.mark.parametrize("system", ["github", "gitlab", "slurm", "kubernetes"])
def test_the_recipes_for_shards_fail_for_a_worse_prompt(
    system: str, hub: Hub, tmp_path: Path
) -> None:
    tools = programs(tmp_path / "tools", pip="exit 0")
    runner = hub.pull(lambda repo: repo.say("support", "Answer badly.", broken=20))
    repo = GitProject(runner.workspace).copy(tmp_path / "work" / "project")
    recipe = block("docs/scale.md", f"recipe: {system}", "bash" if system == "slurm" else "yaml")
    env, before, merge = {"BASE": "origin/main"}, "", f"llmops merge {MERGES.get(system)}"
    if system == "github":
        jobs = {name: job["steps"] for name, job in yaml.safe_load(recipe)["jobs"].items()}
        shard, merge = ("\n".join(s["run"] for s in steps if "run" in s) for steps in jobs.values())
        shard, merge = shard.replace("/4", "/2"), merge.replace("--github", "")
    elif system == "gitlab":
        jobs = yaml.safe_load(recipe)
        before = "\n".join(jobs["default"]["before_script"])
        shard, merge = jobs["shard"]["script"], jobs["gate"]["script"]
        env = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_NODE_TOTAL": "2"}
    elif system == "slurm":
        shard, env = recipe, SLURM
    else:
        spec = yaml.safe_load(recipe)["spec"]
        assert (spec["completions"], spec["completionMode"]) == (spec["parallelism"], "Indexed")
        shard = shlex.join(spec["template"]["spec"]["containers"][0]["command"])
        env = {"JOB_COMPLETIONS": "2"}
    for number in ("1", "2"):
        names = ("SHARD", "CI_NODE_INDEX", "SLURM_ARRAY_TASK_ID")
        index = dict.fromkeys(names, number) | {"JOB_COMPLETION_INDEX": str(int(number) - 1)}
        ran = shell(f"{before}\n{shard}", repo, tools, **env, **index)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    if system == "github":  # what upload and download of the artifacts do
        (repo.root / "shards").mkdir()
        for file in repo.root.glob("s?.jsonl.gz"):
            file.rename(repo.root / "shards" / file.name)
    ran = shell(f"{before}\n{merge}", repo, tools, **env)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "FAIL" in ran.stdout


@pytest.mark.slow
def test_the_cache_of_a_merge_request_on_gitlab_is_its_own_and_without_what_code_wrote(
    hub: Hub, tmp_path: Path
) -> None:
    job: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/gitlab.yml").read_text())["prompts"]
    (cache,) = job["cache"]
    assert "CI_COMMIT_REF" not in cache["key"]  # a branch named main- has the slug of main
    runner = hub.pull(lambda repo: repo.say("support", "Answer kindly."))
    repo = GitProject(runner.workspace)
    store: Path = repo.root / str(job["variables"]["LLMOPS_STORE"])
    env = {"CI_MERGE_REQUEST_IID": "7", "LLMOPS_STORE": str(store)}

    def kept() -> bool:
        store.mkdir(parents=True, exist_ok=True)
        repo.git("fetch", "-q", "origin", "main")
        shell("\n".join(job["after_script"]), repo, tmp_path, **env)
        return store.exists()

    assert kept()
    repo.write("scorers/poison.py", "pass\n")
    repo.commit("code")
    assert not kept()
