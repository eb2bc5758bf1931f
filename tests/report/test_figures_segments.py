"""LIME's figures and SHAP's image row: the right segments, both signs, one scale for all classes."""

import numpy as np
import pytest

from tests.report.made import attribution, picture
from tests.report.seen import pictures, pixels, words
from voxplain.errors import InputError
from voxplain.report.figures_segments import (
    Segments,
    class_maps,
    draw_best,
    draw_outlines,
    draw_signed,
    draw_weights,
    segments_from_run,
)
from voxplain.report.figures_shap import draw_shap, shap_from_run
from voxplain.types import Quantity

NAMES = ("glioma", "meningioma", "pituitary")
WEIGHTS = np.array([[0.4, -0.1, 0.3, -0.8, 0.05, 0.2], [-1, -2, -3, -4, -5, -6], [1, 0, 0, 0, 0, 0]], float)
ROUNDING = 1e-6
"""Of colours in single precision."""


def strips(columns: int = 40, rows: int = 30) -> np.ndarray:
    """Six upright strips and nothing symmetrical: the last one is wider."""
    labels = np.minimum(np.arange(columns) // 6, 5)
    return np.repeat(labels[:, None, None], rows, axis=1)


def segments() -> Segments:
    return Segments(strips(), WEIGHTS, NAMES, "logits")


def columns_where(seen: np.ndarray, condition) -> list[int]:
    return np.flatnonzero(condition(seen).all(axis=0)).tolist()


def test_the_mask_view_keeps_the_best_positive_segments_and_blanks_the_rest():
    figure = draw_best(picture(), segments(), 0, count=2)
    before, after = (pixels(axes) for axes in pictures(figure))
    kept = columns_where(after, lambda seen: np.isclose(seen, before, atol=ROUNDING).all(axis=-1))
    assert kept == [*range(6), *range(12, 18)]
    assert "2 best segments for glioma" in words(figure)
    assert "weights 0.4, 0.3" in words(figure)


def test_a_class_that_nothing_speaks_for_says_so():
    figure = draw_best(picture(), segments(), 1)
    assert "no segment speaks for meningioma" in words(figure)
    assert "all 6: −6 to −1 logits" in words(figure)


def test_no_more_segments_are_shown_than_are_positive():
    assert "4 best segments for glioma" in words(draw_outlines(picture(), segments(), 0, count=5))


def test_outlines_are_ranked_in_the_middle_of_their_segments():
    axes = pictures(draw_outlines(picture(), segments(), 0, count=2))[1]
    ranks = {text.get_text(): text.get_position() for text in axes.texts if text.get_text() in ("1", "2")}
    assert 0 <= ranks["1"][0] < 6
    assert 12 <= ranks["2"][0] < 18
    assert all(5 < y < 25 for _, y in ranks.values())


def test_green_speaks_for_and_red_against_with_signs():
    figure = draw_signed([("right", picture(), segments())], count=3)
    seen = pixels(pictures(figure)[1])
    green = columns_where(seen, lambda one: one[..., 1] > one[..., 0] + 0.1)
    red = columns_where(seen, lambda one: one[..., 0] > one[..., 1] + 0.1)
    assert green == [*range(6), *range(12, 18)]
    assert red == list(range(18, 24))
    signs = [text.get_text() for text in pictures(figure)[1].texts if text.get_text() in "+−" and text.get_text()]
    assert sorted(signs) == ["+", "+", "−"]


def test_right_and_wrong_cases_share_columns():
    figure = draw_signed([("right", picture(), segments()), ("wrong", picture(), segments())])
    assert len(pictures(figure)) == 8
    assert all(part in words(figure) for part in ("right", "wrong", *NAMES))


def test_cases_of_other_classes_cannot_share_columns():
    other = Segments(strips(), WEIGHTS, ("a", "b", "c"))
    with pytest.raises(InputError, match="same classes"):
        draw_signed([("one", picture(), segments()), ("two", picture(), other)])


def test_weights_of_all_classes_have_one_bar_that_holds_both_signs():
    figure = draw_weights(picture(), segments())
    bars = [axes for axes in figure.axes if axes.get_ylabel() == "logits"]
    assert len(bars) == 1
    assert bars[0].get_ylim() == (-6, 6)
    assert [text.get_text() for text in bars[0].texts] == ["max 1", "min −6"]


def test_weights_are_red_for_and_blue_against_white_at_zero():
    drawn = pictures(draw_weights(picture(), segments()))
    against, plus = pixels(drawn[2])[15, 38], pixels(drawn[3])
    assert against[2] > against[0] + 0.2
    assert plus[15, 3, 0] > plus[15, 3, 2]
    assert np.ptp(plus[15, 20]) < 0.02


@pytest.mark.parametrize(
    ("labels", "weights", "names", "message"),
    [
        (strips(), WEIGHTS[:, :5], NAMES, "6 segments"),
        (strips() - 1, WEIGHTS, NAMES, "whole numbers from 0"),
        (strips() + 0.5, WEIGHTS, NAMES, "whole numbers from 0"),
        (strips(), WEIGHTS, NAMES[:2], "class_names must be 3 names, got 2"),
    ],
)
def test_segments_that_do_not_fit_are_refused(labels, weights, names, message):
    with pytest.raises(InputError, match=message):
        Segments(labels, weights, names)


@pytest.mark.parametrize("draw", [draw_best, draw_outlines])
def test_labels_of_another_shape_are_refused(draw):
    with pytest.raises(InputError, match="labels must have the image's shape"):
        draw(picture(), Segments(strips(30, 40), WEIGHTS, NAMES), 0)


@pytest.mark.parametrize(("place", "count", "message"), [(3, 3, "class must be"), (0, 0, "count must be")])
def test_a_class_or_count_that_is_not_there_is_refused(place, count, message):
    with pytest.raises(InputError, match=message):
        draw_best(picture(), segments(), place, count=count)


# --- SHAP ------------------------------------------------------------------------------------------------------------


def values(height: float, column: int) -> np.ndarray:
    made = np.zeros((40, 30, 1), np.float32)
    made[column, 6] = height
    return made


def test_shap_shows_every_class_on_one_scale():
    figure = draw_shap([(picture(), {"a": values(2, 5), "b": values(-1, 9)})], unit="logits")
    drawn = pictures(figure)
    assert len(drawn) == 3
    first, second = pixels(drawn[1])[6, 5], pixels(drawn[2])[6, 9]
    assert first[0] > first[2] + 0.3
    assert second[2] > second[0]
    bars = [axes for axes in figure.axes if axes.get_ylabel() == "logits"]
    assert [text.get_text() for text in bars[0].texts] == ["max 2", "min −1"]


def test_the_image_below_is_faint_on_white():
    image = picture()
    drawn = pictures(draw_shap([(image, {"a": values(2, 5)})]))
    plain, under = pixels(drawn[0]), pixels(drawn[1])
    bare = np.ones((30, 40), bool)
    bare[6, 5] = False
    assert np.allclose(under[bare], 0.15 * plain[bare] + 0.85, atol=ROUNDING)


def test_the_limit_is_the_percentile_of_all_magnitudes():
    ramp = np.linspace(-1, 1, 40 * 30, dtype=np.float32).reshape(40, 30, 1)
    figure = draw_shap([(picture(), {"a": ramp, "b": 10 * ramp})], unit="logits")
    limit = np.percentile(np.abs(np.concatenate([ramp, 10 * ramp])), 99.9)
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "logits")
    assert bar.get_ylim() == pytest.approx((-limit, limit), rel=1e-6)


