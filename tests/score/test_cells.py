"""Centres of cells against brute force: which voxels of the input reach a cell at all.

Voxels are made NaN from one side on until the cell turns NaN: the first and the last voxel that reach it, and so the
centre of its receptive field. Where weights matter (interpolation), the centroid of the cell's gradient is taken.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voxplain.methods import method
from voxplain.score.cells import Cells, CellTracker, even_cells
from voxplain.score.layers import automatic_layer
from voxplain.score.model import Model
from voxplain.score.score import Score

ones = torch.ones


def image(*sides: int, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, channels, *sides, generator=generator, dtype=torch.float64) + 0.5


def tracked(network, x: Tensor) -> Cells | None:
    tracker = CellTracker(x)
    with torch.no_grad(), tracker:
        return tracker.of(network(x))


def span(network, x: Tensor, axis: int, cell: tuple[int, ...]) -> tuple[int, int]:
    """First and last voxel along a spatial axis that reach a cell, by bisection."""

    def turns(part: slice) -> bool:
        broken = x.clone()
        broken[(slice(None), slice(None), *[slice(None)] * axis, part)] = float("nan")
        with torch.no_grad():
            return bool(network(broken)[(0, slice(None), *cell)].isnan().any())

    length = x.shape[2 + axis]
    first = _least(length, lambda n: turns(slice(0, n + 1)))
    last = length - 1 - _least(length, lambda n: turns(slice(length - 1 - n, length)))
    return first, last


def _least(count: int, holds) -> int:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    assert low < count, "no voxel reaches the cell"
    return low


def assert_centres(network, x: Tensor, cells: Cells | None = None) -> None:
    """Two neighbouring cells amid the map lie where brute force finds them, along every axis."""
    cells = tracked(network, x) if cells is None else cells
    assert cells is not None
    assert cells.measured
    with torch.no_grad():
        shape = network(x).shape[2:]
    for axis, length in enumerate(shape):
        for shift in (0, 1):
            cell = [side // 2 for side in shape]
            cell[axis] = (length - 1) // 2 + shift
            first, last = span(network, x, axis, tuple(cell))
            assert first > 0, "the cell must be an inner one"
            assert last < x.shape[2 + axis] - 1, "the cell must be an inner one"
            assert cells.start[axis] + cell[axis] * cells.step[axis] == (first + last) / 2, f"axis {axis}"


def conv(channels: int, out: int, kernel, rank: int = 2, **options) -> nn.Module:
    return {2: nn.Conv2d, 3: nn.Conv3d}[rank](channels, out, kernel, **options).double()


CONVOLUTIONS = {
    "no padding": {"kernel_size": 3},
    "padding": {"kernel_size": 3, "padding": 1},
    "more padding than needed": {"kernel_size": 3, "padding": 2},
    "even kernel": {"kernel_size": 4, "padding": 1},
    "even kernel, stride": {"kernel_size": 2, "stride": 2},
    "stride": {"kernel_size": 3, "stride": 2, "padding": 1},
    "stride without padding": {"kernel_size": 5, "stride": 3},
    "stride larger than the kernel": {"kernel_size": 1, "stride": 2},
    "dilation": {"kernel_size": 3, "dilation": 2, "padding": 1},
    "dilation and stride": {"kernel_size": 3, "dilation": 3, "stride": 2},
    "same": {"kernel_size": 3, "padding": "same"},
    "same, even kernel": {"kernel_size": 4, "padding": "same", "dilation": 1},
    "valid": {"kernel_size": 3, "padding": "valid"},
    "groups": {"kernel_size": 3, "groups": 2, "stride": 2},
    "reflected borders": {"kernel_size": 5, "padding": 2, "padding_mode": "reflect", "stride": 2},
    "repeated borders": {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_convolutions(options):
    assert_centres(conv(2, 2, kernel=options["kernel_size"], **_rest(options)), image(24, 27))


def _rest(options):
    return {key: value for key, value in options.items() if key != "kernel_size"}


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (3, 2, 1), "stride": (2, 1, 1), "padding": (1, 0, 0)},
        {"kernel": (1, 4, 3), "dilation": (1, 1, 2), "stride": (1, 2, 3)},
        {"kernel": 3, "padding": (0, 1, 2)},
    ],
)
def test_each_axis_of_a_volume_goes_its_own_way(options):
    assert_centres(conv(1, 2, rank=3, **options), image(13, 14, 19, channels=1))


POOLINGS = {
    "max": lambda x: functional.max_pool2d(x, 2),
    "max, overlapping": lambda x: functional.max_pool2d(x, 3, 2),
    "max, padded": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "max, dilated": lambda x: functional.max_pool2d(x, 3, 1, 0, 2),
    "max, rounded up": lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    "max with places": lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
    "max by name": lambda x: functional.max_pool2d(input=x, kernel_size=(2, 3), stride=(1, 2)),
    "mean": lambda x: functional.avg_pool2d(x, 3),
    "mean, stride": lambda x: functional.avg_pool2d(x, (4, 2), (2, 1), (1, 1)),
    "mean, rounded up": lambda x: functional.avg_pool2d(x, 4, 3, ceil_mode=True),
    "power": lambda x: functional.lp_pool2d(x, 2, 4),
    "power, stride": lambda x: functional.lp_pool2d(x, 2.0, 3, stride=1),
    "adaptive mean": lambda x: functional.adaptive_avg_pool2d(x, (6, 9)),
    "adaptive maximum": lambda x: functional.adaptive_max_pool2d(x, (8, 9)),
    "strided slice": lambda x: x[:, :, 1::2, 2::3],
    "cropped": lambda x: x[..., 3:-2, 1:],
    "picked channels": lambda x: x[:, :1],
    "cut away by padding": lambda x: functional.pad(x, (-2, -1, -3, 0)),
    "padded in front": lambda x: functional.pad(x, (3, 0)),
    "padded by name": lambda x: functional.pad(input=x, pad=(1, 2, 3, 4), mode="reflect"),
    "padding module": nn.ZeroPad2d((1, 2, 3, 4)),
}


@pytest.mark.parametrize("network", POOLINGS.values(), ids=POOLINGS)
def test_pooling_padding_and_cutting(network):
    assert_centres(network, image(24, 27))


SAME_PLACES = {
    "activation": lambda x: functional.gelu(x.relu() * 2 - 1),
    "in place": lambda x: functional.relu_(x.clone()).add_(1).mul_(2),
    "norms": lambda x: functional.batch_norm(x, ones(2).double(), ones(2).double()) + functional.dropout(x, 0.1, False),
    "clone, detach, contiguous": lambda x: x.clone().detach().contiguous().double(),
    "one channel": lambda x: x.mean(1, keepdim=True),
    "cat by name": lambda x: torch.cat(tensors=[x, x], dim=1),
    "both halves of a split": lambda x: torch.cat([x.chunk(2, 1)[1], torch.split(x, 1, 1)[0]], 1),
    "there and back": lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "there and back by one list": lambda x: torch.permute(x, [0, 2, 3, 1]).permute((0, -1, 1, 2)),
    "there and back by swaps": lambda x: x.transpose(1, 3).swapaxes(-1, 1),
    "norm over channels last": lambda x: functional.layer_norm(x.permute(0, 2, 3, 1), (2,)).permute(0, 3, 1, 2),
    "matrix over channels": lambda x: functional.linear(x.permute(0, 2, 3, 1), ones(5, 2).double()).permute(0, 3, 1, 2),
    "shuffled channels": lambda x: x.view(1, 2, 1, *x.shape[2:]).transpose(1, 2).reshape(1, 2, *x.shape[2:]),
    "a row of tokens and back": lambda x: x.reshape(1, 2, -1).reshape(x.shape),
    "flattened and back": lambda x: x.flatten(0, 1).unflatten(0, (1, 2)),
}


@pytest.mark.parametrize("network", SAME_PLACES.values(), ids=SAME_PLACES)
def test_what_moves_nothing_keeps_the_cells(network):
    stem = conv(2, 2, 3, stride=2)
    assert_centres(lambda x: network(stem(x)), image(20, 23))


def gate(x: Tensor) -> Tensor:
    """How strongly a squeeze-and-excitation block lets each channel through: one number a channel, of all places."""
    return functional.adaptive_avg_pool2d(x.nan_to_num(), 1).sigmoid()


@pytest.mark.parametrize("gated", [lambda x: gate(x) * x, lambda x: x * gate(x), lambda x: torch.mul(gate(x), x)])
def test_a_gate_over_the_whole_image_does_not_move_the_cells(gated):
    stem = conv(2, 3, 3, stride=2)
    assert tracked(lambda x: gated(stem(x)), image(20, 23)) == Cells((1.0, 1.0), (2.0, 2.0))


def test_residuals_and_concatenations_lie_amid_their_sources():
    wide, narrow = conv(2, 2, 5, padding=2, stride=2), conv(2, 2, 1, stride=2)
    assert_centres(lambda x: wide(x) + narrow(x), image(20, 23))
    assert_centres(lambda x: torch.cat([narrow(x), wide(x)], dim=1), image(20, 23))


def test_merged_patches_lie_amid_the_four():
    def merged(x):
        return torch.cat([x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]], 1)

    assert_centres(merged, image(16, 18))


def test_a_cropped_skip_of_a_network_without_padding_lies_on_the_same_cells():
    one, two = conv(2, 2, 3), conv(2, 2, 3)

    def network(x):
        x = one(x)
        return torch.cat([x[:, :, 1:-1, 1:-1], two(x)], 1)

    assert_centres(network, image(16, 18))


# --- enlarging -----------------------------------------------------------------------------------------------------


def centroid(network, x: Tensor, axis: int, cell: tuple[int, ...]) -> float:
    """Where, along an axis, a cell's gradient has its weight."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf)[(0, slice(None), *cell)].sum(), leaf)
    weight = gradient[0].sum(0).transpose(0, axis).flatten(1).sum(1)
    assert (weight >= 0).all()
    return float((weight * torch.arange(len(weight))).sum() / weight.sum())


