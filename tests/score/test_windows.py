"""Windows played back in parts give what whole forwards give: every operation, border, channel group and target."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from voxplain.ops.patches import windows
from voxplain.score import windows_replay
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.windows import _Windows, covered_scores
from voxplain.score.windows_boxes import Box
from voxplain.score.windows_coarse import coarse_to_fine
from voxplain.score.windows_covered import Covered
from voxplain.score.windows_fold import folded
from voxplain.score.windows_groups import planned
from voxplain.score.windows_plan import cuts, laid_out, whole_work
from voxplain.score.windows_trace import traced

CLOSE = 1e-9
"""In float64 both ways differ by rounding only; a share of the largest change of any output."""

CLOSE_SINGLE = 1e-5
"""In float32, as a share of the largest output: rounding of two ways of summing, not more."""


class Chain(nn.Module):
    """An input layer, a body, a convolution and the mean over the map, so that nothing of the body is lost."""

    def __init__(self, body, rank: int = 2, width: int = 6, out: int = 6, head: bool = True) -> None:
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[rank - 2]
        self.first, self.body = convolution(2, width, 3, padding=1), body
        self.last, self.head = convolution(out, 4, 3, padding=1), head

    def forward(self, x):
        x = self.last(self.body(functional.relu(self.first(x))))
        return (x * torch.sigmoid(x)).flatten(2).mean(2) if self.head else x


class Does(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def seeded(build) -> nn.Module:
    """A float64 network whose weights and statistics are large enough for each window to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build()
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.02, 0.2)
                part.weight.data.normal_(1, 0.2)
                part.bias.data.normal_(0, 0.2)
    return module.double().eval()


