"""Heat maps of pumpkins with pointers, the gallery by age, and the sum of relevance against the prediction."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from tests.report.made import attribution, picture
from tests.report.seen import pictures, pixels, rendered_place, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_pumpkins import (
    POINTER,
    SOURCE,
    Pumpkin,
    draw_gallery,
    draw_heat_map,
    places,
    pumpkins_from_run,
)
from voxplain.report.figures_relevance import draw_relevance_sums, sum_fit
from voxplain.types import Quantity

HALF_A_VOXEL = 0.5 / 30


def pumpkin(age: float = 66.0, place: tuple[int, int] = (4, 6), height: float = 1.0, **named) -> Pumpkin:
    image = replace(picture(), identifier=f"pumpkin-{age:g}")
    return Pumpkin(image, spot(image, (*place, 0), height), age, age - 1.5, **named)


MARKS = {"atrophies": np.array([[3, 20], [35, 2]]), "lesions": np.array([[10, 12]])}


def squares(axes) -> np.ndarray:
    paths = [path for one in axes.collections for path in one.get_paths() if len(path.vertices) == 5]
    return np.array([path.get_extents().get_points().ravel() for path in paths])


def test_the_heat_map_has_image_map_bar_and_sum():
    figure = draw_heat_map(pumpkin(height=-2.0))
    assert len(pictures(figure)) == 2
    assert "pumpkin-66: age 66, predicted 64.5" in words(figure)
    assert "Sum of relevance −2 years." in words(figure)
    assert figure.axes[-1].get_ylabel() == "years"


def test_relevance_is_seen_where_it_lies():
    figure = draw_heat_map(pumpkin(), colours={"limits": (-3, 3)})
    x, y = rendered_place(figure, pictures(figure)[1])
    assert x == pytest.approx(4.5 / 40, abs=HALF_A_VOXEL)
    assert y == pytest.approx(6.5 / 30, abs=HALF_A_VOXEL)


def test_older_is_red_and_younger_blue():
    older, younger = (
        pixels(pictures(draw_heat_map(pumpkin(height=sign), colours={"limits": (-4, 4)}))[1])[6, 4] for sign in (1, -1)
    )
    assert older[0] > older[2] + 0.3
    assert younger[2] > younger[0] + 0.3


def test_squares_lie_on_atrophies_and_arrows_point_to_lesions():
    for axes in pictures(draw_heat_map(pumpkin(**MARKS), pointers=True)):
        assert squares(axes).tolist() == [[2.5, 19.5, 3.5, 20.5], [34.5, 1.5, 35.5, 2.5]]
        arrows = [one for one in axes.texts if getattr(one, "arrow_patch", None) is not None]
        assert [one.xy for one in arrows] == [(10.0, 12.0)]
        tail = np.array(arrows[0].get_position()) - (10, 12)
        middle = np.array([19.5, 14.5]) - (10, 12)
        assert np.dot(tail, middle) < 0, "arrows come from outside"


def test_pointers_are_light_green_and_left_out_unless_asked():
    plain = draw_heat_map(pumpkin(**MARKS))
    assert POINTER == "#90ee90"
    assert not any(axes.collections for axes in pictures(plain))
    assert "Light green" not in words(plain)
    assert "Light green" in words(draw_heat_map(pumpkin(**MARKS), pointers=True))


def test_pointers_without_marks_draw_none():
    assert not squares(pictures(draw_heat_map(pumpkin(), pointers=True))[0]).size


@pytest.mark.parametrize("marks", [[[40, 3]], [[3, 30]], [[-1, 3]], [[1, 2, 3]]])
def test_marks_outside_the_image_are_refused(marks):
    with pytest.raises(InputError, match="marks must"):
        draw_heat_map(pumpkin(lesions=np.array(marks)), pointers=True)


def test_the_colours_of_the_study_are_there_by_name():
    faint = spot(picture(), (20, 20, 0), 0.02) + spot(picture(), (4, 6, 0))
    one = replace(pumpkin(), relevance=faint)
    mild, source = (pixels(pictures(draw_heat_map(one, colours=options))[1])[20, 20] for options in ({}, SOURCE))
    assert source[0] - source[2] > mild[0] - mild[2] + 0.1


def test_the_gallery_is_sorted_by_age_with_shared_limits():
    figure = draw_gallery([pumpkin(70.0), pumpkin(21.0, height=-5.0), pumpkin(44.0)], columns=2)
    said = words(figure)
    assert said.index("age 21") < said.index("age 44") < said.index("age 70")
    bars = [axes for axes in figure.axes if axes.get_ylabel() == "years"]
    assert len(bars) == 1
    assert bars[0].get_ylim() == (-5, 5)
    assert [text.get_text() for text in bars[0].texts] == ["max 1", "min −5"]


def test_a_gallery_without_pumpkins_is_refused():
    with pytest.raises(InputError, match="at least one"):
        draw_gallery([])


def test_marks_are_read_from_the_phantoms_table():
    assert places("45:74 48:29").tolist() == [[45, 74], [48, 29]]
    assert places("").shape == (0, 2)


@pytest.mark.parametrize("text", ["45", "45:74:3", "a:b"])
def test_marks_that_are_no_pairs_are_refused(text):
    with pytest.raises(InputError, match="column:row"):
        places(text)


def test_pumpkins_come_from_a_run_and_the_phantoms_table(run, tmp_path):
    image = picture()
    run.case(image, label="59", prediction={"kind": "regression", "scores": [47.5], "words": "47.5"})
    run.map(attribution(image, spot(image, (4, 6, 0)), Quantity.RELEVANCE, method="lrp"), image)
    table = tmp_path / "cases.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "age", "atrophy_places", "lesion_places"])
        writer.writeheader()
        writer.writerow({"id": "case b", "age": "59", "atrophy_places": "1:2 3:4", "lesion_places": "5:6"})
    (one,) = pumpkins_from_run(run.folder, table)
    assert (one.age, one.predicted) == (59, 47.5)
    assert one.atrophies.tolist() == [[1, 2], [3, 4]]
    assert one.lesions.tolist() == [[5, 6]]
    assert one.relevance[4, 6, 0] == 1
    (bare,) = pumpkins_from_run(run.folder)
    assert bare.lesions is None


def test_a_case_without_an_age_is_told(run):
    image = picture()
    run.case(image, label="glioma")
    run.map(attribution(image, method="lrp"), image)
    with pytest.raises(InputError, match="must have an age"):
        list(pumpkins_from_run(run.folder))


# --- sums ------------------------------------------------------------------------------------------------------------


def test_the_line_its_correlation_and_its_zero_are_found():
    x = np.array([20.0, 40.0, 60.0, 80.0])
    fit = sum_fit(1.45 * (x - 51), x)
    assert (fit.slope, fit.crossing, fit.correlation) == pytest.approx((1.45, 51, 1))
    assert sum_fit(-x, x).correlation == pytest.approx(-1)


def test_the_plot_tells_fit_and_bias():
    x = np.array([20.0, 40.0, 60.0, 80.0])
    figure = draw_relevance_sums(1.45 * (x - 50), x, 51.4)
    axes = figure.axes[0]
    assert np.allclose(axes.collections[0].get_offsets(), np.stack([x, 1.45 * (x - 50)], axis=1))
    legend = " ".join(text.get_text() for text in axes.get_legend().get_texts())
    assert "slope 1.45, zero at 50.0 years" in legend
    assert "output bias 51.4 years" in legend
    assert axes.get_title() == "correlation 1.000; the zero lies 1.4 years below the bias"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction (years)", "sum of relevance (years)")


@pytest.mark.parametrize(
    ("sums", "predictions", "message"),
    [
        ([1, 2], [1, 2], "at least 3"),
        ([1, 2, 3], [1, 2, 3, 4], "at least 3 numbers each"),
        ([1, 2, np.nan], [1, 2, 3], "finite"),
        ([1, 2, 3], [4, 4, 4], "all the same"),
        ([0, 0, 0], [1, 2, 3], "all the same"),
    ],
)
def test_sums_without_a_line_are_refused(sums, predictions, message):
    with pytest.raises(InputError, match=message):
        sum_fit(sums, predictions)
