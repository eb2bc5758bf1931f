"""The contact sheet: one slice for all maps, each with its own colours, nothing stretched."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, SHAPE, attribution, blob, failed, picture, volume
from tests.report.parsed import Parsed
from voxplain.report.display import scale
from voxplain.report.figures import png
from voxplain.report.page import write
from voxplain.report.sheet import draw_sheet, ground, tile
from voxplain.types import Quantity


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [text.get_text() for text in figure.texts]


def tiled(on, found):
    return tile(on, found, scale(found.values[0], found.quantity))


def sheet(image, *maps, mask=None):
    on = ground(image, mask)
    return draw_sheet(on, [tiled(on, one) for one in maps], "case a\nscore of class 1")


def masked(image, *slices: tuple[int, int]):
    """A mask of squares: (axial slice, side)."""
    values = np.zeros((1, *image.grid.shape), np.float32)
    for k, side in slices:
        values[0, 4 : 4 + side, 5 : 5 + side, k] = 1
    return image.with_values(values)


# --- the slice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [RAS, LPS])
def test_the_slice_is_the_one_with_the_largest_mask(affine):
    image = volume(affine)
    on = ground(image, masked(image, (3, 2), (11, 6), (12, 4)))
    assert on.cut.index == 11
    assert on.panel.outline.sum() == 36
    assert on.words[0] == "Axial slice 11, where the mask is largest."


def test_of_equally_large_slices_the_middle_one_is_taken():
    assert ground(volume(), masked(volume(), (3, 4), (4, 4), (5, 4), (9, 2))).cut.index == 4


@pytest.mark.parametrize("mask", [None, masked(volume())])
def test_without_a_mask_it_is_the_middle_slice(mask):
    on = ground(volume(), mask)
    assert on.cut.index == SHAPE[2] // 2
    assert on.words[0] == "Axial slice 8, the middle one."


def test_a_volume_that_is_thin_from_above_is_cut_where_it_is_wide():
    image = volume(shape=(1, 24, 16))
    assert min(ground(image).panel.pixels.shape[:2]) > 1


def test_a_picture_has_no_slice_to_tell():
    assert not any("slice" in sentence for sentence in ground(picture()).words)


# --- the maps ------------------------------------------------------------------------------------------------------


def test_the_image_comes_first_and_every_map_has_its_name():
    image = volume()
    figure = sheet(image, attribution(image), attribution(image, method="grad_cam", layer="blocks"))
    said = texts(figure)
    assert [text for text in said if text in ("image", "occlusion(window=4)", "grad_cam, blocks")] == [
        "image", "occlusion(window=4)", "grad_cam, blocks",
    ]  # fmt: skip
    assert said.count("A") == 1
    assert any(text.endswith(" mm") for text in said)


def test_every_map_has_its_own_limits_and_colours():
    image = picture()
    strong, weak = (blob(image.grid.shape, (5, 5, 0)) * height for height in (8.0, 0.5))
    figure = sheet(image, attribution(image, strong), attribution(image, weak, Quantity.SALIENCY, unit="activations"))
    said = " ".join(texts(figure))
    assert "±7.13" in said
    assert "0 to 0.446" in said
    assert "activations" in said
    assert len(figure.axes) == 3 + 2


def test_a_slice_is_coloured_by_the_limits_of_the_whole_map():
    image = volume()
    values = blob(SHAPE, (10, 12, 8)) * 0.1
    values[8:14, 8:14, 2] = 10.0
    on = ground(image)
    weak = tiled(on, attribution(image, values))
    alone = tiled(on, attribution(image, blob(SHAPE, (10, 12, 8))))
    spread = [np.ptp(one.panel.pixels - one.panel.pixels.mean(axis=-1, keepdims=True)) for one in (weak, alone)]
    assert spread[0] < 0.2 * spread[1]


def test_a_map_lies_over_the_place_it_belongs_to():
    image = volume(LPS)
    values = np.zeros(SHAPE, np.float32)
    values[4:8, 5:9, 11] = 1
    on = ground(image, masked(image, (11, 4)))
    coloured = np.ptp(tiled(on, attribution(image, values)).panel.pixels, axis=-1) > 0.2
    assert coloured.any()
    assert np.array_equal(coloured, on.panel.outline)


def test_a_constant_map_says_so_and_gets_no_colours():
    image = picture()
    flat = attribution(image, np.full(image.grid.shape, 3.0), certificate=failed("not constant"))
    figure = sheet(image, attribution(image), flat)
    said = texts(figure)
    assert any("constant map" in text.replace("\n", " ") for text in said)
    assert "CHECK FAILED: not constant" in said
    assert len(figure.axes) == 3 + 1
    on = ground(image)
    pixels = tiled(on, flat).panel.pixels
    assert np.array_equal(pixels, on.panel.pixels)


def test_derivatives_are_told_apart_from_evidence():
    image = picture()
    said = " ".join(
        texts(sheet(image, attribution(image, None, Quantity.RELEVANCE, evidence="absolute", method="gradient")))
    )
    assert "(gradient)" in said
    assert "speaks for" not in said


def test_a_long_name_keeps_to_its_lines():
    image = picture()
    figure = sheet(image, attribution(image, method="method(" + "option=1234, " * 20 + ")"))
    lines = [text for text in texts(figure) if "option" in text]
    assert len(lines) == 2
    assert lines[1].endswith("…")


def test_names_are_no_formulas():
    image = picture()
    assert png(sheet(image, attribution(image, method="a$b$_", layer="$")))


def test_nothing_on_the_sheet_overlaps_or_leaves_it():
    image = volume()
    maps = [attribution(image, method=f"method_{n}", certificate=failed()) for n in range(13)]
    figure = sheet(image, *maps, mask=masked(image, (8, 4)))
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in boxes)
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
            assert apart
    renderer = figure.canvas.get_renderer()
    words = [text.get_window_extent(renderer) for text in figure.texts]
    for number, one in enumerate(words):
        assert one.x0 >= 0
        assert one.x1 <= figure.bbox.width
        assert one.y0 >= 0
        assert not any(one.overlaps(other) for other in words[:number])


def test_the_same_maps_give_the_same_bytes():
    image = volume()
    assert png(sheet(image, attribution(image))) == png(sheet(image, attribution(image)))


# --- the page ------------------------------------------------------------------------------------------------------


def many(run, *targets: str, each: int = 2):
    """A run of one case with so many maps of each target."""
    image = picture()
    run.case(image)
    for target in targets:
        for number in range(each):
            found = attribution(image, method=f"method_{number}", target_words=f"words of {target}")
            relative = f"maps/c1/net/{target}/method_{number}.nii.gz"
            (run.folder / relative).parent.mkdir(parents=True, exist_ok=True)
            found.save(run.folder / relative)
            run.row(case=image.identifier, model="net", target=target, method=found.method, map=relative)


def sheets(run) -> list[str]:
    return sorted(path.name for path in (run.folder / "figures").glob("*-sheet.png"))


def small(page: Parsed) -> list[str]:
    """What the small pictures side by side are called."""
    told = [picture["aria-label"] for picture in page.all("svg")]
    return [words for words in told if words.endswith("on this slice")]


def test_a_target_with_several_maps_has_a_sheet_on_the_page_and_in_figures(run):
    many(run, "region-1", "region-2", each=3)
    page = Parsed(write(run.folder))
    assert sheets(run) == ["c1-region-1-sheet.png", "c1-region-2-sheet.png"]
    assert small(page) == ["The image on this slice", *(f"method_{n} on this slice" for n in range(3))] * 2
    assert len(page.all("svg")) == 2 * (4 + 3)  # small pictures, and one a map
    assert page.text.count("All maps side by side") == 2


def test_a_lone_map_has_none(run):
    many(run, "region-1", each=1)
    assert "side by side" not in Parsed(write(run.folder)).text
    assert sheets(run) == []


def test_a_broken_map_is_left_off_the_sheet(run):
    many(run, "region-1", each=3)
    (run.folder / "maps/c1/net/region-1/method_1.json").write_text("{")
    page = Parsed(write(run.folder))
    assert small(page)[1:] == ["method_0 on this slice", "method_2 on this slice"]


def test_left_out_methods_are_listed_with_their_reason_and_are_no_failures(run):
    many(run, "region-1")
    run.row(
        case="case b", method="lrp", target="region-1", map=None, status="refused", error="lrp knows no <b>rule</b>"
    )
    page = Parsed(write(run.folder))
    assert (
        "Left out Every method was asked for; these cannot explain this case. lrp lrp knows no <b>rule</b>" in page.text
    )
    assert "1 left out" in page.text
    assert "Warnings" not in page.text
    assert not page.all("b")
