"""The NeuroXAI study: its case lists, the whole tumour as a target, the flow through all convolutions, and the run."""

import csv
import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import voxplain as vx
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti, write_nifti
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.score.model import Model
from voxplain.score.networks import deepseg_unet, deepseg_unet_small
from voxplain.score.target import Region
from voxplain.space.grid import Grid
from voxplain.space.planes import plane, take
from voxplain.study.explain import Explainer
from voxplain.study.flow_layers import convolutions
from voxplain.study.run_folder import RunFolder
from voxplain.study.studies import run_study, study_of
from voxplain.study.study_neuroxai import NeuroxaiStudy
from voxplain.study.study_neuroxai_data import (
    Listed,
    by_grade,
    grade_table,
    largest_slice,
    listed_cases,
    segmentation_table,
    unseen_cases,
)
from voxplain.study.study_neuroxai_final import final_scores
from voxplain.study.study_neuroxai_flow import flow, joined, load_flow, save_flow
from voxplain.study.study_neuroxai_methods import grade_methods, missed, volume_methods
from voxplain.study.study_neuroxai_numbers import read_explained, segmentation_numbers
from voxplain.study.study_neuroxai_volumes import Asked, _final_prediction, explain_volumes, parts_of
from voxplain.study.training_cases import training_cases
from voxplain.study.training_job import TrainedFolder
from voxplain.training.recipe_files import read_recipe

SEQUENCES = ("flair", "t1", "t1ce", "t2")
LPS = np.diag([-2.0, -2.0, 3.0, 1.0])

ROUNDING = 1e-5
"""Of sums in single precision."""


def segmenter(depth: int = 2, classes: int = 4) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return deepseg_unet(channels=4, classes=classes, filters=3, depth=depth).eval()


def head(shape: tuple[int, int, int] = (8, 12, 8)) -> Image:
    rng = np.random.default_rng(1)
    return Image.of(rng.random((4, *shape)), Grid(shape, LPS), channels=SEQUENCES, identifier="head")


def tumour(image: Image) -> Image:
    labels = np.zeros(image.grid.shape, np.float32)
    labels[2:5, 3:9, 4:7] = 2
    labels[3, 5, 5] = 3
    return Image.of(labels, image.grid, channels=("mask",), unit="label")


def asked(module: nn.Module | None = None, image: Image | None = None):
    explainer = Explainer(Model.of(module or segmenter()))
    return explainer, explainer.ready(image or head())


# --- the whole tumour as a target ---

TUMOUR = Region((1, 2, 3), over="whole")
"""All parts of the tumour as one class."""


def test_the_gradient_of_the_whole_tumour_is_that_of_its_definition():
    module, image = segmenter(), head()
    found = vx.explain(module, image, "gradient", target=TUMOUR)
    x = torch.from_numpy(image.values)[None].requires_grad_()
    module(x)[:, 1:].logsumexp(dim=1).mean().backward()
    np.testing.assert_allclose(found.values, x.grad[0].numpy(), atol=ROUNDING * float(x.grad.abs().max()))


# --- layers and flow ---


def test_the_five_level_network_has_26_convolutions_in_the_order_they_run():
    model = Model.of(deepseg_unet())
    names = convolutions(model, torch.zeros(1, 4, 32, 32, 32))
    assert names == ("conv3d", *(f"conv3d_{n}" for n in range(1, 25)), "output_layer")


def test_the_small_network_has_16_convolutions():
    assert len(convolutions(Model.of(deepseg_unet_small()), torch.zeros(1, 4, 8, 8, 8))) == 16


def test_convolutions_come_in_the_order_of_running_and_unused_ones_are_left_out():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.unused, self.first = nn.Conv2d(3, 2, 1), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 3, 1)

        def forward(self, x):
            return self.last(self.first(x).relu())

    assert convolutions(Model.of(Backwards()), torch.zeros(1, 1, 4, 4)) == ("first", "last")


def test_the_flow_has_both_methods_at_all_layers_from_shared_passes():
    explainer, ready = asked()
    layers = convolutions(explainer.model, ready.x)
    found = flow(explainer, ready, TUMOUR, layers, 5, None)
    for name in ("gcam", "ggcam"):
        assert [one.name for one in found[name]] == list(layers)
        assert [one.number for one in found[name]] == list(range(1, 12))


