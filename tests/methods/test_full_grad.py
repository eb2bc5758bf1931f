"""FullGrad: completeness, closed forms, the paper's picture by another way, the way biases are laid on voxels."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, Linear, TinyViT, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.methods.full_grad import rescaled
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Quantity

every_kind = pytest.mark.parametrize(("rank", "task"), KINDS)
SIGNED = "full_grad(signed=True)"


def total(found) -> Tensor:
    """The sum of a signed map and of the biases that have no place."""
    return found.values.flatten(1).sum(1) + found.numbers["bias_without_place"]


# --- completeness ----------------------------------------------------------------------------------------------------


@every_kind
def test_map_and_biases_without_a_place_sum_to_the_score(rank, task):
    module, x = seeded(Awkward, rank, task), batch(rank, count=3)
    found = method(SIGNED)(Score(module, target_for(task)), x)
    assert found.quantity is Quantity.SCORE_UNITS
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)
    assert found.numbers["completeness_gap"].abs().max() < 1e-14
    assert found.score.abs().min() > 1e-4
    assert found.parts["bias"].abs().sum() > 0
    assert not found.notes


NETWORKS = {
    "residual 3D network": lambda: monai("ResNet", "basic", [1] * 4, [2, 2, 4, 4], n_input_channels=1, num_classes=2),
    "u-net with batch norm": lambda: monai("UNet", 3, 1, 2, channels=(4, 8, 16), strides=(2, 2), norm="batch"),
    "dense 3D network": lambda: monai(
        "DenseNet", 3, 1, 2, init_features=4, growth_rate=2, block_config=(1, 1), norm=("batch", {"affine": True})
    ),
}


def monai(name: str, *arguments: object, **options: object) -> nn.Module:
    return getattr(pytest.importorskip("monai.networks.nets"), name)(*arguments, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_monai_are_complete(name):
    module, x = seeded(NETWORKS[name]), torch.randn(1, 1, 32, 32, 32, dtype=torch.float64)
    target = "region(1, over='whole')" if "u-net" in name else "class_score(1)"
    found = method(SIGNED)(Score(module, target), x[..., :16] if "u-net" in name else x)
    torch.testing.assert_close(total(found), found.score, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "vgg11_bn", "mobilenet_v2"])
def test_networks_of_torchvision_are_complete(name):
    module = seeded(getattr(pytest.importorskip("torchvision").models, name), num_classes=3)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    found = method(SIGNED)(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(total(found), found.score, rtol=1e-10, atol=1e-14)


class Adds(nn.Module):
    """Biases in every way they can be added, functional, in place, reused; activations that are curved or clipped."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.plain = nn.Conv2d(4, 4, 3, bias=False)
        self.shift = nn.Parameter(torch.randn(4, 1, 1))
        self.last = nn.Linear(4, 4)
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu6(5 * self.conv(x))
        x = self.plain(x)
        x += self.shift
        x = functional.gelu(self.norm(x)) + self.norm(functional.elu(1 * x, inplace=True))
        x = torch.nn.functional.silu(self.up(x)).permute(0, 2, 3, 1)
        x = torch.tanh(self.last(self.last(x))).permute(0, 3, 1, 2)
        x = functional.hardtanh(self.shift + torch.clamp(x, min=-0.3, max=0.2), -0.5, 2.0)
        return functional.softplus(self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1)))


def test_every_way_of_adding_and_every_bent_activation_counts():
    module, x = seeded(Adds), batch(2, count=3)
    found = method(SIGNED)(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)


def test_norms_of_torch_itself_take_their_arguments_in_another_order():
    class Native(Awkward):
        def forward(self, x):
            norm = self.norm
            y = torch.batch_norm(
                self.first(x), norm.weight, norm.bias, norm.running_mean, norm.running_var, False, 0.1, norm.eps, False
            )
            return self.head(y.relu().flatten(2).mean(2))

    found = method(SIGNED)(Score(seeded(Native, 2, "classification"), "class_score(0)"), batch(2))
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)


