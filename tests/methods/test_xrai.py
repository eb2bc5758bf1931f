"""XRAI: its law, regions of a planted bright square, segments given and of volumes, bad input, cost."""

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from tests.test_costs import SLACK, forwards
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.methods.xrai import XRAI
from voxplain.score.score import Score
from voxplain.types import Quantity

pytest.importorskip("skimage")

ranks = pytest.mark.parametrize("rank", [2, 3])

SMALL = "steps=4, dilation=1, least_new=4, supervoxels=[8, 20]"


def net(rank: int, **options: object) -> Score:
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)


@ranks
def test_adds_up(rank):
    x, score = batch(rank, side=12), net(rank)
    found = method(f"xrai({SMALL.replace('steps=4', 'steps=64')})")(score, x)
    starts = [torch.stack([torch.full_like(one, end(one)) for one in x]) for end in (torch.min, torch.max)]
    at_start = sum(map(score, starts)) / 2
    torch.testing.assert_close(found.values.flatten(1).sum(1), score(x) - at_start, rtol=0, atol=5e-3)
    torch.testing.assert_close(found.numbers["score_at_baseline"], at_start)
    gap = found.values.flatten(1).sum(1) - (score(x) - at_start)
    torch.testing.assert_close(found.numbers["completeness_gap"], gap)
    assert found.quantity is Quantity.SCORE_UNITS


@ranks
def test_given_segments_of_a_linear_score_get_the_mean_of_their_shares(rank):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    labels = torch.arange(x[0, 0].numel()).reshape(1, *x.shape[2:]) // 20
    score = Score(module, "class_score(0)", segments=labels)
    found = method("xrai(segments='given', steps=2, dilation=0, least_new=1, channels='max')")(score, x)
    assert found.quantity is Quantity.RELEVANCE
    assert not found.numbers
    for one, values in zip(x, found.values, strict=True):
        shares = module.weight[0].detach() * (one - (one.min() + one.max()) / 2)
        largest = shares.amax(0)
        for label in labels.unique():
            mine = labels[0] == label
            expected = largest[mine].mean()
            torch.testing.assert_close(values[0][mine], expected.expand(int(mine.sum())), rtol=1e-9, atol=1e-12)
    assert found.values.shape == (2, 1, *x.shape[2:])


@ranks
def test_a_square_that_makes_the_score_is_the_region_on_top(rank):
    x = torch.zeros(1, 1, *[32] * rank, dtype=torch.float64) if rank == 2 else torch.zeros(1, 1, 16, 16, 16).double()
    x = x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    square = (slice(8, 20),) * rank if rank == 2 else (slice(4, 11),) * rank
    x[(0, 0, *square)] += 1
    module = seeded(Linear, tuple(x.shape[1:]))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[(0, 0, *square)] = 1
    found = method("xrai(steps=2, dilation=0, supervoxels=[30, 60], least_new=8)")(Score(module, "class_score(0)"), x)
    inside = torch.zeros(x.shape, dtype=torch.bool)
    inside[(0, 0, *square)] = True
    top = found.values >= found.values.flatten().sort(descending=True).values[int(inside.sum()) - 1]
    assert (top & inside).sum() / (top | inside).sum() > 0.8


def test_volumes_are_cut_into_supervoxels_and_it_is_said():
    found = method(f"xrai({SMALL})")(net(3), batch(3))
    assert found.notes == ("supervoxels (SLIC) at 8, 20 a volume: Felzenszwalb's superpixels are made for 2D only",)
    assert method(f"xrai({SMALL})")(net(2), batch(2)).notes == ()
    near = method(f"xrai({SMALL})")(net(3, spacing_mm=(1.0, 1.0, 8.0)), batch(3))
    assert not torch.equal(near.values, found.values)


@ranks
@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels_and_a_constant_image_will_do(rank, channels):
    score = Score(seeded(Awkward, rank, "classification", channels=channels), "class_score(1)")
    x = batch(rank, channels=channels, side=12)
    x[1] = 0.5
    found = method(f"xrai({SMALL})")(score, x)
    assert torch.isfinite(found.values).all()
    assert (found.values[1] == 0).all()


@ranks
def test_each_image_of_a_batch_is_cut_on_its_own(rank):
    x, score = batch(rank, count=2), net(rank)
    together = method(f"xrai({SMALL})")(score, x).values
    alone = torch.cat([method(f"xrai({SMALL})")(score, one[None]).values for one in x])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


@ranks
def test_costs_four_a_step_and_the_image_and_both_ends(rank):
    assert forwards(f"xrai({SMALL})", rank) == pytest.approx(4 * 4 + 3, abs=SLACK)
    assert forwards(f"xrai({SMALL}, channels='max')", rank) == pytest.approx(4 * 4 + 1, abs=SLACK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"supervoxels": []}, "supervoxels must be a list of numbers"),
        ({"supervoxels": [10, 0]}, "supervoxels must be a list of numbers"),
        ({"dilation": -1}, "dilation must be at least 0"),
        ({"least_new": 0}, "least_new must be at least 1"),
        ({"channels": "mean"}, "channels must be one of"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=f"xrai: {sentence}"):
        XRAI(**options)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [(None, "segments must be given"), (torch.zeros(1, 8, 9, dtype=torch.int64), "segments must be")],
)
def test_segments_that_do_not_fit_are_refused(labels, sentence):
    with pytest.raises(InputError, match=f"xrai: {sentence}"):
        method("xrai(segments='given')")(net(2, segments=labels), batch(2))
