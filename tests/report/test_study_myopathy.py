"""The figures of the myopathy study: which tiles are shown, and overlays that lie by predicted and by true class."""

import json

import numpy as np
import PIL.Image
import pytest

from tests.report.made import RunMaker, attribution, picture
from tests.report.seen import pictures, words
from voxplain.report import study_myopathy
from voxplain.report.study_myopathy import featured, write_figures
from voxplain.study.study_myopathy_ensemble import fuse_tiles
from voxplain.types import Quantity

METHODS = ("grad_cam", "grad_cam_pp", "hires_cam", "partition_shap")
NAMES = ("healthy", "affected")
RULES = ("threshold", "average", "intersection")
TILES = {"affected-0001-00": 1, "affected-0001-01": 0}
"""Predicted class of two affected tiles: the second one is wrong."""

SPOT = (slice(7, 14), slice(21, 28))
"""Columns and rows of one block of the ensemble."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of one network whose maps are all in one place, and the names of its figures."""
    folder = tmp_path_factory.mktemp("myopathy")
    run = RunMaker(folder / "explained" / "resnet18v")
    for case, place in TILES.items():
        image = picture(identifier=case)
        said = {"kind": "classification", "class_names": NAMES, "probabilities": [1 - place, place], "predicted": place}
        run.case(image, case, prediction=said, label="affected")
        values = np.zeros(image.grid.shape, np.float32)
        values[SPOT] = 1
        for method in METHODS:
            quantity = Quantity.SCORE_UNITS if method == "partition_shap" else Quantity.SALIENCY
            run.map(attribution(image, values, quantity, method=method), image, f"{case}-{method}")
        levels = attribution(image, 0 * values, Quantity.SALIENCY, method="hierarchical_occlusion", unit="levels",
                             parts={"level_1": 0 * values[None], "level_2": 0 * values[None]},
                             numbers={"class": place, "label": place, "informative": 0, "fell_back": 1,
                                      "windows_level_1": 64, "windows_level_2": 0})  # fmt: skip
        run.map(levels, image, f"{case}-levels")
    fuse_tiles(run.folder, folder / "ensembles" / "resnet18v", threshold=0.5)
    (folder / "study.json").write_text(json.dumps({"networks": ["resnet18v"], "rules": list(RULES)}))
    figures = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_myopathy, "write_training_figures", lambda folder: [])
        patch.setattr(study_myopathy, "save", lambda figure, path: figures.setdefault(path.stem, figure) and path)
        write_figures(folder)
    return folder / "figures" / "resnet18v", figures


def test_a_wrong_tile_is_featured_first_and_then_classes_in_turn():
    cases = {"a": ("affected", False), "b": ("affected", False), "c": ("healthy", True), "d": ("healthy", False)}
    assert featured(cases) == ["c", "a", "d", "b"]


def test_no_more_than_four_tiles_are_featured():
    assert len(featured({str(number): ("healthy", False) for number in range(9)})) == 4


def test_overlays_of_methods_lie_by_predicted_and_those_of_ensembles_by_true_class(study):
    overlays = study[0] / "overlays"
    for case, place in TILES.items():
        for method in METHODS:
            assert (overlays / method / NAMES[place] / f"{case}.png").is_file()
        for rule in RULES:
            assert (overlays / rule / "affected" / f"{case}.png").is_file()


def test_an_overlay_has_one_pixel_a_voxel_and_its_colour_where_the_map_is(study):
    pixels = np.asarray(PIL.Image.open(study[0] / "overlays/grad_cam/affected/affected-0001-00.png")).astype(int)
    assert pixels.shape == (30, 40, 3)
    redder = (pixels[..., 0] - pixels[..., 2]) > 0
    rows, columns = np.nonzero(redder)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (7, 13, 21, 27)


def test_right_tiles_stand_left_of_wrong_ones(study):
    seen = words(study[1]["right-wrong"])
    assert seen.index("affected-0001-00: affected 1.00") < seen.index("affected-0001-01: healthy 1.00, WRONG")


def test_an_ensemble_says_that_occlusion_without_a_flip_is_left_out(study):
    for rule in RULES:
        seen = words(study[1][f"affected-0001-00-ensemble-{rule}"])
        assert f"rule {rule}, 4 maps; hierarchical_occlusion says nothing here and is left out" in seen


def test_occlusion_is_shown_though_it_says_nothing(study):
    assert "hiding no window changes the label" in words(study[1]["affected-0001-00-levels"])


def test_the_figure_of_levels_counts_by_the_names_of_the_classes(study):
    seen = words(study[1]["affected-0001-00-levels"])
    assert "Predicted as affected: 1, with an informative map: 0." in seen
    assert "Predicted as healthy: 1, with an informative map: 0." in seen
    assert "Fell back: 2." in seen


def test_levels_that_were_not_searched_are_said_and_not_shown_as_empty(study):
    seen = words(study[1]["affected-0001-00-levels"])
    assert "not searched: level 2" in seen
    assert "level 1" in seen
    assert len(pictures(study[1]["affected-0001-00-levels"])) == 3  # image, sum, level 1
