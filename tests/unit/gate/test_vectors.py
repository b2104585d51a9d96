"""The gate reproduces every reference value that it covers, and names those that it does not."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.family import benjamini_hochberg, holm
from llmops_cli.gate.groups import Clusters, cluster_variance, design_effect, reference
from llmops_cli.gate.score_test import Sample, lower_end, sample, upper_end, z
from llmops_cli.gate.sizing import cases_needed
from llmops_cli.gate.spending import quantile_upper_bound
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
}
NO_MCNEMAR = "the gate tests a margin, not equality: McNemar is no part of it"
OTHER_INTERVAL = "another interval for paired proportions: the gate's own is the score interval"
CALIBRATION = "calibrating a judge comes with gate/calibration"
NOT_USED = "not a method of the gate"
NOT_COVERED = {
    "mcnemar_10_3": NO_MCNEMAR,
    "mcnemar_cavo2012": NO_MCNEMAR,
    "mcnemar_vassar": NO_MCNEMAR,
    "mcnemar_bentur2009": NO_MCNEMAR,
    "newcombe10_cavo2012": OTHER_INTERVAL,
    "newcombe10_tiny": OTHER_INTERVAL,
    "bonett_price_cavo2012": OTHER_INTERVAL,
    "kappa_sas": CALIBRATION,
    "kappa_2x2": CALIBRATION,
    "rogan_gladen_readme": CALIBRATION,
    "rogan_gladen_point": CALIBRATION,
    "youden_J": CALIBRATION,
    "ppi_pp_mean": NOT_USED,
    "ppi_py_bug": "a trap of another library",
    "bca_mean": "the gate draws no bootstrap samples: its interval inverts the score test",
    "betting_const": "the gate looks at most three times, by shared error rates, not by betting",
    "gs_bounds_4looks_one_sided_05": "the looks share the error rates ½, ¼, ¼ without boundaries",
}


@cache
def vectors() -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(VECTORS.read_text(encoding="utf-8"))}


def paired(wins: int, losses: int, n: int) -> Sample:
    return sample(np.repeat([-1.0, 0.0, 1.0], [losses, n - wins - losses, wins]))


def two_sided(conf: float) -> float:
    return reference(np.zeros(1), None).critical((1 - conf) / 2)


def test_every_vector_is_either_reproduced_or_named_with_the_reason_why_not() -> None:
    assert {*TANGO, *ELSEWHERE, *NOT_COVERED} == set(vectors())
    assert len(TANGO) + len(ELSEWHERE) + len(NOT_COVERED) == 33


@pytest.mark.parametrize("name", TANGO)
def test_on_paired_binary_outcomes_the_interval_is_tango_s(name: str) -> None:
    given, expected = vectors()[name]["input"], vectors()[name]["expected"]
    seen = paired(given["wins"], given["losses"], given["n"])
    critical = two_sided(given["conf"])
    ends = [lower_end(seen, critical), upper_end(seen, critical)]
    assert ends == pytest.approx(expected["full_precision"], abs=1e-6)
    if "published" in expected:
        assert ends == pytest.approx(expected["published"], abs=vectors()[name]["tol"])


def test_the_interval_of_three_draws_per_case_is_the_reference_s() -> None:
    vector = vectors()["score_K3"]
    d = [0.0] * 40 + [-1, -1, -2 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 2 / 3, 1, -1]
    seen = sample(np.array(d))
    critical = two_sided(vector["input"]["conf"])
    ends = [lower_end(seen, critical), upper_end(seen, critical)]
    assert ends == pytest.approx(vector["expected"]["interval"], abs=vector["tol"])
    assert z(seen, -0.05) == pytest.approx(vector["expected"]["z_at_minus_0_05"], abs=1e-6)
    assert z(seen, 0.0) == pytest.approx(vector["expected"]["z_at_0"], abs=1e-6)


def test_the_interval_of_continuous_differences_is_the_reference_s() -> None:
    vector = vectors()["score_continuous"]
    seen = sample(np.array([round(0.1 * math.sin(i) - 0.01, 6) for i in range(60)]))
    critical = two_sided(vector["input"]["conf"])
    ends = [lower_end(seen, critical), upper_end(seen, critical)]
    assert ends == pytest.approx(vector["expected"]["interval"], abs=vector["tol"])


def test_the_verdicts_are_the_reference_s() -> None:
    vector = vectors()["verdicts"]
    words = {Decision.FAIL: "REGRESSION"}
    policy = Policy(rules=[NoWorse()])
    decided = [
        verdict(rows(lost=losses, gained=wins, n=n), policy).decision
        for losses, wins, n in vector["input"]["cases"]
    ]
    said = [words.get(each, each.value) for each in decided]
    assert said == vector["expected"]["verdict"]


def test_the_cluster_standard_error_and_the_design_effect_are_the_reference_s() -> None:
    vector = vectors()["cluster_se"]
    d = np.array(vector["input"]["d"])
    clusters = Clusters.of(np.array(vector["input"]["cluster"], dtype=np.int32))
    expected = vector["expected"]
    found = [d.mean(), math.sqrt(cluster_variance(d, clusters)), design_effect(d, clusters)]
    assert found == pytest.approx([expected["mean"], expected["se_CR1"], expected["deff"]])
    assert clusters.count == expected["G"]


def test_holm_and_benjamini_hochberg_adjust_the_1995_data_as_published() -> None:
    vector = vectors()["bh_holm_1995"]
    p, expected = vector["input"]["p"], vector["expected"]
    assert holm(p) == pytest.approx(expected["holm_adjusted"], abs=vector["tol"])
    assert benjamini_hochberg(p) == pytest.approx(expected["bh_adjusted"], abs=vector["tol"])


def test_a_95th_percentile_has_an_upper_bound_from_59_calls() -> None:
    expected = vectors()["p95_upper_bound_min_n"]["expected"]
    assert quantile_upper_bound(np.arange(1.0, 59.0), 0.95, 0.05) is None
    assert quantile_upper_bound(np.arange(1.0, 60.0), 0.95, 0.05) == expected["high_59"]


def test_the_cases_needed_for_80_percent_power_are_the_closed_form_s() -> None:
    given = vectors()["power_n"]["input"]
    needed = cases_needed(given["psi"], given["margin"], given["beta"])
    assert needed == vectors()["power_n"]["expected"]["n"]


def test_on_one_sample_the_interval_is_wilson_s() -> None:
    vector = vectors()["wilson_cp"]
    k, n = vector["input"]["k"], vector["input"]["n"]
    seen = sample(np.repeat([0.0, 1.0], [n - k, k]), low=0.0, high=1.0)
    critical = two_sided(vector["input"]["conf"])
    ends = [lower_end(seen, critical), upper_end(seen, critical)]
    assert ends == pytest.approx(vector["expected"]["wilson"], abs=vector["tol"])
