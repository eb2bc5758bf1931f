"""Boards: pictures in rows, nothing cut off, nothing over something else."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, picture, volume
from tests.report.seen import pictures, rendered_place, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures import png
from voxplain.report.figures_board import DARK, PAPER, Cell, Row, draw_board, draw_scale, wrapped
from voxplain.report.figures_view import image_cell, map_cell, view
from voxplain.report.palettes import fire

HALF_A_VOXEL = 0.5 / 20


def board(image, *maps, **named):
    on = view(image, maps)
    cells = [image_cell(on), *(map_cell(on, one, one.scale, backdrop="black") for one in maps)]
    return draw_board([Row(tuple(cells))], **named)


@pytest.mark.parametrize(("affine", "column", "row"), [(LPS, 4, 6), (RAS, 20 - 1 - 4, 24 - 1 - 6)])
def test_a_marked_voxel_is_seen_where_it_lies(affine, column, row):
    image = volume(affine)
    figure = board(image, shown(spot(image, (4, 6, 5))))
    x, y = rendered_place(figure, pictures(figure)[1])
    assert x == pytest.approx((column + 0.5) / 20, abs=HALF_A_VOXEL)
    assert y == pytest.approx((row + 0.5) / 24, abs=HALF_A_VOXEL)


def test_names_numbers_title_and_caption_are_there():
    figure = board(picture(), shown(spot(picture(), (4, 6, 0))), title="case b\nscore", caption=["One.", "Two."])
    said = words(figure)
    for part in ("case b", "score", "One. Two.", "image", "gradient", "raw 0 to 1 logits", "colours ±1"):
        assert part in said


def test_failed_checks_and_wrong_titles_are_red():
    on = view(picture())
    cell = Cell(on.panel, bad=True, alarm="completeness")
    figure = draw_board([Row((cell,))], look=PAPER)
    red = [text.get_text() for text in figure.texts if text.get_color() == PAPER.bad]
    assert red == ["image", "CHECK FAILED: completeness"]


def test_all_text_stays_on_the_figure():
    long = "integrated_gradients(steps=32, baseline='blur')"
    one = shown(spot(picture(), (4, 6, 0)), long, unit="logits (weighted activations) times logits per a.u.")
    figure = board(picture(), one, title="a very long title of many words " * 4, caption=["Words of a caption."] * 12)
    figure.canvas.draw()
    wide, high = figure.bbox.width, figure.bbox.height
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= wide, text.get_text()
        assert box.y0 >= 0, text.get_text()
        assert box.y1 <= high, text.get_text()


def test_no_two_texts_overlap():
    maps = [shown(spot(picture(), (4, 6, 0)), f"smoothgrad(inner='gradient', samples={n})") for n in range(3)]
    figure = board(picture(), *maps, title="case", caption=["A caption that is long enough for two lines. " * 3])
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    for place, (name, box) in enumerate(boxes):
        for other, second in boxes[place + 1 :]:
            assert not box.overlaps(second), (name, other)


def test_dollar_signs_are_no_formulas():
    assert "$x$" in words(board(picture(), title="$x$"))


def test_the_first_picture_alone_has_the_scale_bar():
    figure = board(volume(), shown(spot(volume(), (4, 6, 5))), shown(spot(volume(), (4, 6, 5))))
    assert [sum(text.get_text().endswith(" mm") for text in axes.texts) for axes in pictures(figure)] == [1, 0, 0]


def test_a_row_bar_tells_limits_unit_and_raw_extremes():
    one = shown(np.linspace(-2, 1, 1200).reshape(40, 30, 1).astype(np.float32))
    on = view(picture())
    figure = draw_board([Row((image_cell(on),), bar=one.scale, unit="logits")])
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "logits"
    assert [float(text.get_text().replace("−", "-")) for text in bar.get_yticklabels()] == pytest.approx(
        [-2, -1, 0, 1, 2], abs=0.01
    )
    assert [text.get_text() for text in bar.texts] == ["max 1", "min −2"]


@pytest.mark.parametrize(("true_scale", "ends"), [(True, (-4, 4)), (False, (-1, 1))])
def test_the_bar_of_black_fire_red_counts_in_units_or_shares(true_scale, ends):
    scale = fire(np.linspace(-4, 4, 1200).reshape(40, 30, 1), limits=(-4, 4), true_scale=true_scale)
    figure = board(picture())
    axes = figure.add_axes((0, 0, 0.1, 1))
    draw_scale(axes, scale, "years", DARK)
    ticks = [float(text.get_text().replace("−", "-")) for text in axes.get_yticklabels()]
    assert len(ticks) == 7
    assert (ticks[0], ticks[-1]) == ends
    assert axes.get_ylabel() == ("years" if true_scale else "share of 4 years")


def test_the_same_board_is_the_same_bytes():
    one = shown(spot(picture(), (4, 6, 0)))
    assert png(board(picture(), one)) == png(board(picture(), one))


def test_a_board_without_pictures_is_refused():
    with pytest.raises(InputError, match="at least one picture"):
        draw_board([Row((None,))])


@pytest.mark.parametrize(
    ("text", "letters", "lines"),
    [
        ("one two three", 8, ["one two", "three"]),
        ("integrated_gradients(steps=16)", 16, ["integrated_", "gradients(", "steps=16)"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("4 partition_shap(max_evals=300)", 20, ["4 partition_shap(", "max_evals=300)"]),
        ("", 9, []),
    ],
)
def test_long_names_break_where_they_may(text, letters, lines):
    assert wrapped(text, letters) == lines


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_board_can_be_saved_as_vectors(kind, tmp_path):
    figure = board(picture(), shown(spot(picture(), (4, 6, 0))), title="case b")
    figure.savefig(tmp_path / f"row.{kind}")
    assert (tmp_path / f"row.{kind}").stat().st_size > 1000
