"""ragas' scorers: the same numbers as ragas itself, by questions that all go through `Ask`."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case, Message
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, Score, Unscored
from llmops_cli.plugins.catalog import open_scorer
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.scorers.scoring import score
from tests.unit.scorers.answers import reason, value, why

pytestmark = pytest.mark.needs("ragas")

PASSAGES = (
    "Einstein was born in Ulm in 1879.",
    "Ulm lies on the Danube.",
    "He got the Nobel Prize in 1921.",
)
CASE = Case(
    id="one",
    inputs={"question": "Where was Einstein born, and when?", "style": "brief"},
    expected="He was born in Ulm. He was born in 1879. He died in Princeton.",
    contexts=("the case's own passage",),
)
ANSWER = Completion(
    text="Einstein was born in Ulm. He had two sisters. He got the Nobel Prize.", contexts=PASSAGES
)
JUDGED = [name for name, kind in SCORERS.items() if kind.library == "ragas" and kind.judged]
OVERLAP = [name for name, kind in SCORERS.items() if kind.library == "ragas" and not kind.judged]


Says = Callable[[str, str], "Json | Outcome"]
"""What is answered to a prompt, by the title of the form that it asks for."""


class Scripted:
    """An `Ask` whose judge answers what `says` says and whose embeddings are letter counts."""

    def __init__(self, says: Says) -> None:
        self._says = says
        self.prompts: list[str] = []
        self.schemas: list[Mapping[str, Json]] = []
        self.embedded: list[str] = []

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        raise AssertionError("these judges have no prompt of ours")

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        (message,) = messages
        assert message.role == "user"
        assert isinstance(message.content, str)
        self.prompts.append(message.content)
        self.schemas.append(json_schema)
        said = self._says(message.content, str(json_schema["title"]))
        if isinstance(said, (Completion, Failure)):
            return said
        return Completion(text=json.dumps(said), latency=0.1, served_model="scripted-1")

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        self.embedded.append(text)
        return letters(text)


def letters(text: str) -> tuple[float, ...]:
    """An embedding that tells texts apart and is the same everywhere."""
    return tuple(float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz")


def asked(prompt: str) -> dict[str, Any]:
    """What ragas' prompt is about: the input after its last example."""
    _, _, last = prompt.rpartition("\ninput: ")
    return dict(json.loads(last.rpartition("\nOutput: ")[0]))


def sentences(text: str) -> list[str]:
    return [f"{part.strip('. ')}." for part in text.split(". ") if part.strip(". ")]


def known(statement: str, text: str) -> int:
    """Whether most words of the statement are in the text: a judge with opinions of its own."""
    words = statement.lower().strip(".").split()
    return int(sum(word in text.lower() for word in words) > 0.7 * len(words))


def sensible(prompt: str, form: str) -> Json:
    """A judge that fills in each of ragas' forms, differently for different questions."""
    question = asked(prompt)
    match form:
        case "StatementGeneratorOutput":
            return {"statements": sentences(question["answer"])}
        case "ClaimDecompositionOutput":
            return {"claims": sentences(question["response"])}
        case "NLIStatementOutput":
            verdicts: list[Json] = [
                {
                    "statement": part,
                    "reason": "as read",
                    "verdict": known(part, question["context"]),
                }
                for part in question["statements"]
            ]
            return {"statements": verdicts}
        case "AnswerRelevanceOutput":
            return {"question": f"Who said: {question['response'][:30]}?", "noncommittal": 0}
        case "ContextPrecisionOutput":
            return {"reason": "as read", "verdict": known("born Ulm", question["context"])}
        case "ContextRecallOutput":
            attributed: list[Json] = [
                {"statement": part, "reason": "r", "attributed": known(part, question["context"])}
                for part in sentences(question["answer"])
            ]
            return {"classifications": attributed}
        case _:
            raise AssertionError(form)


def scored(
    name: str,
    ask: Scripted,
    *,
    case: Case = CASE,
    completion: Completion = ANSWER,
    **options: Any,
) -> Score | Unscored:
    """What our scorer makes of an answer."""

    async def run() -> Score | Unscored:
        async with open_scorer(SCORERS[name], PluginContext(root=Path(), environ={})) as scorer:
            extra: dict[str, Any] = {"ask": ask} if SCORERS[name].judged else {}
            return await score(scorer, options, case=case, completion=completion, **extra)

    return asyncio.run(run())