def test_sums_of_the_maps_are_told():
    assert "sum 2" in words(draw_shap([(picture(), {"a": values(2, 5)})]))


def test_one_row_an_image():
    row = (picture(), {"a": values(2, 5), "b": values(1, 5)})
    figure = draw_shap([row, row], names=("first", "second"))
    assert len(pictures(figure)) == 6
    assert "first" in words(figure)
    assert "second" in words(figure)


def test_a_row_without_maps_is_refused():
    with pytest.raises(InputError, match="at least one"):
        draw_shap([(picture(), {})])


# --- from a run folder -----------------------------------------------------------------------------------------------


def lime(image, **named):
    labels = strips()
    painted = WEIGHTS[1][labels].astype(np.float32)
    parts = {"segments": labels[None].astype(np.float32), "class_0": WEIGHTS[0][labels][None].astype(np.float32)}
    numbers = {"class": 1}
    return attribution(image, painted, Quantity.RELEVANCE, method="lime", parts=parts, numbers=numbers, **named)


def test_segments_and_weights_of_every_class_come_from_a_run(run):
    image = picture()
    run.case(image)
    run.map(lime(image), image)
    _, found = segments_from_run(run.folder)
    assert found.class_names == ("healthy", "glioma")
    assert np.allclose(found.weights, WEIGHTS[:2], rtol=1e-6)
    assert np.array_equal(found.labels, strips())


def test_a_map_without_segments_is_refused(run):
    image = picture()
    run.case(image)
    run.map(attribution(image), image)
    with pytest.raises(InputError, match="must have segments"):
        segments_from_run(run.folder, "occlusion")


def test_class_maps_come_in_the_order_of_the_classes(run):
    image = picture()
    run.case(image)
    run.map(lime(image), image)
    found, _ = segments_from_run(run.folder)
    maps = class_maps(found, "lime")
    assert list(maps) == ["healthy", "glioma"]
    assert maps["glioma"][39, 0, 0] == -6


def test_the_row_of_a_run_has_all_classes(run):
    image = picture()
    run.case(image)
    run.map(lime(image), image)
    figure = shap_from_run(run.folder, "lime")
    assert len(pictures(figure)) == 3
    assert "truth glioma; predicted glioma" in words(figure)
