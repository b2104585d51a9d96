"""The application: a LangGraph that retrieves pages and answers from them."""

from __future__ import annotations

from typing import Any, TypedDict

from app.reader import READ
from app.retriever import Retriever
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph


class State(TypedDict, total=False):
    question: str
    pages: list[tuple[str, str]]
    answer: str


RETRIEVER = Retriever()


def retrieve(state: State) -> State:
    return {"pages": RETRIEVER.search(state["question"])}


def generate(state: State) -> State:
    return {"answer": READ(state["question"], [text for _, text in state["pages"]])}


def build() -> CompiledStateGraph:
    graph = StateGraph(State)
    graph.add_node("retrieve", retrieve)
    graph.add_node("generate", generate)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "generate")
    graph.add_edge("generate", END)
    return graph.compile()


GRAPH = build()


def answer(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with the retrieved pages. llmops calls this once per case."""
    state = GRAPH.invoke({"question": inputs["question"]})
    return {
        "text": state["answer"],
        "ids": [name for name, _ in state["pages"]],
        "contexts": [text for _, text in state["pages"]],
    }
