"""Influence: networks whose outputs are known to read known regions."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import voxplain as vx
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.score.model import Model
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.influence import AIR, Influencing, air, outputs_of, regions_of
from voxplain.study.influence_run import influence_matrix, influence_rows, matrix_lines, run_influence
from voxplain.study.plan import Plan

SHAPE = (6, 8, 4)


class Reader(nn.Module):
    """Class 1 reads 3 x the sum of the left half, class 2 minus the sum of the right half."""

    def forward(self, x):
        left, right = x[:, :, :3].flatten(1).sum(1), x[:, :, 3:].flatten(1).sum(1)
        return torch.stack([0 * left, 3 * left, -right], dim=1)


class Segmenter(nn.Module):
    """Label 1 where the image is above 1, label 2 below -1, from a voxel and its left neighbour's half."""

    def forward(self, x):
        shifted = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        own = x[:, 0] + 0.5 * shifted[:, 0]
        return torch.stack([torch.ones_like(own), own, -own], dim=1)


def image() -> Image:
    values = np.random.default_rng(0).random(SHAPE) + 0.5
    return Image.of(values, Grid(SHAPE, np.eye(4)), identifier="a")


def halves() -> Image:
    labels = np.zeros(SHAPE)
    labels[:3], labels[3:] = 1, 2
    return Image.of(labels, Grid(SHAPE, np.eye(4)), channels=("mask",), unit="label")


def test_covering_and_gradient_of_a_linear_reader_in_closed_form():
    one = image()
    found = vx.influence(Model.of(Reader(), head="softmax"), one, mask=halves(), fill=0.0)
    left, right = float(one.values[0, :3].sum()), float(one.values[0, 3:].sum())
    assert (found.regions, found.outputs, found.unit) == ((1, 2), (0, 1, 2), "logits")
    np.testing.assert_allclose(found.falls, [[0, 3 * left, 0], [0, 0, -right]], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.shares[:, 1:], [[1, 0], [0, 1]])
    assert np.isnan(found.shares[:, 0]).all(), "no voxel has a say in class 0"
    np.testing.assert_allclose(found.sizes, [0.5, 0.5])
    np.testing.assert_allclose(found.scores, [0, 3 * left, -right], rtol=1e-5)


def test_each_label_is_read_over_its_own_predicted_region():
    values = np.zeros(SHAPE)
    values[1:3], values[4:6] = 4.0, -4.0
    one = Image.of(values, Grid(SHAPE, np.eye(4)), identifier="a")
    found = vx.influence(Model.of(Segmenter(), head="softmax"), one, fill="zero")
    assert (found.regions, found.outputs) == ((0, 1, 2), (1, 2))
    # Label 1: rows 1 and 2 at logits 4 and 6, and row 3 at 2, which reads row 2.
    np.testing.assert_allclose(found.scores, [4.0, 5.0])
    assert found.falls[found.regions.index(2), 0] == 0
    # Without rows 1 to 3 (its own prediction) label 1 has nothing left.
    assert found.falls[found.regions.index(1), 0] == pytest.approx(4.0)


def test_neighbours_that_are_read_show_as_influence_of_another_region():
    values = np.zeros(SHAPE)
    values[2], values[3] = -6.0, 8.0
    one = Image.of(values, Grid(SHAPE, np.eye(4)), identifier="a")
    labels = np.zeros(SHAPE)
    labels[2], labels[3] = 2, 1
    mask = Image.of(labels, one.grid, channels=("mask",), unit="label")
    found = vx.influence(Model.of(Segmenter(), head="softmax"), one, mask=mask, fill=0.0)
    place = found.regions.index(2)
    # Rows 3 (8 - 3 = 5) and 4 (4) are label 1; row 3 hears half of row 2, which speaks against it.
    assert found.scores[0] == pytest.approx(4.5)
    assert found.falls[place, 0] == pytest.approx(-1.5)
    assert found.shares[place, 0] == pytest.approx(3 / (3 + 8 + 4))


def test_tissue_is_the_mean_of_what_has_no_label_and_is_not_air():
    values = np.full(SHAPE, 2.0)
    values[:, :2] = -1.0  # air
    values[0:2, 4:6] = 10.0
    labels = np.where(values == 10, 1, 0)
    one = Image.of(values, Grid(SHAPE, np.eye(4)), identifier="a")
    mask = Image.of(labels, one.grid, channels=("mask",), unit="label")
    found = vx.influence(Model.of(Reader(), head="softmax"), one, mask=mask)
    count = int((labels == 1).sum())
    assert found.falls[found.regions.index(1), 1] == pytest.approx(3 * 8 * count, rel=1e-5)
    assert found.falls[found.regions.index(0), 1] == pytest.approx(0, abs=1e-4), "tissue is even already"
    assert found.sizes.sum() == pytest.approx(0.75)