def test_a_layer_of_the_flow_is_what_the_method_says_alone():
    explainer, ready = asked()
    mask = tumour(ready.image).values[0] > 0
    layers = convolutions(explainer.model, ready.x)
    found = flow(explainer, ready, TUMOUR, layers, 5, mask)
    for name, method in (("gcam", "grad_cam"), ("ggcam", "guided_grad_cam")):
        for one in (found[name][0], found[name][4], found[name][-1]):
            alone = vx.explain(segmenter(), ready.image, f"{method}(layer='{one.name}')", target=TUMOUR)
            cut = take(alone.values, plane(alone.grid, "axial"), 5)[..., None]
            np.testing.assert_allclose(one.values, cut, atol=ROUNDING * float(np.abs(alone.values).max()))
            sizes = np.abs(alone.values).sum(axis=0)
            share = sizes[mask].sum() / sizes.sum() if sizes.any() else None
            assert one.inside == (share and pytest.approx(share, rel=1e-3))
            assert (one.low, one.high) == (pytest.approx(sizes.min()), pytest.approx(sizes.max(), rel=1e-4))


def test_a_flow_comes_back_from_its_files(tmp_path):
    explainer, ready = asked()
    layers = convolutions(explainer.model, ready.x)[:3]
    found = flow(explainer, ready, TUMOUR, layers, 2, None)
    save_flow(found, tmp_path / "all.safetensors")
    again = load_flow(tmp_path / "all.safetensors", json.loads((tmp_path / "all.json").read_text()))
    for name in ("gcam", "ggcam"):
        for one, other in zip(found[name], again[name], strict=True):
            np.testing.assert_array_equal(one.values, other.values)
            assert replace(one, values=None).__dict__ == replace(other, values=None).__dict__


def test_maps_join_their_channels_by_magnitude():
    assert joined(np.array([[[[1.0]]], [[[-3.0]]]])).item() == 4


# --- parts, predictions ---


def test_each_label_and_the_whole_tumour_are_explained():
    _, ready = asked()
    parts = parts_of(ready, ("background", "necrosis", "oedema", "rim"))
    assert [part.key for part in parts] == ["0", "1", "2", "3", "all"]
    assert [part.target.classes for part in parts] == [(0,), (1,), (2,), (3,), (1, 2, 3)]
    names = [part.title.partition(" (")[0] for part in parts]
    assert names == ["background", "necrosis", "oedema", "rim", "whole tumour"]
    assert [part.voxels for part in parts[:4]] == list(ready.prediction.scores)
    assert parts[-1].voxels == sum(ready.prediction.scores[1:])


def test_what_is_predicted_nowhere_is_explained_over_the_whole_image_and_says_so():
    module = segmenter()
    with torch.no_grad():
        module.output_layer.bias[:] = torch.tensor([50.0, 0, 0, 0])
    _, ready = asked(module)
    parts = parts_of(ready, ())
    assert parts[0].target.over == "predicted"
    assert {part.target.over for part in parts[1:]} == {"whole"}
    assert all("predicted nowhere" in part.title for part in parts[1:])


@pytest.mark.parametrize(("voxels", "kept"), [(24, False), (25, True)])
def test_an_enhancing_tumour_below_200_cubic_millimetres_becomes_necrosis(tmp_path, voxels, kept):
    grid = Grid((10, 10, 10), np.diag([-2.0, -2.0, 2.0, 1.0]))
    labels = np.zeros(1000, np.float32)
    labels[:voxels], labels[500:600] = 3, 2
    write_nifti(tmp_path / "run" / "cases" / "a" / "prediction.nii.gz", labels.reshape(grid.shape), grid)
    changed = _final_prediction(tmp_path, "a")
    final = read_nifti(tmp_path / "prediction.nii.gz").values[0]
    assert changed == (0 if kept else voxels)
    assert int((final == 3).sum()) == (voxels if kept else 0)
    assert int((final == 1).sum()) == (0 if kept else voxels)
    assert int((final == 2).sum()) == 100


