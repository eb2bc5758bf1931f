"""Sliding windows: what MONAI says, and explanations of the whole image as if one network had seen it all."""

from dataclasses import replace

import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.nets import seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.rehearsal import rehearsed
from voxplain.score.score import Score
from voxplain.score.sliding import SlidingWindow, SlidingWindows, sliding

MONAI_WEIGHTS = 1e-7
"""MONAI computes the weights of a Gaussian in float32."""


class Halving(nn.Module):
    """Segments at full size with a layer at half of it; counts the windows that ran."""

    def __init__(self, rank: int = 3) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[rank]
        self.first, self.norm = conv(2, 4, 3, padding=1), norm(4)
        self.pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[rank](2)
        self.low = conv(4, 5, 3, padding=1)
        self.up, self.last = nn.Upsample(scale_factor=2), conv(5, 3, 3, padding=1)
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        low = self.low(self.pool(self.norm(self.first(x)).relu())).relu()
        return self.last(self.up(low))


NETWORK = seeded(Halving)
X = torch.randn(2, 2, 16, 12, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WINDOW = SlidingWindow(roi=(8,), overlap=0.5, blend="gaussian")


def under(window: SlidingWindow, network: nn.Module = NETWORK, rank: int = 3) -> SlidingWindows:
    return window.around(network, rank).double()


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
@pytest.mark.parametrize(("shape", "roi"), [
    ((20, 17, 23), (8, 8, 8)), ((8, 8, 8), (8, 8, 8)), ((5, 30, 7), (8, 10, 6)), ((19, 14), (8, 6)),
])  # fmt: skip
def test_the_answer_is_that_of_monai(shape, roi, overlap, blend):
    network = seeded(Halving, len(shape))
    x = torch.randn(2, 2, *shape, dtype=torch.float64)
    window = SlidingWindow(roi=roi, overlap=overlap, blend=blend)
    found = under(window, network, len(shape))(x)
    expected = sliding_window_inference(x, roi, 3, network, overlap=overlap, mode=blend)
    torch.testing.assert_close(found, expected, rtol=0, atol=MONAI_WEIGHTS if blend == "gaussian" else 1e-12)


SPECS = (
    "gradient", "integrated_gradients(steps=3)", "smoothgrad(samples=2)", "guided_backprop",
    "lrp", "lrp(composite='epsilon_gamma_box', low=-5, high=5)", "deep_lift",
    "grad_cam", "hires_cam(layer='low')", "grad_cam_pp", "layer_cam(layer='first')", "guided_grad_cam",
    "ablation_cam", "score_cam", "occlusion(window=4)",
)  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_one_window_over_all_of_it_is_the_network_itself(spec):
    plain = Score(Model.of(NETWORK), "region(1)", reference=torch.zeros_like(X[:1]))
    windowed = Score(Model.of(under(SlidingWindow(roi=(16, 12, 20)))), "region(1)", reference=torch.zeros_like(X[:1]))
    expected, found = method(spec)(plain, X), method(spec)(windowed, X)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-12, atol=1e-300)
    assert found.cells == expected.cells
    assert found.notes == expected.notes


def truth(x: Tensor, module: nn.Module = None) -> Tensor:
    """The gradient of the mean logit over the region predicted as class 1, by torch alone."""
    leaf = x.clone().requires_grad_()
    output = (module or under(WINDOW))(leaf)
    region = output.argmax(dim=1) == 1
    value = (output[:, 1] * region).flatten(1).sum(1) / region.flatten(1).sum(1)
    return torch.autograd.grad(value.sum(), leaf)[0]


