"""Methods by cases and layers by cases."""

import numpy as np
import pytest

from tests.report.made import attribution, blob, picture, volume
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.errors import FileError, InputError
from voxplain.report.figures_matrix import Column, draw_matrix, layer_matrix_from_run, matrix_from_run


def column(place: int, *methods: str, strength: float = 1.0, **named) -> Column:
    image = picture(identifier=f"case {place}")
    maps = {name: shown(spot(image, (5 + 10 * place, 6 + row, 0), strength)) for row, name in enumerate(methods)}
    return Column(image, maps, **named)


def test_columns_are_cases_and_rows_are_methods():
    figure = draw_matrix([column(0, "a", "b"), column(1, "a", "b"), column(2, "a", "b")])
    drawn = pictures(figure)
    assert len(drawn) == 9
    lefts = sorted({round(axes.get_position().x0, 4) for axes in drawn})
    tops = sorted({round(axes.get_position().y0, 4) for axes in drawn}, reverse=True)
    assert (len(lefts), len(tops)) == (3, 3)
    for axes in drawn:
        case, row = lefts.index(round(axes.get_position().x0, 4)), tops.index(round(axes.get_position().y0, 4))
        strength = colourful(pixels(axes))
        if row == 0:
            assert strength.max() < 1e-6
        else:
            assert np.unravel_index(strength.argmax(), strength.shape) == (6 + row - 1, 5 + 10 * case)


def test_a_missing_map_leaves_its_place_empty_and_says_so():
    figure = draw_matrix([column(0, "a", "b"), column(1, "a")])
    assert len(pictures(figure)) == 5
    assert "An empty place: no map." in words(figure)
    assert "empty place" not in words(draw_matrix([column(0, "a"), column(1, "a")]))


def test_a_map_stands_below_its_own_case_where_another_lacks_it():
    figure = draw_matrix([column(0, "a"), column(1, "a", "b")])
    lefts = [round(axes.get_position().x0, 4) for axes in pictures(figure)]
    assert lefts[4] == lefts[1] != lefts[0]


def test_methods_that_only_later_cases_have_get_their_own_row():
    figure = draw_matrix([column(0, "a"), column(1, "b")])
    tops = {round(axes.get_position().y0, 4) for axes in pictures(figure)}
    assert len(tops) == 3


def test_maps_of_one_row_share_limits_on_request():
    cases = [column(0, "a"), column(1, "a", strength=0.01)]
    own, shared = draw_matrix(cases), draw_matrix(cases, shared=True)
    assert colourful(pixels(pictures(own)[3])).max() > 0.2
    assert colourful(pixels(pictures(shared)[3])).max() < 0.05
    assert "share their colour limits" in words(shared)
    assert "limits of its own" in words(own)


def test_every_case_is_cut_where_its_own_maps_are_strongest():
    cases = []
    for k in (4, 11):
        image = volume(identifier=f"case {k}")
        cases.append(Column(image, {"a": shown(blob(image.grid.shape, (8, 8, k)))}))
    text = words(draw_matrix(cases))
    assert "Axial slice 4, where the map is strongest." in text
    assert "Axial slice 11, where the map is strongest." in text


def test_a_wrong_prediction_is_named_in_red():
    figure = draw_matrix([column(0, "a", words="case 0, WRONG", wrong=True), column(1, "a", words="case 1")])
    colours = {text.get_text(): text.get_color() for text in figure.texts}
    assert colours["case 0, WRONG"] != colours["case 1"]


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(InputError, match="at least one map, got none"):
        draw_matrix([Column(picture(), {})])
    other = Column(picture(), {"a": shown(spot(picture(), (5, 6, 0)), unit="probability")})
    with pytest.raises(InputError, match="maps of 'a' must be of one quantity and unit"):
        draw_matrix([column(0, "a"), other], shared=True)


def made(run, count: int = 2) -> None:
    """Cases with occlusion and Grad-CAM at two layers, the second one predicted wrongly."""
    for n in range(count):
        image = picture(identifier=f"case {n}")
        run.case(image, f"c{n}", label="healthy" if n == 1 else "glioma")
        run.map(attribution(image), image, f"{n}-occlusion")
        for layer in ("layer1", "layer4"):
            found = attribution(image, method="grad_cam", layer=layer)
            run.map(found, image, f"{n}-{layer}", layer=layer)


def test_a_matrix_is_drawn_from_a_run_folder(run):
    made(run)
    figure = matrix_from_run(run.folder)
    assert len(pictures(figure)) == 2 * 4
    text = words(figure)
    assert "case 1, truth healthy, predicted glioma, WRONG" in text
    for name in ("occlusion(window=4)", "grad_cam, layer1", "grad_cam, layer4"):
        assert "".join(name.split()) in "".join(text.split())


def test_layers_of_one_method_are_drawn_from_a_run_folder(run):
    made(run)
    figure = layer_matrix_from_run(run.folder, "grad_cam", ["case 1"])
    assert len(pictures(figure)) == 3
    with pytest.raises(InputError, match="maps of 'occlusion' must be of named layers"):
        layer_matrix_from_run(run.folder, "occlusion")


def test_a_long_run_shows_its_first_cases_and_says_so(run):
    made(run, 8)
    assert "The first 6 of 8 cases." in words(matrix_from_run(run.folder))


def test_a_run_without_maps_is_refused(run):
    run.case(picture())
    with pytest.raises(FileError, match="must hold a case with an image and a map, got none"):
        matrix_from_run(run.folder)
