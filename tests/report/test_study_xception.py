"""The figures of the Xception study: which run, class and network stands where."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.report.made import RunMaker, attribution, picture
from tests.report.seen import colourful, pictures, pixels, words
from voxplain.report import study_xception
from voxplain.report.study_xception import CAM, write_figures
from voxplain.types import Quantity

NAMES = ("glioma", "meningioma", "pituitary")
RIGHT, WRONG = "right-one", "wrong-one"
STRIP = 10
"""Columns of the part of a picture that speaks for a class: class 0 at the left, 2 at the right."""


def strip(place: int, height: float = 1.0) -> np.ndarray:
    """A map that is not 0 in the strip of a class alone."""
    values = np.zeros((1, 40, 30, 1), np.float32)
    values[:, STRIP * place : STRIP * (place + 1)] = height
    return values


def said(place: int) -> dict:
    probabilities = [0.8 if one == place else 0.1 for one in range(3)]
    return {"kind": "classification", "class_names": NAMES, "probabilities": probabilities, "predicted": place}


def by_class(image, method: str, own: int, quantity: Quantity, **parts):
    """A map with the maps of the other classes beside it; class k is positive in strip k and negative in the next."""
    maps = [strip(place) - strip((place + 1) % 3, 0.5) for place in range(3)]
    others = {f"class_{place}": maps[place] for place in range(3) if place != own}
    named = {"method": method, "numbers": {"class": own}, "parts": {**others, **parts}}
    return attribution(image, maps[own], quantity, **named)


def write_run(folder, name: str, predicted: dict, *, every: bool = False) -> None:
    """A run over the cases, each a glioma, with the study's maps that it needs."""
    run = RunMaker(folder / "runs" / name)
    for case, place in predicted.items():
        image = picture(identifier=case)
        run.case(image, case, prediction=said(place), label="glioma")
        found = [attribution(image, strip(place), Quantity.RELEVANCE, method=CAM)]
        if name == "explained":
            labels = np.repeat(np.arange(40) // STRIP, 30).reshape(1, 40, 30, 1).astype(np.float32)
            found.append(by_class(image, "lime(samples=9)", place, Quantity.RELEVANCE, segments=labels))
            found.append(by_class(image, "partition_shap(max_evals=9)", place, Quantity.SCORE_UNITS))
        if every:
            cams = [attribution(image, strip(one), Quantity.RELEVANCE, method="grad_cam") for one in range(3)]
            found = [replace(cam, target=f"class_score(index={one})") for one, cam in enumerate(cams)]
        for number, one in enumerate(found):
            run.map(one, image, f"{case}-{number}")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All figures by name, of a strong network that errs once and a weak one that errs always."""
    folder, figures = tmp_path_factory.mktemp("xception"), {}
    strong, weak = {RIGHT: 0, WRONG: 2}, {RIGHT: 1, WRONG: 1}
    for name, predicted in (("catalogue", strong), ("explained", strong), ("catalogue-weak", weak)):
        write_run(folder, name, predicted)
    write_run(folder, "classes", strong, every=True)
    (folder / "study.json").write_text(json.dumps({"trained": [], "explained": [RIGHT, WRONG]}))
    header = "backbone,start,parameters,trained first,cases,accuracy,low,high"
    rows = ["densenet201,random weights,9,1,30,0.9,0.8,0.97", "resnet50,random weights,9,1,30,0.4,0.3,0.5"]
    (folder / "comparison.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_xception, "save", lambda figure, path: figures.setdefault(path.stem, figure) and path)
        write_figures(folder)
    return figures


def lit(axes) -> int:
    """The strip of a picture that has most colour."""
    colour = colourful(pixels(axes)).mean(axis=0)
    width = len(colour) // 4
    return int(np.argmax([colour[width * place : width * (place + 1)].mean() for place in range(4)]))


def test_the_strong_network_stands_before_the_weak_one_with_its_own_predictions(drawn):
    told = words(drawn["strong-weak"])
    assert "strong: glioma 0.80" in told
    assert "weak: meningioma 0.80, WRONG: is glioma" in told
    assert told.index("strong: glioma") < told.index("weak: meningioma")


def test_each_network_is_shown_with_its_own_map(drawn):
    assert [lit(axes) for axes in pictures(drawn["strong-weak"])[1:3]] == [0, 1]


def test_right_predictions_stand_left_of_wrong_ones(drawn):
    told = words(drawn["right-wrong"])
    assert told.index("right-one: glioma 0.80") < told.index("wrong-one: pituitary 0.80, WRONG: is glioma")


def test_three_methods_show_every_class_in_its_own_column(drawn):
    shown = pictures(drawn["three-methods-right-one"])
    maps = [axes for axes in shown if colourful(pixels(axes)).max() > 0.1]
    assert len(maps) == 9  # Grad-CAM, LIME and SHAP of three classes
    assert [lit(axes) for axes in maps] == [0, 1, 2] * 3


def test_three_methods_stand_in_the_order_of_the_study(drawn):
    told = words(drawn["three-methods-right-one"])
    assert told.index("Grad-CAM") < told.index("LIME") < told.index("SHAP")


def test_shap_has_the_classes_in_the_order_of_the_outputs_though_another_one_was_explained(drawn):
    shown = pictures(drawn["shap-wrong-one"])[1:]
    reds = [pixels(axes)[..., 0] - pixels(axes)[..., 2] for axes in shown]
    assert [int(red.mean(axis=0).argmax()) // STRIP for red in reds] == [0, 1, 2]


def test_the_mask_view_is_of_the_predicted_class_and_the_outlines_are_of_the_third(drawn):
    assert "best segments for glioma" in words(drawn["lime-mask-right-one"])
    assert "best segments for pituitary" in words(drawn["lime-mask-wrong-one"])
    assert "best segments for pituitary" in words(drawn["lime-outline-right-one"])


def test_lime_by_class_sets_a_right_case_above_a_wrong_one(drawn):
    told = words(drawn["lime-signed"])
    assert told.index("right: glioma called glioma") < told.index("wrong: glioma called pituitary")


def test_the_catalogue_has_the_strong_networks_predictions(drawn):
    assert "right-one: glioma 0.80" in words(drawn["catalogue-01"])


def test_the_table_of_backbones_has_accuracies_and_chance(drawn):
    bars = [round(patch.get_width(), 3) for patch in drawn["comparison"].axes[0].patches]
    assert bars == [0.9, 0.4]
    assert "0.900 of 30" in words(drawn["comparison"])
