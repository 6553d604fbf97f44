"""The ledger of results: what it keeps, what it refuses, and who may share it."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from fusionlit.compare.origin import Origin
from fusionlit.compare.rows import FORMAT, Ledger, Row
from fusionlit.errors import ConfigError, DataError

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
CONFIG = {
    "data": {"class_path": "A", "init_args": {"batch_size": 32}},
    "trainer": {"callbacks": [{"class_path": "Stop", "init_args": {"patience": 3}}]},
}
ORIGIN = Origin(CONFIG, "d", "s")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "new/rows.jsonl")


def test_a_row_comes_back_as_it_went(ledger):
    row = Row("early", 1, {"test/accuracy": 0.75, "test/loss": float("nan")}, 1.5, ORIGIN)
    assert ledger.rows() == []
    assert ledger.find("early", 1, ORIGIN) is None
    ledger.append(row)
    (again,) = ledger.rows()
    assert str(again) == str(row)
    assert set(again.versions) == {"python", "fusionlit", "torch", "lightning", "torchmetrics"}
    assert again.date.startswith("20")
    assert ledger.find("early", 1, ORIGIN) == again
    assert ledger.find("early", 0, ORIGIN) is None
    assert json.loads(ledger.path.read_text())["format"] == FORMAT


def test_a_row_without_versions_and_date_has_none(ledger):
    ledger.append(Row("early", 1, {}, origin=ORIGIN))
    content = json.loads(ledger.path.read_text())
    del content["versions"], content["date"]
    ledger.path.write_text(json.dumps(content) + "\n")
    (row,) = ledger.rows()
    assert (row.versions, row.date) == ({}, None)


def test_a_run_has_one_row(ledger):
    ledger.append(Row("early", 1, {}, origin=ORIGIN))
    ledger.append(Row("early", 2, {}, origin=ORIGIN))
    with pytest.raises(ConfigError, match=r"rows.jsonl already has a row of early, seed 1"):
        ledger.append(Row("early", 1, {}, origin=ORIGIN))
    assert len(ledger.rows()) == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Origin({**CONFIG, "data": {"class_path": "A", "init_args": {"batch_size": 64}}}, "d", "s"), "was 32, now 64"),
        (Origin({**CONFIG, "data": {"class_path": "A"}}, "d", "s"), "data.batch_size was 32, now missing"),
        (Origin({**CONFIG, "model": "B"}, "e", "t"), 'model was missing, now "B". Restore'),
        (Origin({**CONFIG, "trainer": {"callbacks": []}}, "d", "s"), "trainer.callbacks was missing, now []"),
        (Origin(CONFIG, "e", "s"), "the data set has changed, with the same configuration. Restore"),
        (Origin(CONFIG, "d", "t"), "the split has changed, with the same configuration. Restore"),
    ],
)
def test_a_row_of_another_run_is_refused_by_what_differs(ledger, other, said):
    ledger.append(Row("early", 1, {}, origin=ORIGIN))
    with pytest.raises(ConfigError) as refused:
        ledger.find("early", 1, other)
    assert "has a row of early, seed 1, that was measured differently: " in str(refused.value)
    assert said in str(refused.value)
    assert ledger.find("early", 2, other) is None


def test_many_differences_are_counted(ledger):
    ledger.append(Row("early", 1, {}, origin=Origin({f"a{i}": 0 for i in range(8)}, "d", "s")))
    with pytest.raises(ConfigError, match="a4 was 0, now 1; and 3 more"):
        ledger.find("early", 1, Origin({f"a{i}": 1 for i in range(8)}, "d", "s"))


def test_a_line_that_is_no_row_is_named(ledger):
    ledger.append(Row("early", 0, {}, origin=ORIGIN))
    good = ledger.path.read_text()
    for bad, said in [
        ("no json", "is not a row of results"),
        ("[1]", "is not a row of results"),
        (good[:40], "is not a row of results"),
        ('{"format": 1, "model": "early", "seed": 1}', "is not a row of results"),
        ('{"test/accuracy": 0.5}', "is not a row of results"),
        (good.strip().replace('"batch_size": 32', '"batch_size": 64'), "a configuration that does not match its"),
        ('{"format": 2}', f"has format 2, but this fusionlit reads formats up to {FORMAT}: update it."),
    ]:
        ledger.path.write_text(good + bad + "\n" + good)
        with pytest.raises(DataError, match=r"rows\.jsonl: line 2 ") as error:
            ledger.rows()
        assert said in str(error.value)
        with pytest.raises(DataError, match="line 2"):
            ledger.append(Row("late", 0, {}))


@pytest.mark.parametrize(("end", "kept"), [("", 2), ('\n{"format": 1, "model": "ear', 2), (None, 1)])
def test_half_a_row_of_a_killed_process_is_passed_over_and_a_row_without_an_end_is_kept(ledger, end, kept):
    ledger.append(Row("early", 1, {"a": 1.0}, origin=ORIGIN))
    if end is not None:
        ledger.append(Row("early", 2, {"a": 2.0}, origin=ORIGIN))
        ledger.path.write_text(ledger.path.read_text().removesuffix("\n") + end)
    assert len(ledger.rows()) == kept
    ledger.append(Row("early", 3, {"a": 3.0}, origin=ORIGIN))
    assert [row.seed for row in ledger.rows()][-2:] == ([2, 3] if kept == 2 else [1, 3])


def test_rows_of_format_0_are_read_and_taken_as_they_are(ledger):
    ledger.path.parent.mkdir()
    layers = {"stage1": {"rgb": {"final": 0.25, "share": None}}}
    flat = [
        {"model": "early", "seed": 3, "test/accuracy": 0.5, "seconds": 2.5},
        {"setting": "raw", "seed": 1, "made_with": {"epochs": 5}, "accuracy": 0.5, "layers": layers},
        {"set": "uci_har", "model": "centralnet", "run": 4, "refit": 97.4},
    ]
    ledger.path.write_text("".join(json.dumps(row) + "\n" for row in flat))
    early, raw, public = ledger.rows()
    assert (early.model, early.seed, early.metrics, early.seconds) == ("early", 3, {"test/accuracy": 0.5}, 2.5)
    assert (early.origin, early.versions, early.date) == (None, {}, None)
    assert (raw.model, raw.metrics) == ("raw", {"accuracy": 0.5, "layers/stage1/rgb/final": 0.25})
    assert (public.model, public.seed, public.metrics) == ("centralnet", 4, {"refit": 97.4})
    assert ledger.find("early", 3, ORIGIN) == early


def append_some(path, model):
    for seed in range(20):
        Ledger(path).append(Row(model, seed, {"test/accuracy": seed / 20}, origin=ORIGIN))


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_processes_share_a_ledger(ledger):
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        for job in [pool.submit(append_some, ledger.path, model) for model in ("a", "b")]:
            job.result()
    assert sorted((row.model, row.seed) for row in ledger.rows()) == [(m, s) for m in "ab" for s in range(20)]


def test_a_row_waits_until_no_other_process_writes(ledger):
    ledger.path.parent.mkdir()
    with FileLock(f"{ledger.path}.lock"):
        writer = Thread(target=append_some, args=(ledger.path, "a"))
        writer.start()
        writer.join(0.3)
        assert ledger.rows() == []
    writer.join()
    assert len(ledger.rows()) == 20


LEDGERS = ("joint_", "fusion_comparison_", "balance_", "course_", "public_", "planted", "uci_har_settings")


COMMITTED = sorted(file for file in RESULTS.glob("*.jsonl") if file.name.startswith(LEDGERS))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_readable(file):
    rows = Ledger(file).rows()
    assert rows
    assert all(row.metrics for row in rows)
