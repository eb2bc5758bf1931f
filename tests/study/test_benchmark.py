"""A benchmark from networks to leaderboard, with networks whose weights are known instead of trained ones."""

import csv
import json

import numpy as np
import pytest
import torch
from torch import nn

from voxplain.cli.main import main
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, OptionError
from voxplain.methods import table
from voxplain.report.benchmark import write
from voxplain.score.model import Model
from voxplain.study import benchmark as benchmark_module
from voxplain.study.benchmark import benchmark
from voxplain.study.benchmark_methods import QUICK, chosen_methods
from voxplain.study.benchmark_networks import TASKS, Trained, trained
from voxplain.study.benchmark_rows import METRICS, ORACLE, Measuring, head_numbers, measure_head
from voxplain.study.benchmark_swap import _reason, swapped
from voxplain.study.benchmark_words import board_words
from voxplain.study.evaluate_rows import MetricRows
from voxplain.study.explain import Explainer

METHODS = ("gradient", "input_x_gradient", "occlusion(window=8)", "attention_rollout")


class Corners(nn.Module):
    """Sees the four corners of a slice (batch, 1, 56, 48), where the marker lies, or the middle alone."""

    def __init__(self, corners=True):
        super().__init__()
        rows, columns = torch.arange(56)[:, None], torch.arange(48)
        in_corner = (torch.minimum(rows, 55 - rows) < 10) & (torch.minimum(columns, 47 - columns) < 8)
        self.register_buffer("seen", (in_corner if corners else ~in_corner).float())

    def forward(self, x):
        bright = (torch.relu(x[:, 0] - 0.6) * self.seen).sum(dim=(1, 2))
        return torch.stack([torch.ones_like(bright), 1 * bright], dim=1)


def network(task="shortcut", seed=0, module=None):
    return Trained(TASKS[task], seed, Model.of(module or Corners()), Prepare(scale=0.001), 1.0)


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


def test_the_oracle_gets_one_by_every_metric_and_a_random_map_chance(tmp_path):
    store = MetricRows(tmp_path)
    for head in head_numbers(12):
        measure_head(Measuring(network(), (), store, ()), head)
    rows = [*store.rows()]
    oracle = [row["value"] for row in rows if row["method"] == ORACLE]
    assert oracle == pytest.approx([1.0] * 12 * len(METRICS))
    apart = [row["value"] - row["chance"] for row in rows if row["method"] == "random_map"]
    assert np.mean(apart) == pytest.approx(0.0, abs=0.02)  # a standard error of 0.008, most of it the AUROC's


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
    assert (tmp_path / "figures" / "skill.png").stat().st_size > 5000
    assert (tmp_path / "figures" / "ranks.png").exists()
    assert main(["benchmark", *asked, "--heads", "2", "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["request"]["phantoms"] == ["shortcut"]
    assert main(["benchmark", "--seeds", "0", "--out", str(tmp_path)]) == 2


def test_words_and_figures_do_without_any_network_that_passed(tmp_path, untrained):
    result = benchmark(tmp_path, methods=METHODS[:2], phantoms=["focal"], seeds=1, heads=2).result
    assert result["ranked_phantoms"] == []
    assert any("not ranked" in line for line in board_words(result))
    assert write(tmp_path) == []


@pytest.mark.slow
def test_a_small_network_learns_the_shortcut_and_is_kept(tmp_path):
    first = trained(TASKS["shortcut"], 0, tmp_path)
    assert swapped(first, head_numbers(4)).used
    again = trained(TASKS["shortcut"], 0, tmp_path)
    assert again.model.weights_hash == first.model.weights_hash
    assert len([*(tmp_path / "networks").iterdir()]) == 1  # its heads are gone