def by_ragas(name: str, **options: Any) -> tuple[float, list[str]]:
    """What ragas makes of it, called directly, and the prompts that it asked."""
    from ragas.embeddings.base import BaseRagasEmbedding  # noqa: PLC0415 - silenced first
    from ragas.llms.base import InstructorBaseRagasLLM  # noqa: PLC0415 - silenced first
    from ragas.metrics import collections  # noqa: PLC0415 - silenced first

    prompts = []

    class Direct(InstructorBaseRagasLLM):  # type: ignore[misc] # ragas' types are not read
        def generate(self, prompt: str, response_model: Any) -> Any:
            raise NotImplementedError

        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            prompts.append(prompt)
            return response_model.model_validate(sensible(prompt, response_model.__name__))

    class Letters(BaseRagasEmbedding):  # type: ignore[misc] # ragas' types are not read
        def embed_text(self, text: str, **_: Any) -> list[float]:
            raise NotImplementedError

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return list(letters(text))

    known = {
        "user_input": CASE.inputs["question"],
        "response": ANSWER.text,
        "reference": CASE.expected,
        "retrieved_contexts": list(PASSAGES),
    }
    if name == "answer_relevancy":
        options["embeddings"] = Letters()
    metric = getattr(collections, "".join(map(str.title, name.split("_"))))(llm=Direct(), **options)
    takes = inspect.signature(metric.ascore).parameters
    result = asyncio.run(metric.ascore(**{field: known[field] for field in takes}))
    return float(result.value), prompts


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in JUDGED),
        ("factual_correctness", {"mode": "precision"}),
        ("factual_correctness", {"mode": "recall"}),
    ],
)
def test_the_numbers_and_the_questions_are_those_of_ragas_called_directly(
    name: str, options: dict[str, Any]
) -> None:
    ask = Scripted(sensible)
    ours = scored(name, ask, **options)
    theirs, prompts = by_ragas(name, **options)
    assert value(ours) == theirs
    assert 0 < theirs < 1
    assert ask.prompts == prompts


CALLS = {
    "faithfulness": (2, 0),
    "answer_relevancy": (3, 2),
    "context_precision": (len(PASSAGES), 0),
    "context_recall": (1, 0),
    "factual_correctness": (4, 0),
}


def test_the_page_says_how_many_calls_a_score_takes(repo_root: Path) -> None:
    page = (repo_root / "docs" / "rag.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines()]
    rows = {row[0].strip("`"): row[1:] for row in cells if len(row) == 5}
    for name, (judge, embeddings) in CALLS.items():
        part, _, calls, vectors = rows[name]
        assert part == SCORERS[name].part
        assert calls == ("1 per passage" if name == "context_precision" else str(judge))
        assert vectors == (f"{embeddings} to 4" if embeddings else "0")


REASONS = {
    "faithfulness": "2 of 3 statements of the answer follow from the passages; not 'He had two "
    "sisters.' (",
    "answer_relevancy": "it would answer 'Who said: Einstein was born in Ulm. He h?', ",
    "context_precision": "1 of 3 passages are useful; passage 2: 'as read'; passage 3: 'as read'",
    "context_recall": "2 of 3 statements of the expected answer are in the passages; not 'He died ",
    "factual_correctness": "1 of 3 claims of the answer are expected; not 'He had two sisters.' "
    "('as read'); not ",
}
"""They name what failed, in the judge's words."""


@pytest.mark.parametrize("name", JUDGED)
def test_a_score_has_a_reason_and_takes_as_many_calls_as_the_page_says(name: str) -> None:
    ask = Scripted(sensible)
    made = scored(name, ask)
    assert (len(ask.prompts), len(ask.embedded)) == CALLS[name]
    assert reason(made).startswith(REASONS[name])
    assert isinstance(made, Score)
    assert made.detail == {"judge": "scripted-1"}
    for schema in ask.schemas:  # every property is named, and no other is admitted
        definitions: Any = schema.get("$defs", {})
        for part in (schema, *definitions.values()):
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
    if name == "factual_correctness":
        scored(name, ask, mode="precision")
        assert len(ask.prompts) == CALLS[name][0] + 2


def test_what_the_application_retrieved_counts_before_the_cases_passages() -> None:
    ask = Scripted(sensible)
    scored("faithfulness", ask)
    scored("faithfulness", ask, completion=replace(ANSWER, contexts=None))
    assert asked(ask.prompts[1])["context"] == "\n".join(PASSAGES)
    assert asked(ask.prompts[3])["context"] == "the case's own passage"


@pytest.mark.parametrize("name", ["context_precision", "context_recall"])
def test_retrieving_nothing_is_a_zero_without_a_call_and_saying_nothing_is_no_score(
    name: str,
) -> None:
    ask = Scripted(sensible)
    made = scored(name, ask, completion=replace(ANSWER, contexts=()))
    assert (value(made), ask.prompts) == (0, [])
    nobody = replace(CASE, contexts=())
    made = scored(name, ask, case=nobody, completion=replace(ANSWER, contexts=None))
    assert why(made).startswith("there are no passages to compare with")
    assert value(scored("faithfulness", ask, completion=replace(ANSWER, contexts=()))) == 0


@pytest.mark.parametrize("name", ["faithfulness", "answer_relevancy", "factual_correctness"])
def test_an_empty_answer_has_0_without_a_call(name: str) -> None:
    ask = Scripted(sensible)
    made = scored(name, ask, completion=replace(ANSWER, text=" …\n"))
    assert (value(made), reason(made), ask.prompts) == (0, "the answer is empty", [])


NOTHING: Mapping[str, Mapping[str, Json]] = {
    "StatementGeneratorOutput": {"statements": []},
    "AnswerRelevanceOutput": {"question": "", "noncommittal": 0},
    "ContextRecallOutput": {"classifications": []},
    "ClaimDecompositionOutput": {"claims": []},
}


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("faithfulness", "the judge finds no statement in the answer"),
        ("answer_relevancy", "the judge finds no question that the answer would answer"),
        ("context_recall", "the judge finds no statement in the expected answer"),
        ("factual_correctness", "the judge finds no claim to count"),
    ],
)
def test_what_ragas_has_no_number_for_is_unscored(name: str, answered: str) -> None:
    assert why(scored(name, Scripted(lambda _, form: NOTHING[form]))) == answered


