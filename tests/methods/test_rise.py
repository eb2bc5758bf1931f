"""RISE written out draw by draw, its exact expectation by enumeration, its error, and when it stops."""

from itertools import product

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method, rise
from voxplain.ops import draws
from voxplain.ops.baselines import baseline
from voxplain.ops.grid_masks import grid_masks
from voxplain.ops.mask_moments import MaskMoments
from voxplain.score.model import Model
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])
every_estimate = pytest.mark.parametrize("estimate", ["difference", "expected", "mask_sum", "centred"])


def score(rank: int = 2, **options) -> Score:
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# --- the masks -----------------------------------------------------------------------------------------------------


def enlarged(grid: torch.Tensor, size, shift) -> torch.Tensor:
    """One mask from the paper: the grid made one cell larger than the image by interpolation, cropped at `shift`."""
    cells = grid.shape
    steps = [-(-length // count) for length, count in zip(size, cells, strict=True)]
    mode = {2: "bilinear", 3: "trilinear"}[len(cells)]
    wide = [(count + 1) * step for count, step in zip(cells, steps, strict=True)]
    large = functional.interpolate(grid[None, None], size=wide, mode=mode, align_corners=False)[0, 0]
    return large[tuple(slice(start, start + length) for start, length in zip(shift, size, strict=True))]


def literal(seed: int, number: int, size, cells, share: float) -> torch.Tensor:
    """The mask of one draw, from the same random numbers."""
    count = torch.tensor(cells).prod().item()
    drawn = draws.uniform(seed, [number], (count + len(cells),))[0]
    grid = (drawn[:count] < share).double().reshape(cells)
    steps = [-(-length // side) for length, side in zip(size, cells, strict=True)]
    shift = [int(part * step) for part, step in zip(drawn[count:], steps, strict=True)]
    return enlarged(grid, size, shift)


@pytest.mark.parametrize(
    ("size", "cells"),
    [((8, 10), (3, 3)), ((7, 9), (7, 2)), ((5, 6), (1, 4)), ((8, 6, 7), (3, 2, 4)), ((4, 4, 4), (4, 1, 2))],
)
def test_masks_are_enlarged_grids_cut_at_a_random_place(size, cells):
    found = grid_masks(3, [5, 0, 12], size, cells, 0.4)
    for mask, number in zip(found, (5, 0, 12), strict=True):
        close(mask, literal(3, number, size, cells, 0.4))
    assert found.min() >= 0
    assert found.max() <= 1


def test_every_shift_within_the_first_cell_comes_up_and_no_other():
    """A ramp is enlarged to a ramp: its first voxel tells the shift."""
    size, cells = (12, 12), (3, 3)
    seen = {tuple((draws.uniform(1, [n], (11,))[0, 9:] * 4).long().tolist()) for n in range(300)}
    assert seen == set(product(range(4), repeat=2))
    for n in (0, 1, 2):
        close(grid_masks(1, [n], size, cells, 0.5)[0], literal(1, n, size, cells, 0.5))


def test_the_mean_mask_is_p_everywhere():
    masks = grid_masks(0, range(4000), (9, 7), (3, 2), 0.3)
    error = (0.3 * 0.7 / 4000) ** 0.5  # a mask varies no more than its cells do
    assert (masks.mean(0) - 0.3).abs().max() < 4.5 * error


# --- the map -------------------------------------------------------------------------------------------------------


def drawn(asked: Score, x: torch.Tensor, fill, samples: int, cells, share: float, seed: int):
    """Masks (draw, *size) and the scores (draw,) of one image seen through them."""
    masks = torch.stack([literal(seed, n, x.shape[2:], cells, share) for n in range(samples)])
    cover = baseline(x, fill)
    return masks, torch.cat([asked(x * mask + cover * (1 - mask)) for mask in masks])


@ranks
@pytest.mark.parametrize("fill", ["zero", "blur", 0.3])
@every_estimate
def test_the_weighted_mean_of_masks(rank, fill, estimate):
    x, cells, count, share = batch(rank, side=6), (3, 2, 4)[:rank], 12, 0.4
    asked = score(rank, chunk=5)
    spec = f"rise(samples={count}, cells={cells}, p={share}, fill={fill!r}, normalise={estimate!r}, seed=7)"
    found = method(spec)(asked, x)
    for n in range(2):
        masks, f = drawn(asked, x[n : n + 1], fill, count, cells, share, 7)
        flat = masks.flatten(1)
        paper = (f[None] @ flat / count / share).reshape(x.shape[2:])  # the authors' matrix product
        if estimate == "expected":
            values, terms = paper, f[:, None] * flat / share
        elif estimate == "mask_sum":
            values = (f[None] @ flat / flat.sum(0)).reshape(x.shape[2:])
            terms = (f[:, None] - values.flatten()) * flat / flat.mean(0)
        else:
            covariance = ((f - f.mean())[:, None] * (flat - flat.mean(0))).sum(0) / (count - 1)
            common = f.mean() if estimate == "centred" else 0.0
            values = (common + covariance / share).reshape(x.shape[2:])
            away = flat if estimate == "centred" else flat - share
            terms = (f - f.mean())[:, None] * away / share
        close(found.values[n, 0], values)
        close(found.standard_error[n, 0], (terms.std(0) / count**0.5).reshape(x.shape[2:]))


def exact(module, x: torch.Tensor, cells, share: float) -> torch.Tensor:
    """The expectation of f m / p over every grid and every shift, each by its probability, for one image."""
    size = x.shape[2:]
    steps = [-(-length // count) for length, count in zip(size, cells, strict=True)]
    total = torch.zeros(size, dtype=torch.float64)
    for bits in product((0.0, 1.0), repeat=torch.tensor(cells).prod().item()):
        grid = torch.tensor(bits, dtype=torch.float64).reshape(cells)
        chance = share ** grid.sum() * (1 - share) ** (1 - grid).sum()
        masks = torch.stack([enlarged(grid, size, shift) for shift in product(*map(range, steps))])
        with torch.no_grad():
            f = module(x * masks[:, None])[:, 1]
        total += chance * (f.reshape(-1, *[1] * len(size)) * masks).mean(0) / share
    return total


def mean_score(module, x: torch.Tensor, cells, share: float) -> torch.Tensor:
    """The expectation of f over every grid and every shift."""
    size = x.shape[2:]
    steps = [-(-length // count) for length, count in zip(size, cells, strict=True)]
    total = torch.zeros((), dtype=torch.float64)
    for bits in product((0.0, 1.0), repeat=torch.tensor(cells).prod().item()):
        grid = torch.tensor(bits, dtype=torch.float64).reshape(cells)
        chance = share ** grid.sum() * (1 - share) ** (1 - grid).sum()
        masks = torch.stack([enlarged(grid, size, shift) for shift in product(*map(range, steps))])
        with torch.no_grad():
            total += chance * module(x * masks[:, None])[:, 1].mean()
    return total


@every_estimate
def test_it_comes_to_its_exact_expectation(estimate):
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=1, side=4)[..., :4]
    truth = exact(module, x, (2, 2), 0.5)
    if estimate == "difference":
        truth = truth - mean_score(module, x, (2, 2), 0.5)
    asked = Score(module, "class_score(1)", chunk=512)
    found = method(f"rise(samples=2000, cells=2, normalise={estimate!r})")(asked, x)
    if estimate == "mask_sum":  # its limit is the same here: the mean mask is p
        assert (found.values[0, 0] - truth).abs().max() < 0.05 * truth.abs().max()
    assert ((found.values[0, 0] - truth).abs() <= 4.5 * found.standard_error[0, 0]).all()


@pytest.mark.parametrize("estimate", ["expected", "centred"])
def test_few_draws_are_free_of_bias(estimate):
    """The mean over every pair of draws from a few masks of equal chance is the expectation itself."""
    masks = torch.tensor(list(product((0.0, 1.0), repeat=4)), dtype=torch.float64).reshape(16, 2, 2)
    f = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 4
    pairs = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    moments = MaskMoments(torch.linspace(-3, 3, len(pairs), dtype=torch.float64), (2, 2))
    for column in pairs.T:
        moments.add(torch.arange(len(pairs)), f[column], masks[column])
    values, _ = moments.expected(0.5) if estimate == "expected" else moments.centred(0.5)
    close(values.mean(0), (f[:, None, None] * masks).mean(0) / 0.5)


class Smooth(torch.nn.Module):
    """Tanh of random mixtures: smooth, and curved over the range of the masks."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.into = torch.nn.Parameter(torch.randn(36, 8, generator=generator) / 6)
        self.out = torch.nn.Parameter(torch.randn(8, 2, generator=generator))

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.into) @ self.out + 1.0


@pytest.mark.slow
@every_estimate
def test_intervals_cover_the_long_run_value_in_95_per_cent_of_voxels(estimate):
    asked, x = Score(Smooth().double(), "class_score(1)", chunk=500), batch(2, count=1, channels=1, side=6)[..., :6]
    spec = "rise(samples={}, cells=3, normalise={!r}, seed={})"
    long_run = "difference" if estimate == "difference" else "centred"  # the two that vary least
    truth = method(spec.format(40_000, long_run, 10**6))(asked, x).values
    covered = []
    for seed in range(200):
        found = method(spec.format(200, estimate, seed))(asked, x)
        covered.append((found.values - truth).abs() <= 1.96 * found.standard_error)
    assert torch.stack(covered).double().mean() == pytest.approx(0.95, abs=0.02)


def test_centring_takes_noise_away():
    asked, x = score(), batch(2)
    plain, centred = (
        method(f"rise(samples=60, cells=3, normalise={way!r})")(asked, x) for way in ("expected", "centred")
    )
    assert centred.standard_error.mean() < 0.5 * plain.standard_error.mean()


@pytest.mark.parametrize("estimate", ["difference", "mask_sum", "centred"])
def test_a_shift_of_the_score_only_shifts_the_map(estimate):
    module, x = seeded(Awkward, 2, "regression"), batch(2)
    spec = f"rise(samples=20, cells=3, normalise={estimate!r})"
    near, far = (method(spec)(Score(module, f"regression(reference={n})"), x) for n in (0.0, 1000.0))
    shift = 0.0 if estimate == "difference" else 1000.0
    torch.testing.assert_close(near.values, far.values + shift, rtol=0, atol=1e-9)
    torch.testing.assert_close(near.standard_error, far.standard_error, rtol=1e-6, atol=1e-9)


# --- draws ---------------------------------------------------------------------------------------------------------


def test_draws_follow_the_seed_and_are_the_same_for_every_image():
    x = batch(2, count=1).expand(3, -1, -1, -1)
    same = method("rise(samples=8, cells=3, seed=2)")(score(), x).values
    close(same, same[:1].expand_as(same))
    by_run = method("rise(samples=8, cells=3)")(score(seed=2), x).values
    assert torch.equal(by_run, same)
    other = method("rise(samples=8, cells=3, seed=3)")(score(), x).values
    assert (other - same).abs().max() > 1e-3


def test_masks_of_a_chunk_are_the_only_ones_in_memory(monkeypatch):
    counts = []

    def counting(seed, numbers, *rest):
        counts.append(len(numbers))
        return grid_masks(seed, numbers, *rest)

    monkeypatch.setattr(rise, "grid_masks", counting)
    method("rise(samples=50, cells=3)")(score(chunk=4), batch(2))
    assert max(counts) <= 4


def test_a_looser_tolerance_stops_each_image_at_a_look_of_its_own():
    x = torch.cat([batch(2, count=1), 6 * batch(2, count=1, seed=5)])
    spec = "rise(samples=64, cells=3, normalise='centred', tolerance={})"
    stops = {}
    for tolerance in (1e-9, 0.05, 0.5, 5.0):
        found = method(spec.format(tolerance))(score(), x)
        stops[tolerance] = found.numbers["samples"].tolist()
        for n, count in enumerate(stops[tolerance]):
            alone = method(f"rise(samples={count}, cells=3, normalise='centred')")(score(), x[n : n + 1])
            close(found.values[n : n + 1], alone.values)
            close(found.standard_error[n : n + 1], alone.standard_error)
    assert stops[1e-9] == [64, 64]
    assert stops[5.0] == [8, 8]
    assert any(a != b for a, b in stops.values())


@ranks
def test_costs_one_and_the_samples(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    with FlopCounterMode(display=False) as all_of_it:
        method("rise(samples=9, cells=1)")(Score(model, "class_score"), x)
    forwards = all_of_it.get_total_flops() / one.get_total_flops() / 3
    assert forwards == pytest.approx(10, rel=0.05)  # the masks are made by small products, which the counter sees too


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("samples=0", r"samples must be at least 1, got 0"),
        ("samples=1", r"samples must be at least 2, for an error to be known, got 1"),
        ("cells=0", r"cells must be at least 1, got 0"),
        ("cells=()", r"cells must be at least 1, got \(\)"),
        ("cells=9", r"cells must be at most the voxels of each axis \(8, 10\), got \(9, 9\)"),
        ("cells=(2, 2, 2)", r"cells must have 1 or 2 numbers for this image, got 3"),
        ("p=0.0", r"p must be between 0 and 1, got 0.0"),
        ("p=1.0", r"p must be between 0 and 1, got 1.0"),
        ("tolerance=0.0", r"tolerance must be more than 0, got 0.0"),
        ("seed=-1", r"seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_done_is_refused(options, told):
    with pytest.raises(OptionError, match=f"^rise: {told}$"):
        method(f"rise({options})")(score(), batch(2))


def test_a_voxel_that_was_never_visible_is_told():
    with pytest.raises(InputError, match=r"^rise: every voxel must be visible in some mask; take more samples"):
        method("rise(samples=2, cells=8, p=0.01, normalise='mask_sum')")(score(), batch(2))
