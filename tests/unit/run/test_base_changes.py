"""What a change alters, compared with the base revision, and which prompts it affects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_cli.core.errors import ExitCode, Refused, UnknownName
from llmops_cli.core.policy import Decision
from tests.git_project import GitProject, git, make_git_project
from tests.projects import Project, Result, make_cases
from tests.servers.faulty import Server, echo
from tests.unit.gated_project import (
    CASES,
    gate,
    measured,
    promotion,
    release,
    worsen,
    write_evalset,
)
from tests.unit.run.test_workspace import committed

LOST = 10


@pytest.fixture(params=["base", "production"])
def worse(request: pytest.FixtureRequest, server: Server) -> Project:
    """A prompt that loses ten cases, against the base revision or what production runs."""
    name = "running" if request.param == "production" else "project"
    project: Project = committed(request.getfixturevalue(name))
    worsen(project, server, LOST)
    return project


def remove_evalset(project: Project, name: str) -> None:
    for ending in ("yaml", "jsonl"):
        (project.root / f"evalsets/{name}.{ending}").unlink()


def others(project: Project, name: str, cases: list[dict[str, Any]], **more: Any) -> None:
    """An evalset of another name, in the place of the one there was."""
    remove_evalset(project, "support")
    told = Project(root=project.root, name=name)
    told.cases(cases)
    told.evalset(prompt="support", **more)


def test_cases_that_are_dropped_fail(worse: Project) -> None:
    worse.cases(make_cases(CASES)[LOST:])
    result = gate(worse, base="main")
    assert result.decision is Decision.FAIL
    assert len(result.finding("coverage").cases) == LOST


def test_cases_that_are_dropped_with_their_evalset_fail(worse: Project) -> None:
    others(worse, "fewer", make_cases(CASES)[LOST:])
    result = gate(worse, base="main")
    assert result.decision is Decision.FAIL
    assert result.finding("coverage").cases == tuple(f"support/c{at:03}" for at in range(LOST))
    added, removed = (finding.why for finding in result.findings("evalset"))
    assert added.startswith(f"this change adds the evalset fewer ({CASES - LOST} cases)")
    assert f"support ({CASES} cases) gates support no longer" in removed


def test_an_evalset_under_another_name_keeps_its_cases(worse: Project) -> None:
    others(worse, "renamed", make_cases(CASES))
    result = gate(worse, base="main")
    assert result.finding("coverage").decision is Decision.PASS
    compared = {finding.evalset: finding.decision for finding in result.findings("no_worse")}
    assert compared == {"renamed": Decision.FAIL, "support@base": Decision.FAIL}


@pytest.mark.parametrize("name", ["support", "c000", "support/c000"])
def test_what_went_with_its_evalset_can_be_retired(worse: Project, name: str) -> None:
    others(worse, "fewer", make_cases(CASES)[1:], retired={name: "asked twice"})
    assert gate(worse, base="main").finding("coverage").decision is Decision.PASS


def test_an_evalset_of_the_evidence_that_gates_no_longer_is_gone_without_a_base(
    running: Project, server: Server
) -> None:
    others(running, "fewer", make_cases(CASES)[LOST:])
    result = gate(running)
    assert (result.decision, len(result.finding("coverage").cases)) == (Decision.FAIL, LOST)


def edited(at: int, change: dict[str, Any]) -> list[dict[str, Any]]:
    cases = make_cases(CASES)
    return [{**each, **change} if position < at else each for position, each in enumerate(cases)]


@pytest.mark.parametrize(
    ("cases", "evalset", "said"),
    [
        (None, {"scorers": [{"regex": "."}]}, "the scorer exact is gone; the scorer regex is new"),
        (
            None,
            {"scorers": [{"exact": {"value": "{{ expected }}", "advisory": True}}, "refusal"]},
            "the scorer exact has another bar (advisory False → True)",
        ),
        (None, {"scorers": [{"exact": ["no idea", "say 1"]}]}, "the scorer exact is another one"),
        (edited(2, {"expected": "no idea"}), {}, "2 cases edited (c000, c001)"),
        (edited(1, {"known_failing": "hard"}), {}, "1 case known to fail (c000)"),
        (edited(CASES, {"group": "one"}), {}, "30 cases grouped otherwise"),
        (edited(1, {"scorers": [{"length": 9}]}), {}, "1 case with other scorers of their own"),
        ([*make_cases(200)], {}, "170 cases added"),
        (make_cases(CASES)[1:], {"retired": {"c000": "old"}}, "1 case retired (c000)"),
        (None, {"repeats": 2}, "repeats 1 → 2"),
    ],
)
def test_what_a_change_makes_easier_is_a_finding(
    project: Project, cases: list[dict[str, Any]] | None, evalset: dict[str, Any], said: str
) -> None:
    committed(project)
    project.cases(cases or make_cases(CASES))
    project.evalset(**evalset)
    assert said in gate(project, base="main").finding("evalset").why


def test_a_case_that_is_critical_no_longer_is_a_finding(project: Project) -> None:
    project.cases(edited(1, {"critical": True}))
    committed(project)
    project.cases(make_cases(CASES))
    said = gate(project, base="main").finding("evalset").why
    assert "1 case critical no longer (c000)" in said


def test_a_prompt_from_which_its_evalset_is_taken_is_refused(worse: Project) -> None:
    worse.write("prompts/other.prompt.yml", worse.read("prompts/support.prompt.yml"))
    worse.evalset(prompt="other")
    with pytest.raises(Refused, match=r"nothing gates support any more: at main, support did"):
        gate(worse, base="main")
    assert gate(worse, "other", base="main").decision is Decision.INCONCLUSIVE


def test_a_prompt_that_is_gone_is_said(worse: Project) -> None:
    text = worse.read("prompts/support.prompt.yml")
    (worse.root / "prompts/support.prompt.yml").unlink()
    worse.write("prompts/renamed.prompt.yml", text)
    worse.evalset(prompt="renamed")
    result = gate(worse, base="main")
    assert result.decision is Decision.INCONCLUSIVE
    assert "support is gone, which support gated at main" in result.evalset.notes


def test_a_prompt_that_is_named_and_has_no_evalset_is_refused(project: Project) -> None:
    project.write("prompts/other.prompt.yml", project.read("prompts/support.prompt.yml"))
    with pytest.raises(Refused, match="no evalset gates other"):
        gate(project, "support", "other")
    assert "no evalset gates other: it is not measured" in gate(project, "*o*").evalset.notes


def test_an_evalset_that_is_left_out_is_said(project: Project) -> None:
    Project(root=project.root, name="hard").cases(make_cases(3))
    Project(root=project.root, name="hard").evalset(prompt="support")
    result = gate(project, select={"evalsets": ["support"]})
    assert "without hard, which gates support as well" in result.evalset.notes
    with pytest.raises(UnknownName):
        gate(project, select={"evalsets": ["support", "harder"]})


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("evalsets/support.yaml", "prompt: [", "evalsets/support.yaml:"),
        ("evalsets/support.jsonl", "{", "evalsets/support.jsonl:1"),
        ("prompts/support.prompt.yml", "messages: 3", "prompts/support.prompt.yml:1"),
    ],
)
def test_a_base_that_is_not_valid_is_named_with_its_files_and_the_way_out(
    project: Project, path: str, text: str, said: str
) -> None:
    right = project.read(path)
    project.write(path, text)
    committed(project)
    project.write(path, right)
    with pytest.raises(Refused) as refused:
        gate(project, base="main")
    assert "read at main, and there it is not valid" in refused.value.message
    assert said in refused.value.message
    assert f"git log main -- {path}" in (refused.value.hint or "")


def test_evidence_of_an_evalset_that_gates_no_longer_promotes_nothing(
    running: Project, server: Server
) -> None:
    hard = Project(root=running.root, name="hard")
    hard.cases(make_cases(CASES))
    hard.evalset(prompt="support")
    worsen(running, server, LOST)
    number = release(running)
    measured(running, number)
    remove_evalset(running, "hard")
    done = promotion(running, number, reason="why not")
    assert (done.event, done.exit_code) == (None, ExitCode.INCOMPLETE)
    assert "measured on hard too, which gates the prompt no longer" in done.why


def test_an_override_promotes_what_nothing_gates(running: Project) -> None:
    running.prompt(system="Next.")
    number = release(running)
    remove_evalset(running, "support")
    done = promotion(running, number, reason="an outage", override=True)
    assert done.event is not None
    assert (done.event.action, done.event.judged_by) == ("override", ())


def priced(project: Project, alias: str = "tiny", **price: float) -> None:
    project.model = {"price": price, "retries": 0}
    project.llmops_yaml(alias)


def test_a_price_that_a_change_takes_away_is_a_finding(running: Project) -> None:
    priced(running, input=1, output=2)
    committed(running)
    priced(running, input=0, output=0)
    said = gate(running, base="main").finding("models").why
    assert "price $1 in, $2 out per million tokens → $0 in, $0 out per million tokens" in said
    running.model = {"price": {"input": 1, "output": 2}, "retries": 3, "timeout": 7}
    running.llmops_yaml()
    said = gate(running, base="main").finding("models").why
    assert "priced and called: timeout 120.0 → 7.0, retries 0 → 3. Both" in said


def test_a_price_under_another_alias_is_a_finding_as_well(project: Project) -> None:
    priced(project, input=1, output=2)
    committed(project)
    priced(project, "free", input=0, output=0)
    project.prompt(model="free")
    said = gate(project, base="main").finding("models").why
    assert "how free is priced and called: price $1 in, $2 out per million tokens → $0" in said


def test_the_price_of_a_model_that_is_not_called_is_not_mentioned(project: Project) -> None:
    project.models = {"other": {"provider": "openai", "model": "other"}}
    project.llmops_yaml()
    committed(project)
    project.models["other"]["price"] = {"input": 0, "output": 0}
    project.llmops_yaml()
    project.prompt(system="Another.")
    rules = {each.rule for each in gate(project, base="main").verdict.findings}
    assert "models" not in rules


PROMPTS = ("claims", "intent", "support")


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """Three prompts on `main`; a branch is checked out."""
    repo = make_git_project(tmp_path / "shop", *PROMPTS)
    repo.git("switch", "-q", "-c", "change")
    return repo


def changed(repo: GitProject, *arguments: str) -> list[str]:
    """What `eval --changed main` measures."""
    result = repo.run("eval", "--changed", "main", "--dry-run", "--json", *arguments)
    assert result.code == 0, result.text
    (plan,) = result.document
    return [each["prompt"] for each in plan["prompts"]]


def appended(repo: GitProject, path: str, text: str) -> None:
    repo.write(path, (repo.root / path).read_text() + text)


def refused(result: Result) -> str:
    assert result.code == 2
    return result.text


def test_nothing_changed_is_nothing_to_measure_and_passes(repo: GitProject) -> None:
    junit = repo.root / "junit.xml"
    result = repo.ok("eval", "--changed", "main", "--junit", str(junit))
    assert "Nothing to evaluate." in result.out
    assert "no prompt changed since" in result.out
    assert "<error" not in junit.read_text()


def test_a_prompts_own_file_concerns_it_alone(repo: GitProject) -> None:
    repo.say("intent", "Answer kindly.")
    assert changed(repo) == ["intent"]


def test_a_comment_affects_no_prompt(repo: GitProject) -> None:
    appended(repo, "evalsets/intent.yaml", "\n# a remark\n")
    assert changed(repo) == []


def test_cases_scorers_tags_and_policy_concern_those_they_gate(repo: GitProject) -> None:
    repo.cases("claims", 59)
    repo.evalset("support", gate={"margin": 0.2})
    assert changed(repo) == ["claims", "support"]


def test_an_evalset_that_gates_another_prompt_now_concerns_both(repo: GitProject) -> None:
    repo.cases("hard")
    repo.evalset("hard", prompt="intent")
    repo.commit("a second evalset")
    repo.git("branch", "-f", "main")
    repo.evalset("hard", prompt="claims")
    assert changed(repo) == ["claims", "intent"]


def test_a_model_concerns_those_that_it_answers(repo: GitProject) -> None:
    repo.write(
        "llmops.yaml",
        "models:\n  tiny: {provider: embedded}\n  other: {provider: embedded}\n"
        "environments: [production]\n",
    )
    path = "prompts/intent.prompt.yml"
    repo.write(path, (repo.root / path).read_text().replace('"tiny"', '"other"'))
    assert changed(repo) == ["intent"]


def test_the_projects_policy_concerns_all(repo: GitProject) -> None:
    appended(repo, "llmops.yaml", "gate: {margin: 0.2}\n")
    assert changed(repo) == [*PROMPTS]


def test_what_others_merged_meanwhile_affects_nothing_here(repo: GitProject) -> None:
    repo.git("switch", "-q", "main")
    repo.say("support", "Answer kindly.")
    repo.commit("meanwhile")
    repo.git("switch", "-q", "change")
    repo.say("claims", "Answer kindly.")
    assert changed(repo) == ["claims"]


def test_a_name_and_a_change_must_both_hold(repo: GitProject) -> None:
    repo.say("intent", "Answer kindly.")
    repo.say("claims", "Answer kindly.")
    assert changed(repo, "--prompt", "int*") == ["intent"]


def test_a_prompt_that_is_gone_is_reported_even_if_other_files_changed(repo: GitProject) -> None:
    for path in ("prompts/support.prompt.yml", "evalsets/support.yaml", "evalsets/support.jsonl"):
        (repo.root / path).unlink()
    for names in ([], ["intent"], ["claims", "intent"]):
        for name in names:
            repo.say(name, "Answer kindly.")
        result = repo.ok("eval", "--changed", "main", "--base", "main", "--json")
        assert [each["prompt"] for each in result.report["prompts"]] == names
        assert result.out.count("support is gone, which support gated at main") == 1


def test_where_the_files_at_the_base_are_broken_all_are_measured(repo: GitProject) -> None:
    repo.git("switch", "-q", "main")
    repo.write("llmops.yaml", "models: nonsense\n")
    repo.commit("broken")
    repo.git("switch", "-q", "-C", "change")
    repo.git("checkout", "-q", "main~1", "--", "llmops.yaml")
    repo.commit("mended")
    assert changed(repo) == [*PROMPTS]


def test_a_shallow_clone_gets_the_command_to_fetch_more(repo: GitProject, tmp_path: Path) -> None:
    repo.say("intent", "Answer kindly.")
    repo.commit("kindly")
    thin = repo.clone(tmp_path / "thin", "--depth=1", "--branch", "change")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "origin/main"))
    git(thin.root, "fetch", "-q", "--depth=1", "origin", "main")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "FETCH_HEAD"))


def test_a_version_never_changes(repo: GitProject) -> None:
    repo.first()
    assert "a version never does" in refused(repo.run("eval", "intent@v1", "--changed", "main"))


# New evalsets ------------------------------------------------------------------------------------


def worsen_amid_trivial_evalsets(project: Project, server: Server) -> None:
    """Change the prompt so that six cases regress, and add twenty evalsets that show none."""
    worsen(project, server, 6)
    for at in range(20):
        trivial = [{**case, "id": f"t{at}-{case['id']}"} for case in make_cases(CASES)[6:]]
        write_evalset(project, f"trivial{at}", trivial)


def test_new_evalsets_do_not_dilute_those_of_the_base(running: Project, server: Server) -> None:
    worsen_amid_trivial_evalsets(committed(running), server)
    result = gate(running, base="main")
    assert result.decision is Decision.FAIL
    tested = {finding.evalset: finding for finding in result.findings("no_worse")}
    assert tested["support"].decision is Decision.FAIL
    estimate = tested["support"].estimate
    assert estimate is not None
    assert estimate.p_adjusted == estimate.p_regression
    new = [text.why for text in result.findings("evalset")]
    assert len(new) == 20
    assert new[0].startswith("this change adds the evalset trivial0 (24 cases)")


def test_new_evalsets_block_and_do_not_dilute_each_other(running: Project, server: Server) -> None:
    """A renamed evalset among trivial ones is still one that regressed."""
    worsen_amid_trivial_evalsets(committed(running), server)
    write_evalset(running, "renamed", make_cases(CASES))
    remove_evalset(running, "support")
    result = gate(running, base="main")
    tested = {finding.evalset: finding for finding in result.findings("no_worse")}
    assert tested["renamed"].decision is Decision.FAIL


@pytest.mark.parametrize(
    "rules",
    [["no_worse"], [{"floor": 0.9}], [{"regressed": 0.1}]],
    ids=["no_worse", "floor", "regressed"],
)
def test_cases_that_a_change_adds_do_not_dilute_those_of_the_base(
    running: Project, server: Server, rules: list[Any]
) -> None:
    running.settings["gate"] = {"rules": rules}
    running.llmops_yaml()
    committed(running)
    worsen(running, server, 6)
    more = [{**case, "id": f"more-{case['id']}"} for case in make_cases(400)[6:]]
    running.cases([*make_cases(CASES), *more])
    assert gate(running).decision is not Decision.FAIL
    result = gate(running, base="main")
    assert result.decision is Decision.FAIL
    assert "on support@base" in result.verdict.why


def test_without_a_base_all_evalsets_are_decided_together(running: Project, server: Server) -> None:
    worsen_amid_trivial_evalsets(running, server)
    tested = {finding.evalset: finding for finding in gate(running).findings("no_worse")}
    assert tested["support"].decision is Decision.INCONCLUSIVE


# Evalsets that a change alters with its prompt ----------------------------------------------------


def rewrite(project: Project, cases: list[dict[str, Any]], **evalset: Any) -> None:
    project.cases(cases)
    project.evalset(**evalset)


EASIER: Mapping[str, Callable[[Project], object]] = {
    "another scorer": lambda project: project.evalset(scorers=[{"regex": "."}]),
    "a negated scorer": lambda project: project.evalset(scorers=[{"not": {"exact": "never"}}]),
    "an advisory scorer": lambda project: project.evalset(
        scorers=[
            {"exact": {"value": "{{ expected }}", "advisory": True}},
            {"regex": "."},
        ]
    ),
    "scorers of single cases": lambda project: rewrite(
        project,
        [{**case, "scorers": [{"regex": "."}]} for case in make_cases(CASES)],
        scorers=[],
    ),
    "edited expectations": lambda project: project.cases(
        [{**case, "expected": "no idea"} for case in make_cases(CASES)[:LOST]]
        + make_cases(CASES)[LOST:]
    ),
    "known failures": lambda project: project.cases(
        [{**case, "known_failing": "later"} for case in make_cases(CASES)[:LOST]]
        + make_cases(CASES)[LOST:]
    ),
    "one group of all": lambda project: project.cases(
        [{**case, "group": "g"} for case in make_cases(CASES)]
    ),
    "retired cases": lambda project: rewrite(
        project,
        make_cases(CASES)[LOST:],
        retired={f"c{at:03}": "old" for at in range(LOST)},
    ),
    "a retired evalset": lambda project: others(
        project, "fewer", make_cases(CASES)[LOST:], retired={"support": "old"}
    ),
    "edited questions": lambda project: project.cases(
        [
            {**case, "inputs": {"question": "easy"}, "expected": "easy"}
            for case in make_cases(CASES)[:LOST]
        ]
        + make_cases(CASES)[LOST:]
    ),
    "ids that are swapped": lambda project: project.cases(
        [{**case, "id": f"n{case['id']}"} for case in make_cases(CASES)[LOST:]]
        + [
            {**make_cases(CASES)[LOST + at], "id": case["id"]}
            for at, case in enumerate(make_cases(CASES)[:LOST])
        ]
    ),
    "fewer repeats and many more cases": lambda project: project.cases(
        [*make_cases(CASES), *({**case, "id": f"m{case['id']}"} for case in make_cases(800)[LOST:])]
    ),
}


@pytest.mark.parametrize("easier", EASIER)
def test_an_easier_evalset_does_not_let_a_worse_prompt_pass(
    running: Project, server: Server, easier: str
) -> None:
    worsen(committed(running), server, LOST)
    EASIER[easier](running)
    result = gate(running, base="main")
    assert result.decision is Decision.FAIL
    failed = [finding for finding in result.verdict.findings if finding.decision is Decision.FAIL]
    assert "support@base" in {finding.evalset for finding in failed}


@pytest.mark.parametrize("easier", ["another scorer", "edited expectations", "known failures"])
def test_an_evalset_may_be_corrected_where_the_prompt_stays(
    running: Project, server: Server, easier: str
) -> None:
    """Both sides are measured with it: the prompt is no worse."""
    committed(running)
    EASIER[easier](running)
    result = gate(running, base="main")
    assert "support@base" not in {item.evalset for item in result.prompt.evalsets}


def test_a_weaker_schema_of_a_scorer_does_not_let_a_worse_prompt_pass(
    project: Project, server: Server
) -> None:
    schema = {"type": "string", "pattern": "say"}
    project.write("scorers/answer.json", json.dumps(schema))
    project.evalset(scorers=[{"regex": "."}, {"json_schema": "scorers/answer.json"}])
    server.reply = lambda body: json.dumps(echo(body))
    committed(project)
    worsen(project, server, LOST)
    worse_reply = server.reply
    server.reply = lambda body: json.dumps(worse_reply(body))
    project.write("scorers/answer.json", json.dumps({"type": "string"}))
    assert gate(project, base="main").decision is Decision.FAIL


def rewrite_inputs(project: Project, *inputs: str, user: str = "{{ question }}") -> None:
    project.prompt(user=user)
    path = project.root / "prompts/support.prompt.yml"
    written = yaml.safe_load(path.read_text())
    written["inputs"] = {name: {"type": "string"} for name in inputs}
    path.write_text(yaml.safe_dump(written))


def test_inputs_that_are_renamed_are_refused_with_the_way_to_do_it(worse: Project) -> None:
    rewrite_inputs(worse, "question", "query", user="{{ query }}")
    inputs = {"question": "easy", "query": "easy"}
    cases = [{**case, "inputs": inputs, "expected": "easy"} for case in make_cases(CASES)]
    worse.cases(cases)
    with pytest.raises(Refused, match="can't be measured on support@base") as refusal:
        gate(worse, base="main")
    assert "first merge a change of the cases alone" in str(refusal.value.hint)


def test_an_input_is_added_in_two_changes(running: Project) -> None:
    """The first adds it to the prompt's inputs and to the cases; the second uses it."""
    cases = [
        {**case, "inputs": {**case["inputs"], "query": case["inputs"]["question"]}}
        for case in make_cases(CASES)
    ]
    committed(running)
    rewrite_inputs(running, "question", "query")
    running.cases(cases)
    assert gate(running, base="main").decision is Decision.PASS
    git(running.root, "commit", "-qam", "both inputs")
    rewrite_inputs(running, "question", "query", user="{{ query }}")
    assert gate(running, base="HEAD").decision is Decision.PASS