def image(shape, seed: int = 1, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def both(network, x, places, *, target="class_score(1)", channels=None, cover=None, every=True, chunk=None):
    """Scores by whole forwards and in parts, the score that was asked, and the latter's result."""
    model = network if isinstance(network, Model) else Model.of(network)
    score = Score(model, target, chunk=chunk)
    _, frozen = score.freeze(x)
    rows = torch.arange(len(x)).repeat_interleave(len(places))
    groups = None if channels is None else list(channels) * len(x)
    cover = image(x.shape, seed=2).to(x) if cover is None else cover
    covered = Covered(x, cover, rows, list(places) * len(x), groups)
    dense = covered_scores(frozen, covered, engine="dense", every=every).values
    found = covered_scores(frozen, covered, engine="incremental", every=every)
    return dense, found.values, frozen, found


def holds(network, x, places, close=CLOSE, **options):
    """Fails unless parts were played back and gave what whole forwards give."""
    dense, found, score, result = both(network, x, places, **options)
    assert score.ledger.fallbacks == []
    assert any(note.startswith("incremental") for note in result.notes)
    every = options.get("every", True)
    clean = torch.cat([piece.values for piece in score.stream(len(x), lambda n: (x[n], n), like=x, every=every)])
    change = (dense.unflatten(0, (len(x), -1)) - clean[:, None]).abs().max()
    assert change > 1e-6 * clean.abs().max(), "the windows change nothing, so nothing is tested"
    torch.testing.assert_close(found, dense, rtol=0, atol=close * float(change))
    return result


def tiles(size, window, stride=None):
    return windows(size, window, stride or window)


INVERTED = lambda c: nn.Sequential(  # noqa: E731
    nn.Conv2d(c, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(inplace=True),
    nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.Hardswish(), nn.Conv2d(12, c, 1),
)  # fmt: skip


def residual(x):
    y = functional.conv2d(x, torch.linspace(-1, 1, 36 * 9, dtype=x.dtype).reshape(6, 6, 3, 3), padding=1)
    y = functional.leaky_relu_(y, 0.1)
    y += x
    y *= 0.5
    return functional.relu_(y) + x.abs()


def shuffled(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def excited(x):
    gate = torch.sigmoid(functional.adaptive_avg_pool2d(x, 1))
    return x * gate


def spatially_gated(x):
    gate = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1).sum(1, keepdim=True)
    return x * torch.sigmoid(gate)


def changed_after_it_was_read(x):
    y = functional.conv2d(x, torch.ones(6, 6, 1, 1).to(x) / 3)
    z = functional.max_pool2d(y, 3, 1, 1)
    y.mul_(-2).add_(1)
    return z + functional.avg_pool2d(y, 3, 1, 1)


def normed_over_channels(x):
    return functional.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)


def halves(x):
    one, other = x.chunk(2, dim=1)
    return torch.cat([functional.max_pool2d(one, 3, 1, 1), other.clone().mul_(2), x[:, 1:3] - x[:, :2]], 1)[:, :6]


class TwiceRead(nn.Module):
    """A convolution whose result is read by its norm and by another operation: folding would change the latter."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.convolution(x)
        return self.norm(x) + functional.max_pool2d(x, 3, 1, 1)


BODIES = {
    "identity": nn.Identity,
    "stride": lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1),
    "stride 3, kernel 2": lambda: nn.Conv2d(6, 6, 2, stride=3),
    "even kernel": lambda: nn.Conv2d(6, 6, 4, padding=1),
    "uneven kernel": lambda: nn.Conv2d(6, 6, (1, 5), stride=(2, 1), padding=(0, 2)),
    "no padding": lambda: nn.Conv2d(6, 6, 3),
    "dilation": lambda: nn.Conv2d(6, 6, 3, padding=2, dilation=2),
    "groups": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=3),
    "same padding": lambda: nn.Conv2d(6, 6, 4, padding="same", dilation=3),
    "replicate": lambda: nn.Conv2d(6, 6, 3, padding=1, padding_mode="replicate"),
    "reflect": lambda: nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
    "inverted": lambda: INVERTED(6),
    "transposed": lambda: nn.ConvTranspose2d(6, 6, 2, stride=2),
    "transposed, norm": lambda: nn.Sequential(nn.ConvTranspose2d(6, 6, 3, stride=2, groups=3), nn.BatchNorm2d(6)),
    "transposed, padded": lambda: nn.ConvTranspose2d(6, 6, 3, stride=2, padding=1, output_padding=1),
    "transposed, gaps": lambda: nn.ConvTranspose2d(6, 6, 1, stride=3),
    "transposed, dilated": lambda: nn.ConvTranspose2d(6, 6, 3, stride=2, dilation=2, padding=2, groups=2),
    "max pool": lambda: nn.MaxPool2d(3, 2, 1),
    "max pool, ceil": lambda: nn.MaxPool2d(2, 2, ceil_mode=True),
    "max pool, ceil, padded": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max pool, dilated": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "max pool of negatives": lambda: nn.Sequential(Does(lambda x: -1 - x), nn.MaxPool2d(3, 2, 1)),
    "average pool": lambda: nn.AvgPool2d(2),
    "average pool, padded": lambda: nn.AvgPool2d(3, 2, 1),
    "average pool, inside": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average pool, ceil": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average pool, ceil, inside": lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
    "average pool, divisor": lambda: nn.AvgPool2d((3, 2), 1, 1, divisor_override=5),
    "average pool, divisor, regular": lambda: nn.AvgPool2d(2, divisor_override=3),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((5, 7)),
    "adaptive maximum": lambda: nn.AdaptiveMaxPool2d(4),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "nearest, 1.7": lambda: nn.Upsample(scale_factor=1.7),
    "nearest exact": lambda: nn.Upsample(scale_factor=1.5, mode="nearest-exact"),
    "nearest, size": lambda: nn.Upsample(size=(31, 17)),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear, 1.3": lambda: nn.Upsample(scale_factor=1.3, mode="bilinear"),
    "bilinear, corners": lambda: nn.Upsample(size=(30, 41), mode="bilinear", align_corners=True),
    "bilinear, smaller": lambda: nn.Upsample(size=(7, 9), mode="bilinear"),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "residual": lambda: Does(residual),
    "two depths": lambda: Does(lambda x: functional.avg_pool2d(x, 5, 1, 2) + x * functional.max_pool2d(x, 3, 1, 1)),
    "halves": lambda: Does(halves),
    "changed after it was read": lambda: Does(changed_after_it_was_read),
    "everywhere and here": lambda: Does(lambda x: functional.max_pool2d(x, 25, 1, 12) + x * 3),
    "shuffled": lambda: Does(shuffled),
    "spatial slice": lambda: Does(lambda x: x[:, :, 2:-3, 1:]),
    "strided slice": lambda: Does(lambda x: x[..., 1::2, ::3]),
    "constant pad": lambda: Does(lambda x: functional.pad(x, (1, 2, 0, 3), value=0.7)),
    "negative pad": lambda: Does(lambda x: functional.pad(x, (-2, 1, 3, -1), value=-0.3)),
    "spatial gate": lambda: Does(spatially_gated),
    "softmax of channels": lambda: Does(lambda x: x.softmax(1) * 3),
    "squeeze and excitation": lambda: Does(excited),
    "where": lambda: Does(lambda x: torch.where(x > 0.3, x, -2 * x.flip(1))),
    "prelu": lambda: nn.PReLU(6, init=-0.4),
    "batch norm": lambda: nn.Sequential(nn.BatchNorm2d(6), nn.GELU()),
    "norm of a convolution read twice": TwiceRead,
    "instance norm": lambda: nn.InstanceNorm2d(6, affine=True),
    "group norm": lambda: nn.GroupNorm(3, 6),
    "layer norm over channels": lambda: Does(normed_over_channels),
    "place weights": lambda: Does(lambda x: x * torch.linspace(0, 1, x.shape[-1]).to(x)),
    "five dimensions": lambda: Does(lambda x: functional.relu(x.unsqueeze(2).unflatten(1, (2, 3)) - 0.1).flatten(1, 3)),
    "unbound": lambda: Does(lambda x: torch.stack(x.unbind(1)[::-1], 1)),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)),
    "unknown operation": lambda: Does(lambda x: x.cumsum(2) / 4 + x.roll(1, 3)),
    "samples told apart by hand": lambda: Does(lambda x: torch.stack([one.sort(1).values for one in x])),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("body", BODIES)
def test_every_operation(body):
    out = 6
    network = seeded(lambda: Chain(BODIES[body](), out=out))
    x = image((1, 2, 23, 26))
    holds(network, x, tiles((23, 26), (4, 5)))


@pytest.mark.parametrize("body", ["stride", "transposed", "max pool, ceil", "nearest", "residual", "reflect"])
def test_maps_of_a_segmentation(body):
    network = seeded(lambda: Chain(BODIES[body](), head=False))
    holds(network, image((1, 2, 20, 22)), tiles((20, 22), (5, 4)), target="region(1, over='whole')")


VOLUMES = {
    "convolution": lambda: nn.Conv3d(6, 6, 3, stride=2, padding=1),
    "transposed": lambda: nn.ConvTranspose3d(6, 6, 3, stride=2, padding=1, output_padding=1),
    "max pool": lambda: nn.MaxPool3d(3, 2, 1),
    "average pool": lambda: nn.AvgPool3d(3, 2, 1, count_include_pad=False),
    "average pool, regular": lambda: nn.AvgPool3d(2),
    "trilinear": lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "batch norm": lambda: nn.Sequential(nn.Conv3d(6, 6, 3, padding=1, groups=2), nn.BatchNorm3d(6), nn.PReLU()),
    "adaptive": lambda: nn.AdaptiveAvgPool3d((3, 4, 2)),
}


@pytest.mark.parametrize("body", VOLUMES)
def test_volumes(body):
    network = seeded(lambda: Chain(VOLUMES[body](), rank=3))
    holds(network, image((1, 2, 11, 12, 10)), tiles((11, 12, 10), (4, 3, 5)))


class Small(nn.Module):
    """A small residual network with strides, pooling and norms."""

    def __init__(self, head: bool = True) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 6, 5, 2, 2, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.pool, self.second = nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 6, 3, padding=1)
        self.third, self.skip = nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(6, 8, 1, 2)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = self.pool(self.first(x))
        x = torch.relu_(self.second(x) + x)
        x = functional.elu(self.third(x) + self.skip(x))
        return self.last(x.mean((2, 3)))


@pytest.mark.parametrize("window", [(1, 1), (3, 7), (16, 16), (40, 5), (37, 43)])
@pytest.mark.parametrize("stride", [1, 3])
def test_windows_of_any_size_at_any_border(window, stride):
    size = (37, 43)
    places = tiles(size, window, tuple(max(1, side // stride) for side in window))
    holds(seeded(Small), image((1, 2, *size)), places[:: max(1, len(places) // 60)] + places[-3:])


@pytest.mark.parametrize("start", range(8))
def test_every_residue_of_the_stride_alone(start):
    holds(seeded(Small), image((1, 2, 40, 40)), [(slice(s, s + 3), slice(start, start + 2)) for s in range(38)])


def test_channels_alone():
    places = tiles((21, 22), (5, 6))
    channels = [slice(n % 2, n % 2 + 1) for n in range(len(places))]
    holds(seeded(Small), image((1, 2, 21, 22)), places, channels=channels)


def test_windows_of_different_sizes_together():
    places = [(slice(a, a + h), slice(b, b + w)) for a, b, h, w in ((0, 0, 9, 2), (3, 5, 1, 1), (20, 11, 4, 12))]
    holds(seeded(Small), image((1, 2, 40, 40)), places)


def test_samples_of_a_batch_keep_their_own_maps_and_classes():
    x = image((3, 2, 33, 30))
    holds(seeded(Small), x, tiles((33, 30), (8, 8)), target="margin", every=False)


@pytest.mark.parametrize("target", ["class_score(2)", "probability(1)", "margin(0, against=3)", "regression(3)"])
@pytest.mark.parametrize("every", [False, True])
def test_targets(target, every):
    network = seeded(Small)
    score = Score(Model.of(network, head="regression" if "regression" in target else "auto"), target)
    x, places = image((1, 2, 33, 30)), tiles((33, 30), (8, 8))
    _, frozen = score.freeze(x)
    covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
    dense, parts = (covered_scores(frozen, covered, engine=e, every=every).values for e in ("dense", "incremental"))
    assert parts.shape == dense.shape == ((len(places), 4) if every else (len(places),))
    torch.testing.assert_close(parts, dense, rtol=CLOSE, atol=CLOSE)
    assert frozen.ledger.fallbacks == []


def test_covers_that_differ_by_window():
    x, places = image((1, 2, 33, 30)), tiles((33, 30), (8, 8))
    holds(seeded(Small), x, places, cover=lambda index: x + index.reshape(-1, 1, 1, 1) / 7)


def test_groups_of_any_size_give_the_same():
    x, places = image((1, 2, 33, 30)), tiles((33, 30), (4, 4), (2, 2))
    found = [both(seeded(Small), x, places, chunk=chunk)[1] for chunk in (1, 3, 7, 1000)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=CLOSE, atol=1e-12)


def test_single_precision():
    network, x = seeded(Small).float(), image((1, 2, 64, 64), dtype=torch.float32)
    dense, found, score, _ = both(network, x, tiles((64, 64), (8, 8)))
    assert score.ledger.fallbacks == []
    assert float((dense - found).abs().max()) <= CLOSE_SINGLE * float(dense.abs().max())


# --- what cannot be followed goes through the whole network, and says so -------------------------------------------


def decides(x):
    return x * 2 if x.mean() > 0 else x


def writes_into_a_part(x):
    out = torch.zeros_like(x)
    out[:, :3] = x[:, 3:]
    return out


def reads_after_a_view_changed(x):
    x = x.clone()
    x[:, :2].mul_(3)
    return x


def unpools(x):
    pooled, places = functional.max_pool2d(x, 2, return_indices=True)
    return functional.max_unpool2d(pooled, places, 2)


def draws(x):
    return x + torch.rand_like(x) * 1e-300


@pytest.mark.parametrize("body", [decides, writes_into_a_part, reads_after_a_view_changed, unpools, draws])
def test_falls_back_in_words(body):
    network = seeded(lambda: Chain(Does(body)))
    dense, found, score, result = both(network, image((1, 2, 16, 16)), tiles((16, 16), (4, 4)))
    torch.testing.assert_close(found, dense, rtol=CLOSE, atol=CLOSE)
    (sentence,) = [words for words in score.ledger.fallbacks if "whole network" in words]
    assert sentence.startswith("windows went through the whole network: ")
    assert not any(note.startswith("incremental") for note in result.notes)


# --- random networks -----------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    """Layers of random kernels, strides, paddings and dilations, some of them with a branch that joins again."""
    layers = []
    for _ in range(draw(st.integers(1, 5))):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        padding, dilation = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 2))
        layers.append(
            draw(
                st.sampled_from(
                    [
                        nn.Conv2d(4, 4, kernel, stride, padding, dilation),
                        nn.Conv2d(4, 4, kernel, 1, padding, groups=2),
                        nn.ConvTranspose2d(4, 4, kernel, stride, padding // 2, groups=2),
                        nn.MaxPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans())),
                        nn.AvgPool2d(kernel, stride, padding, draw(st.booleans()), draw(st.booleans())),
                        nn.Upsample(scale_factor=2, mode=draw(st.sampled_from(["nearest", "bilinear"]))),
                        Does(lambda x: torch.cat([functional.max_pool2d(x, 3, 1, 1)[:, :2], x[:, 2:].abs()], 1)),
                        Does(lambda x: functional.silu(x) + functional.avg_pool2d(x, 3, 1, 1)),
                        nn.BatchNorm2d(4),
                    ]
                )
            )
        )
    return nn.Sequential(*layers)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(networks(), st.integers(18, 30), st.integers(18, 30), st.integers(1, 9), st.integers(1, 9))
def test_random_networks(body, height, width, tall, wide):
    network, x = seeded(lambda: Chain(body, width=4, out=4)), image((1, 2, height, width))
    try:
        with torch.no_grad():
            network(x)
    except RuntimeError:
        return  # the map became too small for a kernel
    dense, found, score, _ = both(network, x, tiles((height, width), (tall, wide))[::3])
    assert score.ledger.fallbacks == []
    torch.testing.assert_close(found, dense, rtol=CLOSE, atol=CLOSE * float(dense.abs().max()))


# --- skipped windows, counts, memory ---------------------------------------------------------------------------------


def test_windows_that_hold_their_cover_already_take_no_forward():
    x, places = image((1, 2, 40, 40)), tiles((40, 40), (8, 8))
    x[:, :, :16] = 0
    for engine in ("dense", "incremental"):
        score = Score(Model.of(seeded(Small)), "class_score(1)")
        clean, frozen = score.freeze(x)
        before = frozen.ledger.forwards
        covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
        found = covered_scores(frozen, covered, clean, engine=engine)
        assert (found.values[:10] == clean).all()
        assert (found.values[10:] != clean).all()
        extra = 2 if engine == "incremental" else 0  # the recorded forward, and the one that a window is compared with
        assert frozen.ledger.forwards - before == 15 + extra
        assert any(note.startswith("10 windows were covered by what they held") for note in found.notes)


def test_the_comparison_with_a_whole_forward_is_made_once_for_a_network():
    model, x, places = Model.of(seeded(Small)), image((1, 2, 40, 40)), tiles((40, 40), (8, 8))
    counts = []
    for _ in range(2):
        score = Score(model, "class_score(1)", choice=None)
        _, frozen = score.freeze(x)
        covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
        covered_scores(frozen, covered, engine="incremental")
        counts.append(frozen.ledger.forwards)
    assert counts[0] - counts[1] == 1


def test_a_wrong_part_is_found_by_the_comparison(monkeypatch):
    network, x = seeded(Small), image((1, 2, 40, 40))
    monkeypatch.setattr(windows_replay.Ground, "cut", lambda self, origin, size: cut(self, origin, size) * 0)
    dense, found, score, _ = both(network, x, tiles((40, 40), (8, 8)))
    torch.testing.assert_close(found, dense, rtol=CLOSE, atol=CLOSE)
    (sentence,) = score.ledger.fallbacks
    assert "away from a whole forward" in sentence


cut = windows_replay.Ground.cut


def test_groups_are_halved_where_memory_runs_out(monkeypatch):
    network, x = seeded(Small), image((1, 2, 40, 40))
    output = windows_replay.Replay.output

    def short(self, part, *rest):
        if len(part) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return output(self, part, *rest)

    monkeypatch.setattr(windows_replay.Replay, "output", short)
    dense, found, score, result = both(network, x, tiles((40, 40), (8, 8)))
    torch.testing.assert_close(found, dense, rtol=CLOSE, atol=CLOSE)
    assert any(note.startswith("incremental") for note in result.notes)
    assert any("memory ran out" in words for words in score.ledger.fallbacks)


def test_maps_that_do_not_fit_the_memory_allowed_go_through_the_whole_network(monkeypatch):
    monkeypatch.setattr(_Windows, "_allowed", lambda self: 30_000)
    network, x, places = seeded(Small), image((1, 2, 40, 40)), tiles((40, 40), (8, 8))
    score = Score(Model.of(network), "class_score(1)")
    _, frozen = score.freeze(x)
    covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
    covered_scores(frozen, covered, engine="incremental")
    assert any("do not fit the memory" in words for words in frozen.ledger.fallbacks)


def test_the_network_is_left_as_it_was():
    network, x = seeded(Small), image((1, 2, 40, 40))
    model, kept = Model.of(network), x.clone()
    before = model.weights_hash
    both(model, x, tiles((40, 40), (8, 8)))
    assert model.weights_hash == before
    assert torch.equal(x, kept)


def test_a_faster_way_is_chosen_from_the_work_that_is_saved():
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*[nn.Conv2d(2 if n == 0 else 48, 48, 3, padding=1) for n in range(4)])
            self.last = nn.Linear(48, 3)

        def forward(self, x):
            return self.last(self.layers(x).mean((2, 3)))

    network, x = seeded(Wide).float(), image((1, 2, 64, 64), dtype=torch.float32)
    for window, way in ((8, "incremental"), (56, "dense")):
        score = Score(Model.of(network), "class_score(1)")
        clean, frozen = score.freeze(x)
        places = tiles((64, 64), (window, window), (1, 4))[::8]
        covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
        (note,) = covered_scores(frozen, covered, clean).notes
        assert note.startswith(way)


def test_small_networks_are_run_whole():
    score = Score(Model.of(seeded(Small)), "class_score(1)")
    clean, frozen = score.freeze(x := image((1, 2, 40, 40)))
    places = tiles((40, 40), (8, 8))
    covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
    assert covered_scores(frozen, covered, clean).notes == ()
    assert frozen.ledger.forwards == 1 + len(places)


# --- groups that are split on the way --------------------------------------------------------------------------------


class Joined(nn.Module):
    """Norms, a residual and a joined branch: values of several ages are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.second, self.third = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(12, 6, 3, 2, 1)
        self.last = nn.Linear(6, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        y = torch.relu(self.second(x) + x)
        x = self.third(torch.cat([functional.avg_pool2d(x, 3, 1, 1), y], 1))
        return self.last(functional.silu(x).mean((2, 3)))


@pytest.mark.parametrize("build", [Small, Joined])
def test_groups_split_before_any_step_give_the_same(build):
    network, x = seeded(build), image((1, 2, 37, 41))
    for weight in network.parameters():
        weight.requires_grad_(False)
    program = folded(traced(network, x, 10**9))
    replay, size = windows_replay.Replay(program), (3, 4)
    places = np.array([(a, b) for a in (0, 7, 20, 34) for b in (0, 3, 19, 33, 37)])
    part, box = image((len(places), 2, *size), seed=3), Box(places, size)
    whole = x.repeat(len(places), 1, 1, 1)
    for n, (a, b) in enumerate(places):
        whole[n, :, a : a + 3, b : b + 4] = part[n]
    expected, found = network(whole), cuts(program)
    assert len(found) >= 2
    branches = [[4, 0, 7, 13, 19], list(range(8, 13)), [1], [2, 3, 5, 6, 14, 15, 16, 17, 18]]
    for split in found:
        torch.testing.assert_close(replay.output(part, box, branches, split), expected, rtol=0, atol=1e-12)


def test_large_networks_are_planned_with_early_groups_larger_than_late_ones():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (2, 64, 128, 256)
            self.layers = nn.Sequential(*[nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths)])
            self.more = nn.Sequential(*[nn.Conv2d(256, 256, 3, padding=1) for _ in range(5)])

        def forward(self, x):
            return self.more(self.layers(x)).mean((2, 3))

    network, x = seeded(Deep), image((1, 2, 192, 192))
    for weight in network.parameters():
        weight.requires_grad_(False)
    program = folded(traced(network, x, 10**9))
    first = np.array([(a, b) for a in range(0, 192, 8) for b in range(0, 192, 8)])
    plan = planned(program, first, first + 8, 10**9)
    assert sorted(number for group in plan.groups for number in group) == list(range(len(first)))
    assert plan.tile > 0
    assert plan.split in cuts(program)
    assert 0 < plan.share <= plan.cost < 1


def test_the_share_is_the_convolution_work_of_the_boxes():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1), nn.Flatten(2)).double()
    for weight in network.parameters():
        weight.requires_grad_(False)
    program = traced(network, image((1, 1, 20, 20)), 10**9)
    layout = laid_out(program, Box(np.array([[8, 8]]), (4, 4)))
    assert layout.works[:2] == [6 * 6 * 18, 8 * 8 * 36]
    assert whole_work(program) == 400 * 54
    corner = laid_out(program, Box(np.array([[0, 0]]), (4, 4)))
    assert corner.works[:2] == [5 * 5 * 18, 6 * 6 * 36]


