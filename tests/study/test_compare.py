"""Maps held against each other: what equal, opposite and unrelated maps give, and who is told apart from whom."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, rankdata
from sklearn.metrics import roc_auc_score

import voxplain as vx
from tests.study.evaluated import cases, model, plan
from voxplain.data.attribution import Attribution
from voxplain.data.nifti import read_nifti
from voxplain.errors import FileError, InputError
from voxplain.ops.top_share import among_top, top_overlap
from voxplain.space.grid import Grid
from voxplain.study.compare import agreement_file, compare, comparison_name
from voxplain.study.compare_groups import Sides, is_right, sides, told_apart
from voxplain.study.compare_maps import agreement, alike
from voxplain.study.evaluate import evaluate
from voxplain.study.run import run
from voxplain.types import Quantity

rng = np.random.default_rng(0)
TARGET = "class_score(index=1)"


def one(values, **named):
    values = np.asarray(values, dtype=np.float32)
    return Attribution(values, Grid(values.shape[1:], np.eye(4)), Quantity.RELEVANCE, "m", "t", **named)


NOISE = rng.normal(size=(1, 20, 18, 1))


def test_equal_maps_are_alike_and_scale_does_not_count():
    found = alike(one(NOISE), one(3 * NOISE))
    assert (found["spearman"], found["ssim"], found["top_overlap"]) == pytest.approx((1, 1, 1))
    assert found["reason"] == ""


def test_opposite_maps_are_opposite_unless_signs_are_directions():
    assert alike(one(NOISE), one(-NOISE))["spearman"] == pytest.approx(-1)
    assert alike(one(NOISE), one(-NOISE))["top_overlap"] == 0
    assert alike(one(NOISE), one(-NOISE, evidence="absolute"))["spearman"] == pytest.approx(1)
    assert alike(one(NOISE), one(-NOISE, evidence="absolute"))["top_overlap"] == pytest.approx(1)


def test_channels_are_summed_before_maps_are_compared():
    two = np.concatenate([NOISE + 1, -np.ones_like(NOISE)])
    assert alike(one(two, channels=("a", "b")), one(NOISE))["spearman"] == pytest.approx(1)


def test_unrelated_maps_overlap_as_chance_says():
    # 400 pairs of 360 voxels and 18 of them: the mean's standard deviation is about 0.0024.
    found = [top_overlap(torch.rand(20, 18), torch.rand(20, 18), 0.05) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.01)


def test_tied_voxels_share_their_places():
    flat = torch.tensor([3.0, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert among_top(flat, 0.3).tolist() == [1, 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0]
    assert top_overlap(flat, flat, 0.3) == pytest.approx((1 + 4 * 0.25) / 3)


def test_maps_that_order_nothing_have_a_reason():
    assert alike(one(NOISE), one(np.ones_like(NOISE)))["reason"] == "a map is the same everywhere"
    broken = NOISE.copy()
    broken[0, 0, 0, 0] = np.nan
    assert alike(one(NOISE), one(broken))["reason"] == "a map holds values that are NaN or infinite"
    assert alike(one(NOISE), one(NOISE[:, :10]))["reason"] == "the maps lie on different grids"


def test_agreement_is_the_share_of_maps_that_point_at_a_voxel():
    first, second = np.zeros((1, 5, 4, 1)), np.zeros((1, 5, 4, 1))
    first[0, 1, 1, 0], second[0, 1, 1, 0], second[0, 0, 0, 0] = 2, 1, 3
    values, count = agreement([one(first), one(second), one(np.ones_like(first))])
    assert count == 2
    assert values[0, 1, 1, 0] == 0.5
    assert values[0, 0, 0, 0] == 0.5
    assert values.sum() == pytest.approx(1)


def test_predictions_are_right_by_name_or_number():
    said = {"prediction": {"predicted": 1, "class_names": ["healthy", "sick"]}}
    assert is_right({**said, "label": "sick"}) is True
    assert is_right({**said, "label": "1"}) is True
    assert is_right({**said, "label": "healthy"}) is False
    assert is_right({**said, "label": None}) is None
    assert is_right({"label": "sick", "prediction": {"predicted": None}}) is None


def test_right_and_wrong_are_told_apart_as_scipy_and_scikit_learn_do():
    right, wrong = rng.normal(1, 1, 12), rng.normal(0, 1, 9)
    (found,) = told_apart([Sides("m", "a", "t", dict(enumerate(right)), dict(enumerate(wrong)))])
    labels = np.r_[np.ones(12), np.zeros(9)]
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, np.r_[right, wrong]))
    assert found["p"] == pytest.approx(mannwhitneyu(right, wrong).pvalue)
    assert found["difference"] == pytest.approx(right.mean() - wrong.mean())
    assert found["low"] < found["difference"] < found["high"]


def test_tests_of_many_numbers_are_corrected_together_and_small_sides_are_not_tested():
    many = [
        Sides("m", str(n), "t", dict(enumerate(rng.normal(1, 1, 9))), dict(enumerate(rng.normal(size=9))))
        for n in range(3)
    ]
    few = Sides("m", "few", "t", {"a": 1.0, "b": 2.0}, {"c": 3.0})
    found = told_apart([many[0], few, *many[1:]])
    assert found[1]["p"] is None
    assert found[1]["p_holm"] is None
    assert (found[1]["low"], found[1]["auroc"]) == (None, 0.0)
    plain = [found[n]["p"] for n in (0, 2, 3)]
    smallest = min(plain)
    assert found[[0, 2, 3][plain.index(smallest)]]["p_holm"] == pytest.approx(min(1, 3 * smallest))


def test_a_patient_counts_on_both_sides_with_the_cases_there():
    values = {"c0": 1.0, "c1": 3.0, "c2": 10.0}
    found = sides("m", "a", "t", values, {"c0": True, "c1": True, "c2": False}, dict.fromkeys(values, "p"))
    assert (found.right, found.wrong) == ({"p": 2.0}, {"p": 10.0})


def test_cases_without_a_label_are_neither_right_nor_wrong():
    found = sides("m", "a", "t", {"c0": 1.0, "c1": 3.0}, {"c0": False}, {})
    assert (found.right, found.wrong) == ({}, {"case c0": 1.0})


@pytest.fixture(scope="module")
def strong(tmp_path_factory):
    out = tmp_path_factory.mktemp("strong") / "run"
    asked = plan("gradient", "input_x_gradient", "grad_cam(layer=['first', 'second'])")
    evaluate(asked, cases(), out, metrics=["sparseness"])
    return out


def test_methods_layers_and_predictions_of_a_run(strong):
    found = compare(strong)
    kinds = [(row["kind"], row["first"], row["second"]) for row in found.rows if row["case"] == "c0"]
    cam = "grad_cam(layer=['first', 'second'])"
    assert kinds == [
        ("methods", "gradient", "input_x_gradient"), ("methods", "gradient", cam), ("methods", "input_x_gradient", cam),
        ("layers", f"{cam}, first", f"{cam}, second"),
    ]  # fmt: skip
    one = next(pair for pair in found.summary["pairs"] if pair["second"] == "input_x_gradient")
    values = {row["case"]: row["spearman"] for row in found.rows if (row["first"], row["second"]) == kinds[0][1:]}
    expected = ((values["c0"] + values["c2"]) / 2 + (values["c1"] + values["c3"]) / 2) / 2
    assert one["spearman"]["value"] == pytest.approx(expected)
    assert one["spearman"]["low"] is not None
    assert {entry["measure"] for entry in found.summary["predictions"]} <= {"sparseness"}


def test_rank_correlations_are_those_of_the_maps_on_disk(strong):
    row = next(row for row in compare(strong).rows if (row["case"], row["second"]) == ("c2", "input_x_gradient"))
    maps = [
        Attribution.load(next(strong.glob(f"maps/c2/*/*/{name}.nii.gz"))).values
        for name in ("gradient", "input_x_gradient")
    ]
    ranks = [rankdata(np.abs(values)) for values in maps]
    assert row["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_what_was_found_is_written(strong):
    found = compare(strong)
    with (strong / "comparison.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(found.rows)
    assert json.loads((strong / "comparison.json").read_text())["pairs"]
    image = read_nifti(agreement_file(strong, "c1", TARGET))
    assert image.grid.shape == cases()[1].image.grid.shape
    np.testing.assert_allclose(image.grid.affine, cases()[1].image.grid.affine, atol=1e-6)
    assert 0 <= image.values.min() <= image.values.max() <= 1


def test_models_are_compared_method_by_method_on_the_same_cases(strong, tmp_path):
    weak = plan("gradient", "input_x_gradient")
    evaluate(replace(weak, model=model(seed=8)), cases(3), tmp_path / "weak", metrics=["sparseness"])
    found = compare(strong, tmp_path / "weak")
    rows = [row for row in found.rows if row["kind"] == "models"]
    assert {(row["case"], row["first"]) for row in rows} == {
        (f"c{n}", name) for n in range(3) for name in ("gradient", "input_x_gradient")
    }
    assert all(row["first"] == row["second"] for row in rows)
    assert "case 'c3' has no maps in the other run" in found.summary["notes"]
    one = next(entry for entry in found.summary["against"]["metrics"] if entry["method"] == "gradient")
    assert one["metric"] == "sparseness"
    numbers = [rows_of(folder, "gradient") for folder in (strong, tmp_path / "weak")]
    first = np.mean([numbers[0]["c0"] - numbers[1]["c0"], numbers[0]["c2"] - numbers[1]["c2"]])
    second = numbers[0]["c1"] - numbers[1]["c1"]
    # Patient p1 has a case more in the first run: its mean there holds both.
    second += (numbers[0]["c3"] - numbers[0]["c1"]) / 2
    assert one["difference"] == pytest.approx((first + second) / 2)


def rows_of(folder, method):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["case"]: row["value"] for row in lines if (row["method"], row["metric"]) == (method, "sparseness")}


def test_a_model_against_itself_has_equal_maps(strong, tmp_path):
    run(plan("gradient"), cases(), tmp_path / "same")
    rows = [row for row in compare(tmp_path / "same", strong).rows if row["kind"] == "models"]
    assert len(rows) == 4
    for row in rows:
        assert (row["spearman"], row["ssim"], row["top_overlap"]) == pytest.approx((1, 1, 1))


def test_maps_of_different_classes_answer_different_questions(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    run(plan("gradient", targets=()), cases(2), first)
    network = model().module
    with torch.no_grad():
        network.head.bias += torch.tensor([50.0, 0, 0])
    asked = plan("gradient", targets=())
    run(replace(asked, model=vx.Model.of(network)), cases(2), second)
    with torch.no_grad():
        network.head.bias += torch.tensor([-50.0, 0, 50])
    third = tmp_path / "c"
    run(replace(asked, model=vx.Model.of(network)), cases(2), third)
    rows = compare(second, third).rows
    assert [row["spearman"] for row in rows] == [None, None]
    assert all("predict different classes" in row["reason"] for row in rows)


def test_comparisons_with_several_models_are_kept_beside_each_other(tmp_path):
    for place, seed in (("own/run", 0), ("a/run", 1), ("b/run", 2)):
        run(replace(plan("gradient", "input_x_gradient"), model=model(seed=seed)), cases(1), tmp_path / place)
    own, first, second = (tmp_path / place / "run" for place in ("own", "a", "b"))
    found = [compare(own, other) for other in (None, first, second, first)]
    names = [one.name for one in found]
    assert names[:2] == ["comparison", "comparison-run"]
    assert names[2].startswith("comparison-run-")  # another model in a folder of the same name
    assert names[3] == names[1]
    assert comparison_name(own, second) == names[2]
    for name, one in zip(names[:3], found, strict=False):
        assert json.loads((own / f"{name}.json").read_text())["against"] == one.summary["against"]
        with (own / f"{name}.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) == len(one.rows)


def test_a_case_with_other_voxels_is_left_out_and_named(strong, tmp_path):
    other = [replace(cases(1)[0], image=cases(1)[0].image.with_values(-cases(1)[0].image.values))]
    run(plan("gradient"), other, tmp_path / "other")
    found = compare(strong, tmp_path / "other")
    assert "case 'c0' has other voxels in the other run" in found.summary["notes"]


def test_right_and_wrong_predictions_are_found_by_label(tmp_path):
    evaluate(plan("gradient"), cases(4), tmp_path / "run", metrics=["sparseness"])
    for number in range(4):
        file = tmp_path / "run" / "cases" / f"c{number}" / "case.json"
        facts = json.loads(file.read_text())
        said = facts["prediction"]["class_names"][facts["prediction"]["predicted"]]
        file.write_text(json.dumps({**facts, "label": said if number < 2 else "9"}))
    (found,) = compare(tmp_path / "run").summary["predictions"]
    values = rows_of(tmp_path / "run", "gradient")
    assert found["right"]["value"] == pytest.approx((values["c0"] + values["c1"]) / 2)
    assert found["wrong"]["value"] == pytest.approx((values["c2"] + values["c3"]) / 2)


def test_nothing_to_compare_is_said(tmp_path):
    run(plan("gradient"), [replace(one, label=None) for one in cases(2)], tmp_path / "run")
    with pytest.raises(InputError, match="there is nothing to compare"):
        compare(tmp_path / "run")
    with pytest.raises(FileError, match="must be a run folder"):
        compare(tmp_path)