def assert_centroids(network, x: Tensor, period: int = 1) -> None:
    """As `assert_centres`, by gradients; averaged over `period` cells where these come in turns."""
    cells = tracked(network, x)
    assert cells is not None
    assert cells.measured
    shape = network(x).shape[2:]
    for axis, length in enumerate(shape):
        for begin in (length // 3, length // 2):
            places = range(begin, begin + period)
            middle = [side // 2 for side in shape]
            found = [centroid(network, x, axis, (*middle[:axis], n, *middle[axis + 1 :])) for n in places]
            expected = [cells.start[axis] + n * cells.step[axis] for n in places]
            assert sum(found) / period == pytest.approx(sum(expected) / period, abs=1e-9), f"axis {axis}"


ENLARGED = {
    "twice": {"scale_factor": 2, "mode": "bilinear"},
    "to a size": {"size": (30, 41), "mode": "bilinear"},
    "by a factor that does not divide": {"scale_factor": 1.7, "mode": "bilinear"},
    "the same, made to": {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True},
    "corners aligned": {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
    "corners aligned, to a size": {"size": (29, 41), "mode": "bilinear", "align_corners": True},
    "corners not aligned": {"scale_factor": (3, 2), "mode": "bilinear", "align_corners": False},
    "made smaller": {"size": (9, 6), "mode": "bilinear"},
}


@pytest.mark.parametrize("options", ENLARGED.values(), ids=ENLARGED)
def test_interpolation(options):
    stem = conv(2, 2, 3, stride=2)
    with torch.no_grad():
        stem.weight.fill_(1)
    assert_centroids(lambda x: functional.interpolate(stem(x), **options), image(24, 27))


def test_interpolation_of_volumes_by_modules():
    assert_centroids(nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True), image(7, 8, 9))
    assert_centroids(nn.Upsample(size=(9, 12, 20), mode="trilinear"), image(7, 8, 9))


@pytest.mark.parametrize("factor", [2, 3])
def test_repeating_voxels(factor):
    assert_centroids(lambda x: functional.interpolate(x, scale_factor=factor), image(8, 9), period=factor)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2},
        {"kernel_size": 2, "stride": 2, "groups": 2},
    ],
    ids=str,
)
def test_transposed_convolutions(options):
    module = nn.ConvTranspose2d(2, 2, bias=False, **options).double()
    nn.init.ones_(module.weight)
    assert_centroids(module, image(12, 13), period=2)


