"""Methods side by side: the row of all, one alone, by modality, by class."""

import numpy as np
import pytest

from tests.report.made import LPS, attribution, blob, picture, volume
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.data.image import Image
from voxplain.errors import FileError, InputError
from voxplain.report.figures_labels import LABELS
from voxplain.report.figures_rows import (
    by_modality_from_run,
    draw_by_modality,
    draw_comparison,
    draw_methods,
    draw_single,
    methods_from_run,
    single_from_run,
)
from voxplain.types import Quantity

SEVEN = ("vanilla", "guided_backprop", "integrated_gradients", "guided_ig", "smoothgrad", "grad_cam", "guided_grad_cam")


def seven(image) -> list:
    values = blob(image.grid.shape, (5, 6, 5)[: 3 if not image.grid.is_2d else 2] + (0,) * image.grid.is_2d)
    cam = {"quantity": Quantity.SALIENCY, "coarse": True}
    return [shown(values, name, **(cam if name == "grad_cam" else {})) for name in SEVEN]


def predicted(image) -> np.ndarray:
    labels = np.zeros(image.grid.shape, int)
    labels[4:8, 5:9] = 2
    return labels


def test_seven_methods_make_nine_panels():
    figure = draw_methods(picture(), seven(picture()))
    assert len(pictures(figure)) == 9
    assert all(name in words(figure) for name in (*SEVEN[:6], "grad_cam over image", "guided_grad_cam"))


def test_a_prediction_makes_them_eleven():
    figure = draw_methods(
        picture(), seven(picture()), prediction=predicted(picture()), class_names=("a", "b", "oedema")
    )
    assert len(pictures(figure)) == 11
    assert "Prediction: oedema yellow." in words(figure)


def test_all_panels_lie_in_one_row_unless_columns_are_given():
    rows = {round(axes.get_position().y0, 6) for axes in pictures(draw_methods(picture(), seven(picture())))}
    broken = {
        round(axes.get_position().y0, 6) for axes in pictures(draw_methods(picture(), seven(picture()), columns=3))
    }
    assert (len(rows), len(broken)) == (1, 3)


def test_the_predicted_label_is_drawn_where_it_lies():
    figure = draw_methods(picture(), seven(picture()), prediction=predicted(picture()))
    alone = pixels(pictures(figure)[9])
    assert LABELS[1] == "#f6ea52"
    assert np.argwhere(alone[..., 0] > 0.9).min(axis=0).tolist() == [5, 4]
    assert np.argwhere(alone[..., 0] > 0.9).max(axis=0).tolist() == [8, 7]


def test_a_slice_without_prediction_says_so():
    image = volume()
    labels = np.zeros(image.grid.shape, int)
    labels[0, 0, 0] = 1
    assert "nothing predicted on this slice" in words(draw_methods(image, seven(image), prediction=labels, index=9))


def test_each_panel_shows_its_own_map():
    image = volume(LPS)
    maps = [shown(spot(image, (place, 6, 5)), f"m{place}") for place in (3, 8, 12)]
    drawn = pictures(draw_methods(image, maps, index=5, backdrop="black"))[1:]
    assert [np.argwhere(colourful(pixels(axes)) > 0.1).tolist() for axes in drawn] == [[[6, 3]], [[6, 8]], [[6, 12]]]


def test_shared_limits_keep_a_weak_map_faint():
    image = picture()
    loud, quiet = shown(spot(image, (4, 6, 0), 100.0), "loud"), shown(spot(image, (4, 6, 0), 1.0), "quiet")
    own = pictures(draw_methods(image, [loud, quiet]))
    shared = pictures(draw_methods(image, [loud, quiet], shared=True))
    assert colourful(pixels(own[2])).max() > 0.5
    assert colourful(pixels(shared[2])).max() < 0.02
    assert "share their colour limits" in words(draw_methods(image, [loud, quiet], shared=True))


def test_one_method_has_three_panels_and_five_with_a_prediction():
    one = shown(blob((40, 30, 1), (9, 9, 0)), "grad_cam")
    assert len(pictures(draw_single(picture(), one))) == 3
    figure = draw_single(picture(), one, layer="conv5", class_name="glioma", prediction=predicted(picture()))
    assert len(pictures(figure)) == 5
    assert "grad_cam, conv5, glioma" in words(figure)


def four(scale=(8.0, 1.0, 2.0, 4.0)) -> tuple[Image, np.ndarray]:
    image = volume(LPS)
    names = ("flair", "t1", "t1ce", "t2")
    image = Image.of(np.concatenate([image.values] * 4), image.grid, channels=names, identifier="case a")
    return image, np.stack([spot(image, (4 + place, 6, 5), height) for place, height in enumerate(scale)])


