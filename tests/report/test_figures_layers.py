"""One method at many layers: raw ranges in print, constants flagged, probabilities in the first row."""

import numpy as np
import pytest

from tests.report.made import LPS, attribution, picture, volume
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_board import DARK
from voxplain.report.figures_layers import draw_flow, draw_layers, flow_from_run, layers_from_run
from voxplain.types import Quantity


def eight(image) -> list:
    return [
        shown(spot(image, (3 + place, 6, 0), 2.0**-place), f"block{place}", Quantity.SALIENCY) for place in range(8)
    ]


def test_eight_layers_make_eight_rows_of_three():
    figure = draw_layers(picture(), eight(picture()), probabilities={"glioma": 0.329, "meningioma": 0.621})
    assert len(pictures(figure)) == 24
    said = words(figure)
    assert all(f"block{place}" in said for place in range(8))
    assert "glioma 0.329 meningioma 0.621" in said


def test_truth_and_prediction_stand_in_the_title():
    said = words(draw_layers(picture(), eight(picture()), truth="glioma", predicted="meningioma"))
    assert "truth glioma; predicted meningioma" in said


def test_each_row_shows_overlay_map_and_image_of_its_layer():
    drawn = pictures(draw_layers(picture(), eight(picture())))
    for place in range(8):
        over, alone, image = (pixels(axes) for axes in drawn[3 * place : 3 * place + 3])
        assert np.argwhere(colourful(alone) > 0.1).tolist() == [[6, 3 + place]]
        assert colourful(over)[6, 3 + place] == colourful(over).max()
        assert colourful(image).max() == 0


def test_every_layer_has_its_raw_range():
    said = words(draw_layers(picture(), eight(picture())))
    assert "raw 0 to 1 logits" in said
    assert "raw 0 to 0.00781 logits" in said


def test_layers_may_share_their_limits():
    own, shared = (pictures(draw_layers(picture(), eight(picture()), shared=flag)) for flag in (False, True))
    assert colourful(pixels(own[22])).max() > 0.3
    assert colourful(pixels(shared[22])).max() < 0.05


def flowing(image, count: int = 26) -> list:
    maps = [shown(spot(image, (4, 6, 5)), f"conv{place}", Quantity.SALIENCY) for place in range(count)]
    maps[3] = shown(np.zeros(image.grid.shape), "conv3", Quantity.SALIENCY)
    maps[7] = shown(1e-8 * spot(image, (9, 9, 5)), "conv7", Quantity.SALIENCY)
    return maps


def test_the_montage_has_the_image_and_every_layer():
    image = volume()
    figure = draw_flow(image, flowing(image))
    assert len(pictures(figure)) == 27
    assert "26 conv25" in words(figure)


def test_a_constant_layer_is_flagged_in_red_and_not_coloured():
    image = volume(LPS)
    figure = draw_flow(image, flowing(image))
    assert "Truly constant: layer 4." in words(figure)
    assert [text.get_text() for text in figure.texts if text.get_color() == DARK.bad] == ["4 conv3"]
    assert colourful(pixels(pictures(figure)[4])).max() == 0


def test_a_tiny_range_is_no_constant_but_faint():
    image = volume(LPS)
    figure = draw_flow(image, flowing(image))
    assert "faint: 1e−08 of the strongest layer" in words(figure)
    assert "raw 0 to 1e−08 logits" in words(figure)
    assert colourful(pixels(pictures(figure)[8])).max() > 0.3


def test_no_constant_layer_is_said_as_well():
    image = volume()
    assert "No layer's map is constant." in words(draw_flow(image, eight_volumes(image)))


def eight_volumes(image) -> list:
    return [shown(spot(image, (4, 6, 5), 1.0 + place), f"b{place}") for place in range(8)]


def test_the_prediction_is_outlined_and_named():
    image = volume()
    figure = draw_flow(image, eight_volumes(image), prediction=spot(image, (8, 8, 5)) > 0)
    assert "rim of the prediction" in words(figure)
    assert all(axes.collections for axes in pictures(figure))


@pytest.mark.parametrize(("draw", "options"), [(draw_layers, {}), (draw_flow, {}), (draw_flow, {"columns": 0})])
def test_nothing_to_show_is_refused(draw, options):
    with pytest.raises(InputError, match=r"layers must hold at least one map|columns must be at least 1"):
        draw(picture(), [], **options)


def layered(run, image) -> None:
    run.case(image)
    for place, name in enumerate(("conv1", "conv2", "conv3")):
        made = attribution(
            image, spot(image, (3 + place, 6, 0)), layer=name, method="grad_cam(layer=['conv1', 'conv2'])"
        )
        run.map(made, image, name, layer=name)


def test_layers_of_a_run_come_deepest_first(run):
    layered(run, picture())
    figure = layers_from_run(run.folder, "grad_cam")
    rows = [text.get_text() for text in figure.texts if text.get_rotation() == 90]
    assert rows == ["conv3", "conv2", "conv1"]
    assert "healthy 0.125 glioma 0.875" in words(figure)


def test_the_flow_of_a_run_keeps_its_order(run):
    layered(run, picture())
    said = words(flow_from_run(run.folder, "grad_cam"))
    assert said.index("1 conv1") < said.index("2 conv2") < said.index("3 conv3")


def test_a_method_without_layers_has_no_figure_of_layers(run):
    image = picture()
    run.case(image)
    run.map(attribution(image), image)
    with pytest.raises(InputError, match="named layers"):
        flow_from_run(run.folder, "occlusion")
