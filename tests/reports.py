"""Finished reports with realistic figures, one per thing that a reader may meet.

They are values that the gate could have made: the figures of each estimate agree with each other
and with the sentences. Renderers are judged by them; other tests may borrow them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision, Estimate, Finding, Verdict
from llmops_cli.core.report import (
    Change,
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    ShownScore,
    ShownSide,
    ShownTrial,
    SideSummary,
    SliceSummary,
)
from llmops_cli.gate import wording

HOSTILE: Mapping[str, str] = {
    "escape": "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "controls": "NUL \x00 BEL \x07 DEL \x7f C1 \x9b31m CR \rgone",
    "bidi": "access \u202egnp.exe\u202c and \u2066isolated\u2069",
    "invisible": "zero\u200bwidth\ufeff tag\U000e0041",
    "surrogate": "lone \ud800 surrogate",
    "rich": "[/b] [bold red]loud[/] [link=https://evil.example]x[/link]",
    "workflow": "::error file=app.py::owned\n  ::add-mask::a\n##[error]owned [x]##[add-mask]b",
    "markdown": "# title\n| a | b |\n![img](https://evil.example/x.png) [l](javascript:alert(1))",
    "html": "</script></details><img src=x onerror=alert(1)> ]]> <!-- & -->",
    "mentions": "@team please see #123, GH-7 and https://evil.example www.evil.example",
    "formula": '=cmd|"/C calc"!A0',
    "backticks": "`" * 10_000,
    "fences": "```\n</details>\n~~~\n````",
    "long": "A" * 1_000_000,
}
"""What a model or a file may hold to trouble whoever shows it."""


def estimate(**changes: Any) -> Estimate:
    """The figures of a change with 24 regressed and 6 improved of 308 cases; −5.8 points.

    The difference, the smallest margin and the adjusted p follow from the others.
    """
    figures: dict[str, Any] = {
        "n": 308, "regressed": 24, "improved": 6, "identical": 0, "cases_needed": 240,
        "margin": 0.05,
        "baseline_mean": 0.8312, "candidate_mean": 0.7727, "lower": -0.089, "upper": -0.031,
        "p_regression": 0.0005,
    } | changes  # fmt: skip
    before, after = figures["baseline_mean"], figures["candidate_mean"]
    figures.setdefault("difference", round(after - before, 4))
    figures.setdefault("smallest_margin", max(0.0, -figures["lower"]))
    figures.setdefault("p_adjusted", figures["p_regression"])
    return Estimate(**figures)


LOSS = estimate(difference=-0.0584)
UNDECIDED = estimate(
    n=40, regressed=1, improved=1, cases_needed=188, p_regression=0.26,
    baseline_mean=0.9, candidate_mean=0.875, lower=-0.091, upper=0.041,
)  # fmt: skip
FINE = estimate(
    regressed=4, improved=7, cases_needed=118, p_regression=0.82,
    candidate_mean=0.8409, lower=-0.01, upper=0.03,
)  # fmt: skip


def sentence(figures: Estimate, *, more: str = "") -> str:
    """The gate's sentence about an estimate."""
    still = "still " if figures.smallest_margin < figures.margin else ""
    low, high = wording.interval_ends(figures.lower, figures.upper, figures.margin)
    return (
        f"{more}{figures.improved} improved, {figures.regressed} regressed of {figures.n}; "
        f"difference {wording.points(figures.difference)} points (90% CI {low} to {high}); "
        f"could be up to {wording.points_up(-figures.lower)} points worse "
        f"(margin {100 * figures.margin:.1f}); "
        f"a margin of {wording.percent_up(figures.smallest_margin)} would {still}pass; "
        f"~{wording.cases(figures.cases_needed)} needed for 80% power"
    )


