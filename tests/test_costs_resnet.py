"""The promised costs, counted on torchvision's ResNet-18: shared forwards, rules, layers; and memory of samples."""

import gc

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, batch, seeded
from voxplain.methods import method
from voxplain.score.dry import LiveBytes
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.score import Score

torchvision = pytest.importorskip("torchvision")
MODEL = Model.of(seeded(torchvision.models.resnet18, num_classes=3))
X = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

SLACK = 0.02
"""The target's own arithmetic and the products of maps."""

CAMS = ("grad_cam", "gated_grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam")


def forwards(*specs: str, target: str = "class_score(1)") -> float:
    """The cost of methods asked for together, in forwards."""
    with FlopCounterMode(display=False) as one:
        MODEL(X)
    jobs = [(Score(MODEL, target), lambda score, spec=spec: method(spec)(score, X)) for spec in specs]
    with FlopCounterMode(display=False) as all_of_it:
        found = together(jobs)
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return all_of_it.get_total_flops() / one.get_total_flops()


def test_methods_of_different_rules_share_the_forward():
    assert forwards("gradient", "input_x_gradient", "guided_backprop", "deconvnet") <= 1 + 3 + SLACK


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ("guided_backprop", 2),
        ("deconvnet", 2),
        ("lrp(composite='epsilon_plus')", 4),
        ("lrp(composite='epsilon_plus_flat')", 4),
        ("lrp(composite='alpha2_beta1')", 6),
        ("excitation_backprop", 4),
        ("full_grad", 2),
        ("deep_lift", 5),
    ],
)
def test_rules_cost_at_most(spec, most):
    assert forwards(spec) <= most + SLACK


def test_relevance_shares_the_forward_with_gradients():
    apart = forwards("gradient") + forwards("lrp(composite='epsilon_plus')")
    assert forwards("gradient", "lrp(composite='epsilon_plus')") == pytest.approx(apart - 1, abs=SLACK)


def test_all_cams_at_all_layers_cost_one_forward_and_one_backward_to_the_deepest():
    layers = "['layer1', 'layer2', 'layer3', 'layer4']"
    deepest = forwards("grad_cam(layer='layer1')")
    # Eigen-CAM's Gram matrices and the gradient of the first layer are products too.
    assert forwards(*(f"{name}(layer={layers})" for name in CAMS)) == pytest.approx(deepest, abs=0.1)
    assert deepest < 2


def test_ablation_before_pooling_and_a_linear_layer_costs_one_forward():
    assert forwards("ablation_cam(layer='layer4')") == pytest.approx(1, abs=SLACK)


def test_shapley_values_of_channels_cost_a_forward_a_coalition():
    assert forwards("modality_shapley") == pytest.approx(2**3, abs=SLACK)


@pytest.mark.parametrize(
    "spec",
    [
        "rise(samples={})",
        "smoothgrad(samples={})",
        "expected_gradients(samples={})",
        "integrated_gradients(steps={})",
        "lime(samples={}, segmenter='grid', segments=9)",
        "kernel_shap(samples={}, segmenter='grid', segments=8)",
        "shapley_sampling(samples={}, segmenter='grid', segments=9)",
    ],
)
def test_memory_does_not_grow_with_the_number_of_samples(spec):
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2, count=1, side=16)

    def peak(samples: int) -> int:
        score = Score(model, "class_score(1)", reference=batch(2, side=16, count=2), chunk=4)
        gc.collect()
        with LiveBytes() as live:
            method(spec.format(samples))(score, x)
        return live.peak

    few, many = peak(24), peak(96)
    # One number a sample and a bit a segment are kept; an image a sample would be a hundred times as much.
    assert many <= 1.25 * few
