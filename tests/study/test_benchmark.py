"""A benchmark from networks to leaderboard, with networks whose weights are known instead of trained ones."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.study.benchmarked import Corners, network
from voxplain.cli.main import main
from voxplain.errors import FileError, OptionError
from voxplain.methods import table
from voxplain.study import benchmark as benchmark_module
from voxplain.study import benchmark_swap
from voxplain.study.benchmark import benchmark
from voxplain.study.benchmark_methods import QUICK, chosen_methods
from voxplain.study.benchmark_networks import TASKS, UNSEEN, trained
from voxplain.study.benchmark_rows import METRICS, ORACLE, SHARES, Measuring, head_numbers, measure_head
from voxplain.study.benchmark_swap import _reason, swapped
from voxplain.study.evaluate_rows import MetricRows
from voxplain.study.explain import Explainer

METHODS = ("gradient", "input_x_gradient", "occlusion(window=8)", "attention_rollout")


@pytest.fixture
def untrained(monkeypatch):
    """Networks of known weights: one of 'shortcut' that sees markers, one of 'focal' that does not see lesions."""
    monkeypatch.setattr(benchmark_module, "SWAPPED", 3)
    monkeypatch.setattr(benchmark_module, "trained", lambda task, seed, out: network(task.name, seed))


def test_a_network_that_follows_the_feature_passes_the_swap_test():
    found = swapped(network(), head_numbers(3))
    assert (found.used, found.reason, found.follows) == (True, "", 1.0)
    assert found.other == pytest.approx(0.0, abs=1e-6)  # the lesion beside lies in no corner
    assert found.low <= found.effect <= found.high
    # a marker of 25 pixels, 0.2 above the threshold but for shading and noise
    assert found.effect == pytest.approx(25 * 0.2, rel=0.3)


def test_a_network_that_looks_elsewhere_fails_it():
    found = swapped(network(module=Corners(corners=False)), head_numbers(3))
    assert not found.used
    assert found.follows == 0.0
    assert "does not use the feature" in found.reason


def test_what_else_a_network_may_use_is_judged_by_the_kind_of_phantom():
    assert "something else" in _reason(1.0, 0.6, suppressor=False)
    assert _reason(1.0, 0.4, suppressor=False) == ""
    assert "does not use the suppressor" in _reason(1.0, 0.4, suppressor=True)
    assert _reason(1.0, 0.9, suppressor=True) == ""
    assert "does not use the feature" in _reason(0.89, 0.9, suppressor=True)


@pytest.mark.parametrize(("more_vein", "used"), [(1.0, True), (2.4, False), (5.0, False)])
def test_a_suppressor_must_lower_the_score(monkeypatch, more_vein, used):
    """A network that adds the vein's brightness moves with it as much as one that subtracts it, and is not meant."""
    scores = iter([np.full(3, 3.0), np.full(3, -1.0), np.full(3, more_vein)])
    monkeypatch.setattr(benchmark_swap, "_scores", lambda network, images: next(scores))
    found = swapped(network("suppressor"), head_numbers(3))
    assert found.other == pytest.approx((3 - more_vein) / 4)
    assert found.used == used


def test_the_oracle_gets_one_by_every_metric_and_a_random_map_chance(tmp_path):
    store = MetricRows(tmp_path)
    for head in head_numbers(12):
        measure_head(Measuring(network(), (), store, ()), head)
    rows = [*store.rows()]
    oracle = [row["value"] for row in rows if row["method"] == ORACLE and row["metric"] in METRICS]
    assert oracle == pytest.approx([1.0] * 12 * len(METRICS))
    apart = [row["value"] - row["chance"] for row in rows if row["method"] == "random_map" and row["metric"] in METRICS]
    assert np.mean(apart) == pytest.approx(0.0, abs=0.02)  # a standard error of 0.008, most of it the AUROC's


def test_shares_say_where_a_map_lies_and_are_asked_only_where_there_is_something_else(tmp_path):
    store = MetricRows(tmp_path)
    for task in ("shortcut", "focal"):
        measure_head(Measuring(network(task), chosen_methods(METHODS), store, ()), head_numbers(1)[0])
    rows = [row for row in store.rows() if row["metric"] in SHARES]
    assert {row["phantom"] for row in rows} == {"shortcut"}
    values = {(row["method"], row["metric"]): row["value"] for row in rows}
    assert [values["oracle", name] for name in SHARES] == pytest.approx([1, 0])
    assert [values["input_x_gradient", name] for name in SHARES] == pytest.approx([1, 0], abs=0.1)
    mask = TASKS["shortcut"].simulation.drawn(head_numbers(1)[0], 0, feature=True).mask.values
    assert values["random_map", SHARES[0]] == pytest.approx(mask.mean(), abs=0.01)
    assert values["attention_rollout", SHARES[0]] is None


def test_evidence_against_counts_in_shares_by_its_size(tmp_path):
    module = Corners()
    module.seen = 2 * module.seen - 1  # what is bright outside the corners speaks against
    measure_head(
        Measuring(network(module=module), chosen_methods(["input_x_gradient"]), MetricRows(tmp_path), ()), UNSEEN
    )
    rows = [row for row in MetricRows(tmp_path).rows() if row["method"] == "input_x_gradient"]
    values = {row["metric"]: row["value"] for row in rows}
    assert values["relevance_mass"] > 0.9  # of the evidence for the class; some bright skull reaches into corners
    assert values[SHARES[1]] > 0.02
    assert values[SHARES[0]] < 0.9


