"""SmoothGrad: closed form, the mean written out, around other methods, stopping, spec, bad input, cost."""

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from tests.test_costs import SLACK, forwards
from voxplain.errors import OptionError, VoxplainError
from voxplain.methods import method
from voxplain.methods.grad_cam import GradCam
from voxplain.methods.smoothgrad import SmoothGrad
from voxplain.ops.draws import normal
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

ranks = pytest.mark.parametrize("rank", [2, 3])


def net(rank: int = 2, number: int = 1, **options: object) -> Score:
    return Score(seeded(Awkward, rank, "classification"), f"class_score({number})", **options)


def noisy_gradients(score: Score, x: torch.Tensor, std: torch.Tensor | float, seed: int, count: int) -> torch.Tensor:
    draws = normal(seed, range(count), x.shape[1:])
    return torch.stack([score.grad(x + std * draw).gradient for draw in draws])


@ranks
def test_of_a_linear_score_is_its_weights(rank):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    weight = module.weight[1].detach().expand_as(x)
    found = method("smoothgrad(samples=3)")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.values, weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.standard_error, torch.zeros_like(x), rtol=0, atol=1e-14)
    squares = method("smoothgrad(samples=3, kind='squared')")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(squares.values, weight**2, rtol=1e-12, atol=1e-14)


@ranks
def test_noise_is_a_share_of_each_images_own_range(rank):
    x = batch(rank, count=3) * torch.tensor([1.0, 5.0, 0.2]).reshape(-1, *[1] * (rank + 1))
    score = net(rank)
    found = method("smoothgrad(samples=6, noise=0.3, seed=4)")(score, x)
    std = torch.stack([0.3 * (one.max() - one.min()) for one in x])
    torch.testing.assert_close(found.numbers["noise_std"], std)
    expected = noisy_gradients(score, x, std.reshape(-1, *[1] * (rank + 1)), 4, 6)
    torch.testing.assert_close(found.values, expected.mean(0), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found.standard_error, expected.std(0) / 6**0.5, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "squared", "variance"])
def test_kinds_written_out(kind):
    score, x = net(), batch(2, count=3)
    found = method(f"smoothgrad(samples=7, noise_std=0.4, kind={kind!r})")(score, x)
    draws = noisy_gradients(score, x, 0.4, 0, 7)
    expected = {"mean": draws.mean(0), "squared": (draws**2).mean(0), "variance": draws.var(0)}[kind]
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-12)
    if kind == "variance":
        assert found.standard_error is None
    else:
        powers = draws if kind == "mean" else draws**2
        torch.testing.assert_close(found.standard_error, powers.std(0) / 7**0.5, rtol=1e-9, atol=1e-12)


def test_without_an_inner_method_it_smooths_the_gradient():
    score, x = net(), batch(2)
    alone, named = (
        method("smoothgrad(samples=4)")(score, x),
        method("smoothgrad(inner='gradient', samples=4)")(score, x),
    )
    assert torch.equal(alone.values, named.values)
    assert (alone.unit, alone.quantity, alone.derivative) == (named.unit, named.quantity, named.derivative)


def test_squares_and_variances_are_strengths():
    score, x = net(), batch(2)
    for kind in ("squared", "variance"):
        found = method(f"smoothgrad(samples=3, kind={kind!r})")(score, x)
        assert found.quantity is Quantity.SALIENCY
        assert found.unit.startswith("square of")
        assert not found.derivative, "the square of a derivative does not follow the scale of intensities linearly"
    assert method("smoothgrad(samples=3)")(score, x).derivative
    assert method("smoothgrad(inner='input_x_gradient', samples=3)")(score, x).quantity is Quantity.RELEVANCE


@ranks
def test_around_a_layer_method_cells_and_layers_stay(rank):
    score, x = net(rank), batch(rank)
    found = method('smoothgrad(inner=\'grad_cam(layer=["second", "first"], relu=False)\', samples=3)')(score, x)
    clean = GradCam(layer=("second", "first"), relu=False)(score, x)
    assert [one.layer for one in (found, *found.siblings)] == ["second", "first"]
    assert found.cells == clean.cells
    noise = 0.15 * (x.flatten(1).amax(1) - x.flatten(1).amin(1)).reshape(-1, *[1] * (rank + 1))
    maps = [
        GradCam(layer="first", relu=False)(score, x + noise * one).values for one in normal(0, range(3), x.shape[1:])
    ]
    torch.testing.assert_close(found.siblings[0].values, torch.stack(maps).mean(0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.score, score(x))


def test_the_class_is_that_of_the_clean_image_also_where_noise_changes_the_winner():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5)
    winners = module(x).argmax(1)
    noisy = torch.stack([module(x + 5 * draw).argmax(1) for draw in normal(0, range(4), x.shape[1:])])
    assert (noisy != winners).any()
    for spec in ("smoothgrad(samples=4, noise_std=5.0)", "smoothgrad(samples=4, noise_std=5.0, inner='grad_cam')"):
        found = method(spec)(Score(module, "class_score"), x)
        assert torch.equal(found.classes, winners)
        for n, winner in enumerate(winners.tolist()):
            fixed = method(spec)(Score(module, f"class_score({winner})"), x[n : n + 1])
            torch.testing.assert_close(found.values[n], fixed.values[0], rtol=1e-10, atol=1e-12)


