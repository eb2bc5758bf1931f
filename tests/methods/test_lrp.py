"""Relevance rules against their equations, written out on the matrix of each operation."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Linear, batch, seeded
from voxplain.errors import VoxplainError
from voxplain.methods import method
from voxplain.score import lrp_linear
from voxplain.score.load import load_model
from voxplain.score.lrp_linear import Handling
from voxplain.score.lrp_rules import Composite, lrp
from voxplain.score.model import Model
from voxplain.score.rules import recorded
from voxplain.score.score import Score

EPSILON = 1e-6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def played(function, x: Tensor, relevance: Tensor, rule, how: Handling, bounded: bool = False):
    """Relevance of the inputs of a function for that of its outputs, and what was kept."""
    leaf = x.clone().requires_grad_()
    with recorded() as tape:
        output = function(leaf.clone())
    rules = lrp("lrp", Composite(convolution=rule, dense=rule, bounded=bounded), how)
    with tape.using(rules) as met:
        (found,) = torch.autograd.grad(output, leaf, relevance, allow_unused=True)
    return torch.zeros_like(x) if found is None else found, met.kept


# --- operations with weights ------------------------------------------------------------------------------------------


def layer(build, *arguments, **options):
    return seeded(build, *arguments, **options).requires_grad_(False)


class Normed(nn.Module):
    """A layer and the batch norm that follows it."""

    def __init__(self, inner: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, norm
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.inner(x))


W = drawn(5, 4, seed=5)
LAYERS = {
    "conv1d": (layer(nn.Conv1d, 4, 3, 3, padding=1), (2, 4, 5)),
    "conv2d": (layer(nn.Conv2d, 4, 6, 3, padding=1, stride=2, groups=2, bias=False), (2, 4, 5, 4)),
    "conv3d": (layer(nn.Conv3d, 2, 3, 2, dilation=2, padding="same"), (2, 2, 3, 4, 3)),
    "conv_transpose1d": (layer(nn.ConvTranspose1d, 4, 3, 3, stride=2, padding=1), (2, 4, 4)),
    "conv_transpose2d": (layer(nn.ConvTranspose2d, 4, 6, 3, stride=2, groups=2, output_padding=1), (2, 4, 3, 2)),
    "conv_transpose3d": (layer(nn.ConvTranspose3d, 2, 3, 2), (2, 2, 2, 3, 2)),
    "linear": (layer(nn.Linear, 4, 5), (2, 4)),
    "linear on tokens": (layer(nn.Linear, 4, 5), (2, 3, 4)),
    "x W": (lambda x: x @ W.T, (2, 4)),
    "W x": (lambda x: W @ x, (2, 4, 3)),
    "addmm": (lambda x: torch.addmm(drawn(5, seed=8), x, W.T, beta=0.5, alpha=2.0), (2, 4)),
    "x W and a bias": (lambda x: x @ W.T + drawn(5, seed=8), (2, 4)),
    "conv and a bias": (lambda x: functional.conv1d(x, drawn(3, 4, 2)) + drawn(3, 1, seed=8), (2, 4, 5)),
    "einsum": (lambda x: torch.einsum("bi,ji->bj", x, W), (2, 4)),
    "conv by name": (lambda x: functional.conv2d(x, weight=drawn(2, 4, 1, 1), bias=drawn(2)), (2, 4, 2, 2)),
    "conv and norm": (layer(Normed, nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (2, 4, 4, 4)),
    "transposed and norm": (layer(Normed, nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6)), (2, 4, 3, 3)),
    "linear and norm": (layer(Normed, nn.Linear(4, 5), nn.BatchNorm1d(5)), (3, 4)),
}


def matrix(function, x: Tensor) -> tuple[Tensor, Tensor]:
    """W (out, in) and b (out,) of an affine function of one sample."""
    zero = torch.zeros_like(x)
    shift = function(zero[None])[0].flatten()
    slopes = torch.autograd.functional.jacobian(lambda value: function(value[None])[0].flatten(), zero)
    return slopes.reshape(len(shift), -1), shift


def plus(values: Tensor) -> Tensor:
    return values.clamp(min=0)


def safe(z: Tensor, epsilon: float = EPSILON) -> Tensor:
    return torch.where(z < 0, z - epsilon, z + epsilon)


def by_epsilon(weight, bias, x, relevance, size):
    given = weight * x
    return (given * (relevance / safe(given.sum(1) + bias, size))[:, None]).sum(0)


def by_alpha_beta(weight, bias, x, relevance, alpha):
    given = weight * x
    up, down = plus(given), -plus(-given)
    share = up / safe(up.sum(1) + plus(bias))[:, None] * alpha
    share = share - (alpha - 1) * down / safe(down.sum(1) - plus(-bias), EPSILON)[:, None]
    return (share * relevance[:, None]).sum(0)


def by_gamma(weight, bias, x, relevance, size):
    z = (weight * x).sum(1) + bias
    found = torch.zeros_like(x)
    for j in range(len(z)):
        sign = 1.0 if z[j] > 0 else -1.0
        given = weight[j] * x
        favoured = given + size * sign * plus(sign * given)
        total = favoured.sum() + bias[j] + size * sign * plus(sign * bias[j])
        found += favoured * relevance[j] / safe(total)
    return found


def by_same(weight, bias, x, relevance, square):
    given = weight**2 if square else (weight != 0).to(weight.dtype)
    return (given * (relevance / safe(given.sum(1)))[:, None]).sum(0)


def by_box(weight, bias, x, relevance, low, high):
    given = weight * x - plus(weight) * low + plus(-weight) * high
    return (given * (relevance / safe(given.sum(1)))[:, None]).sum(0)


RULES = {
    "epsilon": (partial(lrp_linear.epsilon, size=0.1), partial(by_epsilon, size=0.1)),
    "z_plus": (lrp_linear.alpha_beta, partial(by_alpha_beta, alpha=1.0)),
    "alpha_beta": (partial(lrp_linear.alpha_beta, alpha=2.5, beta=1.5), partial(by_alpha_beta, alpha=2.5)),
    "gamma": (partial(lrp_linear.gamma, size=0.7), partial(by_gamma, size=0.7)),
    "flat": (lrp_linear.same_for_all_inputs, partial(by_same, square=False)),
    "w2": (partial(lrp_linear.same_for_all_inputs, square=True), partial(by_same, square=True)),
    "z_box": (partial(lrp_linear.z_box, low=-4.0, high=5.0), partial(by_box, low=-4.0, high=5.0)),
}

layers = pytest.mark.parametrize("name", LAYERS)
each_rule = pytest.mark.parametrize("rule", RULES)


def expected(name: str, rule: str, x: Tensor, relevance: Tensor, *, biased: bool = True) -> Tensor:
    function, _ = LAYERS[name]
    found = []
    for sample, part in zip(x, relevance, strict=True):
        weight, bias = matrix(function, sample)
        bias = bias if biased else torch.zeros_like(bias)
        found.append(RULES[rule][1](weight, bias, sample.flatten(), part.flatten()).reshape(sample.shape))
    return torch.stack(found)


@layers
@each_rule
@pytest.mark.parametrize("signed", [True, False])
def test_rules_follow_their_equations(name, rule, signed):
    function, shape = LAYERS[name]
    x = drawn(*shape, seed=1) if signed else drawn(*shape, seed=1).clamp(min=0)
    relevance = drawn(*function(x).shape, seed=2)
    found, kept = played(function, x, relevance, RULES[rule][0], Handling())
    exact = 1e-6 if name == "addmm" else 1e-9  # its factor makes flat shares count twice beside the stabiliser
    torch.testing.assert_close(found, expected(name, rule, x, relevance), rtol=exact, atol=1e-11)
    assert float(relevance.sum()) == pytest.approx(float(found.sum()) + kept, abs=1e-9)


@pytest.mark.parametrize("name", ["conv1d", "linear", "addmm", "conv and norm"])
@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma"])
def test_without_biases_nothing_is_kept_by_them(name, rule):
    function, shape = LAYERS[name]
    x = drawn(*shape, seed=1)
    relevance = drawn(*function(x).shape, seed=2)
    found, kept = played(function, x, relevance, RULES[rule][0], Handling(bias=False))
    reference = expected(name, rule, x, relevance, biased=False)
    torch.testing.assert_close(found, reference, rtol=1e-9, atol=1e-11)
    assert float(relevance.sum()) == pytest.approx(float(found.sum()) + kept, abs=1e-9)


def test_the_library_puts_the_whole_bias_into_the_denominator():
    function, shape = LAYERS["linear"]
    x, relevance = drawn(*shape, seed=1), drawn(2, 5, seed=2)
    found, _ = played(function, x, relevance, lrp_linear.alpha_beta, Handling(bias="library"))
    weight, bias = matrix(function, x[0])
    up = plus(weight * x[0])
    reference = (up * (relevance[0] / safe(up.sum(1) + bias))[:, None]).sum(0)
    torch.testing.assert_close(found[0], reference, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["conv2d", "conv and norm", "linear", "W x"])
@pytest.mark.parametrize("rule", ["z_plus", "alpha_beta"])
def test_spread_leaves_nothing_behind(name, rule):
    """Units whose inputs are all zero hand their relevance to all of their inputs alike."""
    function, shape = LAYERS[name]
    x = drawn(*shape, seed=1)
    x[1] = 0
    relevance = drawn(*function(x).shape, seed=2)
    kept_without = played(function, x, relevance, RULES[rule][0], Handling(bias=False))[1]
    found, kept = played(function, x, relevance, RULES[rule][0], Handling(bias=False, spread=True))
    assert abs(kept_without) > 0.1
    assert kept == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.flatten(1).sum(1), relevance.flatten(1).sum(1), rtol=1e-9, atol=1e-11)
    if rule == "z_plus":
        flat = by_same(matrix(function, x[1])[0], 0, x[1].flatten(), relevance[1].flatten(), False)
        torch.testing.assert_close(found[1].flatten(), flat, rtol=1e-5, atol=1e-11)


def test_padding_gets_none_of_what_is_spread():
    weight = drawn(3, 2, 3, 3)
    function = lambda x: functional.conv2d(functional.pad(x, (1, 1, 1, 1)), weight)  # noqa: E731
    inner = lambda x: functional.conv2d(x, weight, padding=1)  # noqa: E731
    x, relevance = torch.zeros(1, 2, 3, 3, dtype=torch.float64), drawn(1, 3, 3, 3)
    how = Handling(bias=False, spread=True)
    found, kept = played(function, x, relevance, lrp_linear.alpha_beta, how)
    assert kept == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found, played(inner, x, relevance, lrp_linear.alpha_beta, how)[0])


def test_a_norm_that_others_read_before_is_not_merged():
    convolution, norm = layer(nn.Conv2d, 2, 3, 1), layer(nn.BatchNorm2d, 3)

    def function(x):
        y = convolution(x)
        return norm(y) + 0 * y.detach() + y

    x, relevance = drawn(1, 2, 2, 2), drawn(1, 3, 2, 2)
    found, kept = played(function, x, relevance, lrp_linear.alpha_beta, Handling(bias=False))
    assert float(found.sum()) + kept == pytest.approx(float(relevance.sum()), abs=1e-9)
    through_sum, _ = played(lambda y: norm(y) + y, convolution(x), relevance, lrp_linear.alpha_beta, Handling())
    reference, _ = played(convolution, x, through_sum, lrp_linear.alpha_beta, Handling(bias=False))
    torch.testing.assert_close(found, reference, rtol=1e-9, atol=1e-12)


# --- everything else --------------------------------------------------------------------------------------------------

X = drawn(2, 4, 4, 4, seed=11)

PASSING = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "prelu": lambda x: functional.prelu(x, torch.full((4,), 0.2, dtype=x.dtype)),
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: functional.softmax(x, 1),
    "clamp": lambda x: x.clamp(-1, 1),
    "batch_norm": layer(nn.BatchNorm2d, 4),
    "instance_norm": functional.instance_norm,
    "group_norm": lambda x: functional.group_norm(x, 2),
    "layer_norm": lambda x: functional.layer_norm(x, (4,)),
    "dropout": lambda x: functional.dropout(x, training=False),
    "a constant added": lambda x: 3 + x - drawn(4, 1, 1),
    "a constant factor": lambda x: -(2 * x) / 3,
    "a sigmoid gate": lambda x: x * torch.sigmoid(x * 3),
    "a divisor": lambda x: x / torch.exp(x.detach()).mul(x.detach() + 9).add(0 * x.amax()),
    "handwritten gate": lambda x: x * functional.relu6(x + 3) / 6,
    "squeeze and excite": lambda x: torch.sigmoid(functional.relu(x.mean((2, 3), keepdim=True))) * x,
}


@pytest.mark.parametrize("name", PASSING)
def test_relevance_passes(name):
    relevance = drawn(*X.shape, seed=3)
    found, kept = played(PASSING[name], X, relevance, lrp_linear.alpha_beta, Handling())
    torch.testing.assert_close(found, relevance)
    assert kept == 0


SHARED = {
    "avg_pool": lambda x: functional.avg_pool2d(x, 2),
    "adaptive_avg_pool": lambda x: functional.adaptive_avg_pool2d(x, 3),
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(1),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "nearest": lambda x: functional.interpolate(x, size=7),
    "trilinear": lambda x: functional.interpolate(x[:, None], scale_factor=2, mode="trilinear"),
    "add": lambda x: x[:, :2] + x[:, 2:],
    "scaled add": lambda x: torch.add(x[:, :2], x[:, 2:], alpha=-0.5),
    "subtract": lambda x: x[:, :2] - x[:, 2:],
    "broadcast add": lambda x: x + x[:, :, :1, :1],
    "in-place add": lambda x: x[:, :2].clone().add_(x[:, 2:]),
}


def by_sign(weight, x, relevance):
    """Shares of the contributions that have the sign of the sum."""
    given = weight * x
    agreeing = torch.where(given.sum(1, keepdim=True) > 0, plus(given), -plus(-given))
    return (agreeing * (relevance / safe(agreeing.sum(1)))[:, None]).sum(0)


def referenced(function, relevance: Tensor, rule) -> Tensor:
    found = []
    for sample, part in zip(X, relevance, strict=True):
        weight, _ = matrix(function, sample)
        found.append(rule(weight, x=sample.flatten(), relevance=part.flatten()).reshape(sample.shape))
    return torch.stack(found)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("bounded", [False, True])
def test_sums_are_shared(name, bounded):
    """In proportion to signed contributions, or to those with the sign of the sum."""
    function = SHARED[name]
    relevance = drawn(*function(X).shape, seed=3)
    found, kept = played(function, X, relevance, lrp_linear.alpha_beta, Handling(), bounded)
    rule = by_sign if bounded else partial(by_epsilon, bias=0, size=EPSILON)
    torch.testing.assert_close(found, referenced(function, relevance, rule), rtol=1e-9, atol=1e-10)
    assert float(found.sum()) + kept == pytest.approx(float(relevance.sum()), abs=1e-6)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("bounded", [False, True])
def test_sums_of_zeros_are_spread_or_absorbed(name, bounded):
    function, zeros = SHARED[name], torch.zeros_like(X)
    relevance = drawn(*function(X).shape, seed=3)
    _, kept = played(function, zeros, relevance, lrp_linear.alpha_beta, Handling(), bounded)
    assert kept == pytest.approx(float(relevance.sum()))
    spread, kept = played(function, zeros, relevance, lrp_linear.alpha_beta, Handling(spread=True), bounded)
    assert kept == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(spread.flatten(1).sum(1), relevance.flatten(1).sum(1))


def weights_of(x: Tensor) -> Tensor:
    return functional.softmax(x @ x.mT, -1)


ATTENTIONS = {
    "matmul": lambda x: functional.dropout(weights_of(x), training=False) @ x,
    "einsum": lambda x: torch.einsum("bcij,bcjd->bcid", weights_of(x), x),
    "bmm": lambda x: torch.bmm(weights_of(x).flatten(0, 1), x.flatten(0, 1)).unflatten(0, x.shape[:2]),
    "fused": lambda x: functional.scaled_dot_product_attention(x, x, x, scale=1.0),
    "fused by name": lambda x: functional.scaled_dot_product_attention(query=x, key=x, value=x, scale=1.0),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_weights_are_held_constant(name):
    relevance = drawn(*X.shape, seed=3)
    found, kept = played(ATTENTIONS[name], X, relevance, lrp_linear.alpha_beta, Handling())
    held = weights_of(X)
    z = held @ X
    torch.testing.assert_close(found, X * (held.mT @ (relevance / safe(z))), rtol=1e-9, atol=1e-10)
    assert float(found.sum()) + kept == pytest.approx(float(relevance.sum()), abs=1e-6)


def test_factors_without_a_gate_get_half_each():
    relevance = drawn(2, 4, 4, 4, seed=3)
    found, _ = played(lambda x: x * x.flip(1), X, relevance, lrp_linear.alpha_beta, Handling())
    torch.testing.assert_close(found, (relevance + relevance.flip(1)) / 2)
    product, kept = played(lambda x: x @ x.flip(1), X, relevance, lrp_linear.alpha_beta, Handling())
    assert float(product.sum()) + kept == pytest.approx(float(relevance.sum()), abs=1e-6)


def test_the_winner_takes_all_of_a_maximum():
    relevance = drawn(2, 4, 2, 2, seed=3)
    found, kept = played(lambda x: functional.max_pool2d(x, 2), X, relevance, lrp_linear.alpha_beta, Handling())
    leaf = X.clone().requires_grad_()
    assert torch.equal(found, torch.autograd.grad(functional.max_pool2d(leaf, 2), leaf, relevance)[0])
    assert kept == 0


MERGED = {
    "class token": lambda x: torch.cat([torch.ones(2, 1, 4, 4, dtype=x.dtype), x], 1),
    "padding": lambda x: functional.pad(x, (1, 2, 0, 1), value=2.0),
    "mask": lambda x: x.masked_fill(drawn(4, 4) > 0, 1.0),
    "choice": lambda x: torch.where(drawn(4, 4) > 0, x, torch.ones_like(x)),
}


@pytest.mark.parametrize("name", MERGED)
def test_what_lies_on_constants_is_reported_or_spread(name):
    function = MERGED[name]
    relevance = drawn(*function(X).shape, seed=3)
    found, kept = played(function, X, relevance, lrp_linear.alpha_beta, Handling())
    leaf = X.clone().requires_grad_()
    assert torch.equal(found, torch.autograd.grad(function(leaf), leaf, relevance)[0])
    assert kept == pytest.approx(float(relevance.sum() - found.sum()))
    assert abs(kept) > 0.1
    spread, kept = played(function, X, relevance, lrp_linear.alpha_beta, Handling(spread=True))
    assert kept == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(spread.flatten(1).sum(1), relevance.flatten(1).sum(1))


@pytest.mark.parametrize("function", [torch.erf, lambda x: x**2, lambda x: x.cumsum(1), torch.fft.rfft])
def test_an_operation_without_a_rule_is_named(function):
    relevance = torch.ones_like(function(X))
    with pytest.raises(VoxplainError, match=r"lrp: operation '\w+' has no rule"):
        played(function, X, relevance, lrp_linear.alpha_beta, Handling())


def test_weights_that_follow_the_image_are_refused():
    with pytest.raises(VoxplainError, match="'conv2d' has no rule"):
        played(
            lambda x: functional.conv2d(torch.ones(1, 4, 4, 4, dtype=x.dtype), x),
            *(X, torch.ones(1, 2, 1, 1, dtype=X.dtype), lrp_linear.alpha_beta, Handling()),
        )


# --- the method ------------------------------------------------------------------------------------------------------


def test_a_linear_score_is_split_by_its_terms():
    x = batch(2)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("lrp(rules='epsilon', epsilon=0.0)")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.values, module.weight[1] * x, rtol=1e-9, atol=1e-12)
    bias = module.bias[1].expand(2).detach()
    torch.testing.assert_close(found.numbers["absorbed"], bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("target", "sums"), [("class_score(1)", 1.0), ("margin(1)", 1.0), ("region(1, over='whole')", 1.0)]
)
def test_relevance_at_the_output_is_the_score(target, sums):
    convolution = nn.Conv2d(2, 3, 1, bias=False)
    module = seeded(
        nn.Sequential, convolution, *([] if "region" in target else [nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    )
    found = method("lrp(rules='epsilon', epsilon=0.0)")(Score(module, target), batch(2))
    torch.testing.assert_close(found.numbers["relevance_sum"], found.score * sums, rtol=1e-4, atol=1e-6)
    assert found.numbers["unaccounted"] < 1e-9


def test_a_reference_value_is_reported_as_absorbed():
    module = seeded(nn.Sequential, nn.Conv2d(2, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = method("lrp(bias=False)")(Score(module, "regression()"), batch(2))
    moved = method("lrp(bias=False)")(Score(module, "regression(reference=5.0)"), batch(2))
    torch.testing.assert_close(moved.values, plain.values)
    torch.testing.assert_close(moved.numbers["absorbed"], plain.numbers["absorbed"] - 5.0)
    assert moved.numbers["unaccounted"] < 1e-9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("composite='epsilon_plus', rules='flat'", "lrp: rules must be left out where composite is given"),
        ("epsilon=-1.0", "lrp: epsilon must be at least 0"),
        ("rules='alpha_beta', alpha=0.5", "lrp: alpha must be at least 1"),
        ("alpha=3.0", "lrp: alpha must be left out"),
        ("gamma=-0.1", "lrp: gamma must be at least 0"),
        ("composite='epsilon'", "lrp: composite must be"),
        ("bias='full'", "lrp: bias must be"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(VoxplainError, match=sentence):
        method(f"lrp({options})")


def test_bounds_must_fit_the_channels():
    score = Score(seeded(nn.Sequential, nn.Conv2d(2, 2, 1)), "region(1, over='whole')")
    spec = "lrp(composite='epsilon_gamma_box', low=[0.0, 0.0, 0.0])"
    with pytest.raises(VoxplainError, match="lrp: low must be one value or one for each of 2 channels"):
        method(spec)(score, batch(2))


def test_bounds_left_out_are_those_of_each_image():
    score = Score(seeded(nn.Sequential, nn.Conv2d(2, 2, 3)), "region(1, over='whole')")
    x = batch(2)
    low, high = (getattr(x[:1], extreme)((0, 2, 3)).tolist() for extreme in ("amin", "amax"))
    given = method(f"lrp(rules='z_box', low={low}, high={high})")(score, x[:1]).values
    torch.testing.assert_close(method("lrp(rules='z_box')")(score, x).values[:1], given)


LIMITS = {
    "epsilon_plus": 4,
    "epsilon_plus_flat": 4,
    "epsilon_gamma_box": 6,
    "alpha2_beta1": 6,
    "alpha2_beta1_flat": 6,
    "preset_a": 4,
    "preset_a_flat": 4,
}
"""In forwards, on a ReLU network."""


@pytest.mark.parametrize("composite", LIMITS)
def test_costs_no_more_than_promised(composite):
    torchvision = pytest.importorskip("torchvision")
    model, x = Model.of(torchvision.models.resnet18(num_classes=3)), torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as one:
        model(x)
    with FlopCounterMode(display=False) as all_of_it:
        method(f"lrp(composite={composite!r})")(Score(model, "class_score(1)"), x)
    assert all_of_it.get_total_flops() <= LIMITS[composite] * one.get_total_flops()


def test_an_exported_program_gives_the_same_map(tmp_path):
    module = seeded(nn.Sequential, nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3))
    x, path = batch(2, count=1), tmp_path / "network.pt2"
    torch.export.save(torch.export.export(module, (x,)), path)
    ours = method("lrp()")(Score(module, "class_score(1)"), x).values
    theirs = method("lrp()")(Score(load_model(str(path)), "class_score(1)"), x).values
    torch.testing.assert_close(theirs, ours, rtol=1e-12, atol=1e-15)
