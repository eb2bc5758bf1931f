"""The pumpkin study: what its numbers say on relevance that is known, its archive, and the way from data to figures."""

import csv
import json

import numpy as np
import pytest
import torch

import voxplain as vx
from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.errors import FileError, OptionError
from voxplain.methods import method
from voxplain.report.study_pumpkin import pumpkin
from voxplain.score.networks import pumpkin_net
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.study_pumpkin import LRP, PumpkinStudy
from voxplain.study.study_pumpkin_evidence import (
    ARCHIVE,
    numbers_of,
    parsed,
    read_archive,
    rims,
    shares_at_marks,
    sums_against,
    write_archive,
)
from voxplain.training.augmentation import Augmentation

EXACT = 1e-9
"""Sums of a few numbers in double precision."""

ABSORBED = 0.05
"""Share of relevance that the epsilon of the two dense layers, 0.1, may keep."""

BETWEEN_READINGS = 1e-3
"""Years by which a prediction alone and one in a batch may differ in float32."""

SEED = 3


def test_marks_are_columns_and_rows():
    assert parsed("45:74 48:29").tolist() == [[45, 74], [48, 29]]
    assert parsed("").shape == (0, 2)


def test_a_rim_is_three_pixels_wide_and_ends_at_the_border():
    found = rims(np.array([[0, 4]]), (6, 9))
    assert np.argwhere(found).tolist() == [[0, 3], [0, 4], [0, 5], [1, 3], [1, 4], [1, 5]]


def test_sums_have_their_line_and_its_zero():
    predictions = np.array([20.0, 50.0, 80.0])
    found = sums_against(predictions, 1.4 * (predictions - 51), 50.0)
    assert found["slope"] == pytest.approx(1.4, abs=EXACT)
    assert found["zero_at"] == pytest.approx(51, abs=EXACT)
    assert found["zero_less_bias"] == pytest.approx(1, abs=EXACT)
    assert found["correlation"] == pytest.approx(1, abs=EXACT)


def test_a_network_that_says_the_same_of_all_has_no_line():
    assert sums_against([50.0, 50.0], [1.0, 2.0], 50.0) == {"output_bias": 50.0}


def _flat(count):
    """Images of 20 x 30 pixels whose left half is flesh with the same relevance everywhere, and a mark each."""
    flesh = np.zeros((count, 20, 30), dtype=bool)
    flesh[:, :10] = True
    return np.where(flesh, 2.0, 0.0), flesh, [np.array([[3 + number, 4 + 5 * number]]) for number in range(count)]


def test_relevance_that_is_the_same_everywhere_is_at_chance():
    relevance, flesh, places = _flat(3)
    found = shares_at_marks(relevance, flesh, places)
    assert found["share"] == pytest.approx(9 / 300, abs=EXACT)
    assert found["times_chance"] == pytest.approx(1, abs=EXACT)
    assert found["other_marks_times_chance"] == pytest.approx(1, abs=EXACT)
    assert (found["images"], found["images_above_chance"]) == (3, 0)


def test_only_flesh_is_the_support():
    relevance, flesh, _ = _flat(2)
    at_the_edge = [np.array([[9, 5]])] * 2
    found = shares_at_marks(relevance + 100 * ~flesh, flesh, at_the_edge)
    assert found["share"] == found["chance"] == pytest.approx(6 / 300, abs=EXACT)


def test_relevance_of_either_sign_at_the_marks_is_all_and_none_at_those_of_others():
    _, flesh, places = _flat(3)
    relevance = np.zeros(flesh.shape)
    for number, own in enumerate(places):
        relevance[number][tuple(own.T)] = (-1) ** number
    found = shares_at_marks(relevance, flesh, places)
    assert found["share"] == pytest.approx(1, abs=EXACT)
    assert found["other_marks_share"] == pytest.approx(0, abs=EXACT)
    assert found["images_above_chance"] == 3


def test_images_without_marks_are_left_out():
    relevance, flesh, places = _flat(3)
    assert shares_at_marks(relevance, flesh, [places[0], parsed(""), places[2]])["images"] == 2
    assert shares_at_marks(relevance, flesh, [places[0], parsed(""), parsed("")]) == {}


