"""Any number of shards, merged in any order, is the run that one process makes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.projects import make_project

CASE = st.fixed_dictionaries(
    {
        "right": st.booleans(),
        "group": st.sampled_from([None, "a", "b"]),
        "question": st.integers(0, 5),
    }
)


@settings(max_examples=8, deadline=None)
@given(cases=st.lists(CASE, min_size=1, max_size=9), count=st.integers(1, 12), data=st.data())
def test_any_shards_in_any_order_give_the_same_verdict_and_bytes(
    cases: list[dict[str, object]], count: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        project = make_project(Path(folder), cases=0)
        project.cases(
            {
                "id": f"c{at}",
                "inputs": {"question": f"say {case['question']}"},
                "expected": "yes",
                **({"group": case["group"]} if case["group"] else {}),
            }
            for at, case in enumerate(cases)
        )
        rows = [
            {"id": f"c{at}", "output": "yes" if case["right"] else "no"}
            for at, case in enumerate(cases)
        ]
        project.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        model = {"provider": "replay", "file": "answers.jsonl"}
        project.write("llmops.yaml", json.dumps({"models": {"tiny": model}}))
        files = [f"s{index}.jsonl.gz" for index in range(1, count + 1)]
        for index, file in enumerate(files, start=1):
            ran = project.run("eval", "--shard", f"{index}/{count}", "--out", file)
            assert ran.code == 0, ran.text
        order = data.draw(st.permutations(files))
        merged = project.run("merge", "--json", *order, "--out", "merged.jsonl.gz")
        whole = project.eval("--out", "whole.jsonl.gz")
        assert (merged.code, merged.out) == (whole.code, whole.out)
        contents = [
            gzip.decompress((project.root / f"{name}.jsonl.gz").read_bytes())
            for name in ("merged", "whole")
        ]
        assert contents[0] == contents[1]