@pytest.mark.parametrize(("fewest", "rim"), [(0.0, 0.25), (1e6, 0.0)])
def test_final_scores_are_those_of_relabelled_predictions_on_the_images_own_grid(fewest, rim):
    class Told(nn.Module):
        def forward(self, x):  # the labels stand in the first sequence
            return 9 * nn.functional.one_hot(x[:, 0].long(), 4).movedim(-1, 1).float()

    grid = Grid((10, 12, 8), LPS)
    truth, seen = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    truth[4, 2:9, 4] = 3  # 7 voxels, of which 1 is seen
    seen[4, 8, 4], seen[5, 5, 5] = 3, 1
    image = Image.of(np.stack([seen] * 4), grid, channels=SEQUENCES)
    names = ("background", "necrosis", "oedema", "rim")
    explainer = Explainer(Model.of(Told(), head="softmax", class_names=names), Prepare(crop_pad=(8, 8, 8)))
    case = Case("a", image, Image.of(truth, grid, channels=("mask",), unit="label"))
    scores = final_scores(explainer, [case, Case("b", image)], 0, fewest)
    assert (scores["cases"], scores["per_class"]["rim"]["dice"]) == (1, rim)
    assert final_scores(explainer, [Case("b", image)], 0) == {}


@pytest.mark.slow
def test_volumes_are_explained_part_by_part_and_predictions_are_padded_back(tmp_path):
    image = head((10, 12, 9))
    explainer = Explainer(Model.of(segmenter()), Prepare(crop_pad=(8, 8, 8)))
    case = Case("a", image, tumour(image), label="HGG", slice=5)
    explain_volumes(explainer, [case], Asked("", "t1", None, "paper"), tmp_path, lambda line: None)
    told = read_explained(tmp_path)
    assert (told["layer"], len(told["layers"]), told["modality"]) == ("output_layer", 11, "t1")
    (one,) = told["cases"]
    assert (one["slice"], one["label"], [part["key"] for part in one["parts"]]) == (
        5,
        "HGG",
        ["0", "1", "2", "3", "all"],
    )
    rows = RunFolder(tmp_path / "a" / "run").rows()
    assert sorted({(row["target"], row["method"]) for row in rows}) == sorted(
        (part["target"], spec) for part in one["parts"] for spec in told["methods"].values()
    )
    labels = read_nifti(tmp_path / "a" / "prediction.nii.gz").values[0]
    # A crop of 8 from (10, 12, 9) begins at (1, 2, 0), and what it cut away is background.
    x = torch.from_numpy(explainer.ready(image).x[0].numpy())[None]
    raw = segmenter()(x).argmax(dim=1)[0].numpy()
    assert labels.shape == (10, 12, 9)
    outside = np.ones(labels.shape, bool)
    outside[1:9, 2:10, 0:8] = False
    assert not labels[outside].any()
    np.testing.assert_array_equal(labels[1:9, 2:10, 0:8] == 2, raw == 2)
    intervals = {"dice": [0.4, 0.6], "dice of rim": [0.2, 0.4], "interval": "95 %"}
    test = {"dice": 0.5, "per_class": {"rim": {"cases": 2, "dice": 0.3}}, "classes": ["rim"], "intervals": intervals}
    trained = TrainedFolder(tmp_path, {"test": test}, ())
    numbers = segmentation_numbers(trained, tmp_path)
    scores = {"dice": 0.5, "dice of rim": 0.3}
    assert numbers["test"] == {**scores, "intervals": {"dice": [0.4, 0.6], "dice of rim": [0.2, 0.4]}}
    assert numbers["flow"]["ggcam"]["all"]["maps"] == 11
    shares = numbers["inside_tumour"]["all"]["ig"]
    row = next(r for r in rows if r["target"] == one["parts"][-1]["target"] and r["method"] == told["methods"]["ig"])
    assert (shares["share"], shares["chance"]) == (row["share_in_mask"], row["mask_share"])


def test_a_slice_or_sequence_that_a_volume_lacks_is_refused_before_any_work(tmp_path):
    explainer = Explainer(Model.of(segmenter()))
    case = Case("a", head(), slice=2)
    with pytest.raises(InputError, match="between 0 and 7, got 8"):
        explain_volumes(explainer, [case], Asked("", "t1", 8, "small"), tmp_path, lambda line: None)
    with pytest.raises(InputError, match="unknown sequence 'adc'"):
        explain_volumes(explainer, [case], Asked("", "adc", None, "small"), tmp_path, lambda line: None)
    with pytest.raises(InputError, match="unknown layer"):
        explain_volumes(explainer, [case], Asked("conv", "t1", None, "small"), tmp_path, lambda line: None)
    with pytest.raises(InputError, match="got none in the test part"):
        explain_volumes(explainer, [], Asked("", "t1", None, "small"), tmp_path, lambda line: None)
    assert not any(tmp_path.iterdir())


