"""Scenes as SVG: everything where the voxels are, words escaped, equal things held once."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from tests.report.made import LPS, attribution, blob, picture, volume
from voxplain.report.drawing import Stock, draw, draw_tile, limits
from voxplain.report.scene import scene
from voxplain.types import Quantity

HREF = "href"


def tree(markup: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(markup))


def texts(markup: Markup) -> list[str]:
    return [element.text or "" for element in tree(markup).iter("text")]


def drawn(image, values=None, quantity=Quantity.SCORE_UNITS, /, mask=None, **named) -> Markup:
    found = attribution(image, values, quantity, **named)
    return draw(scene(image, found, mask=mask), found.unit, "words", Stock(10))


def test_a_volume_has_three_planes_twice_and_a_bar():
    markup = drawn(volume(affine=LPS))
    assert len(tree(markup).findall(".//image")) == 6
    assert len(tree(markup).findall(".//linearGradient")) == 1
    assert [name for name in texts(markup) if name in ("axial", "coronal", "sagittal")] == [
        "axial", "coronal", "sagittal", "axial", "coronal", "sagittal",
    ]  # fmt: skip


def test_letters_stand_on_the_sides_of_the_patient():
    image = volume()
    panel = scene(image, attribution(image)).plain[0]
    markup = draw_tile(panel, None, "", Stock(1))
    places = {text.text: (float(text.get("x")), float(text.get("y"))) for text in tree(markup).iter("text")}
    wide, high = (float(side) for side in tree(markup).get("viewBox").split()[2:])
    assert places["R"][0] < 0.1 * wide < 0.9 * wide < places["L"][0]
    assert places["A"][1] < 0.15 * high < 0.8 * high < places["P"][1]


def test_the_crosshair_meets_at_the_centre_of_the_voxel():
    image = volume(affine=LPS)
    panel = replace(scene(image, attribution(image)).laid_over[0], cross=(5.0, 7.0))
    (path,) = [one for one in tree(draw_tile(panel, None, "", Stock(1))).iter("path") if one.get("opacity")]
    factor = 190 / max(panel.size)
    (across,) = set(re.findall(r"M[\d.]+ ([\d.]+)H", path.get("d")))
    (down,) = set(re.findall(r"M([\d.]+) [\d.]+V", path.get("d")))
    assert float(across) == pytest.approx(7.5 * panel.step[1] * factor, abs=0.06)
    assert float(down) == pytest.approx(5.5 * panel.step[0] * factor, abs=0.06)


def test_the_rim_of_a_mask_runs_around_its_voxels():
    image = picture(40, 30)
    inside = np.zeros((1, 40, 30, 1), np.float32)
    inside[:, 10:20, 5:8] = 1
    markup = drawn(image, mask=image.with_values(inside))
    rims = [path.get("d") for path in tree(markup).iter("path") if path.get("class") == "rim"]
    assert len(rims) == 2  # on the image and on the overlay
    corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", rims[0]), dtype=float)
    step = 275 / 40  # two pictures share 560 units with a gap of 10
    # The line runs half way between the centres of voxels inside and outside, which is the voxels' edge.
    assert corners.min(axis=0) == pytest.approx((10 * step, 5 * step), abs=0.06)
    assert corners.max(axis=0) == pytest.approx((20 * step, 8 * step), abs=0.06)


def test_the_bar_tells_limits_and_raw_extremes():
    image = picture()
    values = blob(image.grid.shape, (10, 10, 0)) * 2 - blob(image.grid.shape, (30, 20, 0))
    told = texts(drawn(image, values))
    assert any(text.startswith("max 2") for text in told)
    assert any(text.startswith("min −1") for text in told)
    assert "logits" in told
    ticks = {
        float(text.text.replace("−", "-")): float(text.get("y"))
        for text in tree(drawn(image, values)).iter("text")
        if re.fullmatch(r"[−\d.]+", text.text)
    }
    assert min(ticks) == -max(ticks)
    assert [ticks[value] for value in sorted(ticks)] == sorted(ticks.values(), reverse=True)  # the largest on top


def test_the_bar_has_the_colours_of_the_quantity():
    image = picture()
    (colours,) = tree(drawn(image)).iter("linearGradient")
    assert (colours.get("y1"), colours.get("y2")) == ("1", "0")  # from the bottom to the top
    stops = {float(stop.get("offset")): stop.get("stop-color") for stop in colours}
    assert len(stops) == 17
    low, high = (tuple(int(stops[end][n : n + 2], 16) for n in (1, 3, 5)) for end in (0, 1))
    assert low[2] > low[0]  # blue against
    assert high[0] > high[2]  # orange for


def test_a_constant_map_has_no_bar_and_says_so():
    image = picture()
    markup = drawn(image, np.zeros(image.grid.shape, np.float32))
    assert not tree(markup).findall(".//linearGradient")
    assert "constant map (0 everywhere)" in " ".join(texts(markup))


def test_words_are_escaped():
    image = picture()
    evil = "<script>alert(1)</script>\"'"
    found = attribution(image, unit=evil)
    markup = draw(scene(image, found), evil, evil, Stock(1))
    assert tree(markup).get("aria-label") == evil
    assert not tree(markup).findall(".//script")


def test_equal_pixels_and_colours_are_held_once():
    image, stock = picture(), Stock(4, "case-7")
    shown = scene(image, attribution(image))
    first, second = (draw(shown, "logits", "", stock) for _ in range(2))
    assert len(tree(first).findall(".//image")) == 2
    assert [use.get("href") for use in tree(second).iter("use")] == ["#case-7-pixels-0", "#case-7-pixels-1"]
    assert not tree(second).findall(".//linearGradient")
    assert all(element.get("id", "case-7").startswith("case-7") for element in tree(first).iter())


def test_a_thin_volume_keeps_its_proportions():
    markup = drawn(volume(shape=(40, 40, 2), affine=np.diag([1.0, 1, 10, 1])))
    frames = [
        (float(r.get("width")), float(r.get("height"))) for r in tree(markup).iter("rect") if r.get("fill") == "none"
    ]
    assert frames[0][0] / frames[0][1] == pytest.approx(1, abs=0.01)
    assert frames[1][0] / frames[1][1] == pytest.approx(2, abs=0.02)


def test_limits_are_told_as_below_a_small_picture():
    image = picture()
    assert limits(scene(image, attribution(image, None, Quantity.SALIENCY)).scale).startswith("0 to ")
    assert limits(scene(image, attribution(image)).scale).startswith("±")