def test_each_modality_shows_its_own_map_and_share():
    image, values = four()
    figure = draw_by_modality(image, values, Quantity.SCORE_UNITS, unit="logits")
    drawn = pictures(figure)
    assert len(drawn) == 8
    for share in ("53.3%", "6.7%", "13.3%", "26.7%"):
        assert f"{share} of the magnitude" in words(figure)
    assert [int(np.argmax(colourful(pixels(axes)).max(axis=0))) for axes in drawn[4:]] == [4, 5, 6, 7]


def test_shares_count_both_signs_and_every_voxel():
    image, values = four((1.0, 1.0, 1.0, 1.0))
    values[2, 10:13, 6, 5] = -1
    said = words(draw_by_modality(image, values, Quantity.SCORE_UNITS))
    assert "57.1% of the magnitude" in said
    assert said.count("14.3% of the magnitude") == 3


def test_modalities_share_their_limits():
    image, values = four()
    strength = [
        colourful(pixels(axes)).max() for axes in pictures(draw_by_modality(image, values, Quantity.RELEVANCE))[4:]
    ]
    assert strength[0] > strength[3] > strength[2] > strength[1]


def test_the_bar_of_modalities_tells_the_extremes_of_all():
    image, values = four((1.0, 1.0, -9.0, 1.0))
    figure = draw_by_modality(image, values, Quantity.RELEVANCE, unit="logits")
    bars = [[text.get_text() for text in axes.texts] for axes in figure.axes if axes.get_ylabel() == "logits"]
    assert bars == [["max 1", "min −9"]]


def test_maps_of_another_number_of_channels_are_refused():
    image, values = four()
    with pytest.raises(InputError, match="with 4 channels"):
        draw_by_modality(image, values[:3], Quantity.RELEVANCE)


def test_three_methods_stand_below_each_other_by_class():
    image = picture()
    rows = {
        name: [shown(spot(image, (4, 6, 0)), label, unit=name) for label in ("a", "b", "c")]
        for name in ("Grad-CAM", "LIME", "SHAP")
    }
    figure = draw_comparison(image, rows)
    assert len(pictures(figure)) == 10
    assert {axes.get_ylabel() for axes in figure.axes} >= {"Grad-CAM", "LIME", "SHAP"}


def test_rows_of_unequal_length_are_refused():
    one = shown(spot(picture(), (4, 6, 0)))
    with pytest.raises(InputError, match="Grad-CAM 1, LIME 2"):
        draw_comparison(picture(), {"Grad-CAM": [one], "LIME": [one, one]})


def test_rows_of_several_units_cannot_share():
    one, other = shown(spot(picture(), (4, 6, 0))), shown(spot(picture(), (4, 6, 0)), unit="years")
    with pytest.raises(InputError, match="shared=False"):
        draw_comparison(picture(), {"LIME": [one, other]})
    assert draw_comparison(picture(), {"LIME": [one, other]}, shared=False)


# --- from a run folder -----------------------------------------------------------------------------------------------


def test_all_methods_of_a_run_stand_in_a_row(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image)
    run.map(attribution(image, method="grad_cam", layer="blocks"), image, "cam", layer="blocks")
    figure = methods_from_run(run.folder)
    assert len(pictures(figure)) == 3
    for part in ("occlusion(window=4)", "grad_cam, blocks", "truth glioma", "model: glioma (0.88)"):
        assert part in words(figure)


def test_a_method_that_was_not_run_is_told_with_those_that_were(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image)
    with pytest.raises(InputError, match="must have a map of 'lrp', the run has occlusion"):
        single_from_run(run.folder, "lrp")


def test_a_map_for_all_channels_has_no_modalities(run):
    image, values = four()
    run.case(image)
    run.map(attribution(image, values.sum(axis=0)), image)
    with pytest.raises(InputError, match="a channel for each"):
        by_modality_from_run(run.folder, "occlusion")


def test_a_map_with_channels_is_shown_by_modality(run):
    image, values = four()
    run.case(image)
    run.map(attribution(image, values, channels=image.channels), image)
    assert len(pictures(by_modality_from_run(run.folder, "occlusion"))) == 8


@pytest.mark.parametrize(("case", "kind"), [("nobody", InputError), (None, FileError)])
def test_cases_that_are_not_there_are_told(run, case, kind):
    with pytest.raises(kind):
        methods_from_run(run.folder, case)