def test_a_u_net_of_one_level_is_back_on_the_voxels():
    down, up = conv(1, 2, 3, stride=2, padding=1), nn.ConvTranspose2d(2, 1, 2, 2).double()
    skipped = tracked(lambda x: up(down(x)) + x, image(16, 16, channels=1))
    assert skipped is not None
    assert skipped.step == (1.0, 1.0)
    assert max(map(abs, skipped.start)) <= 0.5


def test_a_path_that_drifts_gives_way_to_the_skip_that_stays():
    """Kernels of 2 padded behind alone, as Keras pads them, move the deep path by 4 voxels; what is learnt does not."""
    wide = conv(2, 2, 2)

    def drifting(x):
        deep = functional.max_pool2d(x, 8)
        for _ in range(2):
            deep = wide(functional.pad(deep, (0, 1, 0, 1)))
        return torch.cat([functional.interpolate(deep, scale_factor=8), x], dim=1)

    x = image(32, 32)
    moved = tracked(lambda y: functional.interpolate(wide(functional.max_pool2d(y, 8)), scale_factor=8), x)
    assert moved is not None
    assert moved.start[0] >= 4
    assert tracked(drifting, x) == Cells((0.0, 0.0), (1.0, 1.0))


# --- what is not followed ------------------------------------------------------------------------------------------

