"""The bundled retrieval model: deterministic, without key or network. It looks up its answer in the
prompt.

It is a retrieval model over its own context window, not a language model. Where the prompt has
few-shot turns, the answer is the assistant turn after the most similar user turn; otherwise it is
the sentence of the prompt that is most similar to the last user turn. So better examples in the
prompt make better answers, which is enough for first steps, tests and demos.

Its embeddings are lexical, of 256 numbers and length 1: texts that share words are near each other,
texts that say the same in other words are not.

Invariants: the same messages get the same answer on every machine; ties go to the turn or sentence
that stands first; parameters, tools and response formats are not understood and change nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias
from zlib import crc32

from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, Usage

REVISION = "embedded-bm25-1"
"""Raised whenever the same messages may get another answer: part of every request's key."""

DIMENSIONS = 256
"""Of an embedding: words meet in one of them by chance, and signs let that cancel out."""

REMEMBERED = 16
"""Contexts kept indexed: few-shot turns are the same for every case of an evalset."""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_BULLETS = " \t-*•"

Turn: TypeAlias = tuple[str, str]
"""Role and text."""


@asynccontextmanager
async def open_embedded(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Open the model: there is nothing to connect to, and no configuration can be wrong."""
    del model, context
    yield Embedded()


class Embedded:
    """Answers requests from their own messages. Tokens are words; a call costs nothing."""

    def __init__(self) -> None:
        self._recall = lru_cache(maxsize=REMEMBERED)(Memory)

    async def complete(self, request: Request) -> Completion:
        """Answer a request from its own messages, or embed its last one."""
        if request.response_format == "embedding":
            text = _text(request.messages[-1])
            return Completion(
                text=json.dumps(embedded(text), separators=(",", ":")),
                usage=Usage(input=len(text.split()), output=0),
                cost=0.0,
                served_model=REVISION,
            )
        turns = tuple((turn.role, _text(turn)) for turn in request.messages)
        context, question = _context_and_question(turns)
        memory = self._recall(context)
        answer = memory.answer(question)
        return Completion(
            text=answer,
            finish_reason="stop",
            usage=Usage(input=memory.length + len(question.split()), output=len(answer.split())),
            cost=0.0,
            served_model=REVISION,
        )


def embedded(text: str) -> list[float]:
    """Return a lexical embedding of length 1; all 0 where the text has no word.

    1 + log of each word's count, hashed into signed places (Weinberger et al. 2009, "Feature
    Hashing for Large Scale Multitask Learning").
    """
    totals = [0.0] * DIMENSIONS
    for word, times in Counter(_words(text)).items():
        name = crc32(word.encode("utf-8", "surrogatepass"))
        totals[name % DIMENSIONS] += (1 if name & 1 << 31 else -1) * (1 + math.log(times))
    length = math.hypot(*totals)
    return [total / length for total in totals] if length else totals


class Memory:
    """The turns before a question, indexed by what may be similar to it."""

    def __init__(self, context: tuple[Turn, ...]) -> None:
        shots = [
            (user_text, reply)
            for (first_role, user_text), (second_role, reply) in pairwise(context)
            if (first_role, second_role) == ("user", "assistant")
        ]
        sentences = [sentence for _, text in context for sentence in _sentences(text)]
        self.length = sum(len(text.split()) for _, text in context)
        self._answers = [reply for _, reply in shots] or sentences
        self._index = Bm25([user_text for user_text, _ in shots] or sentences)

    def answer(self, question: str) -> str:
        """Return the answer to the text most similar to `question`; "" if there is none."""
        return self._answers[self._index.nearest(question)] if self._answers else ""


class Bm25:
    """The similarity of a question to each of some texts: Okapi BM25 over lower-case words.

    Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", with
    Lucene's never negative idf, log(1 + (N − n + ½) / (n + ½)). Weights are computed once per
    text, so that a question only adds them up. Why this is no library: docs/decisions/0006.
    """

    K1 = 1.5
    B = 0.75

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        lengths = [count.total() for count in counts]
        mean_length = sum(lengths) / max(len(texts), 1) or 1.0
        spread = Counter(word for count in counts for word in count)
        self._size = len(texts)
        self._weights: dict[str, list[tuple[int, float]]] = {word: [] for word in spread}
        for position, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            damping = self.K1 * (1 - self.B + self.B * length / mean_length)
            for word, times in count.items():
                rarity = math.log(1 + (self._size - spread[word] + 0.5) / (spread[word] + 0.5))
                weight = rarity * times / (times + damping)
                self._weights[word].append((position, weight))

    def scores(self, question: str) -> list[float]:
        """Return one number per text, in their order; 0 where no word is shared."""
        totals = [0.0] * self._size
        for word in _words(question):
            for position, weight in self._weights.get(word, ()):
                totals[position] += weight
        return totals

    def nearest(self, question: str) -> int:
        """Return the position of the most similar text, the first of equals."""
        totals = self.scores(question)
        return totals.index(max(totals))


def _context_and_question(turns: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], str]:
    """Return what is searched and what is searched for.

    A prompt of one message has no turns before its question: its last sentence asks, the ones
    before it are the material.
    """
    users = [position for position, (role, _) in enumerate(turns) if role == "user"]
    last = users[-1] if users else len(turns) - 1
    context, (role, question) = turns[:last], turns[last]
    if context:
        return context, question
    *material, user_text = _sentences(question) or [question]
    return tuple((role, sentence) for sentence in material), user_text


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = (part.get("text") for part in message.content)
    return "\n".join(part for part in parts if isinstance(part, str))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _sentences(text: str) -> list[str]:
    """Return sentences and lines, list bullets taken off."""
    pieces = (piece.strip(_BULLETS) for piece in _SENTENCE_END.split(text))
    return [piece for piece in pieces if piece]
