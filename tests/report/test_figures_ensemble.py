"""Ensembles and hierarchical occlusion: stack, fused map, votes, levels and counters."""

from dataclasses import replace

import numpy as np
import pytest

from tests.report.made import attribution, blob, picture
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_ensemble import (
    counter_words,
    draw_fused,
    draw_levels,
    draw_stack,
    fused_from_run,
    levels_from_run,
)
from voxplain.types import Quantity


def members() -> list:
    return [shown(spot(picture(), (5 + n, 6, 0)), f"m{n}", Quantity.SALIENCY) for n in range(4)]


def fused() -> np.ndarray:
    values = spot(picture(), (9, 12, 0), 0.75)
    values[10, 12] = 0.5
    return values


def test_the_stack_shows_image_and_numbered_maps():
    figure = draw_stack(picture(), members())
    assert len(pictures(figure)) == 5
    assert all(f"{n + 1} m{n}" in words(figure) for n in range(4))


def test_fused_map_votes_and_correlations_stand_below_the_members():
    agreement = np.zeros((40, 30, 1))
    agreement[3:6, 4:9] = 0.75
    figure = draw_fused(picture(), members(), fused(), agreement=agreement, correlations=np.eye(4))
    drawn = pictures(figure)
    assert len(drawn) == 8
    assert "raw 0 to 3 of 4 maps" in words(figure)
    voted = np.argwhere(colourful(pixels(drawn[6])) > 0)
    assert (voted.min(axis=0).tolist(), voted.max(axis=0).tolist()) == ([4, 3], [8, 5])


def test_what_a_rule_cut_away_leaves_the_image_bare():
    drawn = pictures(draw_fused(picture(), members(), fused()))
    assert np.argwhere(colourful(pixels(drawn[5])) > 0).tolist() == [[12, 9], [12, 10]]


def test_fused_maps_run_from_0_to_1_whatever_they_reach():
    assert "colours 0 to 1" in words(draw_fused(picture(), members(), fused() / 10))


def test_votes_between_whole_numbers_are_shown_as_shares():
    agreement = blob((40, 30, 1), (9, 9, 0))
    assert "of the maps" in words(draw_fused(picture(), members(), fused(), agreement=agreement))


def test_correlations_are_written_in_their_cells():
    matrix = np.eye(4)
    matrix[0, 3] = -0.5
    axes = pictures(draw_fused(picture(), members(), fused(), correlations=matrix))[-1]
    found = {text.get_text(): text.get_position() for text in axes.texts}
    column, row = found["-0.50"]
    assert column > row
    assert pixels(axes)[0, 3, 2] > pixels(axes)[0, 3, 0]
    assert pixels(axes)[0, 0, 0] > pixels(axes)[0, 0, 2]


def test_correlations_of_another_number_of_maps_are_refused():
    with pytest.raises(InputError, match=r"correlations must be \(4, 4\)"):
        draw_fused(picture(), members(), fused(), correlations=np.eye(3))


def test_an_ensemble_without_members_is_refused():
    with pytest.raises(InputError, match="at least one map"):
        draw_stack(picture(), [])


def levels() -> np.ndarray:
    values = np.zeros((40, 30, 1))
    values[8:24, 4:20] = 1
    values[8:16, 4:12] = 2
    return values


def test_levels_are_counted_on_the_bar_and_drawn_where_they_lie():
    figure = draw_levels(picture(), levels(), highest=5)
    seen = colourful(pixels(pictures(figure)[1])) > 0
    assert np.argwhere(seen).min(axis=0).tolist() == [4, 8]
    assert np.argwhere(seen).max(axis=0).tolist() == [19, 23]
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "levels")
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "1", "2", "3", "4", "5"]
    assert "21.3% of the image" in words(figure)


def test_an_image_without_a_flip_says_so():
    figure = draw_levels(picture(), np.zeros((40, 30, 1)), highest=5)
    assert "hiding no window changes the label" in words(figure)
    assert colourful(pixels(pictures(figure)[1])).max() == 0


def test_levels_one_by_one():
    parts = {"level 1": (levels() >= 1), "level 2": (levels() >= 2)}
    figure = draw_levels(picture(), levels(), parts=parts)
    assert len(pictures(figure)) == 4
    assert (colourful(pixels(pictures(figure)[3])) > 0).sum() == 64


def test_graded_maps_are_no_levels():
    with pytest.raises(InputError, match="whole numbers"):
        draw_levels(picture(), levels() / 3, highest=5)


def test_counters_are_told_by_label():
    counters = {"predicted_as_0": 7, "informative_as_0": 5, "fell_back": 2}
    assert counter_words(counters) == ("Predicted as 0: 7, with an informative map: 5.", "Fell back: 2.")
    assert "Predicted as 0: 7" in words(draw_levels(picture(), levels(), counters=counters))


def joined(run, *, alone: tuple[str, ...] = ("grad_cam", "occlusion(window=4)")) -> None:
    image = picture()
    run.case(image)
    for name in alone:
        run.map(attribution(image, method=name), image, name.partition("(")[0])
    numbers = {"members": ["grad_cam", "occlusion(window=4)"], "rank_correlations": [[1, 0.5], [0.5, 1]]}
    run.map(
        attribution(
            image, fused(), Quantity.SALIENCY, method="ensemble(of=['grad_cam', 'occlusion(window=4)'])",
            numbers=numbers, parts={"agreement": np.full((1, 40, 30, 1), 0.5, np.float32)},
        ),
        image, "ensemble",
    )  # fmt: skip


def test_an_ensemble_of_a_run_comes_with_its_members(run):
    joined(run)
    figure = fused_from_run(run.folder)
    assert len(pictures(figure)) == 6
    assert "1 grad_cam" in words(figure)
    assert "2 maps joined" in words(figure)


def test_members_that_were_not_run_alone_are_named(run):
    joined(run, alone=("grad_cam",))
    with pytest.raises(InputError, match=r"the run lacks occlusion\(window=4\)"):
        fused_from_run(run.folder)


def test_an_ensemble_that_is_not_there_is_told(run):
    joined(run)
    with pytest.raises(InputError, match="rank must be between 0 and 0"):
        fused_from_run(run.folder, rank=1)


def occluded(image, **named):
    parts = {f"level_{n}": (levels() >= n).astype(np.float32)[None] for n in (1, 2)}
    method = "hierarchical_occlusion(mode='label_flip')"
    return attribution(image, levels(), Quantity.SALIENCY, method=method, unit="levels", parts=parts, **named)


def test_levels_of_a_run_come_with_the_counters_of_all_cases(run):
    image = picture()
    other = replace(image, identifier="case c")
    for number, one in enumerate((image, other)):
        run.case(one, name=f"c{number}")
        run.map(occluded(one, numbers={"predicted_as_1": 1, "informative_as_1": number}), one, f"levels{number}")
    figure = levels_from_run(run.folder)
    assert len(pictures(figure)) == 4
    assert "level 2" in words(figure)
    assert "Predicted as 1: 2, with an informative map: 1." in words(figure)


def test_enlarged_levels_are_rounded(run):
    image = picture()
    run.case(image)
    blurred = occluded(image)
    blurred = replace(blurred, values=blurred.values * np.float32(0.9))
    run.map(blurred, image)
    assert "raw 0 to 2 levels" in words(levels_from_run(run.folder))


def test_occlusion_by_score_has_no_levels(run):
    image = picture()
    run.case(image)
    run.map(attribution(image, method="hierarchical_occlusion"), image)
    with pytest.raises(InputError, match="label_flip"):
        levels_from_run(run.folder)