def no_worse(decision: Decision, figures: Estimate) -> Finding:
    worse = "statistically significant regression against intent@v3 (p = 0.0005): "
    return Finding(
        rule="no_worse",
        decision=decision,
        why=sentence(figures, more=worse if decision is Decision.FAIL else ""),
        metric="pass",
        quality=True,
        estimate=figures,
        figures={"margin": figures.margin, "lower": figures.lower},
    )


def finding(rule: str, decision: Decision, why: str, **more: Any) -> Finding:
    return Finding(rule=rule, decision=decision, why=why, **more)


CRITICAL_FINE = finding("critical", Decision.PASS, "none of 12 critical cases fails", quality=True)
ERRORS_FINE = finding("errors", Decision.PASS, "0 of 308 calls failed (limit 2.0%)")
COVERAGE_FINE = finding("coverage", Decision.PASS, "all 308 planned trials are measured")


def verdict(first: Finding, *others: Finding, also: str = "") -> Verdict:
    """The verdict that `first` decides."""
    why = f"{first.rule}: {first.why}{also}"
    return Verdict(decision=first.decision, why=why, findings=(first, *others))


def side(name: str, **changes: Any) -> SideSummary:
    figures: dict[str, Any] = {
        "name": name,
        "target": "sha256:" + ("4f" if "working" in name else "9a") * 32,
        "model": "openai/gpt-4.1-mini",
        "planned": 308,
        "measured": 308,
        "called": 308 if "working" in name else 0,
        "input_tokens": 412_104,
        "output_tokens": 1_204,
        "cost": 0.1668,
        "latency_p50": 0.41 if "working" in name else None,
        "latency_p95": 0.92 if "working" in name else None,
        "served_models": ("gpt-4.1-mini-2025-04-14",),
    }
    return SideSummary(**(figures | changes))


def metric(label: str, before: float | None, after: float | None, **more: Any) -> MetricSummary:
    return MetricSummary(
        **{
            "label": label,
            "gated": label == "pass",
            "candidate": after,
            "baseline": before,
            "candidate_n": 308,
            "baseline_n": 0 if before is None else 308,
            **more,
        }
    )


def score(label: str, *, right: bool, reason: str = "") -> ShownScore:
    return ShownScore(label=label, value=float(right), passed=right, reason=reason)


def answered(passed: float, text: str, *scores: ShownScore) -> ShownSide:
    """One trial with its scores."""
    trial = ShownTrial(text=text, finish_reason="stop", scores=scores)
    return ShownSide(passed=passed, trials=(trial,))


def shown_side(text: str, label: str, *, right: bool, expected: str = "") -> ShownSide:
    """An answer with the score of a `label` scorer."""
    reason = "" if right else f"the answer is {text!r}, not {expected!r}"
    return answered(float(right), text, score(label, right=right, reason=reason))


def intent(case: str, change: Change, message: str, expected: str, *answers: str) -> ShownCase:
    """A Banking77 case with its answer before and after."""
    before, after = answers
    return ShownCase(
        prompt="intent",
        evalset="banking77",
        case=case,
        change=change,
        inputs={"message": message},
        expected=expected,
        baseline=shown_side(before, "label", right=before == expected, expected=expected),
        candidate=shown_side(after, "label", right=after == expected, expected=expected),
        tags=(expected.split("_", maxsplit=1)[0],),
    )


FLIPPED = (
    replace(
        intent("b77-0211", "critical", "Someone has my card details and is spending my money!",
               "compromised_card", "compromised_card", "card_payment_not_recognised"),
        critical=True, tags=("card", "fraud"),
    ),
    intent("b77-0001", "regressed",
           "I still have not received my new card, I ordered over a week ago.",
           "card_arrival", "card_arrival", "card_delivery_estimate"),
    intent("b77-0087", "regressed",
           "Why was I charged a fee when I withdrew cash abroad last weekend? I was told that "
           "there are no fees within the first three withdrawals of a month, and this was my "
           "second.",
           "cash_withdrawal_charge", "cash_withdrawal_charge",
           "wrong_exchange_rate_for_cash_withdrawal"),
    intent("b77-0164", "improved", "Can I choose when my card comes?",
           "card_delivery_estimate", "card_arrival", "card_delivery_estimate"),
)  # fmt: skip


