"""Figures: drawn, the same bytes each time, and without anybody else's state."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.report.made import LPS, RAS, SHAPE, attribution, blob, failed, picture, volume
from voxplain.errors import FileError, InputError
from voxplain.report.figures import draw, png, save
from voxplain.types import Quantity


def pixels(figure) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(png(figure))).convert("RGB"))


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [text.get_text() for text in figure.texts]


def pictures(figure) -> list:
    """The axes that show the image: all but the colour bar."""
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def test_a_volume_has_six_pictures_and_a_colour_bar():
    figure = draw(volume(), attribution(volume()))
    assert len(pictures(figure)) == 6
    assert len(figure.axes) == 7


def test_a_2d_image_stands_beside_its_overlay():
    names = [axes.get_title(loc="left") for axes in pictures(draw(picture(), attribution(picture())))]
    assert names == ["image", "map over image"]


def test_millimetres_have_one_length_in_all_planes():
    figure = draw(volume(), attribution(volume()))
    scales = []
    for axes in pictures(figure):
        box = axes.get_position()
        wide, high = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
        scales += [wide / abs(np.diff(axes.get_xlim())[0]), high / abs(np.diff(axes.get_ylim())[0])]
    assert np.ptp(scales) < 1e-9 * scales[0]


def test_the_same_input_gives_the_same_bytes():
    assert png(draw(volume(), attribution(volume()))) == png(draw(volume(), attribution(volume())))


def test_the_users_own_matplotlib_settings_change_nothing():
    plain = png(draw(picture(), attribution(picture())))
    with matplotlib.rc_context(
        {"font.family": "serif", "savefig.bbox": "tight", "image.origin": "lower", "lines.linewidth": 9}
    ):
        styled = png(draw(picture(), attribution(picture())))
    assert plain == styled


def test_drawing_leaves_the_matplotlib_settings_alone():
    before = dict(matplotlib.rcParams)
    png(draw(picture(), attribution(picture())))
    assert dict(matplotlib.rcParams) == before


def test_drawing_opens_no_window_state():
    import matplotlib.pyplot as plt

    draw(picture(), attribution(picture()))
    assert plt.get_fignums() == []


def test_letters_stand_at_the_edges_they_name():
    axes = pictures(draw(volume(LPS), attribution(volume(LPS))))[0]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["R"][0] < 0.1 < 0.9 < places["L"][0]
    assert places["P"][1] < 0.1 < 0.9 < places["A"][1]


def painted(figure, axes) -> np.ndarray:
    """The pixels of one picture of a drawn figure."""
    shown, box = pixels(figure).astype(int), axes.get_position()
    rows = slice(round((1 - box.y1) * len(shown)), round((1 - box.y0) * len(shown)))
    return shown[rows, round(box.x0 * shown.shape[1]) : round(box.x1 * shown.shape[1])]


def middle_of_colour(part: np.ndarray) -> np.ndarray:
    """Where a picture is red: column and row as shares of its width and height."""
    hot = np.argwhere(part[..., 0] - part[..., 2] > 0.7 * (part[..., 0] - part[..., 2]).max())
    return (hot.mean(axis=0) / part.shape[:2])[::-1]


@pytest.mark.parametrize("affine", [RAS, LPS])
def test_evidence_at_the_patients_left_and_front_is_painted_right_and_up(affine):
    image = volume(affine)
    left_front = (4, 20, 8) if affine[0, 0] > 0 else (15, 3, 8)
    figure = draw(image, attribution(image, blob(SHAPE, left_front)))
    column, row = middle_of_colour(painted(figure, pictures(figure)[3]))
    assert column > 0.6
    assert row < 0.4


def test_the_crosshair_meets_where_the_evidence_is_painted():
    values = np.zeros(SHAPE, dtype=np.float32)
    values[6, 15, 9] = 1
    figure = draw(volume(), attribution(volume(), values))
    for axes in pictures(figure)[3:]:
        lines = [line for line in axes.lines if line.get_linewidth() < 1]
        across = next(line.get_xdata()[0] for line in lines if np.ptp(line.get_xdata()) == 0)
        along = next(line.get_ydata()[0] for line in lines if np.ptp(line.get_ydata()) == 0)
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        meets = (across - left) / (right - left), (along - top) / (bottom - top)
        for line in lines:
            line.remove()
        assert middle_of_colour(painted(figure, axes)) == pytest.approx(meets, abs=0.01)


def test_the_outline_runs_around_the_mask():
    mask = volume().with_values((blob(SHAPE, (4, 18, 8), width=3) > 0.5)[None])
    figure = draw(volume(), attribution(volume(), blob(SHAPE, (4, 18, 8))), mask=mask)
    (rim, *_) = pictures(figure)[0].collections
    corners = rim.get_paths()[0].vertices
    assert corners.mean(axis=0) == pytest.approx([15 * 2, 5 * 2], abs=0.5)


def test_the_scale_bar_is_as_long_as_it_says():
    axes = pictures(draw(volume(), attribution(volume())))[0]
    (bar,) = axes.patches
    (length,) = [int(text.get_text().split()[0]) for text in axes.texts if text.get_text().endswith("mm")]
    assert bar.get_width() * abs(np.diff(axes.get_xlim())[0]) == pytest.approx(length)


def test_the_scale_bar_has_a_dark_rim_on_a_white_film():
    film = picture(unit="mm").with_values(np.full((1, 40, 30, 1), 200.0))
    figure = draw(film, attribution(film), window=(0, 100))
    grey = np.asarray(Pillow.open(io.BytesIO(png(figure))).convert("L"))
    (bar,) = pictures(figure)[0].patches
    box, rim = bar.get_window_extent(), 0.5 * figure.dpi / 72
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    around = [(x, box.y0 - rim), (x, box.y1 + rim), (box.x0 - rim, y), (box.x1 + rim, y)]
    inside, *beside = (
        int(grey[round(grey.shape[0] - row - 0.5), round(column - 0.5)]) for column, row in [(x, y), *around]
    )
    assert inside > 200
    assert max(beside) < 120


def test_a_radiographs_scale_bar_counts_at_the_detector():
    image = picture(100, 80, unit="detector mm")
    assert "20 mm at the detector" in texts(draw(image, attribution(image)))


def test_pixels_of_unknown_size_get_no_scale_bar():
    assert not any(text.endswith(" mm") for text in texts(draw(picture(), attribution(picture()))))


def test_the_colour_bar_has_unit_limits_and_raw_range():
    values = blob(SHAPE, (6, 15, 9)) - 0.25 * blob(SHAPE, (14, 5, 4))
    bar = draw(volume(), attribution(volume(), values), limits=(-0.5, 0.5)).axes[-1]
    assert bar.get_ylabel() == "logits"
    assert [label.get_text() for label in bar.get_yticklabels()][::4] == ["−0.5", "0.5"]
    assert {text.get_text() for text in bar.texts} == {"max 1", "min −0.25"}


def test_a_constant_map_has_words_and_no_colour_bar():
    figure = draw(volume(), attribution(volume(), np.zeros(SHAPE), Quantity.SALIENCY))
    assert len(figure.axes) == 6
    assert "constant map" in " ".join(texts(figure))


def test_a_failed_check_stands_above_the_picture_in_red():
    figure = draw(picture(), attribution(picture(), certificate=failed("not constant")))
    alarm = next(text for text in figure.texts if text.get_text().startswith("CHECK FAILED: not constant"))
    red, green, blue = matplotlib.colors.to_rgb(alarm.get_color())
    assert red > 0.9 > 0.5 > max(green, blue)


def test_the_alarm_stays_on_the_part_that_a_page_takes():
    figure = draw(picture(), attribution(picture(), certificate=failed()))
    alarm = next(text for text in figure.texts if text.get_text().startswith("CHECK FAILED"))
    assert figure.body[0] < alarm.get_position()[1] <= figure.body[1]


def test_the_title_is_the_users_when_given():
    assert "my title" in texts(draw(picture(), attribution(picture()), title="my title"))


def test_dollar_signs_and_foreign_letters_in_names_are_only_text():
    image = picture(identifier="case $x_{$ 脳 \n <b>")
    assert len(png(draw(image, attribution(image, target_words="price $\\frac$")))) > 1000


def test_a_very_long_name_is_cut():
    image = picture(identifier="x" * 500)
    assert max(len(text) for text in texts(draw(image, attribution(image)))) < 200


def test_no_text_runs_out_of_the_figure():
    image = volume(identifier="long " * 40)
    figure = draw(image, attribution(image, certificate=failed(), method="m(" + "x" * 200 + ")"), mask=image)
    figure.canvas.draw()
    width = figure.bbox.width
    assert max(text.get_window_extent().x1 for text in figure.texts) <= width


@pytest.mark.parametrize("shape", [(40, 3, 1), (3, 40, 1), (1, 1, 1)])
def test_odd_shapes_can_be_drawn(shape):
    image = picture(*shape[:2])
    assert len(png(draw(image, attribution(image, np.arange(float(np.prod(shape))).reshape(shape))))) > 1000


def test_a_mask_that_touches_the_edge_is_drawn():
    mask = picture().with_values(np.ones((1, 40, 30, 1)))
    assert len(png(draw(picture(), attribution(picture()), mask=mask))) > 1000


def test_an_empty_mask_is_drawn_as_nothing():
    mask = picture().with_values(np.zeros((1, 40, 30, 1)))
    assert len(png(draw(picture(), attribution(picture()), mask=mask))) > 1000


def test_an_attribution_plots_itself():
    found = attribution(picture(), image=picture())
    assert found.plot(title="mine")._repr_png_()[:4] == b"\x89PNG"


def test_an_attribution_without_an_image_says_what_it_needs():
    with pytest.raises(InputError, match="needs its image"):
        attribution(picture()).plot()


def test_save_writes_a_png_and_leaves_nothing_beside_it(tmp_path):
    path = save(draw(picture(), attribution(picture())), tmp_path / "deep" / "a.png")
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".SVG", b"<?xml")]
)
def test_the_suffix_says_what_is_written_and_the_same_figure_gives_the_same_bytes(tmp_path, suffix, start):
    files = [save(draw(picture(), attribution(picture())), tmp_path / f"{n}{suffix}") for n in range(2)]
    assert files[0].read_bytes().startswith(start)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_letters_and_lines_of_a_vector_figure_are_no_pixels(tmp_path):
    shapes = save(draw(volume(), attribution(volume())), tmp_path / "a.svg").read_text()
    assert shapes.count("<image") == 7
    assert shapes.count("<path") > 50


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.zip"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(FileError, match=r"must be a file ending in \.png, \.pdf or \.svg, got "):
        save(draw(picture(), attribution(picture())), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_over_a_folder_is_one_sentence(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(FileError, match=r"cannot write 'a\.png'"):
        save(draw(picture(), attribution(picture())), tmp_path / "a.png")


@pytest.mark.parametrize(("size", "kind"), [((40, 30), "bilinear"), ((900, 700), "hanning")])
def test_small_pictures_are_interpolated_and_large_ones_averaged(size, kind):
    image = picture(*size)
    assert pictures(draw(image, attribution(image)))[0].images[0].get_interpolation() == kind
