"""Parity with lime 0.2.0.1 in float64, from the same draws: superpixels, weights, intercept, R2, local prediction."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets import seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.ops.draws import uniform
from voxplain.score.score import Score

lime_image = pytest.importorskip("lime.lime_image")

ABSOLUTE = 1e-9
"""Both solve a system of some tens of unknowns in float64; logits are about 1."""

SAMPLES = 60


class Small(nn.Module):
    """A convolutional classifier of colour images with three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.GELU(), nn.Conv2d(8, 8, 5, stride=2), nn.GELU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(4 * self.layers(x).flatten(2).amax(2))


def image() -> torch.Tensor:
    """A colour image in 0..1 with enough texture for some superpixels."""
    noise = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return nn.functional.interpolate(noise, (84, 98), mode="bicubic").clamp(0, 1)


class Draws:
    """Stands in for lime's random state: the presence of each superpixel as we draw it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def randint(self, low: int, high: int, count: int) -> np.ndarray:
        assert (low, high) == (0, 2)
        assert count % SAMPLES == 0
        return (uniform(self.seed, range(SAMPLES), (count // SAMPLES,)) < 0.5).long().flatten().numpy()


def theirs(module: nn.Module, x: torch.Tensor, hide: float | None, seed: int):
    """What lime says of all three classes; its R2 and local prediction are those of the last one."""

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    explainer = lime_image.LimeImageExplainer()
    explainer.random_state = Draws(seed)
    explainer.base.random_state = 0
    picture = x[0].permute(1, 2, 0).numpy()
    options = {"hide_color": hide, "top_labels": None, "num_samples": SAMPLES, "random_seed": 0}
    return explainer.explain_instance(picture, scores, labels=(0, 1, 2), **options)


@pytest.mark.parametrize(("hide", "fill"), [(None, "segment_mean"), (0, "zero"), (0.5, 0.5)])
def test_every_class_is_explained_as_lime_does(hide, fill):
    module, x = seeded(Small), image()
    their = theirs(module, x, hide, seed=7)
    spec = f"lime(samples={SAMPLES}, fill={fill!r}, black_white=[0.0, 1.0])"
    for label in range(3):
        ours = method(spec)(Score(module, f"class_score({label})", seed=7), x)
        assert np.array_equal(ours.parts["segments"][0, 0].numpy(), their.segments)
        assert int(ours.numbers["segments"]) == len(np.unique(their.segments)) > 8
        weights = np.array([weight for _, weight in sorted(their.local_exp[label])])
        assert np.abs(weights).max() > 1e-3
        for found in (ours.values[0, 0], ours.by_class[0, label, 0]):
            agreement.assert_same("lime", "lime", found, weights[their.segments])
        np.testing.assert_allclose(ours.numbers["segment_values"][0], weights, rtol=0, atol=ABSOLUTE)
        assert float(ours.numbers["intercept"]) == pytest.approx(their.intercept[label], abs=ABSOLUTE)
    assert float(ours.numbers["local_r2"]) == pytest.approx(their.score, abs=ABSOLUTE)
    assert float(ours.numbers["local_prediction"]) == pytest.approx(their.local_pred[0], abs=ABSOLUTE)


def test_grey_images_are_cut_as_lime_cuts_them():
    from skimage.color import gray2rgb

    x = image()[:, :1]
    cut = lime_image.SegmentationAlgorithm("quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=3)
    ours = method("lime(samples=2, black_white=[0.0, 1.0])")(Score(seeded(Grey), "class_score(0)"), x)
    assert np.array_equal(ours.parts["segments"][0, 0].numpy(), cut(gray2rgb(x[0, 0].numpy())))


class Grey(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        return self.head(x.flatten(2).mean(2))