def banking(name: str = "banking77", **changes: Any) -> EvalsetReport:
    parts: dict[str, Any] = {
        "evalset": name,
        "cases": 308,
        "repeats": 1,
        "candidate": side("intent@working"),
        "baseline": side("intent@v3"),
        "metrics": (metric("pass", 0.8312, 0.7727),),
    }
    every = parts | changes
    every.setdefault("changes", Counter(item.change for item in every.get("shown", ())))
    return EvalsetReport(**every)


def intent_report(decided: Verdict, *evalsets: EvalsetReport, **changes: Any) -> PromptReport:
    parts: dict[str, Any] = {
        "prompt": "intent",
        "candidate": "intent@working",
        "baseline": "intent@v3 (production)",
        "verdict": decided,
        "evalsets": evalsets,
        "environment": "production",
    }
    return PromptReport(**(parts | changes))


def report(*prompts: PromptReport, **changes: Any) -> Report:
    worst = max((int(prompt.verdict.exit_code) for prompt in prompts), default=3)
    parts: dict[str, Any] = {
        "prompts": prompts,
        "exit_code": ExitCode(worst),
        "calls": 308,
        "reused": 308,
        "cost": 0.1668,
        "llmops": "0.1.0",
    }
    return Report(**(parts | changes))


def passing() -> Report:
    fine = no_worse(Decision.PASS, FINE)
    decided = verdict(CRITICAL_FINE, fine, ERRORS_FINE, COVERAGE_FINE, also="; also no_worse")
    evalset = banking(
        metrics=(metric("pass", 0.8312, 0.8409),), shown=(FLIPPED[1], FLIPPED[3]), hidden=9
    )
    steps = ("llmops release intent", "llmops promote intent@v4 --to production")
    return report(intent_report(decided, evalset, next_steps=steps))


def slice_of(
    tag: str, cases: int, regressed: int, improved: int, *rates: float, p: float
) -> SliceSummary:
    candidate, baseline = rates
    return SliceSummary(
        tag=tag, cases=cases, regressed=regressed, improved=improved,
        candidate=candidate, baseline=baseline, p_adjusted=p,
    )  # fmt: skip


def failing() -> Report:
    loss = no_worse(Decision.FAIL, LOSS)
    why = "1 of 12 critical cases fails: b77-0211"
    critical = finding("critical", Decision.FAIL, why, quality=True, cases=("b77-0211",))
    evalset = banking(
        metrics=(
            metric("pass", 0.8312, 0.7727),
            metric("label", 0.8312, 0.7727, gated=True),
            metric("length", 1.0, 0.9968, gated=False),
        ),
        slices=(
            slice_of("card", 96, 17, 2, 0.7083, 0.8646, p=0.003),
            slice_of("cash", 41, 2, 1, 0.7805, 0.8049, p=0.61),
        ),
        shown=FLIPPED,
        hidden=27,
    )
    decided = verdict(critical, loss, ERRORS_FINE, COVERAGE_FINE, also="; also no_worse")
    steps = ("llmops eval intent --case b77-0211 --verbose", "llmops diff intent@v3")
    return report(intent_report(decided, evalset, next_steps=steps))