MOVED = {
    "flipped": lambda x: x.flip(2),
    "turned": lambda x: x.rot90(1, (2, 3)),
    "rolled": lambda x: x.roll(3, 2),
    "rolled in place of itself": lambda x: torch.roll(x, shifts=(1, 1), dims=(2, 3)),
    "transposed": lambda x: x.transpose(2, 3),
    "transposed in place": lambda x: x.clone().transpose_(2, 3),
    "transposed by attribute": lambda x: x.mT,
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "multiplied": lambda x: x @ x,
    "contracted": lambda x: torch.einsum("bchw,bcwk->bchk", x, x),
    "a matrix over columns": lambda x: functional.linear(x, ones(8, 8).double()),
    "sorted": lambda x: x.sort(dim=2).values,
    "shuffled": lambda x: x[:, :, torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])],
    "sampled elsewhere": lambda x: functional.grid_sample(x, torch.zeros(1, 8, 8, 2).double(), align_corners=False),
    "spectrum": lambda x: torch.fft.fft2(x).real,
    "reshaped to other sides": lambda x: x.reshape(1, 2, 64).reshape(1, 2, 4, 16),
    "rows and columns exchanged": lambda x: x.transpose(2, 3).reshape(1, 2, 64).reshape(1, 2, 8, 8).transpose(1, 2),
    "stacked along space": lambda x: torch.cat([x[:, :, :4], x[:, :, :4]], 2),
    "made of the image": lambda x: functional.conv2d(torch.zeros(1, 2, 10, 10).double(), x[:, :, :3, :3]),
    "from nowhere": lambda x: torch.zeros(1, 2, 8, 8),
}


@pytest.mark.parametrize("network", MOVED.values(), ids=MOVED)
def test_what_moves_voxels_about_is_never_called_measured(network):
    x = image(8, 8)
    assert tracked(network, x) is None or network is MOVED["channels last"]
    assert tracked(network, x) is None


def test_what_was_moved_stays_unknown():
    assert tracked(lambda x: functional.relu(x.flip(2)) + 1, image(8, 8)) is None


def test_even_cells_share_the_image_edge_to_edge():
    cells = even_cells((12, 10), (4, 5))
    assert cells == Cells((1.0, 0.5), (3.0, 2.0), measured=False)


