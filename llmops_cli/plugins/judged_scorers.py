"""The scorers in which a model judges: options, calls and the prompts that come with llmops.

The scorers of retrieval and of answers from what was retrieved: trec_eval's and ragas'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmops_cli.core.catalog import Option, ScorerKind

JUDGE: Mapping[str, Option] = {
    "model": Option(
        type=str,
        help="who judges: a name from llmops.yaml or provider/model; default: the judge prompt's "
        "own, which is `judge` in those that come with llmops",
        template=False,
    ),
    "prompt": Option(
        type=str, help="a prompt of the project to judge with; default: ours", template=False
    ),
    "expected": Option(
        type=bool, help="show the judge the case's expected (default false)", template=False
    ),
    "contexts": Option(
        type=bool,
        help="show the judge the passages that were answered from (default false)",
        template=False,
    ),
    "reason": Option(
        type=bool,
        help="ask for the reason too (default true); without, it costs less",
        template=False,
    ),
}

JUDGED = (
    ScorerKind(
        name="rubric",
        target="llmops_cli.scorers.judged:rubric",
        check="llmops_cli.scorers.judged:check_rubric",
        summary="A model judges the answer by criteria in words: pass or fail, or a grade.",
        revision=2,
        options={
            "criteria": Option(type=str, help="what a good answer is", required=True),
            "scale": Option(
                type=list[int],
                help="lowest and highest grade, as [1, 5]: the score is the grade's place "
                "between them",
                template=False,
            ),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="rubric",
    ),
    ScorerKind(
        name="choice",
        target="llmops_cli.scorers.judged:choice",
        check="llmops_cli.scorers.judged:check_choice",
        summary="A model sorts the answer into one of named classes, each worth a score.",
        revision=2,
        options={
            "criteria": Option(type=str, help="what the classes are about", required=True),
            "choices": Option(
                type=dict[str, float],
                help="the classes, each with its score from 0 to 1",
                required=True,
                template=False,
            ),
            **JUDGE,
        },
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="choice",
    ),
    ScorerKind(
        name="pairwise",
        target="llmops_cli.scorers.judged:pairwise",
        summary="A model says whether the answer is better than the baseline's, in both orders.",
        revision=2,
        options={
            "criteria": Option(
                type=str, help="what makes an answer better (default: it helps more)"
            ),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=0.5,
        judged=True,
        asks={"judge": 2},
        prompt="pairwise",
        paired=True,
    ),
)


_RELEVANT = Option(
    type=str | int | list[str | int] | dict[str, int],
    help="the relevant ids, or the grade of each as {id: grade}; default: metadata.relevant",
    default="{{ metadata.relevant }}",
)
_FIRST = Option(type=int, help="how many of the retrieved count", required=True, template=False)
_FIRST_OR_ALL = Option(
    type=int, help="how many of the retrieved count (default all)", template=False
)


def _ranked(name: str, summary: str, k: Option, minimum: float | None) -> ScorerKind:
    return ScorerKind(
        name=name,
        target=f"llmops_cli.scorers.retrieval:{name}",
        check="llmops_cli.scorers.retrieval:check",
        summary=summary,
        options={"k": k, "relevant": _RELEVANT},
        structured=("relevant",),
        shorthand="k",
        unit="pass" if minimum is None else "fraction",
        minimum=minimum,
        library="pytrec-eval-terrier",
        extra="retrieval",
        part="retrieval",
    )


RETRIEVAL = (
    _ranked("hit_at_k", "A relevant document is among the first k retrieved.", _FIRST, None),
    _ranked(
        "precision_at_k",
        "The share of the first k retrieved that is relevant; fewer than k count as k.",
        _FIRST,
        0.5,
    ),
    _ranked(
        "recall_at_k", "The share of the relevant that is among the first k retrieved.", _FIRST, 0.8
    ),
    _ranked("mrr", "1 / the place of the first relevant document retrieved.", _FIRST_OR_ALL, 0.5),
    _ranked(
        "ndcg",
        "How near the order of the retrieved is to the best one, by the grades of the relevant.",
        _FIRST_OR_ALL,
        0.7,
    ),
)

_IDS = Option(
    type=list[str | int],
    help="the relevant ids; default: metadata.relevant",
    default="{{ metadata.relevant }}",
)
_TEXTS = Option(
    type=list[str],
    help="the relevant passages; default: the case's contexts",
    default="{{ contexts }}",
)
_THRESHOLD = Option(
    type=float,
    help="how alike two passages are that are the same, from 0 to 1 (default 0.5)",
    template=False,
)


def _overlap(name: str, summary: str, relevant: Option) -> ScorerKind:
    texts = {"threshold": _THRESHOLD} if relevant is _TEXTS else {}
    return ScorerKind(
        name=f"context_{name}",
        target=f"llmops_cli.scorers.rag:open_{name}",
        check="llmops_cli.scorers.rag:check_overlap",
        summary=summary,
        options={"relevant": relevant, **texts},
        structured=("relevant",),
        unit="fraction",
        minimum=0.5,
        library="ragas",
        extra="ragas",
        opens=True,
        part="retrieval",
    )


OVERLAP = (
    _overlap("precision_by_id", "The share of the retrieved ids that is relevant.", _IDS),
    _overlap("recall_by_id", "The share of the relevant ids that was retrieved.", _IDS),
    _overlap(
        "precision_by_text",
        "Whether the retrieved passages that are like a relevant one stand first.",
        _TEXTS,
    ),
    _overlap("recall_by_text", "The share of the relevant passages that was retrieved.", _TEXTS),
)

_MODEL = Option(
    type=str,
    help="who judges: a name from llmops.yaml or provider/model; default: `judge`",
    template=False,
)
_EMBEDDINGS = Option(
    type=str,
    help="what embeds: a name from llmops.yaml or provider/model",
    required=True,
    template=False,
)
_QUESTION = Option(
    type=str,
    help="what was asked; default: the input `question`, `query` or `input`, or the only text",
)
_REFERENCE = Option(type=str, help="the right answer; default: the case's expected")
_MODE = Option(
    type=Literal["f1", "precision", "recall"],
    help="claims of the answer that are expected (precision), the reverse (recall), or both "
    "(default f1)",
    template=False,
)

JUDGED_RAG = (
    ScorerKind(
        name="faithfulness",
        target="llmops_cli.scorers.rag:open_faithfulness",
        summary="The share of the answer's statements that follow from what was retrieved.",
        passages=True,
        options={"question": _QUESTION, "model": _MODEL},
        question="question",
        unit="fraction",
        minimum=0.8,
        library="ragas",
        extra="ragas",
        judged=True,
        asks={"judge": 2},
        opens=True,
        part="generation",
    ),
    ScorerKind(
        name="answer_relevancy",
        target="llmops_cli.scorers.rag:open_answer_relevancy",
        summary="How like the question are the questions that the answer would answer.",
        options={"question": _QUESTION, "model": _MODEL, "embeddings": _EMBEDDINGS},
        question="question",
        unit="fraction",
        minimum=0.7,
        library="ragas",
        extra="ragas",
        judged=True,
        asks={"judge": 3, "embedding": 4},
        opens=True,
        part="generation",
    ),
    ScorerKind(
        name="context_precision",
        target="llmops_cli.scorers.rag:open_context_precision",
        summary="Whether the retrieved passages that help to the expected answer stand first.",
        passages=True,
        options={"question": _QUESTION, "reference": _REFERENCE, "model": _MODEL},
        question="question",
        expects="reference",
        unit="fraction",
        minimum=0.5,
        library="ragas",
        extra="ragas",
        judged=True,
        asks={"judge": 5},
        opens=True,
        part="retrieval",
    ),
    ScorerKind(
        name="context_recall",
        target="llmops_cli.scorers.rag:open_context_recall",
        summary="The share of the expected answer's statements that what was retrieved holds.",
        passages=True,
        options={"question": _QUESTION, "reference": _REFERENCE, "model": _MODEL},
        question="question",
        expects="reference",
        unit="fraction",
        minimum=0.8,
        library="ragas",
        extra="ragas",
        judged=True,
        asks={"judge": 1},
        opens=True,
        part="retrieval",
    ),
    ScorerKind(
        name="factual_correctness",
        target="llmops_cli.scorers.rag:open_factual_correctness",
        summary="Claims that the answer and the expected answer share, as precision, recall or F1.",
        options={"reference": _REFERENCE, "mode": _MODE, "model": _MODEL},
        expects="reference",
        unit="fraction",
        minimum=0.7,
        library="ragas",
        extra="ragas",
        judged=True,
        asks={"judge": 4},
        opens=True,
        part="generation",
    ),
)
