"""The figures of flows, of network dissection and of influence matrices."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.report.made import LPS, volume
from tests.report.seen import colourful, pictures, pixels, words
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.methods import method
from voxplain.report import flow
from voxplain.report.flow import draw_numbers, write_flow_figures
from voxplain.report.influence import draw_influence
from voxplain.report.units import draw_units
from voxplain.score.model import Model
from voxplain.score.target import ClassScore
from voxplain.space.grid import Grid
from voxplain.study.flow import FlowPlan, run_flow
from voxplain.study.influence_run import Matrix
from voxplain.study.plan import Plan
from voxplain.study.units import Units
from voxplain.study.units_run import UnitMap


def row(number: int, **more) -> dict:
    plain = {"number": number, "layer": f"conv{number}", "low": -number, "high": 0.5, "energy_share": 0.5 / number,
             "sparseness": 0.1 * number, "agreement": 0.2 * number, "constant": False}  # fmt: skip
    return {**plain, **more}


def test_the_numbers_are_drawn_along_the_network_and_constant_layers_are_crossed_out():
    rows = [row(1), row(2, low=0, high=0, energy_share=0, sparseness=None, agreement=None, constant=True), row(3)]
    figure = draw_numbers(rows, title="a title")
    lines = [axes.lines[0].get_ydata() for axes in figure.axes]
    np.testing.assert_allclose(lines[0], [1, np.nan, 3])
    np.testing.assert_allclose(lines[1], [0.5, np.nan, 0.5 / 3])
    np.testing.assert_allclose(lines[2], [0.1, np.nan, 0.3])
    np.testing.assert_allclose(lines[3], [0.2, np.nan, 0.6])
    for axes in figure.axes:
        assert axes.lines[-1].get_xdata().tolist() == [2]
        assert axes.get_legend().get_texts()[0].get_text() == "constant map"
    assert "from conv1 (1) to conv3 (3)" in figure.axes[-1].get_xlabel()


def test_without_constant_layers_nothing_is_crossed_out():
    assert all(len(axes.lines) == 1 and axes.get_legend() is None for axes in draw_numbers([row(1), row(2)]).axes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A flow of nine layers, one of them constant, by two methods."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU()) for _ in range(9)]
        for part in parts:
            nn.init.ones_(part[0].weight)
        nn.init.constant_(parts[-1][0].weight, -1.0)
    head = nn.Linear(1, 2, bias=False)
    module = nn.Sequential(*parts[:-1], parts[-1][0], nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with torch.no_grad():
        head.weight[:] = torch.tensor([[0.0], [1.0]])
    values = np.random.default_rng(0).random((1, 12, 10, 1)) + 0.1
    image = Image.of(values, Grid((12, 10, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px"), identifier="film")
    specs = tuple(map(method, ("grad_cam", "grad_cam(relu=False)")))
    plan = FlowPlan.of(Plan(Model.of(module), Prepare(), (ClassScore(1),), specs))
    folder = tmp_path_factory.mktemp("flow") / "run"
    run_flow(plan, [Case("film", image)], folder)
    return folder


def test_a_runs_flows_have_three_figures_each_and_one_a_layer_on_request(run, monkeypatch):
    monkeypatch.setattr(flow, "save", lambda picture, file: file)  # pixels of 24 figures take long
    written = write_flow_figures(run)
    assert len(written) == 2 * 3
    assert {file.parent for file in written} == {run / "figures" / "flow"}
    kinds = [file.stem.rpartition("-")[2] for file in written]
    assert kinds == ["montage", "layers", "numbers"] * 2
    assert len(write_flow_figures(run, each=True)) == 2 * (3 + 9)


def test_methods_that_differ_in_options_are_drawn_apart_with_their_reasons(run):
    from voxplain.report.contents import read_run
    from voxplain.report.figures_layers import draw_flow, maps_of_layers
    from voxplain.report.figures_runs import case_maps

    found = case_maps(read_run(run), "film")
    cut, kept = (maps_of_layers(found, spec) for spec in ("grad_cam", "grad_cam(relu=False)"))
    assert (len(cut), len(kept)) == (9, 9)
    said = words(draw_flow(found.image, cut))
    assert "CONSTANT: the weighted sum of channels is nowhere above zero" in " ".join(said.split())
    assert "Truly constant: layer 1, 2, 3, 4, 5, 6, 7, 8" in said
    assert "No layer's map is constant" in words(draw_flow(found.image, kept))
    assert kept[0].raw[1] < 0


# --- units ---


def units() -> Units:
    return Units(
        "layer", (1, 3), np.array([[0.1, 0.4], [0.3, 0.0]]), np.zeros(2), np.full(2, 0.1), np.array([0.2, 0.1])
    )


def unit_map(channel: int, active: tuple[int, int, int], case: str = "case a") -> UnitMap:
    image = volume(LPS)
    mask, values = np.zeros(image.grid.shape, bool), np.zeros(image.grid.shape, np.float32)
    mask[4:9, 4:9, 5] = True
    values[active] = 2.0
    return UnitMap(case, channel, image, mask, values)


def test_a_row_a_channel_shows_where_it_is_active_on_the_slice_where_its_label_is_largest():
    figure = draw_units(units(), [unit_map(0, (6, 7, 5)), unit_map(1, (6, 7, 9))], ("none", "a", "b", "lesion"))
    first, second = (pixels(axes) for axes in pictures(figure))
    assert np.argwhere(colourful(first) > 0.2).tolist() == [[7, 6]]
    assert colourful(second).max() == 0, "it is active on another slice"
    said = words(figure)
    for told in ("channel 0: lesion", "channel 1: a", "all cases 0.400, by chance 0.053", "IoU 0.04", "IoU 0"):
        assert told in said


def test_a_channel_that_is_nowhere_active_and_a_label_that_is_not_there_are_told():
    one = unit_map(0, (6, 7, 5))
    silent = UnitMap("b", 0, one.image, np.zeros_like(one.mask), 0 * one.values)
    said = words(draw_units(units(), [one, silent]))
    assert "label not there" in said
    assert "nowhere active" in said
    assert np.isnan(silent.iou)


# --- influence ---


def matrix(**more) -> Matrix:
    falls, shares = np.array([[2.0, -1.0], [0.0, np.nan]]), np.array([[0.75, 0.1], [0.25, np.nan]])
    plain = {"regions": ("no label", "liver"), "outputs": ("spleen", "liver"), "falls": falls, "shares": shares,
             "sizes": np.array([0.9, 0.1]), "cases": np.ones((2, 2), int), "unit": "logits"}  # fmt: skip
    return Matrix(**{**plain, **more})


def test_the_influence_matrix_has_signs_in_two_colours_and_numbers_in_its_cells():
    figure = draw_influence(matrix(), title="mean of 3 cases")
    left, right = figure.axes
    assert left.images[0].get_clim() == (-2, 2)
    assert right.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in left.texts] == ["2", "−1", "0", "-"]
    assert [text.get_text() for text in right.texts] == ["75.0%", "10.0%", "25.0%", "-"]
    assert [text.get_text() for text in left.get_yticklabels()] == [
        "no label\n(90.0% of the voxels)",
        "liver\n(10.0% of the voxels)",
    ]
    assert [text.get_text() for text in left.get_xticklabels()] == ["spleen", "liver"]
    red, blue = left.images[0].cmap(left.images[0].norm([2.0, -1.0]))[:, :3]
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_a_matrix_without_any_influence_is_drawn_too():
    figure = draw_influence(matrix(falls=np.zeros((2, 2)), shares=np.full((2, 2), np.nan)))
    assert figure.axes[0].images[0].get_clim() == (-1, 1)
