"""Parity of partition SHAP with the package shap in float64: blur and constant absence, any budget, any round."""

import numpy as np
import pytest
import torch

from tests.nets import Awkward, batch, seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.score.score import Score

shap = pytest.importorskip("shap")

RELATIVE = 1e-9
"""Both sum a few hundred differences of scores in float64; only the order of the sums differs."""


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Three scores of (batch, channel, i, j) in which every voxel meets every other, so that no two nodes tie."""
    n = x[0].numel()
    generator = torch.Generator().manual_seed(5)
    into = torch.randn(n, 12, generator=generator, dtype=torch.float64) / n**0.5
    out = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    return torch.tanh(x.flatten(1) @ into) @ out


class Smooth(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return smooth(x)


def theirs(module, x: torch.Tensor, masker: object, budget: int, batch_size: int | str = "auto") -> np.ndarray:
    """What shap gives for one image, every class: (class, channel, i, j); its layout is (i, j, channel)."""
    image = x[0].permute(1, 2, 0).numpy().copy()

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.as_tensor(images, dtype=torch.float64).permute(0, 3, 1, 2)).numpy()

    explainer = shap.explainers.Partition(scores, shap.maskers.Image(masker, image.shape))
    found = explainer(image[None], max_evals=budget, fixed_context=None, batch_size=batch_size, silent=True)
    return found.values[0].transpose(3, 2, 0, 1), found.base_values[0]


def ours(module, x: torch.Tensor, options: str):
    return method(f"partition_shap({options})")(Score(module, "class_score(0)"), x)


def assert_same(found, expected, base):
    agreement.assert_same("partition_shap", "shap", found.by_class[0], expected)
    np.testing.assert_allclose(found.numbers["score_at_baseline"][0], base[0], rtol=1e-12)


@pytest.mark.parametrize("budget", [2, 4, 12, 60, 250, 500])
@pytest.mark.parametrize("size", [(12, 12), (9, 16)])
def test_a_blurred_absence_with_any_budget(budget, size):
    x = batch(2, count=1, channels=3, side=20)[..., : size[0], : size[1]]
    expected, base = theirs(Smooth(), x, "blur(64,64)", budget)
    assert_same(ours(Smooth(), x, f"max_evals={budget}"), expected, base)


def test_the_box_of_the_blur_goes_by_axis():
    x = batch(2, count=1, channels=1, side=12)
    expected, base = theirs(Smooth(), x, "blur(3,6)", 80)  # shap names the horizontal side, our last axis, first
    assert_same(ours(Smooth(), x, "max_evals=80, size=(6, 3)"), expected, base)


@pytest.mark.parametrize("batch_size", [2, 10, 40])
def test_a_constant_absence_and_rounds_of_any_length(batch_size):
    x = batch(2, count=1, channels=2, side=8)
    expected, base = theirs(Smooth(), x, 0.3, 150, batch_size)
    assert_same(ours(Smooth(), x, f"max_evals=150, absent=0.3, together={batch_size}"), expected, base)


def test_a_network_opened_down_to_single_channels():
    """Exhausted, the order of opening cannot matter: a network of rectifiers, full of ties, agrees too."""
    x = batch(2, count=1, side=3)[..., :3, :4]
    module = seeded(Awkward, 2, "classification")
    expected, base = theirs(module, x, 0.0, 10**6)
    found = ours(module, x, "max_evals=1000000, absent=0.0")
    assert_same(found, expected, base)
    assert found.numbers["evaluations"][0] < 10**6


def test_the_explained_class_alone_steers_as_one_output_does():
    x = batch(2, count=1, channels=3, side=12)
    for index in range(3):
        only = lambda images, index=index: smooth(images)[:, index : index + 1]  # noqa: E731
        expected, _ = theirs(only, x, 0.1, 90)
        spec = "partition_shap(max_evals=90, absent=0.1, classes='explained')"
        found = method(spec)(Score(Smooth(), f"class_score({index})"), x)
        gap = np.abs(found.values[0].numpy() - expected[0]).max() / np.abs(expected).max()
        assert gap <= RELATIVE
        assert found.by_class is None
