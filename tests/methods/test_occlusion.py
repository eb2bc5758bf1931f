"""Windows in voxels and millimetres, per axis, per channel, with every fill, against covering by hand."""

from itertools import product

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.score.score import Score


def score(rank: int = 2, **options) -> Score:
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)


def by_hand(asked: Score, x: torch.Tensor, window, stride, cover: torch.Tensor, channel: slice) -> torch.Tensor:
    """The fall under each window, averaged over the windows of each voxel, one window and one sample at a time."""
    total, count = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
    clean = asked(x)
    axes = []
    for length, side, hop in zip(x.shape[2:], window, stride, strict=True):
        starts = list(range(0, max(length - side, 0) + 1, hop))
        if starts[-1] + side < length:
            starts.append(starts[-1] + hop)
        axes.append([slice(start, min(start + side, length)) for start in starts])
    for place in product(*axes):
        for n in range(len(x)):
            covered = x[n : n + 1].clone()
            covered[(0, channel, *place)] = cover[(n, channel, *place)]
            total[(n, *place)] += clean[n] - asked(covered)[0]
            count[(n, *place)] += 1
    return total / count


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("rank", "window", "stride"),
    [(2, (3, 4), (3, 4)), (2, (4, 3), (2, 1)), (2, (8, 2), (8, 2)), (3, (4, 5, 3), (4, 2, 3))],
)
def test_windows_and_strides_go_by_axis(rank, window, stride):
    x = batch(rank)
    found = method(f"occlusion(window={window}, stride={stride})")(score(rank), x).values
    close(found[:, 0], by_hand(score(rank), x, window, stride, torch.zeros_like(x), slice(None)))


@pytest.mark.parametrize("fill", [*FILLS, 0.5])
def test_the_fill_of_each_sample_covers_it(fill):
    x = batch(2, count=3)
    found = method(f"occlusion(window=4, fill={fill!r})")(score(), x).values
    close(found[:, 0], by_hand(score(), x, (4, 4), (4, 4), baseline(x, fill), slice(None)))


@pytest.mark.parametrize("rank", [2, 3])
def test_channels_can_be_covered_each_on_its_own(rank):
    x = batch(rank)
    found = method("occlusion(window=4, channels='each')")(score(rank), x).values
    assert found.shape == x.shape
    for channel in range(2):
        alone = slice(channel, channel + 1)
        close(found[:, channel], by_hand(score(rank), x, (4,) * rank, (4,) * rank, torch.zeros_like(x), alone))


def test_channels_covered_together_give_one_map():
    assert method("occlusion(window=4)")(score(), batch(2)).values.shape == (2, 1, 8, 10)


def test_on_a_linear_score_the_channels_add_up():
    x = batch(3)
    asked = Score(seeded(Linear, tuple(x.shape[1:])), "class_score(0)")
    each = method("occlusion(window=4, channels='each')")(asked, x).values
    close(each.sum(1, keepdim=True), method("occlusion(window=4)")(asked, x).values)


# --- millimetres ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "window", "stride"),
    [
        ("window_mm=6", (6, 3, 2), (6, 3, 2)),
        ("window_mm=(4, 6, 9), stride_mm=3", (4, 3, 3), (3, 2, 1)),
        ("window=4, stride_mm=(2, 4, 6)", (4, 4, 4), (2, 2, 2)),
        ("window_mm=(6, 6, 6), stride=2", (6, 3, 2), (2, 2, 2)),
        ("window_mm=0.1", (1, 1, 1), (1, 1, 1)),
        ("window_mm=1000", (8, 10, 9), (8, 10, 9)),
    ],
)
def test_millimetres_become_voxels_along_each_axis(options, window, stride):
    asked = score(3, spacing_mm=(1.0, 2.0, 3.0))
    (note,) = method(f"occlusion({options})")(asked, batch(3, count=1)).notes
    sides, hops = (" x ".join(map(str, values)) for values in (window, stride))
    assert note.startswith(f"windows of {sides} voxels every {hops}, ")