def test_air_is_the_flat_background_and_noise_has_none():
    x = torch.ones(2, 1, 4, 4)
    x[0, 0, 0] = 0
    x[1] = torch.arange(16.0).reshape(1, 4, 4) / 4
    x = torch.cat([x, x], dim=1)
    x[0, 1, 0, 0] = 5
    found = air(x)
    assert found[0].sum() == 3
    assert found[1].sum() == 1, "one voxel of 16 is more than a hundredth"
    noise = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not air(noise).any()


def ready(module: nn.Module, one: Image, **given):
    return Explainer(Model.of(module, head="softmax")).ready(one, **given)


def test_regions_are_segments_else_the_mask_else_the_prediction():
    other = halves().with_values(3 * (halves().values == 1))
    both = ready(Segmenter(), image(), mask=halves(), segments=other)
    assert set(regions_of(both, "auto").unique().tolist()) == {0, 3}
    assert set(regions_of(both, "mask").unique().tolist()) == {1, 2}
    assert set(regions_of(both, "predicted").unique().tolist()) <= {AIR, 0, 1, 2}
    with pytest.raises(InputError, match="regions='segments' needs them"):
        regions_of(ready(Segmenter(), image(), mask=halves()), "segments")
    with pytest.raises(InputError, match="needs them, got none"):
        regions_of(ready(Reader(), image()), "auto")
    empty = halves().with_values(0 * halves().values)
    with pytest.raises(InputError, match="a label besides 0"):
        regions_of(ready(Reader(), image(), mask=empty), "auto")


def test_labels_that_nobody_predicted_are_left_out_and_told():
    values = np.zeros(SHAPE)
    values[2] = 4.0
    found, left_out = outputs_of(ready(Segmenter(), Image.of(values, Grid(SHAPE, np.eye(4)), identifier="a")))
    assert (list(found), left_out) == ([1], ["label 2 is predicted nowhere"])
    with pytest.raises(InputError, match="no label anywhere"):
        outputs_of(ready(Segmenter(), Image.of(values / 9, Grid(SHAPE, np.eye(4)), identifier="a")))


def test_a_wrong_fill_or_kind_is_told():
    with pytest.raises(OptionError, match="fill"):
        Influencing(fill="grey")
    with pytest.raises(OptionError, match="regions"):
        Influencing(regions="organs")


def test_rows_have_names_and_the_matrix_is_their_mean():
    found = vx.influence(Model.of(Reader(), head="softmax"), image(), mask=halves(), fill=0.0)
    rows = influence_rows("a", found, ("none", "left"), ("x", "y"))
    assert [(row["region_name"], row["output_name"]) for row in rows[:3]] == [
        ("left", "x"), ("left", "y"), ("left", "label 2")
    ]  # fmt: skip
    twice = [*rows, *({**row, "case": "b", "fall": 3 * row["fall"]} for row in rows if row["output"] == 1)]
    matrix = influence_matrix(twice)
    assert (matrix.regions, matrix.outputs) == (("left", "label 2"), ("x", "y", "label 2"))
    np.testing.assert_allclose(matrix.falls[:, 1], 2 * found.falls[:, 1])
    np.testing.assert_allclose(matrix.falls[:, 2], found.falls[:, 2])
    np.testing.assert_array_equal(matrix.cases, [[1, 2, 1]] * 2)
    assert len(matrix_lines(matrix)) == 3


def test_a_run_keeps_what_is_done_and_a_failed_case_is_a_row(tmp_path):
    plan = Plan(Model.of(Reader(), head="softmax"), Prepare(), (), ())
    cases = [Case("a", image(), halves()), Case("b", image())]
    said: list[str] = []
    rows = run_influence(plan, cases, tmp_path / "run", Influencing(), say=said.append)
    assert [row["status"] for row in rows].count("done") == 6
    assert (rows[-1]["case"], rows[-1]["status"]) == ("b", "failed")
    written = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert written == json.loads(json.dumps(rows))
    run_influence(plan, cases, tmp_path / "run", Influencing(), say=said.append)
    assert "case 1 of 2: a is already there" in said
    with pytest.raises(InputError, match="needs them"):
        run_influence(plan, cases[1:], tmp_path / "alone", Influencing(), single=True)
    with pytest.raises(InputError, match="another run"):
        run_influence(plan, cases, tmp_path / "run", Influencing(fill="zero"))
