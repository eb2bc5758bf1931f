"""One map over its image: opacity, outlines, bare pixels."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, attribution, picture, volume
from tests.report.seen import pictures, pixels, rendered_place, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_overlay import RIMS, draw_overlay, overlay_from_run, overlay_pixels
from voxplain.report.figures_view import Shown, view
from voxplain.report.palettes import painted
from voxplain.types import Quantity

HALF_A_VOXEL = 0.5 / 20


def test_image_and_overlay_stand_side_by_side_with_a_bar():
    figure = draw_overlay(picture(), Shown.of(attribution(picture())))
    assert len(pictures(figure)) == 2
    assert figure.axes[-1].get_ylabel() == "logits"
    assert "opacity 0.5" in words(figure)


@pytest.mark.parametrize("opacity", [0.3, 0.8])
def test_the_map_lies_over_the_image_at_its_opacity(opacity):
    image = picture()
    one = shown(np.linspace(0, 1, 1200).reshape(40, 30, 1), quantity=Quantity.SALIENCY)
    seen = pixels(pictures(draw_overlay(image, one, opacity=opacity))[1])
    grey = pixels(pictures(draw_overlay(image, one, opacity=opacity))[0])
    values = np.asarray(one.values, np.float32)
    colours = painted(values, Quantity.SALIENCY)(values)[:, :, 0, :3].transpose(1, 0, 2)
    assert np.allclose(seen, (1 - opacity) * grey + opacity * colours, atol=1e-5)


@pytest.mark.parametrize(("affine", "column", "row"), [(LPS, 4, 6), (RAS, 20 - 1 - 4, 24 - 1 - 6)])
def test_the_marked_voxel_is_seen_where_it_lies(affine, column, row):
    image = volume(affine)
    figure = draw_overlay(image, shown(spot(image, (4, 6, 5))), opacity=None)
    x, y = rendered_place(figure, pictures(figure)[1])
    assert x == pytest.approx((column + 0.5) / 20, abs=HALF_A_VOXEL)
    assert y == pytest.approx((row + 0.5) / 24, abs=HALF_A_VOXEL)


def test_outlines_run_around_their_regions_on_both_pictures():
    image = volume(LPS)
    region = np.zeros(image.grid.shape, bool)
    region[5:9, 10:16, 5] = True
    figure = draw_overlay(image, shown(spot(image, (4, 6, 5))), outlines={"tumour": region})
    for axes in pictures(figure):
        rims = [one for one in axes.collections if len(one.get_paths()) and one.get_edgecolor().size]
        box = rims[-1].get_paths()[0].get_extents()
        spacing = 2.0
        assert (box.x0 / spacing, box.x1 / spacing) == pytest.approx((4.5, 8.5))
        assert (box.y0 / spacing, box.y1 / spacing) == pytest.approx((9.5, 15.5))
    assert "tumour (cyan)" in words(figure)


def test_a_region_on_another_slice_leaves_no_line():
    image = volume(LPS)
    region = spot(image, (5, 5, 0)) > 0
    figure = draw_overlay(image, shown(spot(image, (4, 6, 5))), outlines={"tumour": region})
    assert not any(axes.collections for axes in pictures(figure))


def test_more_outlines_than_colours_are_refused():
    regions = {str(place): np.zeros(picture().grid.shape) for place in range(len(RIMS) + 1)}
    with pytest.raises(InputError, match="outlines must be at most"):
        draw_overlay(picture(), Shown.of(attribution(picture())), outlines=regions)


def test_a_region_of_another_shape_is_refused_by_its_name():
    with pytest.raises(InputError, match="outline 'tumour' must have the image's shape"):
        draw_overlay(picture(), Shown.of(attribution(picture())), outlines={"tumour": np.zeros((30, 40, 1))})


def test_bare_pixels_are_rows_by_columns_in_eight_bits():
    image = picture()
    one = shown(spot(image, (4, 6, 0)))
    seen = overlay_pixels(view(image), one, painted(one.values, one.quantity, opacity=0.5), heat_only=True)
    assert (seen.shape, seen.dtype) == ((30, 40, 3), np.uint8)
    weak, strong = seen[0, 0].astype(int), seen[6, 4].astype(int)
    assert np.argwhere((seen != seen[0, 0]).any(axis=-1)).tolist() == [[6, 4]]
    assert strong[0] > weak[0]


def test_a_run_folder_gives_the_overlay_with_its_mask(run):
    image = volume()
    region = spot(image, (10, 12, 5))
    run.case(image, mask=image.with_values(region[None]))
    run.map(attribution(image), image)
    figure = overlay_from_run(run.folder, "occlusion")
    assert "given mask (cyan)" in words(figure)
    assert len(pictures(figure)) == 2