def test_the_gradient_is_that_of_the_stitched_answer():
    found = method("gradient")(Score(Model.of(under(WINDOW)), "region(1)"), X)
    torch.testing.assert_close(found.values, truth(X), rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("budget", [None, 2_000_000])
def test_little_memory_changes_nothing(budget):
    score = Score(Model.of(under(WINDOW)), "region(1)", budget=budget)
    found = method("gradient")(score, X[:1])
    assert bool(score.ledger.fallbacks) is (budget is not None)
    torch.testing.assert_close(found.values, truth(X[:1]), rtol=1e-10, atol=1e-300)


CORNER = "region(1, over='box', box=(0, 0, 0, 3, 3, 3))"


def test_only_windows_that_the_target_touches_run():
    model = Model.of(under(WINDOW))
    _, score = Score(model, CORNER).freeze(X[:1])
    network = model.network(X[:1], (), "gradient").module
    counted = sliding(network)
    score.grad(X[:1])
    assert counted.ran == [(0, 0, 0)]
    _, whole = Score(model, "region(1, over='whole')").freeze(X[:1])
    whole.grad(X[:1])
    assert len(counted.ran) == 3 * 2 * 4
    assert counted.region is None


def test_gradients_of_touched_windows_alone_are_those_of_all():
    module = under(WINDOW)
    leaf = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf)[:, 1, :3, :3, :3].mean((1, 2, 3)).sum(), leaf)
    found = method("gradient")(Score(Model.of(module), CORNER), X)
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=1e-300)


def test_targets_that_share_a_pass_get_the_windows_of_both():
    model = Model.of(under(WINDOW))
    far = "region(1, over='voxel', voxel=(15, 11, 19))"
    frozen = [Score(model, target).freeze(X)[1] for target in (CORNER, far)]
    alone = [score.grad(X).gradient for score in frozen]
    before = sum(score.ledger.forwards for score in frozen)
    shared = together([(score, lambda own: own.grad(X)) for score in frozen])
    assert sum(score.ledger.forwards for score in frozen) - before == len(X), "one pass served both"
    for one, other in zip(shared, alone, strict=True):
        torch.testing.assert_close(one.gradient, other, rtol=1e-12, atol=1e-300)


def test_each_sample_of_a_batch_gets_the_windows_of_its_own_region():
    mask = torch.zeros(2, *X.shape[2:])
    mask[0, :3, :3, :3], mask[1, 13:, 9:, 17:] = 1, 1
    module = under(WINDOW)
    leaf = X.clone().requires_grad_()
    value = (module(leaf)[:, 1] * mask).sum() / 27
    (expected,) = torch.autograd.grad(value, leaf)
    _, score = Score(Model.of(module), "region(1, over='mask')", mask=mask).freeze(X)
    torch.testing.assert_close(score.grad(X).gradient, expected, rtol=1e-10, atol=1e-300)


def taps(target: str, layer: str = "low", window: SlidingWindow = WINDOW):
    _, score = Score(Model.of(under(window)), target).freeze(X[:1])
    return score.tap(X[:1], [layer]).taps[0]


def test_activations_of_windows_lie_on_one_grid_of_cells():
    tap = taps("region(1, over='whole')")
    assert tap.activation.shape == (1, 5, 8, 6, 10)
    assert (tap.cells.start, tap.cells.step) == ((0.5,) * 3, (2.0,) * 3)
    # The first window is the only one at the corner: its cells there are its own.
    alone = NETWORK.low(NETWORK.pool(NETWORK.norm(NETWORK.first(X[:1, :, :8, :8, :8])).relu()))
    torch.testing.assert_close(tap.activation[..., :2, :2, :2], alone[..., :2, :2, :2], rtol=1e-12, atol=0)


def test_where_windows_overlap_activations_are_means_by_their_weights():
    module = under(SlidingWindow(roi=(8, 12, 20), overlap=0.5, blend="gaussian"))
    _, score = Score(Model.of(module), "region(1, over='whole')").freeze(X[:1])
    tap = score.tap(X[:1], ["first"]).taps[0]
    first, second = (NETWORK.first(X[:1, :, start : start + 8]) for start in (0, 4))
    one, two = module.weight[4:], module.weight[:4]
    expected = (first[:, :, 4:] * one + second[:, :, :4] * two) / (one + two)
    torch.testing.assert_close(tap.activation[:, :, 4:8], expected, rtol=1e-12, atol=1e-15)


def test_the_gradient_of_a_blended_cell_sums_up_what_its_windows_give():
    """So a shift of a channel everywhere changes the score by the sum of its gradient."""
    tap = taps("region(1, over='whole')", "first")
    shift = torch.zeros(1, 4, 1, 1, 1, dtype=torch.float64).requires_grad_()
    module = under(WINDOW)
    handle = module.network.first.register_forward_hook(lambda part, given, out: out + shift)
    try:
        value = module(X[:1])[:, 1].mean()
    finally:
        handle.remove()
    (expected,) = torch.autograd.grad(value, shift)
    torch.testing.assert_close(tap.gradient.sum((2, 3, 4)), expected[..., 0, 0, 0], rtol=1e-10, atol=1e-15)


