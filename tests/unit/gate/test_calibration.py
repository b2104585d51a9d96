"""What a judge's counts say is what statsmodels says, and the rule is the one of docs/judges.md."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from llmops_cli.core.policy import Anchor, Critical, NoWorse, Policy
from llmops_cli.core.records import CalibrationStatus, Counts, Figure
from llmops_cli.gate.calibration import (
    corrected,
    figures,
    kappa,
    rogan_gladen,
    ruling,
    scaled,
    shown_as,
)

GOOD = Counts(both_pass=90, only_people_pass=5, only_judge_passes=5, both_fail=60, read_twice=160)


def ends(figure: Figure | None) -> tuple[float, float]:
    assert figure is not None
    return figure.lower, figure.upper


@pytest.mark.parametrize(
    "counts",
    [
        GOOD,
        Counts(both_pass=3, only_people_pass=1, only_judge_passes=2, both_fail=1, read_twice=7),
        Counts(both_pass=40, only_people_pass=60, only_judge_passes=45, both_fail=55, differing=9,
               read_twice=200),
        Counts(both_pass=30, both_fail=30, read_twice=60),
    ],
    ids=["good", "small", "chance", "perfect"],
)  # fmt: skip
def test_every_figure_is_the_one_of_statsmodels(counts: Counts) -> None:
    found = figures(counts)
    table = [
        [counts.both_pass, counts.only_people_pass],
        [counts.only_judge_passes, counts.both_fail],
    ]
    oracle = cohens_kappa(table)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(oracle.kappa)
    clipped = (max(-1.0, oracle.kappa_low), min(1.0, oracle.kappa_upp))
    assert ends(found.kappa) == pytest.approx(clipped)
    for figure, k, n in (
        (found.tpr, counts.both_pass, counts.people_pass),
        (found.tnr, counts.both_fail, counts.people_fail),
        (found.disagreement, counts.differing, counts.read_twice),
    ):
        assert ends(figure) == pytest.approx(proportion_confint(k, n, method="wilson"))
    assert ends(found.j) == pytest.approx(
        confint_proportions_2indep(
            counts.both_pass,
            counts.people_pass,
            counts.only_judge_passes,
            counts.people_fail,
            method="newcomb",
            alpha=0.1,
        )
    )


def test_the_correction_of_the_labeled_outputs_themselves_gives_back_what_people_passed() -> None:
    found = figures(GOOD).corrected
    assert found is not None
    assert found.value == pytest.approx(GOOD.people_pass / GOOD.n)


def test_enough_labels_that_a_steady_judge_agrees_with_let_it_gate() -> None:
    assert ruling(GOOD) == (CalibrationStatus.GATE, ())


ADVISORY, UNUSABLE = CalibrationStatus.ADVISORY, CalibrationStatus.UNUSABLE
TOO_FEW = CalibrationStatus.TOO_FEW


@pytest.mark.parametrize(
    ("counts", "status", "why"),
    [
        (Counts(both_pass=69, both_fail=30, read_twice=99), TOO_FEW,
         "99 labeled outputs (minimum 100)"),
        (Counts(both_pass=171, both_fail=29, read_twice=200), TOO_FEW,
         "29 fail labels (minimum 30)"),
        (Counts(both_pass=29, both_fail=171, read_twice=200), TOO_FEW,
         "29 pass labels (minimum 30)"),
        (Counts(both_pass=80, only_people_pass=20, only_judge_passes=30, both_fail=70,
                read_twice=200), ADVISORY, "J could be as low as 0.39"),
        (Counts(both_pass=60, only_people_pass=40, only_judge_passes=40, both_fail=60,
                read_twice=200), UNUSABLE, "J could be as low as 0.08"),
        (Counts(both_pass=90, both_fail=60, read_twice=150, differing=16), ADVISORY,
         "differ on 10.7% of the outputs"),
        (Counts(both_pass=100, both_fail=100), ADVISORY, "no output was read twice"),
        (Counts(both_pass=200, read_twice=200), TOO_FEW, "J is unknown"),
        (Counts(), TOO_FEW, "0 labeled outputs (minimum 100)"),
        (Counts(both_pass=18, only_people_pass=2, only_judge_passes=2, both_fail=18,
                read_twice=40), TOO_FEW, "40 labeled outputs (minimum 100)"),
        (Counts(both_pass=10, only_people_pass=10, only_judge_passes=10, both_fail=10,
                read_twice=40), UNUSABLE, "40 labeled outputs (minimum 100)"),
        (Counts(both_pass=20, both_fail=20, read_twice=40, differing=20), ADVISORY,
         "differ on 50.0% of the outputs"),
    ],
)  # fmt: skip
def test_what_falls_short_of_the_rule_is_named(
    counts: Counts, status: CalibrationStatus, why: str
) -> None:
    found, reasons = ruling(counts)
    assert found is status
    assert any(why in reason for reason in reasons)


def test_just_enough_is_enough() -> None:
    counts = Counts(both_pass=70, both_fail=30, read_twice=100, differing=10)
    assert ruling(counts)[0] is CalibrationStatus.GATE


def test_a_kappa_that_may_be_low_keeps_a_judge_from_gating_although_its_j_is_high() -> None:
    counts = Counts(
        both_pass=1400, only_people_pass=350, only_judge_passes=2, both_fail=48, read_twice=1800
    )
    status, reasons = ruling(counts)
    assert status is CalibrationStatus.ADVISORY
    assert [why for why in reasons if "kappa" not in why] == []


def test_without_both_labels_nothing_is_made_up() -> None:
    found = figures(Counts(both_pass=9, only_people_pass=1, read_twice=10))
    assert (found.tnr, found.j, found.corrected) == (None, None, None)
    assert found.tpr is not None
    assert figures(Counts()).kappa is None


def test_one_class_alone_in_both_margins_leaves_nothing_to_agree_about() -> None:
    assert kappa([[12, 0], [0, 0]], 0.95) is None
    constant = kappa([[6, 0], [6, 0]], 0.95)
    assert constant is not None
    assert constant.value == pytest.approx(0.0)


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    chance = Counts(both_pass=50, only_people_pass=50, only_judge_passes=50, both_fail=50)
    assert rogan_gladen(0.5, 0.5, 0.5) is None
    assert corrected(40, 80, chance) is None


def test_a_loss_shows_as_j_times_its_size() -> None:
    assert math.isclose(shown_as(0.05, 0.62), 0.031)
    assert shown_as(0.05, -0.2) == 0.0


def test_scale_margin_multiplies_each_margin_by_the_j_of_its_metric() -> None:
    rules = (Critical(), NoWorse(), NoWorse(metric="tone", margin=0.2), Anchor(version="v1"))
    policy = Policy(margin=0.1, rules=rules, scale_margin=True)

    found = scaled(policy, {"tone": 0.5})

    assert found.rules[:2] == rules[:2]
    assert found.rules[2] == NoWorse(metric="tone", margin=0.1)
    halved = scaled(policy, {"pass": 0.5}).rules
    assert halved[1::2] == (NoWorse(margin=0.05), Anchor(version="v1", margin=0.05))
    assert scaled(Policy(rules=rules), {"tone": 0.5}) == Policy(rules=rules)


@pytest.mark.parametrize(("worth", "least", "most"), [(0.5, 0.0, 0.05), (0.8, 0.95, 1.0)])
def test_a_judge_at_the_limit_seldom_gates_and_a_good_one_nearly_always(
    worth: float, least: float, most: float
) -> None:
    half = 50
    chance = binom.pmf(range(half + 1), half, (1 + worth) / 2)
    gating = sum(
        chance[passed] * chance[failed]
        for passed in range(half + 1)
        for failed in range(half + 1)
        if ruling(
            Counts(
                both_pass=passed,
                only_people_pass=half - passed,
                only_judge_passes=half - failed,
                both_fail=failed,
                read_twice=2 * half,
            )
        )[0]
        is CalibrationStatus.GATE
    )
    assert least <= gating <= most