# --- methods ---


def test_all_seven_methods_are_asked_with_the_named_layer():
    for methods in (grade_methods("a.b"), volume_methods("a.b", "small"), volume_methods("a.b", "paper")):
        assert list(methods) == ["vanilla", "gbp", "ig", "gig", "smooth", "gcam", "ggcam"]
        assert methods["gcam"].layer == methods["ggcam"].layer == "a.b"
        names = [methods[short].name for short in ("vanilla", "gbp", "gig", "gcam", "ggcam")]
        assert names == ["gradient", "guided_backprop", "guided_ig", "grad_cam", "guided_grad_cam"]
        assert methods["ig"].steps == 25
        assert (methods["smooth"].samples, methods["smooth"].noise, methods["smooth"].kind) == (5, 0.15, "squared")
    assert grade_methods("a")["smooth"].inner.name == "integrated_gradients"
    assert volume_methods("a", "paper")["smooth"].inner.name == "guided_ig"


def test_integrated_gradients_sum_to_the_difference_within_a_hundredth():
    found = vx.explain(segmenter(), head(), volume_methods("output_layer", "small")["ig"], target=TUMOUR)
    assert missed(found) < 0.01
    gap = found.values.sum() - (found.numbers["score"] - found.numbers["score_at_baseline"])
    assert abs(gap) <= 0.011 * abs(found.numbers["score"] - found.numbers["score_at_baseline"])


# --- case lists ---


def test_a_line_of_a_case_list_has_an_id_and_perhaps_a_slice():
    assert Listed.of("BraTS2021_01652:111") == Listed("BraTS2021_01652", 111)
    assert Listed.of("BraTS2021_01652") == Listed("BraTS2021_01652")
    for wrong in ("a:b", ":3", "a:-1"):
        with pytest.raises(OptionError, match="id:slice"):
            Listed.of(wrong)


def test_a_listed_volume_shows_the_slice_asked_for_or_the_one_with_most_tumour():
    image = head()
    mask = tumour(image)
    case = Case("head", image, mask)
    assert largest_slice(mask) == 4
    assert [one.slice for one in listed_cases([case], [Listed("head", 2), Listed("head")])] == [2, 4]
    empty = mask.with_values(np.zeros_like(mask.values))
    assert listed_cases([Case("head", image, empty)], [Listed("head")])[0].slice == 4
    with pytest.raises(InputError, match="'nobody'"):
        listed_cases([case], [Listed("nobody")])


def test_the_lists_hold_so_many_of_each_grade_high_ones_first():
    cases = [Case(f"{n}", head(), label=label) for n, label in enumerate(["LGG", "HGG", "HGG", "LGG", "HGG"])]
    assert [one.identifier for one in by_grade(cases, (2, 1))] == ["1", "2", "0"]


def test_volumes_of_the_test_part_are_those_that_the_training_does_not_see(tmp_path):
    recipe = read_recipe("glioma-seg")
    cases = [Case(f"c{n}", head(), group=f"g{n // 2}") for n in range(40)]
    found = {case.group for case in unseen_cases(cases, recipe)}
    assert 2 <= len(found) <= 4
    told = [replace(case, split="test" if n == 7 else "train") for n, case in enumerate(cases)]
    assert [case.identifier for case in unseen_cases(told, recipe)] == ["c7"]


def challenge(folder, case: str, *, without: str = "") -> None:
    image = head()
    for number, name in enumerate(SEQUENCES):
        if name != without:
            write_nifti(folder / case / f"{case}_{name}.nii.gz", image.values[number], image.grid)
    labels = tumour(image).values[0]
    write_nifti(folder / case / f"{case}_seg.nii.gz", np.where(labels == 3, 4, labels), image.grid, np.uint8)