class Flips(nn.Module):
    """A network whose layer cannot be followed."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.features(x.flip(3)).relu().mean((2, 3)))


def test_a_layer_that_cannot_be_followed_is_taken_to_tile_evenly_and_it_is_said():
    torch.manual_seed(0)  # of weights whose map is not empty, which would be noted as well
    found = method("grad_cam(layer='features')")(Score(Flips(), "class_score(0)"), torch.rand(1, 1, 8, 12))
    assert found.cells == Cells((0.5, 0.5), (2.0, 2.0), measured=False)
    assert found.notes == ("cells of layer 'features' are taken to tile the input evenly",)


# --- networks of others --------------------------------------------------------------------------------------------


def until(module: nn.Module, layer: str):
    """The network up to a layer, as a function."""

    class Reached(Exception):
        pass

    def network(x: Tensor) -> Tensor:
        kept: list[Tensor] = []

        def stop(part, inputs, output):
            kept.append(output)
            raise Reached

        handle = module.get_submodule(layer).register_forward_hook(stop)
        try:
            module(x)
        except Reached:
            pass
        finally:
            handle.remove()
        return kept[0]

    return network


def measured(module: nn.Module, layer: str, x: Tensor) -> Cells:
    """The cells as a score tells them."""
    (tap,) = Score(Model.of(module), "class_score(0)", chunk=1).tap(x, [layer]).taps
    return tap.cells


TORCHVISION = [
    ("resnet18", "layer2.0", 90, {}),
    ("resnet50", "layer1.1", 60, {}),
    ("squeezenet1_0", "features.7", 76, {}),
    ("squeezenet1_1", "features.5", 60, {}),
    ("DenseNet", "features.transition1", 60, {"block_config": (1, 1), "growth_rate": 4, "num_init_features": 8}),
    ("mobilenet_v2", "features.4", 60, {}),
    ("shufflenet_v2_x0_5", "stage2.0", 60, {}),
    ("mnasnet0_5", "layers.8", 60, {}),
]


@pytest.mark.parametrize(("name", "layer", "side", "options"), TORCHVISION, ids=str)
def test_torchvision_networks(name, layer, side, options):
    models = pytest.importorskip("torchvision").models
    module = getattr(models, name)(num_classes=2, **options).double().eval()
    x = image(side, side + 5, channels=3)
    assert_centres(until(module, layer), x, measured(module, layer, x))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_squeeze_and_excitation_of_torchvision_moves_nothing(name):
    models = pytest.importorskip("torchvision").models
    module, x = getattr(models, name)(num_classes=2).eval(), torch.rand(1, 3, 64, 64)
    gated = measured(module, "features", x)
    for part in list(module.modules()):
        for child, inner in part.named_children():
            if "SqueezeExcitation" in type(inner).__name__:
                setattr(part, child, nn.Identity())
    assert gated == measured(module, "features", x)
    assert gated == Cells((0.0, 0.0), (32.0, 32.0))


def test_channels_last_inside_a_network_is_followed():
    models = pytest.importorskip("torchvision").models
    module = models.convnext_tiny(num_classes=2).eval()
    assert measured(module, "features", torch.rand(1, 3, 64, 64)) == Cells((15.5, 15.5), (32.0, 32.0))


def test_the_features_of_a_vgg():
    vgg = pytest.importorskip("torchvision").models.vgg
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    module = nn.Sequential(vgg.make_layers([4, "M", 4, "M", 8, 8]), *head).double()
    x = image(46, 51, channels=3)
    assert_centres(until(module, "0"), x, measured(module, "0", x))


def densenet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    module = nets.DenseNet(3, 1, 2, init_features=4, growth_rate=2, block_config=(1, 1))
    return module, "features.transition1", image(39, 40, 41, channels=1)


def resnet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    module = nets.ResNet("basic", [1, 1, 1, 1], [2, 2, 4, 4], n_input_channels=1, num_classes=2)
    return module, "layer1", image(28, 29, 30, channels=1)


def unet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    module = nets.UNet(3, 1, 2, channels=(2, 4, 4), strides=(2, 2), norm="batch")
    return module, "model.1.submodule.0", image(28, 32, 36, channels=1)


@pytest.mark.parametrize("build", [densenet_3d, resnet_3d, unet_3d])
def test_monai_volumes(build):
    module, layer, x = build()
    module = module.double().eval()
    target = "region(1, over='whole')" if build is unet_3d else "class_score(0)"
    (tap,) = Score(Model.of(module), target, chunk=1).tap(x, [layer]).taps
    assert_centres(until(module, layer), x, tap.cells)


def test_an_exported_program_is_followed_too():
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 5, 2))
            self.up = nn.ConvTranspose2d(4, 4, 2, 2)
            self.pad = nn.ZeroPad2d((1, 0, 2, 0))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            x = functional.interpolate(self.pad(self.up(self.features(x))), scale_factor=2, mode="bilinear")
            return self.head(x.mean((2, 3)))

    module, x = Small().eval(), torch.rand(1, 1, 40, 40)
    program = torch.export.export(module, (x,))
    whole = tracked(program.module(), x)
    assert whole is None, "a class score has no cells"
    for found in (program, program.run_decompositions()):
        copied = torch.export.unflatten(found)
        for layer in ("features", "up", "pad"):
            tracker, kept = CellTracker(x), []
            handle = copied.get_submodule(layer).register_forward_hook(lambda *seen, kept=kept: kept.append(seen[2]))
            with tracker, torch.no_grad():
                copied(x)
            handle.remove()
            assert tracker.of(kept[0]) == tracked(until(module, layer), x), layer


def test_the_automatic_layer_of_a_network_without_padding_is_measured():
    """Even tiling would put the outer centres of this map six voxels too far out."""

    class Valid(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 5))
            self.head = nn.Linear(2, 2)

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    module, x = Valid().double().eval(), image(32, 32, channels=1)
    assert automatic_layer(Model.of(module), x, maps=False) == "features"
    cells = measured(module, "features", x)
    assert cells == Cells((6.5, 6.5), (2.0, 2.0))
    assert_centres(until(module, "features"), x, cells)
