"""The results store keeps what was paid for, reports losses, and never returns a wrong answer."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import sqlite3
import subprocess
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.result import Completion, Score, ToolCall, Usage
from llmops_cli.stores.database import FILE_NAME
from llmops_cli.stores.results import open_results
from tests.unit.stores.values import answer, named, score_key, start_python, trial_key


def edit(folder: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Change the database in `folder` behind the store's back."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement, values)


def put(folder: Path, *questions: object) -> None:
    """Store an answer to each of `questions`."""
    with open_results(folder) as store:
        store.put_completions([(trial_key(question), answer()) for question in questions])


def test_what_was_put_is_there_in_the_next_process_without_its_latency(tmp_path: Path) -> None:
    full = Completion(
        text="it is 21 °C \ud800 \0 \x1b[31m 𝔘",
        tool_calls=(ToolCall(name="weather", arguments={"city": "Bonn"}),),
        finish_reason="tool_calls",
        contexts=("a passage",),
        ids=("p1",),
        latency=0.25,
        fingerprint="fp",
        attempts=2,
    )
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), full)])
        store.put_score(score_key("q"), Score(value=0.5, reason="half", detail={"k": [1, None]}))
    with open_results(tmp_path) as store:
        assert store.completions([trial_key("q"), trial_key("other")]) == {
            trial_key("q"): replace(full, latency=None)
        }
        assert store.scores([score_key("q"), score_key("other")]) == {
            score_key("q"): Score(value=0.5, reason="half", detail={"k": [1, None]})
        }
        assert len(store.notes) == 0


def test_scores_can_be_read_before_they_are_written(tmp_path: Path) -> None:
    with open_results(tmp_path) as store:
        store.put_score(score_key("q"), Score(value=1))
        assert store.scores([score_key("q")]) == {score_key("q"): Score(value=1.0)}


def test_a_private_store_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with open_results(None) as store:
        store.put_completions([(trial_key("q"), answer())])
        assert len(store.completions([trial_key("q")])) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_later_answer_takes_the_key_and_the_earlier_one_stays_as_a_further_trial(
    tmp_path: Path,
) -> None:
    earlier, later = answer("old", "2026-11-01T00:00:00"), answer("new", "2026-11-01T09:00:00")
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), earlier)])
        store.put_completions([(trial_key("q"), later)])
        store.put_completions([(trial_key("q"), earlier)])
        assert store.completions([trial_key("q", n) for n in range(3)]) == {
            trial_key("q", 0): later,
            trial_key("q", 1): earlier,
        }


@pytest.mark.parametrize("at", ["2036-11-01T00:00:00", "tomorrow"])
def test_an_answer_of_a_clock_that_ran_ahead_is_not_the_later_one(tmp_path: Path, at: str) -> None:
    ahead, true = answer("old", at), answer("new", "2026-11-01T00:00:00")
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), ahead)])
        store.put_completions([(trial_key("q"), true)])
        assert store.completions([trial_key("q", n) for n in range(2)]) == {
            trial_key("q", 0): true,
            trial_key("q", 1): ahead,
        }


def test_an_answer_known_by_its_digest_gives_way_to_one_with_a_text(tmp_path: Path) -> None:
    known = Completion(text=None, known_digest=answer().digest)
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), known)])
        assert store.completions([trial_key("q")]) == {trial_key("q"): known}
        store.put_completions([(trial_key("q"), answer())])
        store.put_completions([(trial_key("q"), known)])
        assert store.completions([trial_key("q"), trial_key("q", 1)]) == {trial_key("q"): answer()}


def test_a_source_is_ingested_once(tmp_path: Path) -> None:
    held = [(trial_key("q"), answer())], [(score_key("q"), Score(value=1.0))]
    with open_results(tmp_path) as store:
        assert [store.ingest(named("run"), *held), store.ingest(named("run"), *held)] == [
            True,
            False,
        ]
        assert store.scores([score_key("q")]) == {score_key("q"): Score(value=1.0)}


def test_further_trials_of_a_request_are_listed(tmp_path: Path) -> None:
    with open_results(tmp_path) as store:
        store.ingest(named("run"), [(trial_key("q", n), answer(str(n))) for n in (0, 1, 4)], [])
        asked = [named("q"), named("other")]
        assert store.further(asked, "gate", beyond=1) == {named("q"): (1, 4)}
        assert store.further(asked, "baseline", beyond=0) == {}
        assert (store.has_ingested(named("run")), store.has_ingested(named("else"))) == (
            True,
            False,
        )


def test_equal_answers_of_two_runs_collapse_and_different_ones_are_further_trials(
    tmp_path: Path,
) -> None:
    with open_results(tmp_path) as store:
        for run, texts in (("one", ["a", "b"]), ("two", ["a", "c"]), ("both", ["a", "b", "c"])):
            origins = [0, 1] if run != "both" else [0, 1, 1]
            trials = [(trial_key("q", n), answer(t)) for n, t in zip(origins, texts, strict=True)]
            store.ingest(named(run), trials, [])
        found = store.completions([trial_key("q", n) for n in range(9)])
        assert [each.text for each in found.values()] == ["a", "b", "c"]


def test_a_damaged_row_is_a_miss_that_is_reported_and_measured_again(tmp_path: Path) -> None:
    with open_results(tmp_path) as store:
        for question in range(3):
            store.put_completions([(trial_key(question), answer())])
        store.put_score(score_key("q"), Score(value=1))
    wrong = b'{"text":"Paris"}'
    edit(tmp_path, "UPDATE completions SET value = ? WHERE rowid = 2", values=(wrong,))
    edit(tmp_path, "UPDATE scores SET value = CAST(replace(value, '1.0', '0.0') AS BLOB)")
    with open_results(tmp_path) as store:
        keys = [trial_key(question) for question in range(3)]
        assert list(store.completions(keys)) == [keys[0], keys[2]]
        assert "1 row of" in store.notes[0]
        store.put_completions([(keys[1], answer("again"))])
        assert store.completions(keys)[keys[1]].text == "again"


def test_a_damaged_row_gives_its_key_to_the_next_answer(tmp_path: Path) -> None:
    put(tmp_path, "q", "r")
    edit(tmp_path, "UPDATE completions SET checksum = x'00'")
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer("again"))])
        store.ingest(named("run"), [(trial_key("r"), answer("taken over"))], [])
        found = store.completions([trial_key("q"), trial_key("r")])
        assert [each.text for each in found.values()] == ["again", "taken over"]
        assert "2 rows of" in store.notes[0]


@pytest.mark.parametrize("seed", range(25))
def test_no_flipped_byte_ever_gives_a_wrong_answer(tmp_path: Path, seed: int) -> None:
    keys = [trial_key(question) for question in range(200)]
    with open_results(tmp_path) as store:
        store.ingest(named("run"), [(key, answer(f"to {key.request}")) for key in keys], [])
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    dice = random.Random(seed)
    for _ in range(dice.choice([1, 20, 500])):
        content[dice.randrange(len(content))] = dice.randrange(256)
    path.write_bytes(content)
    with open_results(tmp_path) as store:
        found = store.completions(keys)
        assert all(each.text == f"to {key.request}" for key, each in found.items())
        assert len(found) == len(keys) or store.notes or _is_quietly_missing(path)
        store.put_completions([(trial_key("later"), answer())])
        assert trial_key("later") in store.completions([trial_key("later")])


def _is_quietly_missing(path: Path) -> bool:
    """Whether the damage is in an index page, where a row cannot be found, only missed."""
    with closing(sqlite3.connect(path)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    return bool(verdict != "ok")


@pytest.mark.parametrize("content", [b"not a database, but long" * 20, b"\0" * 4096])
def test_a_file_that_is_no_store_is_moved_aside_and_reported(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer())])
        assert "moved to results.sqlite3.damaged-1" in store.notes[0]
    assert (tmp_path / f"{FILE_NAME}.damaged-1").read_bytes() == content


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TABLE scores",
        "ALTER TABLE completions RENAME COLUMN value TO valve",
    ],
)
def test_a_store_that_lacks_a_table_or_a_column_is_moved_aside_and_reported(
    tmp_path: Path, harm: str
) -> None:
    put(tmp_path, "q")
    edit(tmp_path, harm)
    with open_results(tmp_path) as store:
        store.scores([score_key("q")])
        store.put_completions([(trial_key("q"), answer())])
        assert "moved to results.sqlite3.damaged-1" in store.notes[0]
        assert store.completions([trial_key("q")])


def test_a_database_of_something_else_is_moved_aside_and_kept(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE recipes (name)")
    with open_results(tmp_path) as store:
        assert "damaged" in store.notes[0]
    assert (tmp_path / f"{FILE_NAME}.damaged-1").exists()


def test_a_store_that_is_removed_while_it_is_used_is_reported(tmp_path: Path) -> None:
    with open_results(tmp_path / "store") as store:
        store.put_completions([(trial_key("q"), answer())])
        before = store.notes
        shutil.rmtree(tmp_path / "store")
        assert store.completions([trial_key("q")])
        after = store.notes
    assert (len(before), len(after)) == (0, 1)
    assert "was removed during this run" in after[0]


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer())])
        assert len(store.notes) == 0


def test_a_store_of_a_newer_llmops_is_refused_and_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "q")
    edit(tmp_path, "PRAGMA user_version = 7")
    with pytest.raises(Refused, match="newer llmops") as refused, open_results(tmp_path):
        pass
    assert "upgrade llmops" in str(refused.value.hint)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM completions").fetchone() == (1,)


FORMAT_1 = (
    """CREATE TABLE completions (
        request BLOB NOT NULL, purpose TEXT NOT NULL, n INTEGER NOT NULL,
        origin INTEGER NOT NULL, whole INTEGER NOT NULL,
        value BLOB NOT NULL, checksum BLOB NOT NULL,
        UNIQUE (request, purpose, n))""",
    """CREATE TABLE scores (
        scorer BLOB NOT NULL, facts BLOB NOT NULL, output BLOB NOT NULL,
        value BLOB NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (scorer, facts, output)) WITHOUT ROWID""",
    "CREATE TABLE ingested (source BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE quarantine (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB)",
    "PRAGMA application_id = 1819045231",
    "PRAGMA user_version = 1",
)
"""The store of November 2026, before briefs were kept beside completions."""


def _row(*columns: object, value: bytes) -> tuple[object, ...]:
    """Return a row of format 1: `value` with its checksum."""
    key = b"\0".join(part if isinstance(part, bytes) else str(part).encode() for part in columns)
    check = hashlib.blake2b(key + b"\0" + value, digest_size=16).digest()
    return value, check


def test_a_store_of_an_older_llmops_is_migrated(tmp_path: Path) -> None:
    trial, score = trial_key("q"), score_key("q")
    request, *names = (
        bytes.fromhex(name.removeprefix("sha256:"))
        for name in (trial.request, score.scorer, score.facts, score.output)
    )
    said = b'{"at":"2026-11-20T12:00:00.000+00:00","cost":0.5,"text":"old","usage":[3,2,0]}'
    completion = _row(request, "gate", 0, value=said)
    edit(tmp_path, *FORMAT_1)
    edit(
        tmp_path,
        "INSERT INTO completions VALUES (?, 'gate', 0, 0, 1, ?, ?)",
        values=(request, *completion),
    )
    values = (*names, *_row(*names, value=b'{"value":1.0}'))
    edit(tmp_path, "INSERT INTO scores VALUES (?, ?, ?, ?, ?)", values=values)
    old = Completion(
        text="old", at="2026-11-20T12:00:00.000+00:00", cost=0.5, usage=Usage(input=3, output=2)
    )
    with open_results(tmp_path) as store:
        assert store.briefs([trial_key("q")]) == {trial_key("q"): old.brief}
        assert store.completions([trial_key("q")]) == {trial_key("q"): old}
        assert store.scores([score_key("q")]) == {score_key("q"): Score(value=1.0)}
        store.put_completions([(trial_key("r"), answer())])
        assert len(store.notes) == 0
    with open_results(tmp_path) as store:
        found = store.briefs([trial_key("q"), trial_key("r")])
        assert found == {trial_key("q"): old.brief, trial_key("r"): answer().brief}


def test_a_brief_is_what_a_verdict_needs_of_a_completion(tmp_path: Path) -> None:
    whole = replace(answer(), usage=Usage(input=3, output=2), cost=0.5, served_model="m")
    known = Completion(text=None, known_digest=named("elsewhere"))
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), whole)])
        store.put_completions([(trial_key("r"), known)])
        found = store.briefs([trial_key("q"), trial_key("r"), trial_key("nothing")])
        assert found == {trial_key("q"): whole.brief, trial_key("r"): known.brief}
        brief = found[trial_key("q")]
        assert (brief.digest, brief.whole, brief.cost) == (whole.digest, True, 0.5)
        assert (brief.input_tokens, brief.output_tokens, brief.served_model) == (3, 2, "m")
        assert found[trial_key("r")][:2] == (named("elsewhere"), False)
        store.put_completions([(trial_key("r"), whole)])
        assert store.briefs([trial_key("r")]) == {trial_key("r"): whole.brief}


@pytest.mark.parametrize("written", [b'["sha256:00",1]', b"[1", "text, not bytes", None])
def test_a_damaged_brief_is_read_from_the_completion(tmp_path: Path, written: object) -> None:
    put(tmp_path, "q")
    edit(tmp_path, "UPDATE completions SET brief = ?", values=(written,))
    with open_results(tmp_path) as store:
        assert store.briefs([trial_key("q")]) == {trial_key("q"): answer().brief}


def test_a_brief_of_another_answer_is_not_believed(tmp_path: Path) -> None:
    keys, others = [trial_key("q"), trial_key("r")], [answer(), answer("other")]
    with open_results(tmp_path) as store:
        store.put_completions(zip(keys, others, strict=True))
    edit(
        tmp_path,
        "UPDATE completions SET (brief, brief_checksum) = "
        "(SELECT brief, brief_checksum FROM completions ORDER BY rowid LIMIT 1)",
    )
    with open_results(tmp_path) as store:
        found = store.briefs(keys)
    assert found == {key: each.brief for key, each in zip(keys, others, strict=True)}


def test_the_store_keeps_itself_out_of_git(tmp_path: Path) -> None:
    with open_results(tmp_path / ".llmops" / "store"):
        pass
    assert (tmp_path / ".llmops" / "store" / ".gitignore").read_text() == "*\n"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with (
        pytest.raises(Unmeasured, match="cannot create the results store"),
        open_results(tmp_path / "store"),
    ):
        pass


def test_a_store_that_cannot_be_written_serves_this_run_only(tmp_path: Path) -> None:
    script = """
        import os, sys
        if os.getuid() == 0:
            os.setuid(65534)
        with open_results(Path(sys.argv[1])) as store:
            store.put_completions([(trial_key("q"), answer())])
            print(len(store.completions([trial_key("q")])), *store.notes)
    """
    with open_results(tmp_path):
        pass
    for path in [tmp_path, *tmp_path.iterdir()]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for place in [tmp_path, *tmp_path.parents]:
        if place.stat().st_mode & 0o005 != 0o005 and place != tmp_path:
            place.chmod(place.stat().st_mode | 0o001)
    out, errors = _start(script, tmp_path).communicate(timeout=60)
    tmp_path.chmod(0o755)
    assert out.startswith("1 "), errors
    assert "cannot be written: results are kept for this run only" in out


def test_a_disk_without_shared_memory_is_used_the_slow_way_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    def without_shared_memory(path: Path, **options: Any) -> sqlite3.Connection:
        slow: sqlite3.Connection = real(f"file:{path}?vfs=unix-dotfile", uri=True, **options)
        return slow

    monkeypatch.setattr(sqlite3, "connect", without_shared_memory)
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer())])
        assert len(store.completions([trial_key("q")])) == 1
        assert "no write-ahead logging" in store.notes[0]


def test_a_durable_store_waits_for_the_disk(tmp_path: Path) -> None:
    with open_results(tmp_path, durable=True) as store:
        store.put_completions([(trial_key("q"), answer())])
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    with open_results(tmp_path) as store:
        assert store._db.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_full_disk_is_reported_with_path_and_advice_and_loses_nothing_acknowledged(
    tmp_path: Path,
) -> None:
    script = """
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            with open_results(Path(sys.argv[1])) as store:
                for n in range(10_000):
                    store.put_completions([(trial_key(n), answer("x" * 1000))])
                    print(n, flush=True)
        except Unmeasured as trouble:
            sys.exit(f"{trouble} | {trouble.hint}")
    """
    writer = _start(script, tmp_path)
    out, errors = writer.communicate(timeout=60)
    assert writer.returncode == 1
    assert f"cannot store results in {tmp_path / FILE_NAME}" in errors
    assert "free disk space" in errors
    acknowledged = [trial_key(n) for n in map(int, out.split())]
    assert acknowledged
    with open_results(tmp_path) as store:
        assert list(store.completions(acknowledged)) == acknowledged


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    script = """
        import sys
        start = int(sys.argv[2])
        with open_results(Path(sys.argv[1])) as store:
            for n in range(start, start + 1_000_000):
                store.put_completions([(trial_key(n), answer(f"answer {n}"))])
                store.put_score(score_key(n), Score(value=1))
                sys.stdout.write(f"{n}\\n")
                sys.stdout.flush()
    """
    dice = random.Random(28)
    acknowledged: list[int] = []
    for round_ in range(6):
        writer = _start(script, tmp_path, round_ * 1_000_000)
        assert writer.stdout is not None
        acknowledged += [int(writer.stdout.readline()) for _ in range(dice.randrange(1, 400))]
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged += [
            int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")
        ]
    with open_results(tmp_path) as store:
        found = store.completions([trial_key(n) for n in acknowledged])
        assert [each.text for each in found.values()] == [f"answer {n}" for n in acknowledged]
        assert len(store.notes) == 0


def test_several_processes_share_one_store(tmp_path: Path) -> None:
    script = """
        import sys
        with open_results(Path(sys.argv[1])) as store:
            for n in range(300):
                store.put_completions([(trial_key(n), answer(f"answer {n}"))])
                store.put_score(score_key(n), Score(value=1))
            print(len(store.completions([trial_key(n) for n in range(300)])), *store.notes)
    """
    writers = [_start(script, tmp_path) for _ in range(4)]
    said = [writer.communicate() for writer in writers]
    assert said == [("300\n", "")] * 4
    with open_results(tmp_path) as store:
        assert len(store.scores([score_key(n) for n in range(300)])) == 300
        assert store.completions([trial_key(n, 1) for n in range(300)]) == {}


PRELUDE = """
from pathlib import Path
from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.result import Score
from llmops_cli.stores.results import open_results
from tests.unit.stores.values import answer, trial_key, score_key
"""


def _start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return start_python(PRELUDE + textwrap.dedent(script), *arguments)