def test_the_challenges_folders_become_a_table_with_labels_up_to_three(tmp_path):
    challenge(tmp_path / "data", "BraTS2021_01")
    table = segmentation_table(tmp_path / "data", tmp_path / "out")
    (case,) = training_cases(table, read_recipe("glioma-seg"))
    assert case.image.channels == SEQUENCES
    np.testing.assert_array_equal(case.mask.values, tumour(head()).values)
    np.testing.assert_allclose(case.image.values, head().values)
    assert read_nifti(next((tmp_path / "data").glob("*/*_seg.nii.gz"))).values.max() == 4


@pytest.mark.parametrize("size", ["small", "paper"])
def test_the_segmenter_reads_the_sequences_in_the_sources_order(size):
    assert read_recipe("glioma-seg", size).prepare.channels == ("flair", "t1", "t1ce", "t2")


def test_a_case_that_lacks_a_sequence_is_named(tmp_path):
    challenge(tmp_path / "data", "BraTS2021_01", without="t1ce")
    with pytest.raises(InputError, match=r"BraTS2021_01.*none for t1ce"):
        segmentation_table(tmp_path / "data", tmp_path / "out")


def test_slices_of_one_case_are_one_group(tmp_path):
    for grade, name in (("HGG", "BraTS19_A_1_51"), ("HGG", "BraTS19_A_1_52"), ("LGG", "BraTS19_B_1_7")):
        file = tmp_path / "data" / "FLAIR" / grade / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file)
    table = grade_table(tmp_path / "data", tmp_path / "out")
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["label"], row["group"]) for row in rows] == [
        ("BraTS19_A_1_51", "HGG", "BraTS19_A_1"),
        ("BraTS19_A_1_52", "HGG", "BraTS19_A_1"),
        ("BraTS19_B_1_7", "LGG", "BraTS19_B_1"),
    ]
    assert segmentation_table(tmp_path / "data", tmp_path / "out") is None
    (first, *_) = training_cases(table, read_recipe("glioma-grade", settings={"slice": "given"}))
    assert first.image.channels == ("flair",)


def test_data_without_any_known_layout_is_an_error_in_words(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="FLAIR/HGG"):
        run_study(NeuroxaiStudy(data=tmp_path / "data"), tmp_path / "out")


# --- options and the whole run ---


def test_options_are_checked_when_the_study_is_made():
    assert study_of("neuroxai(modality='t1ce', slice=3)").modality == "t1ce"
    with pytest.raises(OptionError, match="id:slice"):
        study_of("neuroxai(volumes=['a:b'])")
    with pytest.raises(OptionError, match="epochs"):
        study_of("neuroxai", epochs=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_study_runs_from_nothing_to_numbers_and_figures_and_is_kept(tmp_path):
    from voxplain.report.studies import study

    options = {"phantoms": 10, "epochs": 1, "most_slices": 1, "most_volumes": 1, "device": "cpu"}
    done = study("neuroxai", out=tmp_path / "run", **options)
    numbers = done.numbers
    assert numbers["segmentation"]["layers"] == 26
    assert {part["maps"] for part in numbers["segmentation"]["flow"]["gcam"].values()} == {26}
    assert {"cases", "dice", "whole", "dice of necrosis", "intervals"} <= set(numbers["segmentation"]["final"])
    assert set(numbers["segmentation"]["inside_tumour"]) == {"0", "1", "2", "3", "all"}
    assert 0 <= numbers["grade"]["test"]["accuracy"] <= 1
    figures = {path.name for path in (tmp_path / "run" / "figures").rglob("*.png")}
    case = json.loads((tmp_path / "run" / "segmentation" / "explained.json").read_text())["cases"][0]["id"]
    for name in (
        f"{case}_output_layer_all_methods.png",
        f"{case}_output_layer_2_flair_GCAM.png",
        f"{case}_output_layer_all_t1ce_GCAM.png",
        f"{case}_output_layer_1_ggcam.png",
        f"{case}_flow_all_GGCAM.png",
        f"{case}_conv3d_7_all_flair_GGCAM.png",
    ):
        assert name in figures
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "segmentation").rglob("*.nii.gz")}
    (tmp_path / "run" / "numbers.json").unlink()
    again = study("neuroxai", out=tmp_path / "run", **options)
    assert again.numbers == numbers
    maps = {path: path.stat().st_mtime_ns for path in before if path.name != "prediction.nii.gz"}
    assert maps == {path: before[path] for path in maps}
