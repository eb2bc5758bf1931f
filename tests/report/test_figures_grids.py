"""Many cases on a page: black and red titles, right and wrong, strong and weak, catalogue pages."""

from dataclasses import replace

import numpy as np
import pytest

from tests.report.made import attribution, picture
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_board import PAPER
from voxplain.report.figures_grids import (
    Sample,
    draw_catalogue,
    draw_grid,
    draw_models,
    draw_right_wrong,
    samples_from_run,
)


def sample(name: str, truth: str = "pa", predicted: str = "pa", place: int = 4, **named) -> Sample:
    image = replace(picture(), identifier=name)
    return Sample(image, truth, predicted, 0.9, shown(spot(image, (place, 6, 0)), "grad_cam"), **named)


def red(figure) -> str:
    return " ".join(text.get_text() for text in figure.texts if text.get_color() == PAPER.bad)


def test_titles_are_black_where_right_and_red_with_a_word_where_wrong():
    figure = draw_grid([sample("a"), sample("b", "lateral", "pa"), sample("c"), sample("d")])
    assert red(figure) == "pa 0.90, WRONG: is lateral"
    assert words(figure).count("pa 0.90") == 4
    assert "3 of 4 shown are right" in words(figure)


def test_four_samples_make_a_grid_of_two_by_two():
    drawn = pictures(draw_grid([sample(name) for name in "abcd"]))
    assert len({round(axes.get_position().x0, 6) for axes in drawn}) == 2
    assert len({round(axes.get_position().y0, 6) for axes in drawn}) == 2


def test_a_grid_may_leave_maps_out():
    with_maps, without = (draw_grid([sample("a")], maps=flag) for flag in (True, False))
    assert colourful(pixels(pictures(with_maps)[0])).max() > 0.2
    assert colourful(pixels(pictures(without)[0])).max() == 0


def test_training_images_are_titled_by_their_label():
    assert "lateral" in words(draw_grid([Sample(picture(), "lateral")]))


def test_a_sample_whose_truth_nobody_knows_is_not_wrong():
    assert not Sample(picture(), "", "pa").wrong
    assert not Sample(picture(), "pa", "").wrong


def test_right_and_wrong_stand_side_by_side():
    figure = draw_right_wrong([sample("a"), sample("b")], [sample("c", "lateral", "pa")])
    drawn = pictures(figure)
    assert len(drawn) == 6
    assert red(figure).startswith("c: pa 0.90")
    assert drawn[2].get_position().x0 > drawn[1].get_position().x0


@pytest.mark.parametrize(("right", "wrong"), [([("a", "x", "y")], []), ([], [("a", "x", "x")])])
def test_a_sample_on_the_other_side_is_refused(right, wrong):
    with pytest.raises(InputError, match=r"must hold (right|wrong) predictions only"):
        draw_right_wrong([sample(*one) for one in right], [sample(*one) for one in wrong])


def test_models_are_compared_case_by_case():
    strong = [sample("a", place=3), sample("b", place=5)]
    weak = [sample("a", "pa", "lateral", 9), sample("b", place=11)]
    figure = draw_models({"strong": strong, "weak": weak})
    drawn = [pixels(axes) for axes in pictures(figure)]
    assert len(drawn) == 6
    strongest = [int(colourful(one).max(axis=0).argmax()) for one in drawn]
    assert [strongest[n] for n in (1, 2, 4, 5)] == [3, 9, 5, 11]
    assert red(figure) == "weak: lateral 0.90, WRONG: is pa"


def test_models_may_share_the_limits_of_a_row():
    strong = sample("a")
    weak = replace(strong, shown=replace(strong.shown, values=strong.shown.values / 1000))
    own, shared = (
        words(draw_models({"strong": [strong], "weak": [weak]}, shared=flag)) for flag in (False, True)
    )  # fmt: skip
    assert "colours ±0.001" in own
    assert "colours ±0.001" not in shared


@pytest.mark.parametrize("weak", [[], [sample("b")]])
def test_models_must_bring_the_same_cases(weak):
    with pytest.raises(InputError, match="models must bring the same"):
        draw_models({"strong": [sample("a")], "weak": weak})


def test_the_catalogue_comes_in_pages_of_three_pictures_a_case():
    pages = list(draw_catalogue([sample(str(n)) for n in range(7)], per_page=4, title="test"))
    assert [len(pictures(page)) for page in pages] == [12, 9]
    assert "test, page 2" in words(pages[1])
    assert "6: pa 0.90" in words(pages[1])


def test_the_catalogue_takes_samples_one_page_at_a_time():
    taken = []

    def samples():
        for n in range(9):
            taken.append(n)
            yield sample(str(n))

    next(draw_catalogue(samples(), per_page=2))
    assert taken == [0, 1]


def test_a_page_needs_places():
    with pytest.raises(InputError, match="per_page must be at least 1"):
        draw_catalogue([sample("a")], per_page=0)


def test_samples_come_from_a_run_folder(run):
    image = picture()
    run.case(image)
    run.map(attribution(image), image)
    (one,) = samples_from_run(run.folder, "occlusion")
    assert (one.truth, one.predicted, one.probability) == ("glioma", "glioma", 0.875)
    assert np.array_equal(one.shown.values, attribution(image).values[0])


def test_a_case_without_the_method_comes_without_a_map(run):
    image = picture()
    run.case(image)
    run.map(attribution(image), image)
    (one,) = samples_from_run(run.folder, "lrp")
    assert one.shown is None