def test_answers_that_both_evalsets_share_have_their_latency_in_both(
    running: Project, server: Server
) -> None:
    running.settings["gate"] = {"rules": ["no_worse", {"latency": 60}]}
    running.llmops_yaml()
    committed(running)
    running.prompt(system="Answer kindly.")
    running.cases([{**case, "tags": ["new"], "group": "g"} for case in make_cases(CASES)])
    timed = gate(running, base="main").findings("latency")
    assert [finding.evalset for finding in timed] == ["support", "support@base"]
    assert [finding.figures["calls"] for finding in timed] == [CASES, CASES]


def test_a_better_prompt_with_more_cases_passes_on_both(running: Project) -> None:
    committed(running)
    running.prompt(system="Answer kindly.")
    running.cases(make_cases(CASES + 5))
    result = gate(running, base="main")
    assert result.decision is Decision.PASS
    assert [item.evalset for item in result.prompt.evalsets] == ["support", "support@base"]
    assert result.done.run is not None
    assert result.done.run.calls == CASES + 5 * 4  # those of the baseline on the new cases too


def test_new_prompts_do_not_dilute_those_of_the_base(running: Project, server: Server) -> None:
    committed(running)
    worsen(running, server, 6)
    for at in range(20):
        other = replace(running, name=f"other{at}")
        other.prompt()
        other.cases(make_cases(24))
        other.evalset()
    result = gate(running, base="main")
    verdicts = {item.prompt: item.verdict.decision for item in result.report.prompts}
    assert verdicts["support"] is Decision.FAIL
