"""The myopathy study: which tiles are shown and how, its methods and arrays, counters, and the joined maps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.phantoms.muscle import Muscle
from voxplain.report.studies import write_figures
from voxplain.score.model import Model
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan
from voxplain.study.run import run
from voxplain.study.studies import run_study, study_of
from voxplain.study.study_myopathy_cases import chosen, squared
from voxplain.study.study_myopathy_ensemble import fuse_tiles, joined_maps
from voxplain.study.study_myopathy_maps import Settings, maps_of, methods_of, write_arrays
from voxplain.study.study_myopathy_numbers import in_infiltrated, occlusion_counters
from voxplain.training.cross_validation import CrossValidation, FoldResult, cross_validate
from voxplain.training.recipe_files import read_recipe

METHODS = (
    *(f"{name}(layer='conv')" for name in ("grad_cam", "grad_cam_pp", "hires_cam")),
    "partition_shap(max_evals=12, classes='explained')",
)
OCCLUSION = "hierarchical_occlusion(mode='label_flip', window=16, stride=8, min_window=16)"


@pytest.fixture(scope="module")
def tiles():
    made = [Muscle(square=True).sample(number, 0) for number in (0, 4)]
    return [squared(Case(one.identifier, one.image, one.mask, label=one.label, group=one.group)) for one in made]


class Brightness(torch.nn.Module):
    """Calls a tile affected if it is brighter than `threshold` on average, as fat makes it."""

    def __init__(self, threshold):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([-100.0, 100.0]).reshape(2, 1, 1, 1))
            self.conv.bias.copy_(100 * threshold * torch.tensor([1.0, -1.0]))

    def forward(self, x):
        return self.conv(x).mean(dim=(2, 3))


def run_of(tiles, threshold, out):
    model = Model.of(Brightness(threshold), class_names=("healthy", "affected"), label="brightness")
    plan = Plan(model, Prepare(scale=1 / 255, size=(32, 32)), (None,), tuple(map(method, (*METHODS, OCCLUSION))))
    assert not run(plan, tiles, out).failed
    return out


@pytest.fixture(scope="module")
def explained(tiles, tmp_path_factory):
    """The run of a network that is right on both tiles, and that a black or white window makes change its mind."""
    middle = float(np.mean([case.image.values.mean() for case in tiles])) / 255
    return run_of(tiles, middle, tmp_path_factory.mktemp("myopathy") / "run")


@pytest.fixture(scope="module")
def stubborn(tiles, tmp_path_factory):
    """The run of a network that calls everything healthy, whatever is hidden."""
    return run_of(tiles, 2.0, tmp_path_factory.mktemp("myopathy") / "stubborn")


def row(name, truth, prediction, group):
    return {"id": name, "truth": truth, "prediction": prediction, "group": group}


def test_wrong_tiles_come_first_and_patients_of_all_classes_in_turn():
    rows = [row(f"h{n}", "healthy", "healthy", f"p{n // 3}") for n in range(6)]
    rows += [row(f"a{n}", "affected", "affected", f"q{n // 3}") for n in range(6)] + [
        row("w", "healthy", "affected", "p9")
    ]
    assert [one["id"] for one in chosen(rows, 5)] == ["w", "a0", "h0", "a3", "h3"]


def test_at_most_a_third_of_the_shown_tiles_is_wrong_on_purpose():
    rows = [row(f"w{n}", "healthy", "affected", f"p{n}") for n in range(9)]
    rows += [row(f"a{n}", "affected", "affected", f"q{n}") for n in range(9)]
    found = chosen(rows, 6)
    assert [one["id"] for one in found[:2]] == ["w0", "w1"]
    assert len({one["id"] for one in found}) == 6
    assert sum(one["truth"] == "affected" for one in found) == 2


def test_a_tile_lies_in_the_middle_of_a_black_square_with_muscle_alone():
    grid = Grid((100, 60, 1), unit="px")
    mask = np.zeros((1, 100, 60, 1))
    mask[:, 10:20, 5:9] = 2
    image = Image.of(np.full((1, 100, 60, 1), 7.0), grid)
    found = squared(Case("t", image, Image.of(mask, grid), label="affected"))
    assert found.image.grid.shape == (224, 224, 1)
    places = np.argwhere(found.image.values[0, ..., 0])
    # (224 - 100) / 2 columns and (224 - 60) / 2 rows of black before the tile
    assert (places.min(axis=0).tolist(), places.max(axis=0).tolist()) == ([72, 87], [81, 90])
    assert set(np.unique(found.mask.values)) == {0, 2}


def test_a_large_tile_keeps_its_longer_side():
    grid = Grid((300, 60, 1), unit="px")
    ones = Image.of(np.ones((1, 300, 60, 1)), grid)
    assert squared(Case("t", ones, ones)).image.grid.shape == (300, 300, 1)


def test_a_tile_without_mask_is_refused():
    with pytest.raises(InputError, match="case 't' must have a mask"):
        squared(Case("t", Image.of(np.ones((1, 4, 4, 1)), Grid((4, 4, 1), unit="px"))))


def test_the_methods_have_the_settings_of_the_study():
    texts = [str(one) for one in methods_of(Settings("resnet50v", 224, 5000, None))]
    assert texts[:3] == [f"{name}(layer='head.conv')" for name in ("grad_cam", "grad_cam_pp", "hires_cam")]
    shap, occlusion = methods_of(Settings("resnet50v", 224, 5000, None))[3:]
    assert (shap.max_evals, shap.absent, shap.size, shap.classes, shap.together) == (5000, "blur", 64, "explained", 50)
    assert (occlusion.window, occlusion.stride, occlusion.min_window) == (112, 28, 7)
    assert (occlusion.mode, occlusion.fallback, occlusion.evaluations) == ("label_flip", True, None)


def test_windows_shrink_with_smaller_inputs():
    occlusion = methods_of(Settings("small_cnn", 64, 100, 50))[4]
    assert (occlusion.window, occlusion.stride, occlusion.min_window, occlusion.evaluations) == (32, 8, 2, 50)


def test_arrays_have_the_shapes_and_names_of_the_study(explained, tiles, tmp_path):
    write_arrays(explained, tmp_path)
    for case, white in zip(tiles, ("-2", ""), strict=True):
        name = case.identifier
        assert np.load(tmp_path / "grad_cam" / f"{name}.npy").shape == (224, 224)
        assert np.load(tmp_path / "partition_shap" / f"{name}.npy").shape == (1, 224, 224, 1, 1)
        assert (tmp_path / "hierarchical_occlusion" / f"{name}{white}.npy").is_file()


def test_arrays_are_rows_by_columns(explained, tmp_path):
    write_arrays(explained, tmp_path)
    case, maps = next(maps_of(explained))
    shap = maps[3].values[0, :, :, 0]
    assert np.array_equal(np.load(tmp_path / "partition_shap" / f"{case}.npy")[0, ..., 0, 0], shap.T)


def test_counters_tell_predictions_and_maps_that_say_something(explained, stubborn):
    once = {"predicted healthy": 1, "informative healthy": 1, "predicted affected": 1, "informative affected": 1}
    found = occlusion_counters(explained)
    assert {name: found[name] for name in once} == once
    assert found["fell back"] == 0
    none = {"predicted healthy": 2, "informative healthy": 0, "predicted affected": 0, "informative affected": 0}
    assert occlusion_counters(stubborn) == {**none, "the same everywhere": 0, "fell back": 2}


def test_a_map_that_is_the_same_everywhere_is_counted_as_such(tiles, tmp_path):
    # So near to the threshold that a white window anywhere makes a grey tile sick.
    grey = [np.full_like(case.image.values, 128) for case in tiles]
    for one in grey:
        one[0, 0, 0, 0] = 127
    nervous = [replace(case, image=case.image.with_values(one)) for case, one in zip(tiles, grey, strict=True)]
    found = occlusion_counters(run_of(nervous, 128.2 / 255, tmp_path / "nervous"))
    assert (found["informative healthy"], found["the same everywhere"]) == (2, 2)


def test_ensembles_leave_out_occlusion_that_says_nothing(explained, stubborn, tmp_path):
    for run_folder, members in ((explained, 5), (stubborn, 4)):
        out = tmp_path / run_folder.name
        fuse_tiles(run_folder, out, threshold=0.5)
        assert [len(one.numbers["members"]) for _, one in joined_maps(out, "average")] == [members] * 2


def test_ensembles_lie_by_rule_and_true_class_with_a_binary_twin(explained, tiles, tmp_path):
    fuse_tiles(explained, tmp_path, threshold=0.25)
    for rule in ("threshold", "average", "intersection"):
        for case in tiles:
            place = tmp_path / f"{rule}-binary" / case.label / f"{case.identifier}.nii.gz"
            assert set(np.unique(Attribution.load(place).values)) <= {0, 1}
            assert (tmp_path / rule / case.label / f"{case.identifier}.nii.gz").is_file()
    assert "threshold=0.25" in next(joined_maps(tmp_path, "threshold"))[1].method


def test_mass_in_infiltrated_muscle_is_measured_inside_muscle_alone(explained, tiles):
    sick = next(case for case in tiles if case.label == "affected")
    labels = sick.mask.values
    even = next(maps for case, maps in maps_of(explained) if case == sick.identifier)[0]
    flat = Attribution(np.ones_like(labels), even.grid, even.quantity, "grad_cam", "t", numbers={"class": 1})
    found = in_infiltrated(explained, [("grad_cam", flat, sick.identifier)])
    chance = float((labels == 2).sum() / (labels > 0).sum())
    assert found["grad_cam"] == pytest.approx(chance)
    assert found["chance"] == pytest.approx(chance)


def test_maps_of_tiles_called_healthy_are_not_measured(explained, tiles):
    sick = next(case for case in tiles if case.label == "affected")
    flat = Attribution(
        np.ones_like(sick.mask.values), sick.mask.grid, next(maps_of(explained))[1][0].quantity, "grad_cam", "t",
        numbers={"class": 0},
    )  # fmt: skip
    assert in_infiltrated(explained, [("grad_cam", flat, sick.identifier)]) == {}


def recipe_of(spec, network, **options):
    return study_of(spec, **options)._recipe(network)


def test_the_recipe_of_size_small_is_that_of_the_study():
    assert recipe_of("myopathy", "resnet18v") == read_recipe("muscle-cv")


@pytest.mark.parametrize(("size", "epochs"), [("small", 8), ("paper", 100)])
def test_from_random_weights_all_of_a_network_learns_at_any_size(size, epochs):
    found = recipe_of("myopathy", "resnet18v", size=size)
    assert [(one.name, one.epochs, one.frozen) for one in found.phases()] == [("all", epochs, ())]
    assert (found.batch, found.schedule, found.backbone) == (8, "one_cycle", "")
    assert "frozen=False" in found.network


@pytest.mark.parametrize("size", ["small", "paper"])
def test_with_weights_of_imagenet_the_head_alone_learns_as_in_the_study(size):
    found = recipe_of("myopathy(networks=['resnet50v'], weights=['r50.pt'])", "resnet50v", size=size)
    phases = [(one.name, one.epochs, one.rate, one.frozen) for one in found.phases()]
    assert phases == [("frozen", 100, 0.001, ("backbone.*",))]
    assert (found.batch, found.patience, found.schedule, found.backbone) == (32, 5, "constant", "r50.pt")
    assert "frozen=True" in found.network


def test_the_final_run_lasts_for_the_mean_number_of_epochs_to_the_nearest(tmp_path):
    groups = [f"p{number // 2}" for number in range(40)]
    labels = [int(group[1:]) % 2 for group in groups]

    def answered(cases, epochs):
        return FoldResult(probabilities=np.full((len(cases), 2), 0.5), epochs=epochs, history={})

    found = cross_validate(
        labels,
        groups,
        fit=lambda train, held, fold: answered(held, (3, 4, 4)[fold]),
        retrain=lambda train, test, epochs: answered(test, epochs),
        class_names=("healthy", "affected"),
        folder=tmp_path,
        title="resnet18v",
        settings={"learning rate": 0.001, "momentum": 0.9, "patience": 5, "delta": 0.006},
        options=CrossValidation(folds=3),
    )
    assert found.final.epochs == 4  # 3.67 is nearer to 4


def test_one_network_may_have_weights_and_another_none():
    spec = "myopathy(networks=['resnet18v', 'small_cnn'], weights=['r18.pt', ''])"
    assert recipe_of(spec, "resnet18v").backbone == "r18.pt"
    assert recipe_of(spec, "small_cnn").backbone == ""
    assert recipe_of(spec, "small_cnn").phases()[0].frozen == ()


def test_given_tiles_are_read_as_the_study_reads_them(tmp_path):
    found = recipe_of("myopathy", "resnet18v", data=tmp_path)
    assert (found.prepare.crop_pad, found.prepare.size) == ((224, 224), None)
    assert "size=224" in found.network
    assert found.prepare.masked


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("myopathy(networks=['resnet34'])", "networks must be of resnet18v, resnet50v, small_cnn, got 'resnet34'"),
        ("myopathy(threshold=0.0)", "threshold must be above 0 and at most 1, got 0.0"),
        ("myopathy(weights=['a.pt'])", "weights must be one file a network"),
        ("myopathy(folds=1)", "folds must be at least 2, got 1"),
    ],
)
def test_refuses_options_that_cannot_be(spec, told):
    with pytest.raises(OptionError, match=told.replace("[", r"\[")):
        study_of(spec)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_study_runs_and_is_taken_up_again(tmp_path):
    spec = "myopathy(networks=['small_cnn'], tiles=60, folds=2, epochs=1, explained=2, evaluations=20, device='cpu')"
    done = run_study(study_of(spec), tmp_path / "study")
    told = json.loads((tmp_path / "study/trained/small_cnn/train-small_cnn/results.json").read_text())
    assert set(told) == {"title", "learning rate", "momentum", "patience", "delta", "final", "variance", "0", "1"}
    assert {path.name for path in (tmp_path / "study/arrays/small_cnn").iterdir()} == {
        "grad_cam", "grad_cam_pp", "hires_cam", "partition_shap", "hierarchical_occlusion"
    }  # fmt: skip
    assert 0 <= done.numbers["small_cnn"]["test"]["accuracy"] <= 1
    (tmp_path / "study/numbers.json").unlink()
    assert run_study(study_of(spec), tmp_path / "study").numbers == done.numbers
    names = {path.relative_to(tmp_path / "study/figures").as_posix() for path in write_figures(tmp_path / "study")}
    assert {"small_cnn/training-folds.png", "small_cnn/grad-cam-grid.png"} <= names
    assert sum("/overlays/" in name for name in names) == 2 * 8
