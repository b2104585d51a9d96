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

EMBEDDED = "models:\n  embedded: {provider: embedded}\n"


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
    problems = project.wrong("evalsets/support.jsonl", '{"asert": 1}\n' * 80)
    assert len(problems) == 51
    assert "evalsets/support.jsonl: … and 30 more problems here" in problems


STAGING = Environment(name="staging")


@pytest.mark.parametrize(
    ("written", "environments"),
    [
        ("", (Environment(name="production"),)),
        (
            "environments: [staging, production]\n",
            (STAGING, Environment(name="production", after="staging")),
        ),
        (
            (
                "environments:\n  staging:\n  production:\n    after: staging\n"
                "    accept: pass\n    gate: {margin: 0.02}\n"
            ),
            (
                STAGING,
                Environment(
                    name="production", after="staging", accept="pass", gate={"margin": 0.02}
                ),
            ),
        ),
    ],
    ids=["none: production", "a list: the order of promotion", "the long form"],
)
def test_environments(
    project: Written, written: str, environments: tuple[Environment, ...]
) -> None:
    project.write("llmops.yaml", EMBEDDED + written)
    assert project.load().environments == environments


SECRET = "holds a secret (write env:NAME and set NAME in the environment)"
WRONG = {
    "an environment with an unknown key": (
        "llmops.yaml",
        EMBEDDED + "environments: {a: {destinations: [x]}}\n",
        ["3: unknown key 'destinations'"],
    ),
    "a long name": (
        "llmops.yaml",
        f"{EMBEDDED}environments: [{'a' * 300}]\n",
        ["3: 'environments.0': string should have at most 200 characters"],
    ),
    "more repeats than could work": (
        "llmops.yaml",
        EMBEDDED + "gate: {baseline_repeats: 1000000}\n",
        ["3: 'gate.baseline_repeats' must be 100 or less"],
    ),
    "a rule that lets all pass": (
        "llmops.yaml",
        EMBEDDED + "gate: {rules: [{floor: 0}]}\n",
        ["3: 'gate.rules.0.floor.min' must be above 0"],
    ),
    "an environment after a later one": (
        "llmops.yaml",
        EMBEDDED + "environments:\n  staging: {after: production}\n  production: {}\n",
        ["4: 'production' is no environment before 'staging' (in order: staging, production)"],
    ),
    "secrets, with a way out": (
        "llmops.yaml",
        EMBEDDED + "  fast:\n    provider: openai\n    model: x\n    api_key: sk-123\n"
        "  slow:\n    provider: openai\n    model: x\n    headers:\n"
        "      Authorization: Bearer sk-123\n      Helicone-Auth: Bearer sk-456\n",
        [
            "6: unknown key 'api_key' (did you mean 'api_key_env'?)",
            f"11: the header 'Authorization' {SECRET}",
            f"12: the header 'Helicone-Auth' {SECRET}",
        ],
    ),
    "options of a provider": (
        "llmops.yaml",
        EMBEDDED + "  bad: {provider: replay, by: cas}\n",
        [
            "3: 'models.bad.file' is missing",
            "3: 'models.bad.by' cannot be 'cas' (did you mean 'case'?)",
        ],
    ),
    "two prompts of one name": (
        "prompts/zither.prompt.yml",
        "name: support\n" + PROMPT,
        ["1: a second prompt named 'support' (the first is prompts/support.prompt.yml)"],
    ),
    "a file that looks like a prompt": (
        "prompts/forgotten.yml",
        "model: embedded\n",
        [" not loaded: a prompt's file ends in .prompt.yml"],
    ),
}


@pytest.mark.parametrize(("path", "content", "problems"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_at_its_line(
    project: Written, path: str, content: str, problems: list[str]
) -> None:
    found = project.wrong(path, content)
    assert len(found) == len(problems)
    for message, problem in zip(found, problems, strict=True):
        assert message.startswith(f"{path}:{problem}")


def test_what_people_try_first_is_answered_with_what_to_write(project: Written) -> None:
    (problem, *_) = project.wrong("llmops.yaml", "models:\n  local: {provider: ollama}\n")
    assert "a server with OpenAI's API is `openai` with its `base_url`" in problem
    problems = project.wrong("llmops.yaml", "models:\n\tlocal: {provider: embedded}\n")
    assert any("YAML indents by spaces, never by tabs" in problem for problem in problems)
    project.write("evalsets/support.yaml", "cases: support.csv\nscorers: [refusal]\n")
    problems = project.wrong("evalsets/support.csv", "question;expected\nwhy?;because\n")
    assert any("columns are separated by commas" in problem for problem in problems)


def test_a_model_with_everything(project: Written) -> None:
    project.write(
        "llmops.yaml",
        EMBEDDED + "  fast:\n"
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
        "  old: {provider: replay, file: records.jsonl, by: request}\n",
    )
    models = project.load().models
    model = models["fast"]
    assert model.parameters == {"temperature": 0, "max_tokens": 10}
    assert model.limits == Limits(max_concurrency=4, rpm=100, tpm=1000, timeout=30, retries=0)
    assert model.price == Price(input=1, output=2.5)
    assert model.headers == {"Authorization": "env:TOKEN", "X-Team": "blue"}
    assert (model.base_url, model.api_key_env) == ("http://localhost:8000/v1", "MY_KEY")
    assert models["old"].options == {"file": "records.jsonl", "by": "request"}


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
    model = "models:\n  embedded: {provider: embedded, identity: {files: [app.py]}}\n"
    project.write("llmops.yaml", model)
    identities = []
    for content in ("one", "one", "two"):
        project.write("app.py", content)
        identities.append(project.load().models["embedded"].identity)
    assert identities[0] == identities[1] != identities[2]


def test_loading_reads_no_cases_and_an_evalset_reads_its_own(project: Written) -> None:
    project.write("evalsets/broken.yaml", "prompt: support\ncases: broken.jsonl\nscorers: [json]\n")
    (problem,) = project.wrong("evalsets/broken.jsonl", "{")
    assert len(project.evalset("support").cases) == 1
    assert problem.startswith("evalsets/broken.jsonl:1: not JSON: Expecting property name enclosed")
    assert problem.endswith(" at column 2")


def test_the_gate_of_an_evalset_that_a_project_does_not_have_is_empty(project: Written) -> None:
    written = "cases: support.jsonl\nscorers: [json]\n"
    project.write("evalsets/support.yaml", written + "gate: {margin: 0.2}\n")
    loaded = project.load()
    evalset = loaded.evalset("support")
    assert loaded.gate_of(evalset) == {"margin": 0.2}
    project.write("evalsets/other.yaml", "prompt: support\n" + written)
    project.remove("evalsets/support.yaml")
    assert project.load().gate_of(evalset) == {}


def test_a_project_loads_from_any_source(project: Written) -> None:
    """As it does from a base revision in git."""
    disk = Folder(project.root)
    paths = ("llmops.yaml", *disk.files("prompts"), *disk.files("evalsets"))
    contents = {path: disk.read(path, limit=10_000) for path in paths}

    class Memory:
        def read(self, path: str, *, limit: int) -> bytes:
            if path not in contents:
                raise Unreadable(f"there is no file {path!r}")
            return contents[path][:limit]

        def files(self, folder: str) -> tuple[str, ...]:
            return tuple(path for path in contents if folder in (".", path.partition("/")[0]))

    (project.root / "llmops.yaml").write_text("broken: [")
    loaded = load_project(project.root, catalog(), source=Memory())
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
