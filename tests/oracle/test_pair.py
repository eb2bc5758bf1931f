"""Parity in float64 with PAIR saliency, the reference of guided IG, blur IG and XRAI, on networks of torchvision."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.ops.region_ranking import joined_by_density, regions
from voxplain.score.score import Score

saliency = pytest.importorskip("saliency.core")

RELATIVE = 1e-9
"""Both sides are deterministic float64; sums in another order differ far less."""


def resnet_2d() -> tuple[nn.Module, torch.Tensor]:
    torchvision = pytest.importorskip("torchvision")
    module = seeded(torchvision.models.resnet18, num_classes=3)
    return module, torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def awkward(rank: int) -> tuple[nn.Module, torch.Tensor]:
    return seeded(Awkward, rank, "classification"), batch(rank, count=1)


def gradients_of(module: nn.Module, number: int):
    """What PAIR calls a model function: images with channels last in, gradients of class `number` out."""

    def call(images, call_model_args=None, expected_keys=None):
        x = torch.from_numpy(np.asarray(images)).movedim(-1, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(module(x)[:, number].sum(), x)
        return {saliency.base.INPUT_OUTPUT_GRADIENTS: gradient.movedim(1, -1).numpy()}

    return call


def channels_last(x: torch.Tensor) -> np.ndarray:
    return x[0].movedim(0, -1).contiguous().numpy()


def assert_same(method_name: str, ours: torch.Tensor, theirs: np.ndarray) -> None:
    agreement.assert_same(method_name, "PAIR saliency", channels_last(ours), theirs)


@pytest.fixture
def older_quantile(monkeypatch):
    """PAIR 0.2 still says `interpolation`, which NumPy 2.4 no longer takes; the meaning is that of `method`."""
    quantile = np.quantile
    monkeypatch.setattr(
        np, "quantile", lambda values, share, interpolation: quantile(values, share, method=interpolation)
    )


@pytest.mark.usefixtures("older_quantile")
@pytest.mark.parametrize(("steps", "fraction", "distance"), [(20, 0.25, 0.02), (5, 0.5, 1.0), (12, 0.1, 0.3)])
@pytest.mark.parametrize("build", [resnet_2d, lambda: awkward(2), lambda: awkward(3)])
def test_guided_ig(build, steps, fraction, distance):
    module, x = build()
    spec = f"guided_ig(steps={steps}, fraction={fraction}, max_distance={distance}, baseline=0.1)"
    ours = method(spec)(Score(module, "class_score(2)"), x).values
    image = channels_last(x)
    theirs = saliency.GuidedIG().GetMask(
        image, gradients_of(module, 2), None, np.full_like(image, 0.1), steps, fraction, distance
    )
    assert_same("guided_ig", ours, theirs)


@pytest.mark.parametrize(("steps", "sigma"), [(10, 4.0), (7, 1.5)])
@pytest.mark.parametrize("build", [resnet_2d, lambda: awkward(2)])
def test_blur_ig(build, steps, sigma):
    """PAIR blurs two axes only, beyond the border lie zeros, and the derivative is a difference over 0.01 pixels."""
    module, x = build()
    spec = f"blur_ig(steps={steps}, max_sigma={sigma}, difference=0.01, border='constant', spacing='linear')"
    ours = method(spec)(Score(module, "class_score(1)"), x).values
    theirs = saliency.BlurIG().GetMask(channels_last(x), gradients_of(module, 1), None, sigma, steps)
    assert_same("blur_ig", ours, theirs)


@pytest.mark.parametrize("channels", [1, 3])
def test_xrai_with_the_same_attributions_and_segments_of_its_own(channels):
    """From the same integrated gradients, PAIR's own segmentation and ranking give the same map."""
    module = seeded(Awkward, 2, "classification", channels=channels)
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, channels, 40, 48)))
    x = torch.nn.functional.avg_pool2d(x, 9, stride=1, padding=4) * 9
    score = Score(module, "class_score(2)")
    base = sum(method(f"integrated_gradients(baseline={float(end)!r})")(score, x).values for end in (x.min(), x.max()))
    theirs = saliency.XRAI().GetMask(channels_last(x), None, base_attribution=channels_last(base / 2))
    ours = method("xrai(channels='max')")(score, x).values
    assert len(np.unique(theirs)) > 3
    assert_same("xrai", ours, theirs[..., None])


@pytest.mark.parametrize("shape", [(20, 24), (8, 9, 10)])
def test_region_ranking_with_the_same_segments(shape):
    """PAIR ranks masks of any rank, so that volumes can be compared from masks on."""
    generator = np.random.default_rng(1)
    cuts = [generator.integers(0, count, shape) for count in (5, 20)]
    values = generator.normal(size=shape)
    members = regions(cuts, 0)
    masks = list(members.toarray().astype(bool).reshape(-1, *shape))
    theirs, _ = saliency.XRAI()._xrai(values, masks, min_pixel_diff=7)
    ours = joined_by_density(members, values.ravel(), 7).reshape(shape)
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE, atol=RELATIVE)