# --- coarse to fine --------------------------------------------------------------------------------------------------


def refined(threshold, seed=0, groups=None):
    x, places = image((2, 2, 48, 44)), tiles((48, 44), (4, 4))
    x[:, :, 20:28, 8:16] *= 6
    score = Score(Model.of(seeded(Small)), "class_score(1)")
    clean, frozen = score.freeze(x)
    channels = None if groups is None else [slice(n, n + 1) for n in range(groups) for _ in places] * 2
    rows = torch.arange(2).repeat_interleave(len(places) * (groups or 1))
    covered = Covered(x, torch.zeros_like(x), rows, places * (2 * (groups or 1)), channels)
    truth = covered_scores(frozen, covered, clean).values
    before = frozen.ledger.forwards
    found = coarse_to_fine(frozen, covered, clean, threshold=threshold, seed=seed)
    return found, truth, clean, covered, frozen.ledger.forwards - before


@pytest.mark.parametrize("groups", [None, 2])
def test_without_a_threshold_every_window_is_computed(groups):
    found, truth, *_ = refined(0.0, groups=groups)
    torch.testing.assert_close(found.values, truth, rtol=CLOSE, atol=CLOSE)
    assert found.skipped.tolist() == [0, 0]
    assert found.largest_error.tolist() == [0.0, 0.0]


