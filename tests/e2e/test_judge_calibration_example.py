"""Every number of examples/judge-calibration, computed again from raw readings and labels."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import norm
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from llmops_cli.providers.embedded import Bm25
from tests.git_project import GitProject

PLACES = ((True, True), (True, False), (False, True), (False, False))
EXAMPLE = Path(__file__).parents[2] / "examples" / "judge-calibration"


@pytest.fixture(scope="module")
def raw() -> list[tuple[bool, bool]]:
    """People's label and the judge's verdict of each answer: that of the most similar example."""
    prompt = yaml.safe_load((EXAMPLE / "prompts" / "truthful.prompt.yml").read_text())
    turns = [message for message in prompt["messages"] if message["role"] != "system"][:-1]
    index = Bm25([turn["content"] for turn in turns[::2]])
    verdicts = [json.loads(turn["content"])["verdict"] == "pass" for turn in turns[1::2]]
    questions = {line["id"]: line["inputs"]["question"] for line in lines("evalsets/chat.jsonl")}
    return [
        (
            line["label"] == "pass",
            verdicts[index.nearest(f"{questions[line['case']]}\n{line['output']}")],
        )
        for line in lines("labels/answers.jsonl")
    ]


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLE / path).read_text().splitlines()]


def ends(figure: dict[str, float]) -> tuple[float, float]:
    return figure["lower"], figure["upper"]


def test_the_example_s_figures_are_those_of_statsmodels_on_the_raw_readings(
    raw: list[tuple[bool, bool]], tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns(".llmops"))
    repo = GitProject(tmp_path / "example")
    path = str(repo.root / "labels" / "answers.jsonl")
    (done,) = repo.ok("calibrate", "truthful", "--labels", path, "--json").document
    calibration = done["calibration"]
    counts, figures = calibration["counts"], calibration["figures"]
    met = Counter(raw)
    tp, fn, fp, tn = (met[key] for key in PLACES)

    assert [counts[key] for key in ("both_pass", "only_people_pass")] == [tp, fn]
    assert [counts[key] for key in ("only_judge_passes", "both_fail")] == [fp, tn]
    assert (counts["read_twice"], counts["differing"], counts["unscored"]) == (400, 0, 0)
    kappa = cohens_kappa([[tp, fn], [fp, tn]])
    assert figures["kappa"]["value"] == pytest.approx(kappa.kappa)
    assert ends(figures["kappa"]) == pytest.approx((kappa.kappa_low, kappa.kappa_upp))
    for name, k, n in (("tpr", tp, tp + fn), ("tnr", tn, tn + fp), ("disagreement", 0, 400)):
        assert figures[name]["value"] == pytest.approx(k / n)
        assert ends(figures[name]) == pytest.approx(proportion_confint(k, n, method="wilson"))
    assert figures["j"]["value"] == pytest.approx(tp / (tp + fn) + tn / (tn + fp) - 1)
    assert ends(figures["j"]) == pytest.approx(
        confint_proportions_2indep(tp, tp + fn, fp, fp + tn, method="newcomb", alpha=0.1)
    )
    assert figures["corrected"]["value"] == pytest.approx((tp + fn) / 400)
    assert ends(figures["corrected"]) == pytest.approx(drawn(tp, fn, fp, tn), abs=0.03)
    assert calibration["status"] == "UNUSABLE"


def drawn(tp: int, fn: int, fp: int, tn: int) -> tuple[float, float]:
    """The spread of the corrected rate over drawn samples: what its interval has to be about."""
    random = np.random.default_rng(7)
    n, size = tp + fn + fp + tn, 40_000
    rate = random.binomial(n, (tp + fp) / n, size) / n
    tpr = random.binomial(tp + fn, tp / (tp + fn), size) / (tp + fn)
    tnr = random.binomial(fp + tn, tn / (fp + tn), size) / (fp + tn)
    theta = (rate + tnr - 1) / (tpr + tnr - 1)
    middle, spread = np.median(theta), np.subtract(*np.quantile(theta, [0.84134, 0.15866])) / 2
    half = norm.ppf(0.975) * spread
    return float(middle - half), float(middle + half)


def test_no_answer_is_both_an_example_of_the_judge_and_a_label() -> None:
    prompt = (EXAMPLE / "prompts" / "truthful.prompt.yml").read_text()
    labels = lines("labels/answers.jsonl")
    assert len(labels) == 400
    assert [label["id"] for label in labels if f"as in {label['id']}\\" in prompt] == []


def test_the_example_runs_drafts_and_is_refused_where_its_unfit_judge_gates(
    tmp_path: Path,
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns(".llmops"))
    repo = GitProject(tmp_path / "example")
    path = str(repo.root / "labels" / "answers.jsonl")
    repo.ok("calibrate", "truthful", "--labels", path)
    repo.ok("eval")
    repo.ok("calibrate", "truthful", "--draft", str(repo.root / "draft.jsonl"), "--answers", "7")
    drafted = [json.loads(line) for line in (repo.root / "draft.jsonl").read_text().splitlines()]
    texts = {line["case"]: line["output"] for line in lines("labels/answers.jsonl")}
    assert [item["output"] for item in drafted] == [texts[item["case"]] for item in drafted]
    assert len(drafted) == 7
    evalset = (repo.root / "evalsets/chat.yaml").read_text()
    repo.write("evalsets/chat.yaml", evalset.replace("      advisory: true\n", ""))
    result = repo.run("eval")
    assert (result.code, "the judge truthful of chat may not gate" in result.text) == (2, True)