def inconclusive() -> Report:
    undecided = no_worse(Decision.INCONCLUSIVE, UNDECIDED)
    decided = Verdict(
        decision=Decision.INCONCLUSIVE,
        why=f"no_worse: {undecided.why}",
        findings=(CRITICAL_FINE, undecided, ERRORS_FINE, COVERAGE_FINE),
    )
    evalset = banking(
        "support",
        cases=40,
        repeats=3,
        candidate=side("support@working", planned=120, measured=120, called=120),
        baseline=side("support@v3", planned=120, measured=120),
        metrics=(metric("pass", 0.9, 0.875),),
        shown=(support_case(),),
        hidden=1,
        notes=("judge anthropic/claude-haiku-4-5 is not calibrated",),
    )
    prompt = intent_report(
        decided,
        evalset,
        prompt="support",
        candidate="support@working",
        baseline="support@v3 (production)",
        next_steps=("add cases: 188 would tell, there are 40",),
    )
    return report(prompt, calls=120, reused=120)


def support_case() -> ShownCase:
    """Answers of several lines, a judge that speaks, and trials that disagree."""
    blames = "The answer blames the customer for the delay instead of offering help."
    contains = score("contains", right=True)
    return ShownCase(
        prompt="support",
        evalset="support",
        case="refund/late-delivery",
        change="regressed",
        inputs={
            "question": "My parcel is two weeks late. Can I have my money back?",
            "passages": ["Refunds are made within 14 days.", "Parcels may be late in December."],
        },
        expected={"refund": True, "days": 14},
        baseline=answered(
            1.0,
            "Sorry for the wait!\n\nYes: you get your money back within 14 days.\n"
            "Shall I start the refund for you?",
            contains,
            score("tone", right=True, reason="Polite and helpful."),
        ),
        candidate=answered(
            1 / 3,
            "You should have read our terms.\n\nParcels may be late in December, "
            "and a refund takes 14 days.",
            contains,
            score("tone", right=False, reason=blames),
        ),
        tags=("refund", "angry-customer"),
    )


def incomplete() -> Report:
    """A model that answered 401 to everything; the run stopped early."""
    why = (
        "308 of 308 calls of intent@working failed (limit 2.0%): 3 × authentication, "
        "305 × not attempted"
    )
    errors = finding("errors", Decision.INCOMPLETE, why)
    coverage = finding("coverage", Decision.INCOMPLETE, "308 planned trials are missing")
    failure = "openai answered 401: incorrect API key provided (OPENAI_API_KEY)"
    failed = replace(
        FLIPPED[1],
        change="unmeasured",
        inputs={"message": "I still have not received my new card, I ordered over a week ago."},
        candidate=ShownSide(passed=None, trials=(ShownTrial(failure=failure),)),
    )
    evalset = banking(
        candidate=side(
            "intent@working",
            measured=0,
            called=0,
            failures={"authentication": 3, "not_attempted": 305},
            cause="the API key was rejected (401) by api.openai.com",
            input_tokens=0,
            output_tokens=0,
            cost=0.0,
            latency_p50=None,
            latency_p95=None,
            served_models=(),
        ),
        metrics=(metric("pass", 0.8312, None, candidate_n=0),),
        shown=(failed,),
        hidden=307,
    )
    steps = ("set OPENAI_API_KEY to a valid key, then run again: llmops eval intent",)
    prompt = intent_report(verdict(errors, coverage), evalset, next_steps=steps)
    return report(prompt, calls=3, cost=0.0)


def no_baseline() -> Report:
    why = "no baseline: nothing runs in production yet"
    nothing = finding("no_worse", Decision.INCONCLUSIVE, why, metric="pass", quality=True)
    decided = Verdict(
        decision=Decision.INCONCLUSIVE,
        why=f"no_worse: {why}",
        findings=(CRITICAL_FINE, nothing, ERRORS_FINE),
    )
    wrong = replace(FLIPPED[1], change="failing", baseline=None)
    metrics = (metric("pass", None, 0.7727),)
    evalset = banking(baseline=None, metrics=metrics, shown=(wrong,), hidden=69)
    steps = ("llmops promote intent@v1 --to production --initial -m WHY",)
    return report(intent_report(decided, evalset, baseline=None, next_steps=steps), reused=0)


