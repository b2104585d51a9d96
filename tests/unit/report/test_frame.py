"""The cases of a run as tables: what they hold, what spreadsheets make of them, what they take."""

from __future__ import annotations

import io
import re
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import llmops_cli
from llmops_cli.cli.output import ReportSinks
from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import (
    CaseStream,
    Report,
    ShownCase,
    ShownScore,
    ShownSide,
    ShownTrial,
)
from llmops_cli.render.csv import csv_cell, write_csv
from llmops_cli.render.parquet import write_parquet
from llmops_cli.report.frame import frames
from tests import reports
from tests.hostile import HOSTILE
from tests.projects import Project
from tests.servers.faulty import Server, status
from tests.unit.gated_project import CASES, gate

TEXTS = {**HOSTILE, **reports.HOSTILE, "an apostrophe": "'=1+1", "minus": "-5", "blanks": "  =1"}
STARTS_A_FORMULA = re.compile(r"[=+\-@|%\t\r＝＋－＠]")
NUMBER = re.compile(r"[+-]?[0-9.]+")


def whole(text: str) -> str:
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def table(records: list[ShownCase], report: Report | None = None) -> pd.DataFrame:
    made = frames(report or reports.passing(), CaseStream(len(records), iter(records)))
    return pd.concat(list(made), ignore_index=True)


def answered(name: str, text: str, **more: Any) -> ShownCase:
    trials = (ShownTrial(text=text, failure=None, **more),)
    return ShownCase(
        prompt="p", evalset="e", case=name, candidate=ShownSide(passed=1, trials=trials)
    )


def written(frame: pd.DataFrame, secret: str = "") -> tuple[bytes, bytes]:
    """The same table as CSV and as Parquet."""
    csv, parquet = io.BytesIO(), io.BytesIO()
    write_csv([frame], csv, redact=Redactor([secret]))
    write_parquet([frame], parquet, redact=Redactor([secret]))
    return csv.getvalue(), parquet.getvalue()


def read_csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), dtype="str", keep_default_na=False)


def test_hostile_answers_come_back_from_parquet_as_they_were() -> None:
    frame = table([answered(name, text) for name, text in TEXTS.items()])
    _, parquet = written(frame)

    back = pd.read_parquet(io.BytesIO(parquet))

    assert_frame_equal(back, frame)
    assert list(back["text"]) == [whole(text) for text in TEXTS.values()]


def test_hostile_answers_come_back_from_csv_with_one_apostrophe_off_and_nuls_shown() -> None:
    csv, _ = written(table([answered(name, text) for name, text in TEXTS.items()]))

    back = read_csv(csv)["text"]

    assert [cell.removeprefix("'") for cell in back] == [
        whole(text).replace("\x00", "\\x00") for text in TEXTS.values()
    ]


