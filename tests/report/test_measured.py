"""Metrics written by others, read generically."""

import csv
import json

import pytest

from tests.report.made import one_map
from tests.report.parsed import Parsed
from voxplain.report.measured import read_measures
from voxplain.report.page import write, write_all

ROWS = [
    {"metric": "deletion", "method": "lrp", "value": 0.25, "low": 0.2, "high": 0.31, "n": 50, "chance": 0.5},
    {"metric": "road", "method": "lrp", "value": None, "reason": "the model has no probability"},
]


def lines(folder, rows):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def read(folder):
    missing: list[str] = []
    return read_measures(folder, missing), missing


def test_a_value_comes_with_its_interval_and_count(tmp_path):
    (one, _), missing = read(lines(tmp_path, ROWS))
    assert (one.value_words, one.interval_words, one.n, one.chance_words) == ("0.25", "0.2 to 0.31", 50, "0.5")
    assert missing == []


def test_what_does_not_apply_says_why(tmp_path):
    (_, one), _ = read(lines(tmp_path, ROWS))
    assert one.value_words == "not applicable: the model has no probability"
    assert one.interval_words == ""


def test_csv_says_the_same_as_jsonl(tmp_path):
    with (tmp_path / "metrics.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*ROWS[0], "reason"])
        writer.writeheader()
        writer.writerows(ROWS)
    assert read(tmp_path)[0] == read(lines(tmp_path, ROWS))[0]


@pytest.mark.parametrize("row", [{"interval": [1, 2]}, {"ci_low": 1, "ci_high": 2}, {"lower": "1", "upper": "2.0"}])
def test_ends_of_an_interval_may_have_other_names(tmp_path, row):
    ((one,), _) = read(lines(tmp_path, [{"metric": "m", "value": 1.5, **row}]))
    assert one.interval_words == "1 to 2"


def test_another_coverage_is_said(tmp_path):
    ((one,), _) = read(lines(tmp_path, [{"metric": "m", "value": 1, "low": 0, "high": 2, "level": 0.9}]))
    assert one.interval_words == "0 to 2 (90 %)"


def test_broken_rows_are_named_and_the_rest_is_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"metric": "m", "value": "x", "n": [], "low": {}}\noops\n{"value": 1}\n')
    ((one,), missing) = read(tmp_path)
    assert one.value is None
    assert missing == ["metrics.jsonl line 2 is no JSON object", "metrics.jsonl has 1 row without a metric's name"]


@pytest.mark.parametrize("value", ["nan", "inf", True, "1e400"])
def test_only_finite_numbers_are_values(tmp_path, value):
    ((one,), _) = read(lines(tmp_path, [{"metric": "m", "value": value}]))
    assert one.value is None


def test_the_summary_of_an_evaluation_is_read_beside_its_cases(tmp_path):
    lines(tmp_path, [{"metric": "deletion", "method": "lrp", "case": "a", "value": 0.2}])
    (tmp_path / "summary.csv").write_text(
        "metric,target,method,value,low,high,n,chance,reason\n"
        "deletion,t,lrp,0.25,0.2,0.3,5,,\nroad,t,lrp,,,,0,,no mask\n"
    )
    (case, over, none), _ = read(tmp_path)
    assert (case.case, over.case) == ("a", "")
    assert (over.value_words, over.interval_words, over.n, over.chance_words) == ("0.25", "0.2 to 0.3", 5, "")
    assert none.value_words == "not applicable: no mask"


def test_nothing_measured_is_nothing_missing(tmp_path):
    assert read(tmp_path) == ([], [])


def test_the_page_shows_metrics_of_the_run_and_of_its_cases(run):
    one_map(run)
    lines(run.folder, [*ROWS, {"metric": "sparseness", "method": "rise", "case": "case b", "value": 0.75}])
    written = write_all(run.folder)
    text = Parsed(written.page).text
    assert "deletion lrp 0.25 0.2 to 0.31 0.5 50" in text
    assert "road lrp not applicable: the model has no probability" in text
    assert text.index("Metrics of this case") < text.index("sparseness rise 0.75") < text.index("deletion lrp")
    table = json.loads(written.json.read_text())
    assert [one["metric"] for one in table["metrics"]] == ["deletion", "road"]
    assert [one["metric"] for one in table["cases"][0]["metrics"]] == ["sparseness"]


def test_a_page_without_metrics_says_how_to_get_them(run):
    one_map(run)
    assert "No metric was measured." in Parsed(write(run.folder)).text
