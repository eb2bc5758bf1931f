"""The ascent written out with automatic differentiation, what it finds where the answer is known, and areas in mm."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.ops.baselines import baseline
from voxplain.ops.smooth_mask import SmoothMask
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Quantity

ranks = pytest.mark.parametrize("rank", [2, 3])


def score(rank: int = 2, **options) -> Score:
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)


def written_out(read, x, cover, *, count, steps, step, sigma, weight, rate, preserve):
    """One image: ascent on reward / span - weight * area, all derivatives by automatic differentiation."""
    size = tuple(x.shape[2:])
    smooth = SmoothMask(size, (step,) * len(size), (sigma,) * len(size))
    with torch.no_grad():
        span = abs(read(x) - read(cover))
    wanted = torch.zeros(x[0, 0].numel(), dtype=x.dtype)
    wanted[len(wanted) - count :] = 1
    tied = torch.full_like(wanted, count / len(wanted))
    grid = torch.full((1, *smooth.cells), 1.0 if preserve else 0.1, dtype=x.dtype, requires_grad=True)
    speed = torch.zeros_like(grid)
    for n in range(steps):
        mask = smooth(grid).masks[:, None]
        kept = mask if preserve else 1 - mask
        reward = read(cover + kept * (x - cover)) / span * (1 if preserve else -1)
        target = tied if n == 0 else wanted  # at the first step all voxels tie
        area = (mask.flatten().sort().values - target).square().mean()
        (slope,) = torch.autograd.grad(reward - weight * 16 ** (n / steps) * area, grid)
        with torch.no_grad():
            speed = 0.9 * speed + 0.1 * slope
            grid = (grid + rate * grid.numel() * speed).clamp(0, 1).requires_grad_()
    return smooth(grid).masks[0].detach()


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("game", ["preserve", "delete"])
def test_the_ascent_written_out(rank, task, game):
    module, x = seeded(Awkward, rank, task), batch(rank)
    asked = Score(module, target_for(task))
    options = {"steps": 4, "step": 2, "sigma": 3.0, "weight": 3.0, "rate": 0.01}
    spec = ", ".join(f"{key}={value}" for key, value in options.items())
    found = method(f"extremal_perturbation(area=0.3, game={game!r}, perturbation='mean', {spec})")(asked, x)
    _, frozen = asked.freeze(x)
    count = round(0.3 * x[0, 0].numel())
    for n in range(2):
        choice = frozen.choice.take(torch.tensor([n]))
        read = lambda image, choice=choice: asked.target.read(module(image), choice, "auto")[0]  # noqa: E731
        image = x[n : n + 1]
        cover = baseline(image, "mean")
        expected = written_out(read, image, cover, count=count, preserve=game == "preserve", **options)
        torch.testing.assert_close(found.values[n, 0], expected, rtol=1e-7, atol=1e-9)
        kept = expected if game == "preserve" else 1 - expected
        reached = read(cover + kept * (image - cover)).detach()
        torch.testing.assert_close(found.numbers["score_at_area_1"][n], reached, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(found.numbers["share_of_area_1"][n], expected.mean(), rtol=1e-7, atol=1e-9)


def spot(rank: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A linear score all of whose weight lies in a ball, an image of ones, and the ball."""
    size = (20, 18) if rank == 2 else (12, 10, 11)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in size], indexing="ij")
    inside = (
        sum((axis - c) ** 2 for axis, c in zip(axes, (12, 6) if rank == 2 else (7, 4, 5), strict=True))
        <= (6 - rank) ** 2
    )
    module = seeded(Linear, (1, *size))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[1, 0] = inside.double()
    return module, torch.ones(1, 1, *size, dtype=torch.float64), inside


@pytest.mark.parametrize(
    ("rank", "game"), [(2, "preserve"), (2, "delete"), pytest.param(3, "preserve", marks=pytest.mark.slow)]
)
def test_it_finds_the_ball_that_holds_all_of_the_score(rank, game):
    module, x, inside = spot(rank)
    share = float(inside.double().mean())
    fine = "step=2, sigma=4" if rank == 2 else "step=1, sigma=2"
    spec = f"extremal_perturbation(area={share}, {fine}, steps=100, perturbation=0, game={game!r})"
    found = method(spec)(Score(module, "class_score(1)"), x)
    mask = found.values[0, 0]
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[inside].mean() > 0.65
    assert mask[~inside].mean() < 0.1
    highest = mask.flatten().topk(int(inside.sum())).indices
    assert inside.flatten()[highest].double().mean() > 0.85
    assert found.numbers["share_of_area_1"][0] == pytest.approx(share, rel=0.25)