def several() -> Report:
    """A failing prompt, an undecided one and one that did not change."""
    why = "unchanged: all 300 requests match the baseline"
    same = finding("no_worse", Decision.PASS, why, metric="pass", quality=True)
    unchanged = intent_report(
        Verdict(decision=Decision.PASS, why=why, findings=(same, CRITICAL_FINE)),
        banking("halueval-qa", cases=300, metrics=(metric("pass", 0.62, 0.62),)),
        prompt="halueval",
        candidate="halueval@working",
        baseline="halueval@v1 (production)",
    )
    return report(
        unchanged,
        *inconclusive().prompts,
        *failing().prompts,
        calls=428,
        reused=1_028,
        cost=None,
        notes=("policy: llmops.yaml at main",),
    )


def interrupted() -> Report:
    candidate = side(
        "intent@working",
        measured=142,
        called=142,
        failures={"not_attempted": 166},
        input_tokens=189_882,
        output_tokens=556,
        cost=0.0769,
    )
    evalset = banking(
        candidate=candidate, metrics=(metric("pass", 0.8312, 0.8310, candidate_n=142),)
    )
    why = "166 of 308 planned trials are missing"
    coverage = finding("coverage", Decision.INCOMPLETE, why)
    steps = ("llmops eval intent: goes on where this run stopped",)
    return report(
        intent_report(verdict(coverage), evalset, next_steps=steps),
        calls=142,
        cost=0.0769,
        interrupted=True,
        exit_code=ExitCode.INTERRUPTED,
        partial="--tag card",
    )


def hostile() -> Report:
    """Every place that a stranger's text can reach holds every hostile text."""
    every = " ".join(text[:60] for text in HOSTILE.values())
    shown = tuple(
        ShownCase(
            prompt=every[:200],
            evalset=every[:200],
            case=f"{name} {text[:300]}",
            change="regressed",
            inputs={text[:40]: text},
            expected=text,
            baseline=shown_side(text, text[:40], right=True),
            candidate=ShownSide(
                passed=0.0,
                trials=(
                    ShownTrial(
                        text=text,
                        finish_reason=text[:60],
                        tool_calls=[{"name": text[:60], "arguments": {"q": text[:60]}}],
                        scores=(ShownScore(label=text[:40], value=0.0, passed=False, reason=text),),
                    ),
                ),
            ),
            tags=(text[:60],),
        )
        for name, text in HOSTILE.items()
    )
    loss = replace(no_worse(Decision.FAIL, LOSS), why=every, metric=every[:60], slice=every[:60])
    prompt = intent_report(
        Verdict(decision=Decision.FAIL, why=every, findings=(loss,)),
        banking(every[:200], shown=shown, notes=(every,), metrics=(metric(every[:80], 1, 0),)),
        prompt=every[:200],
        candidate=every[:200],
        baseline=every[:200],
        next_steps=(every,),
    )
    return report(prompt, notes=(every,), partial=every[:200])


def enormous(cases: int = 10_000) -> Report:
    """So many flipped cases, each with a long answer, that no sink can show them all."""
    long = FLIPPED[1]
    assert long.candidate is not None
    (trial,) = long.candidate.trials
    answer = replace(long.candidate, trials=(replace(trial, text="word " * 400),))
    shown = tuple(replace(long, case=f"b77-{n:05d}", candidate=answer) for n in range(cases))
    (prompt,) = failing().prompts
    (evalset,) = prompt.evalsets
    return report(replace(prompt, evalsets=(replace(evalset, shown=shown, hidden=90_000),)))


SMALL: Mapping[str, Report] = {
    "empty": report(),
    "passing": passing(),
    "failing": failing(),
    "inconclusive": inconclusive(),
    "incomplete": incomplete(),
    "no_baseline": no_baseline(),
    "several": several(),
    "interrupted": interrupted(),
}
ALL: Mapping[str, Report] = {**SMALL, "hostile": hostile(), "enormous": enormous()}
"""Every kind of report, by its name."""
