"""Network dissection: channels that are known to hold a label, on grids known by construction."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.score.model import Model
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan
from voxplain.study.units import Dissecting, dissect, unit_rows
from voxplain.study.units_run import run_units, unit_lines

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])


class Channels(nn.Module):
    """A layer whose channels are the input, its negative, and nothing; a class score a channel."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.layer = kind(1, 3, 1, bias=False)
        with torch.no_grad():
            self.layer.weight[:] = torch.tensor([1.0, -1.0, 0.0]).reshape(3, 1, *[1] * rank)

    def forward(self, x):
        return self.layer(x).flatten(2).mean(dim=2)


def case(rank: int, name: str = "a", seed: int = 0, mask: bool = True) -> Case:
    """Bright where label 1 is, dark where label 2 is."""
    shape = (8, 10, 6) if rank == 3 else (8, 10, 1)
    labels = np.zeros(shape)
    labels[1:3, 2:5], labels[5:7, 6:9] = 1, 2
    noise = np.random.default_rng(seed).random(shape)
    grid = Grid(shape, LPS if rank == 3 else np.diag([-1.0, -1.0, 1.0, 1.0]), "mm" if rank == 3 else "px")
    image = Image.of(noise + 10 * (labels == 1) - 10 * (labels == 2), grid, identifier=name)
    return Case(name, image, Image.of(labels, grid, channels=("mask",), unit="label") if mask else None)


def explainer(rank: int, **options) -> Explainer:
    return Explainer(Model.of(Channels(rank)), Prepare(**options))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_channel_that_holds_a_label_has_all_of_it_and_nothing_else(rank):
    cases = [case(rank), case(rank, "b", 1)]
    share = float((cases[0].mask.values == 1).mean())
    found = dissect(explainer(rank), cases, Dissecting(layer="layer", quantile=share))
    assert found.labels == (1, 2)
    np.testing.assert_allclose(found.iou, [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(found.active, [share, share, 0])
    np.testing.assert_allclose(found.sizes, [share, share])
    np.testing.assert_array_equal(found.best, [0, 1, 0])
    assert found.ranked() == [0, 1, 2]
    assert found.above_chance.tolist() == [True, True, False]


def test_half_the_share_covers_half_the_label():
    one = case(3)
    share = float((one.mask.values == 1).mean())
    found = dissect(explainer(3), [one], Dissecting(layer="layer", quantile=share / 2))
    assert found.iou[0, 0] == pytest.approx(0.5)
    assert found.ceiling[0, 0] == pytest.approx(0.5)
    assert found.chance[0, 0] == pytest.approx(share * share / 2 / (share + share / 2 - share * share / 2))


def test_thresholds_are_of_all_cases_together():
    weak = case(3, "weak")
    values = weak.image.values * 0.5
    weak = Case("weak", weak.image.with_values(values), weak.mask)
    share = float((weak.mask.values == 1).mean())
    found = dissect(explainer(3), [case(3), weak], Dissecting(layer="layer", quantile=share / 2))
    assert found.iou[0, 0] == pytest.approx(0.5), "the bright case alone takes the whole share"
    everything = np.sort(np.concatenate([case(3).image.values.ravel(), values.ravel()]))[::-1]
    assert found.thresholds[0] == pytest.approx(everything[int(share / 2 * everything.size)])


def test_a_coarse_layer_is_read_at_the_voxels_of_the_image():
    class Pooled(Channels):
        def forward(self, x):
            return self.layer(nn.functional.avg_pool3d(x, 2)).flatten(2).mean(dim=2)

    shape = (8, 12, 6)
    labels = np.zeros(shape)
    labels[2:6, 4:8, 2:4] = 1
    grid = Grid(shape, LPS)
    one = Case("a", Image.of(labels, grid), Image.of(labels, grid, channels=("mask",), unit="label"))
    how = Dissecting(layer="layer", quantile=0.06)  # 4 of 72 cells hold the label
    found = dissect(Explainer(Model.of(Pooled(3))), [one], how)
    # Cells of 1 among cells of 0, read between centres a quarter beyond the rim: above 0 from half a cell outside on.
    assert found.thresholds[0] == 0
    assert found.iou[0, 0] == pytest.approx(4 * 4 * 2 / (6 * 6 * 4))


def test_layers_of_a_segmenter_lie_as_its_output_does():
    class Padded(nn.Module):
        """Passes the image on by a kernel of two that is padded behind; its receptive field is half a voxel off."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv3d(1, 2, 2, bias=False)
            with torch.no_grad():
                self.layer.weight[:] = 0
                self.layer.weight[0, 0, 0, 0, 0] = 1.0

        def forward(self, x):
            return self.layer(nn.functional.pad(x, (0, 1) * 3))

    one = case(3)
    share = float((one.mask.values == 1).mean())
    found = dissect(Explainer(Model.of(Padded())), [one], Dissecting(layer="layer", quantile=share))
    assert found.iou[0, 0] == 1


def test_what_the_network_never_sees_does_not_count():
    found = dissect(explainer(3, crop_pad=(6, 10, 6)), [case(3)], Dissecting(layer="layer", quantile=0.05))
    cropped = case(3).mask.values[0, 1:7]
    np.testing.assert_allclose(found.sizes, [(cropped == 1).mean(), (cropped == 2).mean()])


def test_masks_are_needed_and_must_hold_a_label():
    with pytest.raises(InputError, match="'b' has none"):
        dissect(explainer(3), [case(3), case(3, "b", mask=False)], Dissecting(layer="layer"))
    empty = case(3)
    empty = Case("a", empty.image, empty.mask.with_values(0 * empty.mask.values))
    with pytest.raises(InputError, match="a label besides 0"):
        dissect(explainer(3), [empty], Dissecting(layer="layer"))
    with pytest.raises(InputError, match="at least one case"):
        dissect(explainer(3), [], Dissecting(layer="layer"))
    with pytest.raises(OptionError, match="quantile must be between 0 and 1"):
        Dissecting(layer="layer", quantile=0.0)


def test_one_row_a_channel_and_label_and_one_line_a_channel():
    share = float((case(3).mask.values == 1).mean())
    found = dissect(explainer(3), [case(3)], Dissecting(layer="layer", quantile=share))
    rows = unit_rows(found, ("none", "bright"))
    assert [(row["channel"], row["label_name"], row["best"]) for row in rows[:3]] == [
        (0, "bright", True), (0, "label 2", False), (1, "bright", False)
    ]  # fmt: skip
    lines = unit_lines(rows)
    assert len(lines) == 4
    assert lines[1].split()[:3] == ["0", "bright", "1.000"]


def test_a_run_leaves_table_rows_and_maps_of_channels_better_than_chance(tmp_path):
    cases = [case(3), case(3, "b", 1)]
    share = float((cases[0].mask.values == 1).mean())
    plan = Plan(Model.of(Channels(3)), Prepare(), (), ())
    found = run_units(plan, cases, tmp_path / "run", Dissecting(layer="layer", quantile=share), shown=1)
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert rows == json.loads(json.dumps(found.rows))
    assert [(one.channel, one.case, one.iou) for one in found.maps] == [(0, "a", 1.0), (1, "a", 1.0)]
    written = read_nifti(tmp_path / "run" / "maps" / "a" / "layer-channel1.nii.gz")
    np.testing.assert_array_equal(written.values[0] > 0, cases[0].mask.values[0] == 2)
    with pytest.raises(OptionError, match="unknown layer 'layr'"):
        run_units(plan, cases, tmp_path / "other", Dissecting(layer="layr"))