def test_a_norm_that_measures_the_image_leaves_a_gap_and_it_is_told():
    module = seeded(monai, "UNet", 2, 1, 2, channels=(4, 8), strides=(2,), norm="instance")
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    found = method(SIGNED)(Score(module, "region(1, over='whole')"), x)
    torch.testing.assert_close(total(found) - found.score, found.numbers["completeness_gap"])
    assert found.numbers["completeness_gap"].abs().min() > 1e-3
    (note,) = found.notes
    assert note.startswith("voxels and biases do not add up to the score")
    assert method("full_grad")(Score(module, "region(1, over='whole')"), x).notes == ()


def test_an_exported_program_is_complete_too():
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=1)
    program = torch.export.export(module, (x,))
    for found in (program, program.run_decompositions({}), program.run_decompositions()):
        out = method(SIGNED)(Score(found.module(), "class_score(0)", chunk=1), x)
        expected = method(SIGNED)(Score(module, "class_score(0)"), x)
        torch.testing.assert_close(out.values, expected.values, rtol=1e-10, atol=1e-14)


# --- closed forms and other ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, 3])
def test_a_linear_score_gives_weight_times_input_and_its_bias_has_no_place(rank):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method(SIGNED)(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.parts["input"], x * module.weight[1].detach())
    torch.testing.assert_close(found.values, found.parts["input"].sum(1, keepdim=True))
    torch.testing.assert_close(found.numbers["bias_without_place"], module.bias[1].detach().expand(2))


class TwoLayers(nn.Module):
    """A convolution of stride 2, ReLU, the mean."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2, stride=2)

    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))


def test_a_bias_lies_around_the_cells_where_it_passed():
    """One cell of four is alive: its bias times the slope of the mean lies on it and beside it, within the image."""
    module = seeded(TwoLayers)
    with torch.no_grad():
        module.conv.weight.fill_(1.0)
        module.conv.bias.copy_(torch.tensor([0.8, 0.4]))
    x = torch.full((1, 1, 4, 4), -1.0, dtype=torch.float64)
    x[0, 0, 2:, :2] = 1.0
    found = method(SIGNED)(Score(module, "class_score(0)"), x)
    row, column = torch.tensor([0.0, 1, 3, 3]).double() / 7, torch.tensor([3.0, 3, 1, 0]).double() / 7
    torch.testing.assert_close(found.parts["bias"][0, 0], 0.8 / 4 * row[:, None] * column)
    torch.testing.assert_close(found.parts["input"][0, 0], (x[0, 0] > 0).double() / 4)


@every_kind
def test_amounts_are_those_that_weight_gradients_tell(rank, task):
    """The gradient by a bias, times the bias, summed over all biases: by torch's own weight gradients."""
    module, x = seeded(Awkward, rank, task), batch(rank, count=1)
    score = Score(module, target_for(task))
    found = method(SIGNED)(score, x)
    frozen = score.freeze(x)[1]
    value = frozen.target.read(module(x), frozen.choice, "auto")
    biases = [module.first.bias, module.second.bias, module.head.bias]
    gradients = torch.autograd.grad(value.sum(), [*biases, module.norm.bias])
    expected = sum((bias * part).sum() for bias, part in zip([*biases, _shift(module.norm)], gradients, strict=True))
    given = found.parts["bias"].sum() + found.numbers["bias_without_place"].sum()
    torch.testing.assert_close(given, expected.detach(), rtol=1e-12, atol=1e-15)


def _shift(norm) -> Tensor:
    return (norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()).detach()