def test_the_neighbour_in_age_lends_its_marks():
    """With ages out of order the marks of the neighbour in the file would be others."""
    _, flesh, places = _flat(4)
    ages = [20.0, 60.0, 30.0, 70.0]
    by_age = [0, 2, 1, 3]
    relevance = np.zeros(flesh.shape, dtype=np.float32)
    for number, other in zip(by_age, [*by_age[1:], by_age[-2]], strict=True):
        relevance[number][tuple(places[other].T)] = 1
    text = [" ".join(f"{column}:{row}" for column, row in own) for own in places]
    archive = {
        "relevance": relevance,
        "images": flesh.astype(float),
        "ages": np.array(ages),
        "predictions": np.array(ages),
        "output_bias": np.array(50.0),
        "atrophy_places": np.array(text),
        "lesion_places": np.array([""] * 4),
    }
    found = numbers_of(archive)
    assert found["relevance_at_atrophies"]["other_marks_share"] == pytest.approx(1, abs=EXACT)
    assert "relevance_at_lesions" not in found


def test_the_archive_gives_back_what_it_was_given_without_pickle(tmp_path):
    write_archive(tmp_path, names=["a", "bc"], values=[1.5, 2.5])
    found = read_archive(tmp_path)
    assert found["names"].tolist() == ["a", "bc"]
    assert found["values"].tolist() == [1.5, 2.5]
    (tmp_path / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(FileError, match="must be readable"):
        read_archive(tmp_path)


def _sum_of_relevance(bias, how):
    """Of a bright disc, by a network whose convolutions all have the bias `bias`."""
    torch.manual_seed(SEED)
    network = pumpkin_net(bias=50.0).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("features.") and name.endswith("bias"):
                parameter.fill_(bias)
            elif name.endswith("weight"):
                parameter.mul_(2)  # large sums, beside which the epsilon is small
    columns, rows = np.mgrid[:98, :98] - 48.5
    disc = (np.hypot(columns, rows) < 35).astype(np.float32)[..., None]
    grid = Grid((98, 98, 1), PICTURE_AFFINE, "px")
    explainer = Explainer(vx.Model.of(network, head="regression"))
    ready = explainer.ready(Image.of(disc, grid, identifier="disc"))
    found = explainer.maps(ready, [(None, method(how))])[0]
    return float(found.values.sum(dtype=np.float64)), ready.prediction.scores[0] - 50


def test_relevance_without_biases_sums_to_the_prediction_less_the_output_bias():
    total, above = _sum_of_relevance(0.0, LRP)
    assert total == pytest.approx(above, rel=ABSORBED)


def test_negative_biases_inflate_relevance_as_in_the_sources_library():
    """Its denominators hold the whole bias: (z + b) in place of z, so that what is given back grows by z / (z + b)."""
    library, above = _sum_of_relevance(-0.1, LRP)
    without, _ = _sum_of_relevance(-0.1, LRP.replace("'library'", "'positive part'"))
    assert library / above > 1 + 2 * ABSORBED
    assert library / without > 1 + 2 * ABSORBED


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_samples": 99}, "n_samples must be at least 100, got 99"),
        ({"uniform": True, "target_bias": 40.0}, "target_bias needs uniform=False"),
        ({"target_bias": 90.0}, "target_bias must be from 20 to 80 years"),
        ({"growth_mode": "fast"}, "growth_mode must be one of"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"plot_n_heatmaps": -1}, "plot_n_heatmaps must be at least 0, got -1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, told):
    with pytest.raises(OptionError, match=told):
        PumpkinStudy(**options)


def test_the_peak_of_ages_is_the_sources_unless_told():
    assert PumpkinStudy().phantom().target_bias == 55
    assert PumpkinStudy(target_bias=40.0).phantom().target_bias == 40
    assert PumpkinStudy(uniform=True).phantom().target_bias is None


def test_the_paper_size_learns_as_the_source_does():
    recipe = PumpkinStudy(size="paper")._recipe()
    assert (recipe.batch, recipe.rate, recipe.epochs, recipe.schedule) == (4, 5e-4, 80, "constant")
    assert not recipe.augment
    assert not recipe.mixed


def test_the_small_size_mirrors_pumpkins_which_keep_their_age():
    recipe = PumpkinStudy()._recipe()
    assert recipe.augment == Augmentation(flip=(0.5, 0.5))
    assert recipe.target_bias


def test_a_pumpkin_of_the_archive_lies_as_its_image_does():
    pixels = np.arange(6.0).reshape(1, 2, 3)
    archive = {
        "images": pixels,
        "relevance": -pixels,
        "identifiers": np.array(["p"]),
        "ages": np.array([30]),
        "predictions": np.array([31.5]),
        "atrophy_places": np.array(["1:2"]),
        "lesion_places": np.array([""]),
    }
    found = pumpkin(archive, 0)
    assert found.image.values[0, ..., 0].tolist() == pixels[0].tolist()
    assert found.atrophies.tolist() == [[1, 2]]
    assert (found.age, found.predicted, len(found.lesions)) == (30, 31.5, 0)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The study as XDLreg's function runs it, in the smallest size."""
    path = tmp_path_factory.mktemp("pumpkins")
    options = {"n_samples": 100, "uniform": False, "target_bias": 55.0, "epochs": 2, "plot_n_heatmaps": 1}
    return path, options, vx.run_simulation(path, **options, device="cpu")


@pytest.mark.slow
def test_one_call_leads_from_nothing_to_figures(simulated):
    path, _, done = simulated
    assert (path / "data" / "N-100_non-uniform55.0_seed-1" / "cases.csv").is_file()
    names = {one.name for one in (done.path / "figures").rglob("*.png")}
    assert {"ages.png", "marks-by-age.png", "relevance-sums.png", "gallery.png", "gallery_pointer.png"} <= names
    assert {"training-curves.png", "training-predictions-test.png", "training-residuals-test.png"} <= names
    assert len([name for name in names if name.startswith("LRP_S0_age-")]) == 2
    assert json.loads((done.path / "numbers.json").read_text())["test"]["cases"] == 10


@pytest.mark.slow
def test_relevance_lies_on_the_flesh_alone_and_beside_the_right_images(simulated):
    path, _, done = simulated
    archive = read_archive(done.path)
    outside = np.abs(np.where(archive["images"] > 0, 0, archive["relevance"]))
    assert outside.max() == 0
    with (path / "data" / "N-100_non-uniform55.0_seed-1" / "cases.csv").open() as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for name, age, text in zip(archive["identifiers"], archive["ages"], archive["atrophy_places"], strict=True):
        assert (float(rows[name]["age"]), rows[name]["atrophy_places"]) == (age, text)
    for pixels, text in zip(archive["images"], archive["atrophy_places"], strict=True):
        assert (pixels[tuple(parsed(str(text)).T)] == 0).all()


@pytest.mark.slow
def test_the_archive_is_of_the_test_set_alone_in_its_order_with_its_own_predictions(simulated):
    path, _, done = simulated
    archive = read_archive(done.path)
    with (path / "data" / "N-100_non-uniform55.0_seed-1" / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert archive["identifiers"].tolist() == [row["id"] for row in rows[90:]]
    with (done.path / "trained" / "predictions.csv").open() as stream:
        said = {row["id"]: float(row["prediction"]) for row in csv.DictReader(stream)}
    wanted = [said[name] for name in archive["identifiers"].tolist()]
    assert archive["predictions"] == pytest.approx(wanted, abs=BETWEEN_READINGS)
    assert archive["all_ages"].tolist() == [float(row["age"]) for row in rows]


@pytest.mark.slow
def test_the_output_bias_is_that_of_the_last_layer_which_began_at_the_mean_of_the_training(simulated):
    _, _, done = simulated
    archive = read_archive(done.path)
    mean = archive["all_ages"][:80].mean()
    assert float(archive["output_bias"]) == pytest.approx(mean, abs=0.5)  # a few steps of 1e-3 took it this far at most
    assert done.numbers["relevance_sums"]["output_bias"] == float(archive["output_bias"])


@pytest.mark.slow
def test_the_same_call_again_reuses_everything(simulated):
    path, options, first = simulated
    again = vx.run_simulation(path, **options, device="cpu")
    assert (again.reused, again.numbers) == (True, first.numbers)
