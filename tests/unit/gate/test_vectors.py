"""The gate reproduces every reference value that it covers, and names those that it does not."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_cli.core.policy import Decision, NoWorse, Policy
from llmops_cli.gate.calibration import kappa, lang_reiczigel, rogan_gladen, wilson, youden
from llmops_cli.gate.decide import benjamini_hochberg, holm
from llmops_cli.gate.paired_test import cases_needed
from llmops_cli.gate.rules import quantile_bounds
from llmops_cli.gate.score_test import (
    NORMAL,
    Groups,
    Sample,
    design_effect,
    group_variance,
    lower_end,
    sample,
    upper_end,
    z,
)
from tests.unit.gate.build import rows, verdict

VECTORS = Path(__file__).parents[2] / "vectors" / "stats.json"

TANGO = (
    "tango_tango1998_contact_lens",
    "tango_tango1998_b",
    "tango_agresti_min2005",
    "tango_fagerland2014_bentur",
    "tango_cavo2012",
    "tango_all_losses",
    "tango_no_discordant",
    "tango_propcis_example",
)
ELSEWHERE = {
    "score_K3",
    "score_continuous",
    "verdicts",
    "cluster_se",
    "bh_holm_1995",
    "p95_upper_bound_min_n",
    "power_n",
    "wilson_cp",
    "kappa_sas",
    "kappa_2x2",
    "rogan_gladen_readme",
    "rogan_gladen_point",
    "youden_J",
}
NO_MCNEMAR = "the gate tests a margin, not equality: McNemar is no part of it"
OTHER_INTERVAL = "another interval for paired proportions: the gate's own is the score interval"
PREDICTED = "a judge's errors are corrected by its calibration, not by labels within the run"
NOT_COVERED = {
    "mcnemar_10_3": NO_MCNEMAR,
    "mcnemar_cavo2012": NO_MCNEMAR,
    "mcnemar_vassar": NO_MCNEMAR,
    "mcnemar_bentur2009": NO_MCNEMAR,
    "newcombe10_cavo2012": OTHER_INTERVAL,
    "newcombe10_tiny": OTHER_INTERVAL,
    "bonett_price_cavo2012": OTHER_INTERVAL,
    "ppi_pp_mean": PREDICTED,
    "ppi_py_bug": "a trap of another library",
    "bca_mean": "the gate draws no bootstrap samples: its interval inverts the score test",
    "betting_const": "the gate looks at most three times, by shared error rates, not by betting",
    "gs_bounds_4looks_one_sided_05": "the looks share the error rates ½, ¼, ¼ without boundaries",
}


@cache
def vectors() -> dict[str, Any]:
    return {case["name"]: case for case in json.loads(VECTORS.read_text(encoding="utf-8"))}


def paired(wins: int, losses: int, n: int) -> Sample:
    return sample(np.repeat([-1.0, 0.0, 1.0], [losses, n - wins - losses, wins]))


def interval(seen: Sample, level: float) -> list[float]:
    critical = NORMAL.critical((1 - level) / 2)
    return [lower_end(seen, critical, z), upper_end(seen, critical, z)]


def test_every_vector_is_either_reproduced_or_named_with_the_reason_why_not() -> None:
    assert {*TANGO, *ELSEWHERE, *NOT_COVERED} == set(vectors())
    assert len(TANGO) + len(ELSEWHERE) + len(NOT_COVERED) == 33


@pytest.mark.parametrize("name", TANGO)
def test_on_paired_binary_outcomes_the_interval_is_tango_s(name: str) -> None:
    cases, expected = vectors()[name]["input"], vectors()[name]["expected"]
    seen = paired(cases["wins"], cases["losses"], cases["n"])
    ends = interval(seen, cases["conf"])
    assert ends == pytest.approx(expected["full_precision"], abs=1e-6)
    if "published" in expected:
        assert ends == pytest.approx(expected["published"], abs=vectors()[name]["tol"])


def test_the_interval_of_three_trials_per_case_is_the_reference_s() -> None:
    vector = vectors()["score_K3"]
    d = [0.0] * 40 + [-1, -1, -2 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 2 / 3, 1, -1]
    seen = sample(np.array(d))
    assert interval(seen, vector["input"]["conf"]) == pytest.approx(
        vector["expected"]["interval"], abs=vector["tol"]
    )
    assert z(seen, -0.05) == pytest.approx(vector["expected"]["z_at_minus_0_05"], abs=1e-6)
    assert z(seen, 0.0) == pytest.approx(vector["expected"]["z_at_0"], abs=1e-6)


def test_the_interval_of_continuous_differences_is_the_reference_s() -> None:
    vector = vectors()["score_continuous"]
    seen = sample(np.array([round(0.1 * math.sin(i) - 0.01, 6) for i in range(60)]))
    assert interval(seen, vector["input"]["conf"]) == pytest.approx(
        vector["expected"]["interval"], abs=vector["tol"]
    )


def test_the_verdicts_by_the_uncorrected_statistic_are_the_reference_s() -> None:
    vector = vectors()["verdicts"]
    critical = NORMAL.critical(0.05)
    for (losses, wins, n), expected in zip(
        vector["input"]["cases"], vector["expected"]["verdict"], strict=True
    ):
        seen = paired(wins, losses, n)
        if z(seen, -0.05) > critical:
            assert expected == "PASS"
        else:
            assert expected == ("REGRESSION" if z(seen, 0.0) < -critical else "INCONCLUSIVE")


def test_the_verdicts_are_the_reference_s_but_for_the_case_that_passes_too_often() -> None:
    vector = vectors()["verdicts"]
    words = {Decision.FAIL: "REGRESSION"}
    policy = Policy(rules=[NoWorse()])
    decided = [
        verdict(rows(regressed=losses, improved=wins, n=n), policy).decision
        for losses, wins, n in vector["input"]["cases"]
    ]
    result = [words.get(case, case.value) for case in decided]
    expected = list(vector["expected"]["verdict"])
    # 52 cases without a loss come out of a true loss of the margin in 6.9% of runs (record 0021).
    expected[vector["input"]["cases"].index([0, 0, 52])] = "INCONCLUSIVE"
    assert result == expected


def test_the_cluster_standard_error_and_the_design_effect_are_the_reference_s() -> None:
    vector = vectors()["cluster_se"]
    d = np.array(vector["input"]["d"])
    groups = Groups.of(np.array(vector["input"]["cluster"], dtype=np.int32))
    expected = vector["expected"]
    found = [d.mean(), math.sqrt(group_variance(d, groups)), design_effect(d, groups)]
    assert found == pytest.approx([expected["mean"], expected["se_CR1"], expected["deff"]])
    assert groups.count == expected["G"]


def test_holm_and_benjamini_hochberg_adjust_the_1995_data_as_published() -> None:
    vector = vectors()["bh_holm_1995"]
    p, expected = vector["input"]["p"], vector["expected"]
    assert holm(p) == pytest.approx(expected["holm_adjusted"], abs=vector["tol"])
    assert benjamini_hochberg(p) == pytest.approx(expected["bh_adjusted"], abs=vector["tol"])


def test_a_95th_percentile_has_an_upper_bound_from_59_calls() -> None:
    expected = vectors()["p95_upper_bound_min_n"]["expected"]
    assert quantile_bounds(np.arange(1.0, 59.0), 0.95, 0.05, 0.05)[1] is None
    assert quantile_bounds(np.arange(1.0, 60.0), 0.95, 0.05, 0.05)[1] == expected["high_59"]


def test_the_cases_needed_for_80_percent_power_are_the_closed_form_s() -> None:
    cases = vectors()["power_n"]["input"]
    needed = cases_needed(cases["psi"], cases["margin"], cases["beta"])
    assert needed == vectors()["power_n"]["expected"]["n"]


def test_on_one_sample_the_interval_is_wilson_s() -> None:
    vector = vectors()["wilson_cp"]
    k, n = vector["input"]["k"], vector["input"]["n"]
    seen = sample(np.repeat([0.0, 1.0], [n - k, k]), low=0.0, high=1.0)
    assert interval(seen, vector["input"]["conf"]) == pytest.approx(
        vector["expected"]["wilson"], abs=vector["tol"]
    )
    found = wilson(k, n, vector["input"]["conf"])
    assert found is not None
    assert [found.lower, found.upper] == pytest.approx(
        vector["expected"]["wilson"], abs=vector["tol"]
    )


@pytest.mark.parametrize("name", ["kappa_sas", "kappa_2x2"])
def test_cohen_s_kappa_and_its_interval_are_the_reference_s(name: str) -> None:
    vector = vectors()[name]
    found = kappa(vector["input"]["table"], 0.95)
    assert found is not None
    assert found.value == pytest.approx(vector["expected"]["kappa"], abs=vector["tol"])
    ends = [found.lower, found.upper]
    assert ends == pytest.approx(vector["expected"]["ci95"], abs=vector["tol"])


def test_youden_s_j_has_newcombe_s_interval() -> None:
    cases, expected = vectors()["youden_J"]["input"], vectors()["youden_J"]["expected"]
    passes = wilson(cases["tp"], cases["pos"], cases["conf"])
    fails = wilson(cases["neg"] - cases["fp"], cases["neg"], cases["conf"])
    found = youden(passes, fails)
    assert found is not None
    assert found.value == pytest.approx(expected["J"])
    ends = [found.lower, found.upper]
    assert ends == pytest.approx(expected["ci"], abs=vectors()["youden_J"]["tol"])


def test_the_corrected_pass_rate_is_rogan_and_gladen_s_with_lang_and_reiczigel_s_interval() -> None:
    vector = vectors()["rogan_gladen_readme"]
    cases, tol = vector["input"], vector["tol"]
    theta = rogan_gladen(cases["p"], cases["tpr"], cases["tnr"])
    assert theta == pytest.approx(vector["expected"]["theta"], abs=tol)
    passes, fails = (cases["tpr"], cases["m1"]), (cases["tnr"], cases["m0"])
    ends = lang_reiczigel(cases["p"], cases["n"], passes, fails, level=cases["conf"])
    assert ends == pytest.approx(vector["expected"]["ci"], abs=tol)


def test_the_corrected_prevalence_of_the_brucellosis_study_is_as_published() -> None:
    vector = vectors()["rogan_gladen_point"]
    theta = rogan_gladen(23 / 150, vector["input"]["se"], vector["input"]["sp"])
    assert theta == pytest.approx(vector["expected"]["theta"], abs=vector["tol"])