def test_no_cell_of_a_csv_begins_like_a_formula() -> None:
    bad = "=HYPERLINK(1)"
    record = ShownCase(prompt="p", evalset="e", case=bad, group=bad, expected=bad, tags=(bad,),
                        known_failing=bad, inputs={bad: bad})  # fmt: skip
    failed = ShownTrial(failure=bad, finish_reason=bad, served_model=bad)
    csv, _ = written(
        pd.concat(
            [
                table([record, *(answered(text[:9], text) for text in TEXTS.values())]),
                table(
                    [
                        ShownCase(
                            prompt="p",
                            evalset="e",
                            case="c",
                            candidate=ShownSide(passed=None, trials=(failed,)),
                        )
                    ]
                ),
            ]
        )
    )
    cells = [str(cell) for column in read_csv(csv).to_numpy() for cell in column]

    assert [
        cell for cell in cells if STARTS_A_FORMULA.match(cell) and not NUMBER.fullmatch(cell)
    ] == []
    assert cells.count(f"'{bad}") == 7


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("-12.5", "-12.5"),
        ("-12+A1", "'-12+A1"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        (" \u200b=1", "' \u200b=1"),
        ("＝1", "'＝1"),
        ("'quoted'", "''quoted'"),
        ("%0A", "'%0A"),
        ("|calc", "'|calc"),
    ],
)
def test_a_cell_is_what_a_spreadsheet_runs_nothing_of(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


def test_no_key_is_in_a_table() -> None:
    key = 'sk-"canary"/0001'
    frame = table([answered("one", f"the key is {key}", finish_reason=key)])
    frame["inputs"] = '{"q": "sk-\\"canary\\"/0001"}'

    csv, parquet = written(frame, key)

    assert b"canary" not in csv
    assert "canary" not in pd.read_parquet(io.BytesIO(parquet)).to_csv()
    assert csv.count(b"[redacted]") == 3


def test_a_run_file_is_one_row_for_each_trial_of_each_side(
    running: Project, server: Server, tmp_path: Path
) -> None:
    running.prompt(system="Next.")
    server._script = [status(400)]
    csv, parquet = tmp_path / "eval.csv", tmp_path / "eval.parquet"
    gate(running, out=tmp_path / "run.jsonl", csv=csv, parquet=parquet)

    kept, made = llmops_cli.frame(tmp_path / "run.jsonl"), pd.read_parquet(parquet)

    trials = made.groupby(["case", "side"]).size()
    assert trials.to_dict() == {
        (f"c{at:03}", side): count
        for at in range(CASES)
        for side, count in (("candidate", 1), ("baseline", 3))
    }
    unmeasured = made[made["failure"].notna()]
    assert len(unmeasured) == 1
    assert unmeasured["passed"].isna().all()
    assert made["change"].iloc[0] == "unmeasured"
    assert made["passed"].sum() == len(made) - 1
    assert made["score.exact"].sum() == len(made) - 1
    assert list(made["trial"].unique()) == [1, 2, 3]
    not_in_a_file = ["latency"]
    assert_frame_equal(kept.drop(columns=not_in_a_file), made.drop(columns=not_in_a_file))
    assert read_csv(csv.read_bytes()).shape == made.shape


def test_a_case_without_trials_is_a_row_without_a_side_and_unscored_is_neither_pass_nor_fail() -> (
    None
):
    unscored = (ShownScore(label="x", value=None, passed=None, reason="the judge was silent"),)
    frame = table(
        [
            ShownCase(prompt="p", evalset="e", case="gone", change="removed"),
            answered("silent", "yes", scores=unscored),
        ]
    )
    assert frame["side"].isna().tolist() == [True, False]
    assert frame["passed"].isna().all()


def test_tables_of_the_last_report_say_how_many_cases_they_hold(
    running: Project, tmp_path: Path
) -> None:
    running.prompt(system="Next.")
    gate(running, out=tmp_path / "run.jsonl")
    csv = tmp_path / "last.csv"
    last = running.run("report", "--csv", str(csv))
    whole = running.run("report", str(tmp_path / "run.jsonl"), "--csv", str(tmp_path / "all.csv"))
    assert f"the table has the 0 of {CASES} cases that the report shows" in last.text
    assert len(read_csv(csv.read_bytes())) == 0
    assert "the table has" not in whole.text
    assert len(read_csv((tmp_path / "all.csv").read_bytes())) == 4 * CASES


def test_parquet_without_its_library_is_refused_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="writing Parquet files needs a library") as caught:
        ReportSinks(parquet=tmp_path / "t.parquet").files()
    assert caught.value.hint == "pip install 'llmops-cli[parquet]'"


def test_long_answers_and_many_cases_take_the_memory_of_one_table() -> None:
    def many() -> Iterator[ShownCase]:
        yield from (answered(f"long {at}", f"{at}" * 250_000) for at in range(100, 200))
        yield from (answered(f"short {at}", "yes") for at in range(12_000))

    tracemalloc.start()
    made = frames(reports.passing(), CaseStream(12_100, many()))
    rows = sum(len(each) for each in made)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert rows == 12_100
    assert peak < 60_000_000  # the answers alone are 75 MB
