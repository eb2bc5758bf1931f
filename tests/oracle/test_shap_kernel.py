"""Shapley values against shap's KernelExplainer (exact for few segments) and Captum's sampling, in float64."""

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValueSampling
from torch import nn

from tests.nets import Awkward, batch, seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.score.score import Score

shap = pytest.importorskip("shap")

RELATIVE = 1e-9
"""Both solve the same least squares over all coalitions in float64."""


def torn(rank: int, segments: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor, Score]:
    """A network, an image, the segments of a grid on it, and the score of class 1."""
    module, x = seeded(Awkward, rank, "classification"), batch(rank, count=1)
    score = Score(module, "class_score(1)")
    found = method(f"kernel_shap(segmenter='grid', segments={segments}, absent=0.3)")(score, x)
    return module, x, found.parts["segments"][0, 0], score


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("segments", [4, 8])
def test_few_segments_have_the_values_of_shap(rank, segments):
    module, x, labels, score = torn(rank, segments)
    players = int(labels.max()) + 1
    assert players in (4, 6, 8, 9)

    def scores(presence: np.ndarray) -> np.ndarray:
        keep = torch.from_numpy(presence).bool()[:, labels][:, None]
        with torch.no_grad():
            return module(torch.where(keep, x, torch.full_like(x, 0.3))).numpy()

    explainer = shap.KernelExplainer(scores, np.zeros((1, players)))
    values = explainer.shap_values(np.ones((1, players)), nsamples=2**players, l1_reg=False, silent=True)[0]
    ours = method(f"kernel_shap(segmenter='grid', segments={segments}, absent=0.3)")(score, x)
    agreement.assert_same("kernel_shap", "shap", ours.numbers["segment_values"][0], values[:, 1])
    assert ours.standard_error.abs().max() == 0


@pytest.mark.parametrize("antithetic", [True, False])
def test_sampling_agrees_with_captum_in_expectation(antithetic):
    module, x, labels, score = torn(2, 6)
    spec = f"shapley_sampling(segmenter='grid', segments=6, absent=0.3, samples=60, antithetic={antithetic})"
    ours = method(spec)(score, x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = ShapleyValueSampling(module).attribute(
            x, baselines=0.3, target=1, feature_mask=labels[None, None], n_samples=60
        )
    counts = torch.bincount(labels.flatten())
    gap = (ours.values[0, 0] * counts[labels] - theirs[0, 0]).abs()
    error = ours.standard_error[0, 0] * counts[labels]
    assert (gap <= 5 * error.max()).all()
    assert float(gap.max()) < 0.1 * float(theirs.abs().max())