def test_nothing_is_random_and_equal_evidence_is_kept_equally():
    """A mirrored image gets a mirrored mask: which of two equal voxels comes first plays no part."""
    module = seeded(Linear, (1, 12, 12))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[1, 0, 2:5, 2:10] = 1.0
        module.weight[1, 0, 7:10, 2:10] = 1.0
    x = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    spec = "extremal_perturbation(area=0.4, step=2, sigma=3, steps=60, perturbation=0)"
    found = method(spec)(Score(module, "class_score(1)"), x).values
    torch.testing.assert_close(found, found.flip(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(found, found.flip(3), rtol=0, atol=1e-6)


def test_twice_the_score_is_the_same_mask():
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    spec = "extremal_perturbation(steps=6, step=2)"
    once = method(spec)(Score(module, "class_score(1)"), x).values
    with torch.no_grad():
        module.head.weight *= 2
        module.head.bias *= 2
    torch.testing.assert_close(method(spec)(Score(module, "class_score(1)"), x).values, once, rtol=1e-9, atol=1e-11)


def test_several_areas_are_parts_each_as_if_asked_alone_and_the_map_their_mean():
    x = batch(2)
    options = "steps=5, step=2, rate=0.01"
    found = method(f"extremal_perturbation(area=[0.1, 0.3, 0.6], {options})")(score(), x)
    masks = []
    for n, area in enumerate((0.1, 0.3, 0.6), start=1):
        alone = method(f"extremal_perturbation(area={area}, {options})")(score(), x)
        torch.testing.assert_close(found.parts[f"area_{n}"], alone.values, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(found.numbers[f"score_at_area_{n}"], alone.numbers["score_at_area_1"])
        assert alone.parts == {}
        masks.append(alone.values)
    torch.testing.assert_close(found.values, torch.stack(masks).mean(0), rtol=1e-9, atol=1e-11)
    assert found.quantity is Quantity.MASK


# --- areas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "option", "size"), [(2, "area_mm2", 2.0 * 3.0), (3, "area_mm3", 2.0 * 3.0 * 0.5)])
def test_an_area_in_mm_is_that_many_voxels(rank, option, size):
    x = batch(rank)
    voxels = x[0, 0].numel()
    asked = score(rank, spacing_mm=(2.0, 3.0, 0.5)[:rank])
    options = "steps=3, step=2, rate=0.01"
    in_mm = method(f"extremal_perturbation({option}={20 * size}, {options})")(asked, x)
    share = method(f"extremal_perturbation(area={20 / voxels}, {options})")(asked, x)
    assert torch.equal(in_mm.values, share.values)


@pytest.mark.parametrize(
    ("options", "spacing", "told"),
    [
        ("area_mm2=40.0", None, r"area_mm2 needs a grid in mm, but this image has none; pass area=\.\.\."),
        ("area_mm3=40.0", (1.0, 1.0), r"area_mm3 needs a 3D image; pass area_mm2=\.\.\."),
        ("area_mm2=400.0", (1.0, 1.0), r"area_mm2 must be at least a voxel .* 80 voxels, got 400 to 400 voxels"),
        ("area=0.001", None, r"area must be at least a voxel .* 80 voxels, got 0.08 to 0.08 voxels"),
        ("area=[0.1, 0.999]", None, r"area must be at least a voxel .* 80 voxels, got 8 to 79.92 voxels"),
        ("area=0.0", None, r"area must be more than 0, got 0.0"),
        ("area=[]", None, r"area must be more than 0, got \(\)"),
        ("area=1.0", None, r"area must be less than 1, got 1.0"),
        ("area=0.1, area_mm2=3", None, r"area_mm2 must be left out with area, got 3"),
        ("steps=0", None, r"steps must be at least 1, got 0"),
        ("step=0", None, r"step must be at least 1, got 0"),
        ("step=(2, 2, 2)", None, r"step must have 1 or 2 numbers for this image, got 3"),
        ("sigma=0.0", None, r"sigma must be more than 0, got 0.0"),
        ("weight=0.0", None, r"weight must be more than 0, got 0.0"),
        ("rate=0.0", None, r"rate must be more than 0, got 0.0"),
    ],
)
def test_what_cannot_be_done_is_refused(options, spacing, told):
    with pytest.raises(OptionError, match=f"^extremal_perturbation: {told}$"):
        method(f"extremal_perturbation({options})")(score(spacing_mm=spacing), batch(2))


def test_a_score_that_blurring_leaves_alone_does_not_blow_up():
    x = torch.full((1, 2, 8, 10), 0.4, dtype=torch.float64)
    found = method("extremal_perturbation(steps=3)")(score(), x)
    assert torch.isfinite(found.values).all()


@ranks
def test_costs_two_a_step_and_area_and_two_and_the_areas(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    with FlopCounterMode(display=False) as all_of_it:
        method("extremal_perturbation(area=[0.2, 0.4], steps=3, step=3, sigma=2)")(Score(model, "class_score"), x)
    forwards = all_of_it.get_total_flops() / one.get_total_flops() / 3
    assert forwards == pytest.approx(2 * 3 * 2 + 2 + 2, abs=0.02)


def test_it_starts_where_the_network_still_sees():
    """Half covered, this network sees nothing and has no slope: the way to the voxels that count begins uncovered."""

    class Blind(torch.nn.Module):
        def forward(self, x):
            seen = torch.relu(x[:, 0, 2:5, 2:5].mean(dim=(1, 2)) - 0.8)
            return torch.stack([-seen, seen], dim=1)

    x = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    spec = "extremal_perturbation(area=0.15, step=2, sigma=3, steps=60, perturbation=0)"
    found = method(spec)(Score(Blind(), "class_score(1)"), x).values[0, 0]
    assert found[2:5, 2:5].mean() > 0.8
    assert found[7:, 7:].mean() < 0.2