def test_several_layers_get_the_windows_of_their_own():
    _, score = Score(Model.of(under(WINDOW)), "region(1, over='whole')").freeze(X[:1])
    names = ["first", "low", "last"]
    for found, name in zip(score.tap(X[:1], names).taps, names, strict=True):
        (alone,) = score.tap(X[:1], [name]).taps
        torch.testing.assert_close(found.activation, alone.activation, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(found.gradient, alone.gradient, rtol=1e-10, atol=1e-300)


def test_an_overlap_is_read_from_all_windows():
    mask = torch.zeros(1, *X.shape[2:])
    mask[0, :3, :3, :3] = 1
    module = under(WINDOW)
    leaf = X[:1].clone().requires_grad_()
    found = module(leaf).softmax(1)[:, 1]
    (expected,) = torch.autograd.grad(2 * (found * mask).sum() / (found.sum() + mask.sum()), leaf)
    _, score = Score(Model.of(module), "soft_dice(1)", mask=mask).freeze(X[:1])
    torch.testing.assert_close(score.grad(X[:1]).gradient, expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("roi", [(8, 8, 8), (10, 8, 6)])
def test_windows_that_begin_between_cells_share_out_what_they_give(roi):
    """A last window moved back to end with the image seldom begins on a cell."""
    window = SlidingWindow(roi=roi, overlap=0.3)
    x = X[:1, :, :15, :11, :19]
    model = Model.of(under(window))
    _, score = Score(model, "region(1, over='whole')").freeze(x)
    tap = score.tap(x, ["low"]).taps[0]
    ones = under(window)
    found: list[Tensor] = []
    handle = ones.network.low.register_forward_hook(
        lambda part, given, out: found.append(out.detach().requires_grad_()) or found[-1]
    )
    try:
        value = ones(x)[:, 1].mean()
    finally:
        handle.remove()
    expected = sum(part.sum((2, 3, 4)) for part in torch.autograd.grad(value, found))
    torch.testing.assert_close(tap.gradient.sum((2, 3, 4)), expected, rtol=1e-10, atol=1e-15)
    constant = taps_of_constant(window, x)
    torch.testing.assert_close(constant, torch.ones_like(constant), rtol=1e-12, atol=0)


def taps_of_constant(window: SlidingWindow, x: Tensor) -> Tensor:
    network = nn.Sequential(nn.Conv3d(2, 1, 1), nn.MaxPool3d(2), nn.Upsample(scale_factor=2)).double()
    nn.init.zeros_(network[0].weight)
    nn.init.ones_(network[0].bias)
    model = Model.of(under(window, network), head="multi_label")
    return Score(model, "region(0, over='whole')").tap(x, ["1"], back=False).taps[0].activation


def test_what_lies_between_cells_keeps_its_place():
    """A ramp stays the ramp: an average of neighbours is right at the place between them."""
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.AvgPool3d(2), nn.Upsample(scale_factor=2)).double()
    nn.init.ones_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    ramp = torch.arange(17, dtype=torch.float64)[None, None, :, None, None].expand(1, 1, 17, 8, 8)
    model = Model.of(under(SlidingWindow(roi=(8,), overlap=0.3), network), head="multi_label")
    tap = Score(model, "region(0, over='whole')").tap(ramp, ["1"], back=False).taps[0]
    found = tap.activation[0, 0, :, 2, 2]
    wanted = tap.cells.start[0] + tap.cells.step[0] * torch.arange(len(found), dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)  # neighbours just outside count for 1e-12


@pytest.mark.parametrize("side", [5, 6, 7])
def test_padding_about_a_small_image_is_left_out_of_places(side):
    x = X[:1, :, :side, :side, :side]
    model = Model.of(under(SlidingWindow(roi=(8, 8, 8))))
    tap = Score(model, "region(1, over='whole')").tap(x, ["low"]).taps[0]
    assert tap.cells.start == (0.5 - (8 - side) // 2,) * 3
    found = method("gradient")(Score(model, "region(1, over='whole')"), x)
    assert found.values.shape == x.shape
    narrow = SlidingWindow(roi=(8, 4, 4), overlap=0.5)
    for corner in ((0, 0, 0), (0, -1, -1), (-1, -1, -1)):
        mask = torch.zeros(1, *x.shape[2:])
        mask[(0, *corner)] = 1
        _, score = Score(Model.of(under(narrow)), "region(1, over='mask')", mask=mask).freeze(x)
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(under(narrow)(leaf)[(0, 1, *corner)], leaf)
        torch.testing.assert_close(score.grad(x).gradient, expected, rtol=1e-10, atol=1e-300)


def test_other_orders_of_axes_come_back_to_those_of_the_image():
    """As nnU-Net has them, last axis first."""
    order = (2, 0, 1)
    turned = SlidingWindows(
        NETWORK, (8, 8, 8), WINDOW.around(NETWORK, 3).weight, WINDOW.starts, order, told="turned"
    ).double()
    inner = under(WINDOW)
    x = X[:1]
    back = (0, 1, *(2 + order.index(axis) for axis in range(3)))
    network_x = x.permute(0, 1, *(2 + axis for axis in order))
    torch.testing.assert_close(turned(x), inner(network_x).permute(back), rtol=1e-12, atol=0)
    tap = Score(Model.of(turned), "region(1, over='whole')").tap(x, ["low"]).taps[0]
    plain = Score(Model.of(inner), "region(1, over='whole')").tap(network_x, ["low"]).taps[0]
    torch.testing.assert_close(tap.activation, plain.activation.permute(back), rtol=1e-12, atol=0)
    torch.testing.assert_close(tap.gradient, plain.gradient.permute(back), rtol=1e-9, atol=1e-18)


def test_batch_norms_are_folded_though_their_layers_run_in_every_window():
    model = Model.of(under(WINDOW))
    model.network(X[:1])
    assert any("batch norm ran as part of the layer before" in remark for remark in model.remarks)


def test_layers_have_the_names_that_they_have_alone():
    assert list(Model.of(under(WINDOW)).layers) == list(Model.of(NETWORK).layers)


def test_a_rehearsal_counts_what_a_run_takes():
    model = Model.of(under(WINDOW))
    real = Score(model, "region(1, over='whole')")
    method("grad_cam")(real, X)
    dry = rehearsed(Score(model, "region(1, over='whole')"), model(X))
    method("grad_cam")(dry, X)
    assert (dry.ledger.forwards, dry.ledger.backwards) == (real.ledger.forwards, real.ledger.backwards)


def test_the_summed_weights_are_kept_for_one_shape_and_change_nothing():
    windows, other = under(WINDOW), X[..., :11]
    for x in (X, other, X, X.float(), X):
        told = windows.double() if x.dtype == torch.float64 else windows.float()
        assert torch.equal(told(x), under(WINDOW).to(x.dtype)(x))
    windows(X)
    (kept,) = windows._summed.values()
    windows(X)
    assert next(iter(windows._summed.values())) is kept


def test_weights_from_a_pass_without_numbers_or_gradients_do_not_stay():
    windows = under(WINDOW)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        windows(mode.from_tensor(X))
    with torch.inference_mode():
        windows(X)
    leaf = X.clone().requires_grad_()
    (found,) = torch.autograd.grad(windows(leaf).sum(), leaf)
    assert torch.equal(found, torch.autograd.grad(under(WINDOW)(leaf).sum(), leaf)[0])


def test_networks_and_windows_that_do_not_fit_are_told():
    with pytest.raises(InputError, match="roi must have 3 sides for this network, got 2"):
        SlidingWindow(roi=(8, 8)).around(NETWORK, 3)
    small = nn.Sequential(nn.Conv3d(2, 3, 3)).double()
    with pytest.raises(InputError, match=r"must give a map as large as its window \(8, 8, 8\), got \(2, 3, 6, 6, 6\)"):
        under(SlidingWindow(roi=(8,)), small)(X)
    with pytest.raises(InputError, match="windows of 3 axes cannot slide over an image of 2"):
        under(WINDOW)(X[:, :, 0])
    with pytest.raises(OptionError, match="overlap must be from 0 to below 1"):
        replace(WINDOW, overlap=1.0)
    with pytest.raises(OptionError, match="roi must be 1 to 3 whole numbers above 0"):
        replace(WINDOW, roi=(0, 8, 8))