class TwoConvolutions(nn.Module):
    """A convolution without overlaps, batch norm, ReLU, the mean, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 2, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(self.first(x)).relu().mean((2, 3)))


def slow(module: TwoConvolutions, x: Tensor, index: int, psi) -> Tensor:
    """The paper's sum over layers for one image, from a forward written out with biases of their own a place."""
    x = x.clone().requires_grad_()
    sides = [side // 2 for side in x.shape[2:]]
    first = module.first.bias.detach()[:, None, None].expand(-1, *sides).clone().requires_grad_()
    norm = _shift(module.norm)[:, None, None].expand(-1, *sides).clone().requires_grad_()
    scale = (module.norm.weight / (module.norm.running_var + module.norm.eps).sqrt()).detach()[:, None, None]
    y = functional.conv2d(x, module.first.weight, stride=2) + first
    y = (y * scale + norm).relu()
    score = module.head(y.mean((2, 3)))[0, index]
    by_x, by_first, by_norm = torch.autograd.grad(score, [x, first, norm])
    layers = [by_first * first, by_norm * norm]
    found = psi((x * by_x)[0]).sum(0)
    for layer in layers:
        enlarged = functional.interpolate(psi(layer).sum(0)[None, None], x.shape[2:], mode="bilinear")
        found = found + enlarged[0, 0]
    return found.detach()


def psi(layer: Tensor) -> Tensor:
    values = layer.abs()
    return (values - values.min()) / (values.max() - values.min())


def test_rescaled_it_is_the_papers_sum_over_layers():
    module, x = seeded(TwoConvolutions), torch.randn(2, 2, 8, 12, dtype=torch.float64)
    found = method("full_grad(rescale=True)")(Score(module, "class_score(2)"), x)
    for n in range(2):
        torch.testing.assert_close(found.values[n, 0], slow(module, x[n : n + 1], 2, psi), rtol=1e-10, atol=1e-13)


def test_without_sign_each_channel_counts_by_its_amount():
    module, x = seeded(TwoConvolutions), torch.randn(2, 2, 8, 12, dtype=torch.float64)
    found = method("full_grad")(Score(module, "class_score(2)"), x)
    sums = torch.stack([_amounts(module, x[n : n + 1], 2) for n in range(2)])
    torch.testing.assert_close(found.values.flatten(1).sum(1), sums, rtol=1e-12, atol=1e-14)
    assert found.quantity is Quantity.SALIENCY
    assert (found.values >= 0).all()
    assert "completeness_gap" not in found.numbers


def _amounts(module: nn.Module, x: Tensor, index: int) -> Tensor:
    """Sum of absolute amounts, by the tensors' own hooks."""
    x, gathered = x.clone().requires_grad_(), []
    outputs = {}
    handles = [
        part.register_forward_hook(lambda part, inputs, out: outputs.__setitem__(part, out))
        for part in (module.first, module.norm)
    ]
    score = module(x)[0, index]
    for handle in handles:
        handle.remove()
    by_x, *rest = torch.autograd.grad(score, [x, *outputs.values()])
    gathered.append((x * by_x).abs().sum())
    for bias, part in zip((module.first.bias, _shift(module.norm)), rest, strict=True):
        gathered.append((bias[:, None, None] * part).abs().sum())
    return sum(gathered).detach()


def test_rescaling_leaves_a_layer_that_is_the_same_everywhere_out():
    values = torch.stack([torch.full((2, 3, 3), 4.0), torch.arange(18.0).reshape(2, 3, 3) + 5])
    found = rescaled(values)
    assert not found[0].any()
    assert (float(found[1].min()), float(found[1].max())) == (0.0, 1.0)
    torch.testing.assert_close(found[1].flatten(), torch.arange(18.0) / 17)


# --- tokens and odd layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, 3])
def test_biases_of_tokens_lie_on_their_patches_and_those_of_the_class_token_nowhere(rank):
    module, x = seeded(TinyViT, rank, "classification"), batch(rank)
    found = method(SIGNED)(Score(module, "class_score(0)"), x)
    torch.testing.assert_close(total(found) - found.score, found.numbers["completeness_gap"], rtol=1e-10, atol=1e-13)
    assert found.numbers["bias_without_place"].abs().min() > 0
    assert found.parts["bias"].flatten(2).std(dim=2).min() > 0


class Rows(nn.Module):
    """Tokens between one that holds nothing and two more, a matrix, ReLU, the mean: piecewise linear."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(2, 4, 2, stride=2)
        self.matrix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([x.new_zeros(len(x), 1, 4), tokens, x.new_zeros(len(x), 2, 4)], 1)
        return self.head(self.matrix(tokens).relu().mean(1))


def test_what_biases_give_to_tokens_without_a_place_is_not_lost():
    module, x = seeded(Rows), batch(2)
    found = method(SIGNED)(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)
    alone = module.matrix.bias.relu() @ module.head.weight[1] * 3 / 23 + module.head.bias[1]
    torch.testing.assert_close(found.numbers["bias_without_place"], alone.detach().expand(2))


class Windowed(nn.Module):
    """A linear layer over windows, whose samples stand amid their windows."""

    def __init__(self, across: bool):
        super().__init__()
        self.across = across
        self.stem = nn.Conv2d(2, 4, 1)
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        b, _, h, w = x.shape
        windows = self.stem(x).reshape(b, 4, h // 2, 2, w // 2, 2).permute(2, 4, 0, 3, 5, 1)
        if not self.across:
            windows = windows.permute(2, 0, 1, 3, 4, 5)
        y = self.inner(windows.reshape(-1, 4, 4)).relu()
        y = y.reshape(-1, b, 4, 4) if self.across else y.reshape(b, -1, 4, 4).transpose(0, 1)
        return self.head(y.mean((0, 2)))


@pytest.mark.parametrize("across", [False, True])
def test_samples_that_cannot_be_told_apart_are_taken_one_by_one(across):
    module, x = seeded(Windowed, across), batch(2, count=3)
    together = method(SIGNED)(Score(module, "class_score(0)", chunk=3), x)
    alone = [method(SIGNED)(Score(module, "class_score(0)"), x[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(together.values, torch.cat([one.values for one in alone]))
    torch.testing.assert_close(total(together), together.score, rtol=1e-12, atol=1e-14)


def test_channels_taken_for_samples_are_taken_one_by_one():
    class Grouped(TwoConvolutions):
        def forward(self, x):
            y = self.first(x)
            y = functional.conv2d(y.reshape(-1, 2, *y.shape[2:]), self.inner, self.shift).reshape(y.shape)
            return self.head(self.norm(y).relu().mean((2, 3)))

    module, x = seeded(Grouped), torch.randn(2, 2, 8, 12, dtype=torch.float64)
    module.inner, module.shift = (nn.Parameter(torch.randn(shape).double()) for shape in ((2, 2, 1, 1), (2,)))
    found = method(SIGNED)(Score(module, "class_score(0)", chunk=2), x)
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)


def test_a_map_that_cannot_be_followed_is_laid_evenly_and_it_is_said():
    class Flips(TwoConvolutions):
        def forward(self, x):
            return super().forward(x.flip(3))

    module, x = seeded(Flips), torch.randn(1, 2, 8, 12, dtype=torch.float64)
    found = method(SIGNED)(Score(module, "class_score(0)"), x)
    assert found.notes == ("the cells of some layers are taken to tile the input evenly",)
    torch.testing.assert_close(total(found), found.score, rtol=1e-12, atol=1e-14)


# --- cost and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("options", ["", "signed=True", "rescale=True"])
def test_costs_two_forwards(rank, options):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    with FlopCounterMode(display=False) as whole:
        method(f"full_grad({options})")(Score(model, "class_score"), x)
    spreading = 2 * whole_of_spreading(x)
    assert whole.get_total_flops() <= 3 * 2 * one.get_total_flops() + spreading
    assert all(weight.grad is None for weight in model.module.parameters())


def whole_of_spreading(x: Tensor) -> int:
    """Products that lay the five maps of biases on voxels, along each axis, at most."""
    return 5 * (x.ndim - 2) * 2 * x[:, 0].numel() * max(x.shape[2:])


def test_counts_its_passes():
    score = Score(seeded(Awkward, 2, "classification"), "class_score", chunk=2)
    method("full_grad")(score, batch(2, count=3))
    assert (score.ledger.forwards, score.ledger.backwards) == (3, 3)


def test_signs_and_rescaling_exclude_each_other():
    with pytest.raises(OptionError, match="full_grad: rescale must be false with signed, got True"):
        method("full_grad(signed=True, rescale=True)")