def test_the_error_told_is_the_largest_of_the_windows_looked_at():
    found, truth, *_, forwards = refined(0.9)
    windows_of_one = len(truth) // 2
    assert (found.skipped > 0).all()
    assert (found.skipped < windows_of_one).all()
    coarse = 3 * 3 * 2
    assert forwards == coarse + len(truth) - int(found.skipped.sum())
    looked = 32
    off = (found.values - truth).abs().reshape(2, -1)
    assert ((off < CLOSE).sum(1) >= looked).all()  # what was looked at holds the truth
    assert (found.largest_error > 0).all()
    assert f"off by {float(found.largest_error.max()):.2g} at most" in found.notes[0]


def test_another_seed_looks_at_other_windows():
    first, second, third = (refined(0.9, seed=seed)[0].values for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_estimates_share_out_the_fall_of_the_coarse_window():
    x, places = image((1, 2, 32, 32)), tiles((32, 32), (4, 4))
    network = nn.Sequential(nn.Flatten(), nn.Linear(2048, 2)).double()
    score = Score(Model.of(network), "class_score(1)")
    clean, frozen = score.freeze(x)
    covered = Covered(x, torch.zeros_like(x), torch.zeros(len(places), dtype=torch.long), places)
    found = coarse_to_fine(frozen, covered, clean, threshold=1.0, seed=0)
    truth = covered_scores(frozen, covered, clean).values
    kept = (found.values - truth).abs() > CLOSE
    assert 0 < int(kept.sum()) == int(found.skipped.sum())
    block = torch.tensor([4 * (p[0].start // 16) + p[1].start // 16 for p in places])
    for number in kept.nonzero()[:, 0].tolist():
        mean = (clean - truth)[block == block[number]].mean()
        torch.testing.assert_close(clean[0] - found.values[number], mean, rtol=1e-9, atol=1e-12)