def test_millimetres_give_the_map_of_those_voxels():
    x = batch(3, count=1)
    in_mm = method("occlusion(window_mm=(4, 6, 9))")(score(3, spacing_mm=(1.0, 2.0, 3.0)), x).values
    close(in_mm, method("occlusion(window=(4, 3, 3))")(score(3), x).values)


@pytest.mark.parametrize("option", ["window", "stride"])
def test_millimetres_without_a_grid_in_mm_are_told(option):
    with pytest.raises(OptionError) as caught:
        method(f"occlusion({option}_mm=4)")(score(), batch(2))
    told = f"{option}_mm needs a grid in mm, but this image has none; pass {option}=... in voxels"
    assert str(caught.value) == f"occlusion: {told}"


def test_a_spacing_of_another_rank_is_told():
    with pytest.raises(OptionError, match=r"^occlusion: window_mm needs 3 voxel sides in mm, got \(1.0, 2.0\)$"):
        method("occlusion(window_mm=4)")(score(3, spacing_mm=(1.0, 2.0)), batch(3))


# --- limits --------------------------------------------------------------------------------------------------------


def test_without_a_window_there_are_about_eight_a_side():
    x = batch(2, side=32)
    (note,) = method("occlusion")(score(), x).notes
    assert note == "windows of 4 x 4 voxels every 4 x 4, 72 positions"


def test_a_window_larger_than_the_image_covers_all_of_it():
    x = batch(2)
    found = method("occlusion(window=99)")(score(), x).values
    whole = score()(x) - score()(torch.zeros_like(x))
    close(found, whole.reshape(-1, 1, 1, 1).expand(-1, 1, 8, 10))


@pytest.mark.parametrize("options", ["window=3, stride=4", "window=(3, 4), stride=(3, 5)"])
def test_a_stride_that_leaves_voxels_out_is_refused(options):
    with pytest.raises(
        OptionError, match=r"^occlusion: stride must not exceed the window .*; voxels would be left out$"
    ):
        method(f"occlusion({options})")(score(), batch(2))


@pytest.mark.parametrize(("rank", "window"), [(2, "(3, 3, 3)"), (3, "(3, 3)")])
def test_a_window_of_another_rank_is_told(rank, window):
    with pytest.raises(OptionError, match=rf"^occlusion: window must have 1 or {rank} numbers for this image, got"):
        method(f"occlusion(window={window})")(score(rank), batch(rank))


def test_the_image_is_covered_before_it_is_scored_and_never_changed():
    x = batch(2)
    before = x.clone()
    method("occlusion(window=4, fill='mean')")(score(), x)
    assert torch.equal(x, before)


# --- engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["together", "each"])
@pytest.mark.parametrize("fill", ["zero", "blur"])
def test_computing_only_what_changes_gives_the_same_map(channels, fill):
    x = batch(2, count=2, side=24)
    spec = f"occlusion(window=5, stride=3, channels={channels!r}, fill={fill!r}"
    asked = score()
    found = method(f"{spec}, engine='incremental')")(asked, x)
    close(found.values, method(f"{spec}, engine='dense')")(score(), x).values)
    assert asked.ledger.fallbacks == []
    assert any(note.startswith("incremental: ") for note in found.notes)


def test_coarse_to_fine_tells_what_was_estimated_and_how_far_off():
    x = batch(2, count=2, side=64)
    found = method("occlusion(window=4, engine='coarse_to_fine', threshold=0.9)")(score(), x)
    assert (found.numbers["windows_estimated"] > 0).all()
    assert (found.numbers["largest_error_looked_at"] >= 0).all()
    assert "coarse to fine" in found.notes[1]
    every = method("occlusion(window=4, engine='coarse_to_fine', threshold=0.0)")(score(), x)
    close(every.values, method("occlusion(window=4)")(score(), x).values)


@pytest.mark.parametrize("options", ["threshold=1.5", "threshold=-0.1", "seed=-1", "engine='fast'"])
def test_engine_options_are_checked(options):
    with pytest.raises(OptionError, match=f"occlusion: {options.split('=')[0]} must be"):
        method(f"occlusion({options})")
