"""Curves with intervals, distributions case by case, and the critical-difference diagram."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.report.made import attribution, picture
from tests.report.seen import words
from voxplain.errors import InputError, OptionError
from voxplain.report.figures_measured import distributions_from_run, numbers_of_run, ranks_from_run
from voxplain.report.figures_statistics import CONTROL, Curve, draw_critical_difference, draw_curves, draw_distributions
from voxplain.study.ranking import ranking

X = np.linspace(0, 1, 11)


def lines(figure) -> dict:
    """Label -> line."""
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_curves_are_drawn_through_their_points_with_bands_around():
    figure = draw_curves([Curve("a", X, 1 - X, 0.9 - X, 1.1 - X), Curve("b", X, X)], interval="95 %")
    drawn = lines(figure)
    assert drawn["a"].get_ydata().tolist() == (1 - X).tolist()
    (band,) = figure.axes[0].collections
    extents = band.get_datalim(figure.axes[0].transData)
    assert (extents.y0, extents.y1) == (pytest.approx(-0.1), pytest.approx(1.1))
    assert figure.legends[0].get_title().get_text() == "bands: 95 %"


def test_without_bands_it_is_said_that_there_are_none():
    assert draw_curves([Curve("a", X, X)]).legends[0].get_title().get_text() == "no intervals"


def test_curves_differ_in_colour_dashes_and_markers_and_controls_are_grey():
    curves = [Curve(name, X, X + n, control=name == "random") for n, name in enumerate(("a", "b", "random", "c"))]
    drawn = lines(draw_curves(curves))
    assert to_hex(drawn["random"].get_color()) == CONTROL
    others = [drawn[name] for name in "abc"]
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert len({str(getattr(line, look)()) for line in others}) >= 2
    assert len({(line.get_color(), line.get_marker()) for line in others}) == 3


def test_many_curves_still_differ():
    drawn = lines(draw_curves([Curve(str(n), X, X + n) for n in range(16)])).values()
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}) == 16


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ([], "at least one, got none"),
        ([Curve("a", X, X[:-1])], "curve 'a' must have as many x as y"),
        ([Curve("a", [], [])], "as many x as y, at least one"),
        ([Curve("a", X, X, low=X)], "both ends of its interval or none"),
        ([Curve("a", X, X, X, X[:-1])], "as many x as y"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(curves, said):
    with pytest.raises(InputError, match=said):
        draw_curves(curves)


VALUES = {"a": np.arange(11.0), "b": np.array([5.0, np.nan, 7.0])}


def test_every_case_is_a_dot_in_its_methods_row():
    figure = draw_distributions(VALUES, quantity="share")
    first, second = (dots.get_offsets() for dots in figure.axes[0].collections)
    assert sorted(first[:, 0]) == VALUES["a"].tolist()
    assert sorted(second[:, 0]) == [5, 7]
    assert np.abs(first[:, 1]).max() < 0.5
    assert np.abs(second[:, 1] - 1).max() < 0.5
    assert len(np.unique(first[:, 1])) == 11


def test_median_and_quartiles_are_those_of_the_cases():
    bars = [line for line in figure_lines(draw_distributions(VALUES, quantity="share")) if line.get_linewidth() == 7]
    assert bars[0].get_xdata() == pytest.approx([2.5, 7.5])
    middles = [
        line for line in figure_lines(draw_distributions(VALUES, quantity="share")) if line.get_linewidth() == 1.6
    ]
    assert middles[0].get_xdata()[0] == 5


def figure_lines(figure) -> list:
    return figure.axes[0].get_lines()


def test_cases_without_a_number_are_counted():
    labels = [label.get_text() for label in draw_distributions(VALUES, quantity="s").axes[0].get_yticklabels()]
    assert labels == ["a\nn = 11", "b\nn = 2, 1 without"]


def test_unit_direction_and_chance_are_told():
    figure = draw_distributions(VALUES, quantity="time", unit="s", better="lower", chance=3.0)
    assert figure.axes[0].get_xlabel() == "time (s)    ← lower is better"
    assert lines(figure)["chance 3"].get_xdata()[0] == 3
    assert "better" not in draw_distributions(VALUES, quantity="time").axes[0].get_xlabel()


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="at least one number, got none"):
        draw_distributions({"a": [np.nan]}, quantity="share")


RANKED = ranking({"best": [9, 8, 9, 8, 9, 8], "near": [8, 9, 8, 9, 8, 9], "worst": [1, 2, 1, 2, 1, 2]}, test="nemenyi")


def test_the_best_rank_is_at_the_left_and_all_are_told():
    figure = draw_critical_difference(RANKED)
    axes = figure.axes[0]
    dots = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert dots == [1.5, 1.5, 3.0]
    assert axes.get_xlim() == (1, 3)
    for text in ("best 1.50", "near 1.50", "worst 3.00", "6 cases"):
        assert text in words(figure)


def test_a_bar_joins_what_does_not_differ_and_the_critical_difference_is_a_length():
    axes = draw_critical_difference(RANKED).axes[0]
    bars = [line.get_xdata() for line in axes.get_lines() if line.get_linewidth() == 3.5]
    assert len(bars) == len(RANKED.cliques) == 1
    assert bars[0][0] < 1.5 < bars[0][1] < 3
    length = next(line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 6)
    assert np.ptp(length) == pytest.approx(RANKED.difference)


def test_a_critical_difference_beyond_the_line_is_told():
    few = ranking({"a": [1, 2], "b": [2, 1]}, test="nemenyi")
    assert "longer than the line" in words(draw_critical_difference(few))


def test_without_a_difference_it_is_said_that_none_was_found():
    few = ranking({"a": [1, 2, 3, 1], "b": [2, 1, 3, 1]})
    assert "no difference was found" in words(draw_critical_difference(few))


def measured(run, shares) -> None:
    """Cases with a share in the mask for each method."""
    for n, own in enumerate(zip(*shares.values(), strict=True)):
        image = picture(identifier=f"case {n}")
        run.case(image, f"c{n}")
        for method, value in zip(shares, own, strict=True):
            row = {"share_in_mask": value, "mask_share": 0.1, "seconds": 2.0}
            run.map(attribution(image, method=method), image, f"{n}-{method}", **row)


def test_numbers_of_a_run_are_one_a_case(run):
    measured(run, {"a": [0.5, 0.6, None], "b": [0.1, 0.2, 0.3]})
    found = numbers_of_run(run.folder, "share_in_mask")
    assert found["b"] == [0.1, 0.2, 0.3]
    assert found["a"][:2] == [0.5, 0.6]
    assert np.isnan(found["a"][2])
    with pytest.raises(OptionError, match="unknown measure 'share'; did you mean"):
        numbers_of_run(run.folder, "share")


def test_rows_of_another_target_and_failed_rows_do_not_count(run):
    measured(run, {"a": [0.5, 0.6]})
    run.row(case="case 0", target="class_score(0)", method="a", map=None, share_in_mask=0.9, status="done")
    run.row(
        case="case 1", target="class_score(1)", method="b", map=None, status="failed", error="no", share_in_mask=0.9
    )
    assert numbers_of_run(run.folder, "share_in_mask") == {"a": [0.5, 0.6]}
    assert numbers_of_run(run.folder, "share_in_mask", target="class_score(0)") == {"a": [0.9]}


def test_distributions_and_ranks_are_drawn_from_a_run_folder(run):
    measured(run, {"a": [0.5, 0.6, 0.7], "b": [0.1, 0.2, 0.3]})
    figure = distributions_from_run(run.folder)
    assert "chance 0.1" in lines(figure)
    assert "higher is better" in figure.axes[0].get_xlabel()
    assert "a 1.00" in words(ranks_from_run(run.folder))
    with pytest.raises(InputError, match="better must be 'higher' or 'lower' to rank methods by 'mask_share'"):
        ranks_from_run(run.folder, "mask_share")