def test_an_answer_that_claims_nothing_of_what_is_expected_is_wrong() -> None:
    def silent(prompt: str, form: str) -> Json:
        first = form == "ClaimDecompositionOutput" and asked(prompt)["response"] == ANSWER.text
        return {"claims": []} if first else sensible(prompt, form)

    made = scored("factual_correctness", Scripted(silent))
    assert value(made) == 0
    assert reason(made).startswith("the answer claims nothing; 2 of 3 expected claims are in")
    made = scored("factual_correctness", Scripted(silent), mode="precision")
    assert why(made) == "the judge finds no claim to count"


def test_an_evasive_answer_has_0_and_says_so() -> None:
    evasive: Json = {"question": "Who knows?", "noncommittal": 1}
    made = scored("answer_relevancy", Scripted(lambda *_: evasive))
    assert value(made) == 0
    assert reason(made).startswith("the answer is noncommittal; it would answer 'Who knows?'")


STATEMENTS = '{"statements": ["He had two sisters.", "He got the Nobel Prize."]}'
ONE = '{"statement": "s", "reason": "r", "verdict": 1}'
TWO, TRUE = ONE.replace("1}", "2}"), ONE.replace("1}", "true}")


@pytest.mark.parametrize(
    ("statements", "verdicts", "answered"),
    [
        ("Sure, here you are.", "", "the judge's answer is not JSON"),
        (f"Sure: {STATEMENTS}", "", "the judge's answer is not JSON"),
        ('{"claims": []}', "", "not what ragas asked for: statements: Field required"),
        ('{"statements": [1]}', "", "statements.0: Input should be a valid string"),
        ('{"statements": NaN}', "", "the judge's answer is not JSON"),
        ('{"statements": [], "statements": ["He won."]}', "", "a key stands twice"),
        (STATEMENTS, f'{{"statements": [{ONE}]}}', "1 verdicts on 2 statements"),
        (STATEMENTS, '{"statements": []}', "0 verdicts on 2 statements"),
        (STATEMENTS, f'{{"statements": [{ONE}, {TWO}]}}', "verdict is 2, neither 0 nor 1"),
        (STATEMENTS, f'{{"statements": [{ONE}, {TRUE}]}}', "valid integer"),
    ],
)
def test_an_unreadable_judge_is_asked_twice_more_and_then_there_is_no_score(
    statements: str, verdicts: str, answered: str
) -> None:
    def careless(_prompt: str, form: str) -> Completion:
        text = statements if form == "StatementGeneratorOutput" else verdicts
        return Completion(text=text, latency=0.1)

    ask = Scripted(careless)
    assert answered in why(scored("faithfulness", ask))
    assert len(ask.prompts) == 3 + bool(verdicts)


def test_one_fence_is_read_and_a_second_try_counts() -> None:
    tries = iter(
        ["no", "```json\n" + STATEMENTS + "\n```", "no", f'{{"statements": [{ONE}, {ONE}]}}']
    )
    ask = Scripted(lambda *_: Completion(text=next(tries), latency=0.1))
    assert value(scored("faithfulness", ask)) == 1
    assert len(ask.prompts) == 4


