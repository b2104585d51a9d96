"""A project loads whole, or says everything that is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Environment
from llmops_cli.core.prompt import Limits, Price
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.paths import Folder, Unreadable
from llmops_cli.project.project import check_project, find_root, load_project
from tests.unit.project.conftest import PROMPT, Written

EMBEDDED = "models: {embedded: {provider: embedded}}\n"


def test_a_whole_project_loads(project: Written) -> None:
    loaded = project.load()
    assert list(loaded.models) == ["embedded"]
    assert list(loaded.prompts) == ["support"]
    assert loaded.evalsets_of("support") == ("support",)
    assert [case.id for case in loaded.evalset("support").cases] == ["a"]
    assert loaded.target(loaded.prompts["support"]).model.provider == "embedded"
    assert (loaded.outputs, loaded.trust) == ("commit", ())
    assert project.problems() == []


def test_the_root_is_the_nearest_folder_with_a_project_file(project: Written) -> None:
    (project.root / "prompts" / "deep").mkdir()
    assert find_root(project.root / "prompts" / "deep") == project.root


def test_no_project_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        find_root(tmp_path)
    assert caught.value.hint == "llmops init writes one to start from"


def test_problems_of_all_files_come_at_once_in_file_and_line_order(project: Written) -> None:
    project.write("llmops.yaml", "modles: {}\nmodels:\n  embedded: {provider: embeded}\n")
    project.write("prompts/support.prompt.yml", "model: embedded\nmesages: []\n")
    project.write("evalsets/support.yaml", "cases: support.jsonl\nasert: []\n")
    project.write("evalsets/other.yaml", "prompt: supprt\ncases: []\nrepeats: 0\n")
    assert project.problems() == [
        "evalsets/other.yaml:1: unknown prompt 'supprt' (did you mean 'support'?)",
        "evalsets/other.yaml:3: 'repeats' must be 1 or more, not the number 0",
        "evalsets/support.yaml:2: unknown key 'asert' (did you mean 'scorers'?)",
        "llmops.yaml:1: unknown key 'modles' (did you mean 'models'?)",
        "llmops.yaml:3: unknown provider 'embeded' (did you mean 'embedded'?)",
        "prompts/support.prompt.yml:2: unknown key 'mesages' (did you mean 'messages'?)",
    ]


def test_a_mistake_made_many_times_is_counted_not_listed(project: Written) -> None:
    project.write("evalsets/support.jsonl", '{"asert": 1}\n' * 80)
    problems = project.problems()
    assert len(problems) == 51
    assert "evalsets/support.jsonl: … and 30 more problems here" in problems


def test_a_short_list_of_environments_is_the_order_of_promotion(project: Written) -> None:
    project.write("llmops.yaml", EMBEDDED + "environments: [staging, production]\n")
    assert project.load().environments == (
        Environment(name="staging"),
        Environment(name="production", after="staging"),
    )


def test_the_long_form_of_environments(project: Written) -> None:
    project.write(
        "llmops.yaml",
        EMBEDDED + "environments:\n"
        "  staging:\n"
        "  production:\n"
        "    after: staging\n"
        "    accept: pass\n"
        "    gate: {margin: 0.02}\n",
    )
    assert project.load().environments == (
        Environment(name="staging"),
        Environment(
            name="production",
            after="staging",
            accept="pass",
            gate={"margin": 0.02},
        ),
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("environments: {a: {destinations: [x]}}", "unknown key 'destinations'"),
        (f"environments: [{'a' * 300}]", "at most 200 characters"),
        ("gate: {baseline_repeats: 1000000}", "must be 100 or less"),
        ("gate: {rules: [{floor: 0}]}", "'gate.rules.0.floor.min' must be above 0"),
    ],
)
def test_what_could_not_work_or_would_let_all_pass_is_refused(
    project: Written, written: str, said: str
) -> None:
    project.write("llmops.yaml", EMBEDDED + written + "\n")
    (problem,) = project.problems()
    assert said in problem


def test_without_environments_there_is_production(project: Written) -> None:
    assert project.load().environments == (Environment(name="production"),)


def test_an_environment_comes_after_an_earlier_one(project: Written) -> None:
    project.write(
        "llmops.yaml",
        EMBEDDED + "environments:\n  staging: {after: production}\n  production: {}\n",
    )
    assert project.problems() == [
        (
            "llmops.yaml:3: 'production' is no environment before 'staging'"
            " (in order: staging, production)"
        )
    ]


def test_a_model_with_everything(project: Written) -> None:
    project.write(
        "llmops.yaml",
        "models:\n"
        "  fast:\n"
        "    provider: openai\n"
        "    model: gpt-4.1-mini\n"
        "    base_url: http://localhost:8000/v1\n"
        "    api_key_env: MY_KEY\n"
        "    headers: {Authorization: env:TOKEN, X-Team: blue}\n"
        "    extra_body: {top_k: 5}\n"
        "    max_concurrency: 4\n"
        "    rpm: 100\n"
        "    tpm: 1000\n"
        "    timeout: 30\n"
        "    retries: 0\n"
        "    modelParameters: {temperature: 0, maxTokens: 10}\n"
        "    price: {input: 1, output: 2.5}\n"
        "  embedded: {provider: embedded}\n",
    )
    model = project.load().models["fast"]
    assert model.parameters == {"temperature": 0, "max_tokens": 10}
    assert model.limits == Limits(max_concurrency=4, rpm=100, tpm=1000, timeout=30, retries=0)
    assert model.price == Price(input=1, output=2.5)
    assert model.headers == {"Authorization": "env:TOKEN", "X-Team": "blue"}
    assert (model.base_url, model.api_key_env) == ("http://localhost:8000/v1", "MY_KEY")


def test_secrets_in_the_project_file_are_refused_with_a_way_out(project: Written) -> None:
    project.write(
        "llmops.yaml",
        "models:\n"
        "  embedded: {provider: embedded}\n"
        "  fast:\n"
        "    provider: openai\n"
        "    model: x\n"
        "    api_key: sk-123\n"
        "  slow:\n"
        "    provider: openai\n"
        "    model: x\n"
        "    headers:\n"
        "      Authorization: Bearer sk-123\n"
        "      Helicone-Auth: Bearer sk-456\n",
    )
    assert project.problems() == [
        "llmops.yaml:6: unknown key 'api_key' (did you mean 'api_key_env'?)",
        (
            "llmops.yaml:11: the header 'Authorization' holds a secret"
            " (write env:NAME and set NAME in the environment)"
        ),
        (
            "llmops.yaml:12: the header 'Helicone-Auth' holds a secret"
            " (write env:NAME and set NAME in the environment)"
        ),
    ]


def test_a_provider_brings_options_of_its_own(project: Written) -> None:
    project.write(
        "llmops.yaml",
        "models:\n"
        "  embedded: {provider: embedded}\n"
        "  old: {provider: replay, file: records.jsonl, by: request}\n"
        "  bad: {provider: replay, by: cas}\n",
    )
    assert project.problems() == [
        "llmops.yaml:4: 'models.bad.file' is missing",
        "llmops.yaml:4: 'models.bad.by' cannot be 'cas' (did you mean 'case'?)",
    ]
    project.write(
        "llmops.yaml",
        "models:\n"
        "  embedded: {provider: embedded}\n"
        "  old: {provider: replay, file: records.jsonl, by: request}\n",
    )
    assert project.load().models["old"].options == {"file": "records.jsonl", "by": "request"}


def test_a_model_resolves_by_alias_or_by_provider_and_name(project: Written) -> None:
    loaded = project.load()
    assert loaded.resolve_model("embedded").name == "embedded"
    direct = loaded.resolve_model("openai/gpt-4o-mini")
    assert (direct.provider, direct.model) == ("openai", "gpt-4o-mini")
    with pytest.raises(UnknownName) as caught:
        loaded.resolve_model("embeded")
    assert caught.value.hint == "did you mean 'embedded'?"
    for name in ("replay/x", "nobody/x", "openai/"):
        with pytest.raises(UnknownName):
            loaded.resolve_model(name)


def test_an_identity_follows_the_bytes_of_its_files(project: Written) -> None:
    def identity() -> str | None:
        project.write(
            "llmops.yaml",
            "models:\n  embedded: {provider: embedded, identity: {files: [app.py]}}\n",
        )
        return project.load().models["embedded"].identity

    project.write("app.py", "one")
    first = identity()
    assert identity() == first
    project.write("app.py", "two")
    assert identity() != first


def test_two_prompts_of_one_name_are_refused(project: Written) -> None:
    project.write("prompts/other.prompt.yml", "name: support\n" + PROMPT)
    assert project.problems() == [
        (
            "prompts/support.prompt.yml:1: a second prompt named 'support'"
            " (the first is prompts/other.prompt.yml)"
        )
    ]


def test_a_yaml_file_that_is_no_prompt_is_not_left_out_silently(project: Written) -> None:
    project.write("prompts/forgotten.yml", "model: embedded\n")
    assert project.problems() == [
        "prompts/forgotten.yml: not loaded: a prompt's file ends in .prompt.yml"
    ]


def test_loading_reads_no_cases_and_an_evalset_reads_its_own(project: Written) -> None:
    project.write("evalsets/broken.yaml", "prompt: support\ncases: broken.jsonl\nscorers: [json]\n")
    project.write("evalsets/broken.jsonl", "{")
    assert len(project.evalset("support").cases) == 1
    assert project.problems() == [
        (
            "evalsets/broken.jsonl:1: not JSON: Expecting property name enclosed in double quotes"
            " at column 2"
        )
    ]


def test_the_gate_of_an_evalset_that_a_project_does_not_have_is_empty(project: Written) -> None:
    project.write(
        "evalsets/support.yaml", "cases: support.jsonl\nscorers: [json]\ngate: {margin: 0.2}\n"
    )
    loaded = project.load()
    evalset = loaded.evalset("support")
    assert loaded.gate_of(evalset) == {"margin": 0.2}
    project.write("evalsets/other.yaml", "prompt: support\ncases: support.jsonl\nscorers: [json]\n")
    project.remove("evalsets/support.yaml")
    assert project.load().gate_of(evalset) == {}


def test_a_project_loads_from_any_source(project: Written) -> None:
    """As it does from a base revision in git."""
    disk = Folder(project.root)
    held = {
        path: disk.read(path, limit=10_000)
        for path in ("llmops.yaml", *disk.files("prompts"), *disk.files("evalsets"))
    }

    class Held:
        def read(self, path: str, *, limit: int) -> bytes:
            if path not in held:
                raise Unreadable(f"there is no file {path!r}")
            return held[path][:limit]

        def files(self, folder: str) -> tuple[str, ...]:
            return tuple(path for path in held if folder == "." or path.startswith(f"{folder}/"))

    (project.root / "llmops.yaml").write_text("broken: [")
    loaded = load_project(project.root, catalog(), source=Held())
    assert len(loaded.evalset("support").cases) == 1


def test_this_repository_is_a_valid_project(repo_root: Path) -> None:
    _, evalsets = check_project(repo_root, catalog())
    assert all(len(evalset.cases) >= 300 for evalset in evalsets)


def test_reading_files_loads_no_vendor_and_no_table_library() -> None:
    code = (
        "import sys, llmops_cli.project.project;"
        "print(sorted({'pandas', 'pyarrow', 'numpy', 'git', 'openai', 'anthropic'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_people_try_first_is_answered_with_what_to_write(project: Written) -> None:
    project.write("llmops.yaml", "models:\n  local: {provider: ollama}\n")
    (problem, *_) = project.problems()
    assert "a server with OpenAI's API is `openai` with its `base_url`" in problem
    project.write("llmops.yaml", "models:\n\tlocal: {provider: embedded}\n")
    assert any("YAML indents by spaces, never by tabs" in each for each in project.problems())


def test_a_table_with_semicolons_gets_a_hint(project: Written) -> None:
    project.write("evalsets/support.yaml", "cases: support.csv\nscorers: [refusal]\n")
    project.write("evalsets/support.csv", "question;expected\nwhy?;because\n")
    assert any("columns are separated by commas" in each for each in project.problems())
