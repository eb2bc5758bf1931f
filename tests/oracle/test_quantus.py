"""Quantus as a second opinion, where it is installed; `pip install --no-deps quantus xarray` leaves OpenCV as it is."""

import numpy as np
import pytest
import torch

from tests.nets import Awkward, batch, seeded
from voxplain.metrics import metric
from voxplain.score.score import Score

quantus = pytest.importorskip("quantus")

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs warn of options and of every perturbation without effect

SAME = 1e-6
"""Theirs predicts in single precision."""


def case():
    """A network of one channel, an image of 12 x 12 voxels and a map without ties."""
    module = seeded(Awkward, 2, "classification", 1)
    x = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return module, x, batch(2, count=1, channels=1, side=12, seed=2)[..., :12]


def theirs(name, module, x, values, **options):
    """What a metric of Quantus says about one map of class 1."""
    asked = getattr(quantus, name)(
        abs=False, normalise=False, disable_warnings=True, return_aggregate=False, perturb_baseline=0.0, **options
    )
    arrays = {"x_batch": x.numpy().astype(np.float32), "a_batch": values.numpy(), "y_batch": np.array([1])}
    (found,) = asked(model=module.float().eval(), channel_first=True, softmax=False, device="cpu", **arrays)
    return found


def ours(spec, module, x, values):
    """The same by our own metric, on the double-precision network."""
    (found,) = metric(spec)(Score(module.double(), "class_score(1)"), x, values)
    return found


def test_pixel_flipping_is_our_curve_of_deletion():
    module, x, values = case()
    expected = theirs("PixelFlipping", module, x, values, features_in_step=12)
    found = ours("deletion(steps=12)", module, x, values).curves["removed"].values
    assert found[1:] == pytest.approx(expected, rel=SAME, abs=SAME)


@pytest.mark.parametrize(("order", "ending"), [("morf", "most relevant first"), ("lerf", "least relevant first")])
def test_region_perturbation_is_our_curve_of_blocks(order, ending):
    module, x, values = case()
    expected = theirs("RegionPerturbation", module, x, values, patch_size=3, order=order, regions_evaluation=16)
    found = ours(f"{order}_aopc(steps=16, patch=3)", module, x, values)
    scores = np.array(found.curves[ending].values)
    assert scores[0] - scores[1:] == pytest.approx(expected, rel=SAME, abs=SAME)
    assert found.value == pytest.approx(np.sum(expected) / 17, rel=SAME, abs=SAME)


def test_completeness_is_true_where_our_gap_is_nothing():
    """Theirs compares floating-point numbers for equality, so that it is held to whole numbers here."""

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (self.weight * x).flatten(1).sum(1, keepdim=True).expand(-1, 2)

    x = torch.arange(144.0, dtype=torch.float64).reshape(1, 1, 12, 12)
    for values in (x, x + 1):
        agrees = bool(theirs("Completeness", Sum(), x, values))
        assert (ours("completeness", Sum(), x, values).value < 1e-6) == agrees == (values is x)


def test_monotonicity_is_true_whatever_the_map_there_and_not_here():
    """Theirs puts the baseline back into the baseline, so that the score never changes."""
    module, x, values = case()
    assert all(theirs("Monotonicity", module, x, one, features_in_step=12) for one in (values, -values))
    assert all(ours("monotonicity(steps=12)", module, x, one).value < 1 for one in (values, -values))


def test_faithfulness_correlation_is_the_same_on_average():
    module, x, values = case()
    np.random.seed(0)
    expected = theirs("FaithfulnessCorrelation", module, x, values, nr_runs=2000, subset_size=14)
    found = ours(f"faithfulness_correlation(share={14 / 144}, samples=2000)", module, x, values)
    assert found.value == pytest.approx(expected, abs=4 * (2 / 2000) ** 0.5)  # two correlations of 2000 sets each