@pytest.mark.parametrize(
    ("outcome", "answered"),
    [
        (Completion(text="", finish_reason="content_filter", latency=1), "the judge refused"),
        (Completion(text='{"sta', finish_reason="length", latency=1), "was cut off"),
        (Failure(kind=FailureKind.BUDGET, message="no money left"), "no money left"),
    ],
    ids=["refused", "cut off", "failed"],
)
@pytest.mark.parametrize("name", JUDGED)
def test_a_judge_that_gives_no_answer_gives_no_score(
    name: str, outcome: Completion | Failure, answered: str
) -> None:
    ask = Scripted(lambda *_: outcome)
    assert answered in why(scored(name, ask))
    assert len(ask.prompts) == 1


def test_an_embedding_that_failed_gives_no_score_and_a_cosine_below_0_is_0() -> None:
    class Embedding(Scripted):
        async def embed(self, text: str) -> tuple[float, ...] | Failure:
            return vectors[text == CASE.question]

    vectors: list[tuple[float, ...] | Failure]
    vectors = [Failure(kind=FailureKind.SERVER, message="down")] * 2
    assert why(scored("answer_relevancy", Embedding(sensible))) == (
        "the embedding model gave no answer: down"
    )
    vectors = [(1.0, 0.0), (-1.0, 0.1)]
    assert value(scored("answer_relevancy", Embedding(sensible))) == 0


@pytest.mark.parametrize(
    ("inputs", "question"),
    [
        ({"text": "Where?"}, "Where?"),
        ({"query": "Where?", "style": "brief"}, "Where?"),
        ({"query": "Where?", "question": "When?"}, "When?"),
        ({"text": "Where?", "k": 3}, "Where?"),
        ({"text": "Where?", "style": "brief"}, None),
        ({}, None),
    ],
)
def test_the_question_is_the_input_of_that_name_or_the_only_text(
    inputs: dict[str, Json], question: str | None
) -> None:
    assert Case(id="one", inputs=inputs).question == question


OVERLAPS: Mapping[str, tuple[Json, float]] = {
    "context_precision_by_id": (["a", "z", 7], 2 / 4),
    "context_recall_by_id": (["a", "z", 7], 2 / 3),
    "context_precision_by_text": (["Ulm lies on the Danube river."], 1 / 2),
    "context_recall_by_text": (["Ulm lies on the Danube.", "Nothing of the kind"], 1 / 2),
}


@pytest.mark.parametrize("name", OVERLAP)
def test_scorers_without_a_judge_compare_with_relevant_passages(name: str) -> None:
    relevant, expected = OVERLAPS[name]
    answered = replace(ANSWER, ids=("x", "a", "7", "a", "y"))
    made = scored(name, Scripted(sensible), completion=answered, relevant=relevant)
    assert value(made) == pytest.approx(expected)
    in_vain = replace(ANSWER, ids=(), contexts=())
    assert value(scored(name, Scripted(sensible), completion=in_vain, relevant=relevant)) == 0
    silent = replace(ANSWER, ids=None, contexts=None)
    message = why(scored(name, Scripted(sensible), completion=silent, relevant=relevant))
    assert message.startswith("the answer does not report the ")


def test_without_a_judge_the_similarity_is_ragas_own() -> None:
    from ragas.dataset_schema import SingleTurnSample  # noqa: PLC0415 - silenced first
    from ragas.metrics._string import NonLLMStringSimilarity  # noqa: PLC0415 - silenced first

    from llmops_cli.scorers.ragas_scorers import EditSimilarity  # noqa: PLC0415 - silenced first

    async def both(one: str, other: str) -> tuple[float, float]:
        pair = SingleTurnSample(reference=one, response=other)
        theirs = await NonLLMStringSimilarity()._single_turn_ascore(pair, None)
        return await EditSimilarity().single_turn_ascore(pair, None), theirs

    for one, other in [("", ""), ("a", ""), ("kitten", "sitting"), (PASSAGES[0], PASSAGES[1])]:
        ours, theirs = asyncio.run(both(one, other))
        assert ours == theirs


OFFLINE = """
import asyncio, os, socket, sys, threading, time
from pathlib import Path

def refuse(*_):
    raise SystemExit("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse

from tests.unit.scorers.test_rag import ANSWER, JUDGED, OVERLAP, Scripted, scored, sensible
assert "ragas" not in sys.modules
for name in JUDGED:
    scored(name, Scripted(sensible))
from dataclasses import replace
for name in OVERLAP:
    scored(name, Scripted(sensible), completion=replace(ANSWER, ids=("a",)), relevant=["a"])
assert "ragas" in sys.modules
"""


def test_no_socket_is_opened_and_nothing_is_written_at_home(
    tmp_path: Path, repo_root: Path
) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        cwd=repo_root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