def test_methods_are_ranked_where_the_network_uses_the_feature(tmp_path, untrained):
    found = benchmark(tmp_path, methods=METHODS, phantoms=["shortcut", "focal"], seeds=2, heads=2)
    result = found.result
    assert result["ranked_phantoms"] == ["shortcut"]
    reasons = {one["phantom"]: one["reason"] for one in result["networks"]}
    assert reasons["shortcut"] == ""
    assert "does not use the feature" in reasons["focal"]
    table = {row["method"]: row for row in result["standings"]}
    assert table["oracle"]["skill"] == pytest.approx(1.0)
    assert table["input_x_gradient"]["skill"] > 0.8  # x is above the threshold in the marker alone
    assert "shortcut" in table["attention_rollout"]["refused"]
    assert table["attention_rollout"]["skill"] is None
    assert result["stability"]["methods"] == 3
    assert found.failed == 0


def test_the_leaderboard_is_written_as_json_and_as_a_table(tmp_path, untrained):
    benchmark(tmp_path, methods=METHODS[:2], phantoms=["shortcut"], seeds=1, heads=2)
    told = json.loads((tmp_path / "leaderboard.json").read_text())
    with (tmp_path / "leaderboard.csv").open() as stream:
        rows = [*csv.DictReader(stream)]
    assert [row["method"] for row in rows] == [row["method"] for row in told["standings"]]
    assert float(rows[0]["skill"]) == pytest.approx(told["standings"][0]["skill"])
    assert float(rows[0]["shortcut"]) == pytest.approx(told["standings"][0]["phantoms"]["shortcut"]["value"])


def test_finished_rows_are_not_made_again(tmp_path, untrained, monkeypatch):
    asked = {"phantoms": ["shortcut"], "seeds": 1, "heads": 2}
    first = benchmark(tmp_path, methods=METHODS[:2], **asked)
    made = []
    maps = Explainer.maps
    monkeypatch.setattr(Explainer, "maps", lambda *given: made.append(given[2][0][1].name) or maps(*given))
    again = benchmark(tmp_path, methods=METHODS[:2], **asked)
    assert made == []
    assert again.result == first.result
    benchmark(tmp_path, methods=METHODS, **asked)
    assert made == ["occlusion", "attention_rollout"] * 2
    assert benchmark(tmp_path, methods=METHODS[:2], **asked).result == first.result  # others in the folder do not count
    assert made == ["occlusion", "attention_rollout"] * 2


def test_a_kill_within_a_head_loses_that_head_alone(tmp_path, untrained, monkeypatch):
    asked = {"methods": METHODS[:1], "phantoms": ["shortcut"], "seeds": 1, "heads": 3}
    maps, calls = Explainer.maps, []

    def killed(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return maps(*given)

    monkeypatch.setattr(Explainer, "maps", killed)
    with pytest.raises(KeyboardInterrupt):
        benchmark(tmp_path, **asked)
    found = benchmark(tmp_path, **asked)
    assert len(calls) == 4
    assert found.result["standings"][0]["heads"] == 3


def test_another_network_is_measured_afresh(tmp_path, untrained, monkeypatch):
    asked = {"methods": METHODS[:1], "phantoms": ["shortcut"], "seeds": 1, "heads": 2}
    benchmark(tmp_path, **asked)
    rows = {row["case"]: row["key"] for row in MetricRows(tmp_path).rows() if row["method"] == "gradient"}
    other = Corners()
    other.seen *= 0.9
    monkeypatch.setattr(benchmark_module, "trained", lambda task, seed, out: network(module=other))
    benchmark(tmp_path, **asked)
    again = {row["case"]: row["key"] for row in MetricRows(tmp_path).rows() if row["method"] == "gradient"}
    assert set(rows) == set(again)
    assert not set(rows.values()) & set(again.values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"heads": 1}, "heads must be at least 2, got 1"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"phantoms": ["focale"]}, "did you mean 'focal'"),
        ({"methods": ["gradcam"]}, "did you mean 'grad_cam'"),
        ({"methods": []}, "at least one method"),
        ({"phantoms": []}, "at least one phantom"),
    ],
)
def test_bad_requests_are_told_before_anything_is_trained(tmp_path, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        benchmark(tmp_path / "board", **options)
    assert not (tmp_path / "board").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match="must be empty or of a benchmark"):
        benchmark(tmp_path)


def test_the_default_methods_are_all_of_the_table():
    assert {one.name for one in chosen_methods(None)} == set(table())
    assert len(chosen_methods(None, quick=True)) == len(QUICK)
    assert [one.name for one in chosen_methods(["grad_cam", "grad_cam"])] == ["grad_cam"]


def test_the_command_tells_the_board_and_draws_it(tmp_path, untrained, capsys):
    asked = ["--method", "gradient", "--method", "input_x_gradient", "--phantom", "shortcut", "--seeds", "1"]
    assert main(["benchmark", *asked, "--heads", "2", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "class follows in 100% of 3 heads" in told
    assert "[oracle]" in told
    assert str(tmp_path / "report" / "benchmark.html") in told
    drawn = {file.stem for file in (tmp_path / "figures" / "benchmark").glob("*.png")}
    assert drawn == {"planted", "standings", "skill", "ranks", "shares-shortcut"}
    assert main(["benchmark", *asked, "--heads", "2", "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["request"]["phantoms"] == ["shortcut"]
    assert main(["benchmark", "--seeds", "0", "--out", str(tmp_path)]) == 2


@pytest.mark.slow
def test_a_small_network_turns_to_the_marker_and_is_kept(tmp_path):
    task = replace(TASKS["shortcut"], heads=160, epochs=16)
    first = trained(task, 0, tmp_path)
    assert swapped(first, head_numbers(4)).low > 0.5  # logits; 1.0 was seen, and 0.2 after half of the steps
    again = trained(task, 0, tmp_path)
    assert again.model.weights_hash == first.model.weights_hash
    assert len([*(tmp_path / "networks").iterdir()]) == 1  # its heads are gone
