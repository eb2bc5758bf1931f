"""Parity in float64 with Captum: input x gradient, several baselines, SmoothGrad and expected gradients."""

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency

from tests.nets import Awkward, batch, seeded
from tests.oracle.agreement import assert_same
from tests.oracle.test_captum import inputs, networks, unrounded  # noqa: F401 - a fixture
from voxplain.methods import method
from voxplain.ops.draws import normal, uniform
from voxplain.score.score import Score

COUNT = 4
"""Noisy copies or draws of an image."""


@networks
def test_input_x_gradient(build):
    module, shape, _ = build()
    x = inputs(shape)
    ours = method("input_x_gradient")(Score(module, "class_score(1)"), x).values
    assert_same(
        "input_x_gradient",
        "Captum",
        ours,
        InputXGradient(module).attribute(x.clone().requires_grad_(), target=1).detach(),
    )


@networks
@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(("rule", "theirs"), [("gauss_legendre", "gausslegendre"), ("midpoint", "riemann_middle")])
def test_integrated_gradients_from_several_baselines(build, rule, theirs):
    module, shape, _ = build()
    x = inputs(shape)
    reference = inputs((2, *shape[1:])).flip(-1)
    ours = method(f"integrated_gradients(steps=3, rule={rule!r}, baseline=['reference', 0.5])")(
        Score(module, "class_score(2)", reference=reference), x
    )
    starts = [*reference, torch.full(shape[1:], 0.5, dtype=torch.float64)]
    maps = [
        IntegratedGradients(module).attribute(x, start.expand_as(x), target=2, n_steps=3, method=theirs)
        for start in starts
    ]
    assert_same("integrated_gradients", "Captum", ours.values, torch.stack(maps).mean(0))


@networks
@pytest.mark.parametrize(
    ("kind", "theirs"), [("mean", "smoothgrad"), ("squared", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_smoothgrad_with_the_same_noise(build, kind, theirs, monkeypatch):
    """Captum draws by `torch.normal` and takes the width in input units; its variance divides by n, ours by n - 1."""
    module, shape, _ = build()
    x = inputs(shape)
    spec = f"smoothgrad(samples={COUNT}, noise_std=0.3, kind={kind!r}, seed=2)"
    ours = method(spec)(Score(module, "class_score(1)"), x).values
    noise = 0.3 * normal(2, range(COUNT), shape[1:])
    copies = noise.repeat(len(x), *[1] * (x.ndim - 1))  # all copies of the first image, then those of the next
    monkeypatch.setattr(torch, "normal", lambda mean, std: copies)
    tunnel = NoiseTunnel(Saliency(module))
    found = tunnel.attribute(x, nt_type=theirs, nt_samples=COUNT, stdevs=0.3, target=1, abs=False).detach()
    assert_same("smoothgrad", "Captum", ours, found * (COUNT / (COUNT - 1) if kind == "variance" else 1))


@networks
def test_expected_gradients_with_the_same_draws(build, monkeypatch):
    """Captum draws baselines and places on the way from NumPy; here it is handed ours, one image at a time."""
    module, shape, _ = build()
    x, reference = inputs(shape)[:1], inputs((3, *shape[1:])).flip(-1)
    ours = method(f"expected_gradients(samples={COUNT}, seed=6)")(
        Score(module, "class_score(1)", reference=reference), x
    )
    which, alpha = uniform(6, range(COUNT), (2,)).unbind(dim=1)
    monkeypatch.setattr(np.random, "choice", lambda count, size: (which * count).long().numpy()[:size])
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: alpha.numpy().reshape(size))
    theirs = GradientShap(module).attribute(x, reference, n_samples=COUNT, stdevs=0.0, target=1).detach()
    assert_same("expected_gradients", "Captum", ours.values, theirs)


def test_expected_gradients_in_expectation():
    """Over many seeds the two estimates lie apart as their standard errors say, and no further."""
    module, x, reference = seeded(Awkward, 2, "classification"), batch(2, count=1), batch(2, count=3, seed=9)
    score = Score(module, "class_score(1)", reference=reference)
    shares = []
    for seed in range(40):
        ours = method(f"expected_gradients(samples=100, seed={seed})")(score, x)
        np.random.seed(seed)
        theirs = GradientShap(module).attribute(x, reference, n_samples=100, stdevs=0.0, target=1).detach()
        apart = (ours.values - theirs).abs() / (2**0.5 * ours.standard_error)
        shares.append((apart <= 1.96).double().mean().item())
    assert np.mean(shares) == pytest.approx(0.95, abs=0.02)