def test_each_image_of_a_batch_stops_on_its_own():
    class Bent(torch.nn.Module):
        """Linear far from zero: only near zero does noise change the gradient."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (self.weight * x).tanh().flatten(1).sum(1, keepdim=True) + x.flatten(1).sum(1, keepdim=True)

    x = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 6.0)]).double()
    score = Score(Bent().double(), "regression()")
    spec = "smoothgrad(samples=32, noise_std=0.5, tolerance=0.01)"
    found = method(spec)(score, x)
    assert found.numbers["samples"].tolist() == [32, 4]
    for n in range(2):
        alone = method(spec)(score, x[n : n + 1])
        assert torch.equal(alone.values[0], found.values[n])
        assert torch.equal(alone.standard_error[0], found.standard_error[n])


def test_an_inner_method_that_draws_gets_other_draws_for_every_copy():
    x, reference = batch(2), batch(2, count=3, seed=9)
    module = seeded(Linear, (2, 8, 10))
    score = Score(module, "class_score(0)", reference=reference)
    found = method("smoothgrad(inner='expected_gradients(samples=1)', samples=200, noise_std=1e-9)")(score, x)
    expected = module.weight[0].detach() * (x - reference.mean(0))
    assert ((found.values - expected).abs() <= 4 * found.standard_error + 1e-6).double().mean() > 0.95
    fixed = method("smoothgrad(inner='expected_gradients(samples=1, seed=5)', samples=9, noise_std=1e-9)")(score, x)
    assert fixed.standard_error.max() < 1e-6


def test_needs_what_the_inner_method_needs():
    assert SmoothGrad().needed_access is Access.GRADIENT
    for inner, access in (("occlusion", Access.CALLS), ("gradient", Access.GRADIENT), ("grad_cam", Access.LAYERS)):
        assert method(f"smoothgrad(inner={inner!r})").needed_access is access
    assert method("smoothgrad(inner='expected_gradients')").wants_reference
    assert not SmoothGrad().wants_reference
    calls_only = net(access=Access.CALLS)
    method("smoothgrad(inner='occlusion(window=4)', samples=2)")(calls_only, batch(2))
    with pytest.raises(VoxplainError, match="needs"):
        method("smoothgrad(samples=2)")(calls_only, batch(2))


def test_the_spec_in_words_builds_the_same_again():
    for spec in ("smoothgrad()", "smoothgrad(inner='occlusion(window=4)')", "smoothgrad(inner=occlusion(window=4))"):
        built = method(spec)
        assert method(str(built)) == built


def test_can_be_wrapped_around_itself():
    found = method("smoothgrad(inner='smoothgrad(samples=2)', samples=2)")(net(), batch(2))
    assert torch.isfinite(found.values).all()


@ranks
def test_costs_one_and_the_inner_method_for_each_copy(rank):
    assert forwards("smoothgrad(samples=5)", rank) == pytest.approx(1 + 5 * 2, abs=SLACK)
    inner = "smoothgrad(inner='integrated_gradients(steps=2)', samples=3)"
    assert forwards(inner, rank) == pytest.approx(1 + 3 * (2 * 2 + 2), abs=SLACK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"samples": 1, "kind": "variance"}, "samples must be at least 2 for a variance, got 1"),
        ({"kind": "variance", "tolerance": 0.1}, "tolerance must be left out for a variance"),
        ({"noise": 0.0}, "noise must be more than 0"),
        ({"noise_std": -1.0}, "noise_std must be more than 0"),
        ({"kind": "rms"}, "kind must be one of"),
        ({"inner": 3}, "inner must be method or nothing, got 3"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=f"smoothgrad: {sentence}"):
        SmoothGrad(**options)


def test_an_unknown_inner_method_is_named():
    with pytest.raises(OptionError, match="unknown method 'gradcam'; did you mean 'grad_cam'"):
        method("smoothgrad(inner='gradcam')")
