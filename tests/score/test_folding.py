"""Folded batch norms: which pairs are folded, which never, and outputs and gradients that stay what they were."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from voxplain.score.execution import AS_IT_IS
from voxplain.score.folding import foldable, folded, with_folded
from voxplain.score.layers import apart
from voxplain.score.model import Model
from voxplain.score.prepared import prepare, weights_hash

EXACT = 1e-9
"""Share of the largest value by which float64 results may differ: folding changes the order of a few roundings."""


class Twice(nn.Module):
    """One convolution run twice, each time before a norm of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.two(self.conv(self.one(self.conv(x)).relu())).mean((2, 3))


class Spread(nn.Module):
    """A convolution and its norm; `extra` tells what else becomes of the convolution's output."""

    def __init__(self, extra):
        super().__init__()
        self.conv, self.norm, self.extra = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), extra

    def forward(self, x):
        y = self.conv(x)
        z = self.extra(self, y)
        return z if isinstance(z, dict) else self.norm(y if z is None else z).mean((2, 3))


def _added(net, y):
    return y + 0.5 * y.relu()


def _in_place(net, y):
    y.mul_(2)


def _view_written(net, y):
    y[:, 0] = 1


def _returned(net, y):
    return {"out": net.norm(y).mean((2, 3)), "features": y}


def _detached_user(net, y):
    return net.norm(y) * y.detach().sigmoid()


def _by_hand(net, y):
    norm = net.norm
    return functional.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)


class Reused(nn.Module):
    """Two convolutions before the same norm."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.norm = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.two(self.norm(self.one(x)).relu())).mean((2, 3))


class Tied(nn.Module):
    """Two convolutions with the same weights, each before a norm of its own: folding one must not reach the other."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.b.weight = self.a.weight
        self.na, self.nb = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.nb(self.b(self.na(self.a(x)).relu())).mean((2, 3))


class Scaling(nn.Conv2d):
    """A convolution that centres its weights each time, as weight standardisation does."""

    def forward(self, x):
        weight = self.weight / self.weight.std(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Acting(nn.BatchNorm2d):
    """A norm with an activation inside."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(super().forward(x))


class Doubling(nn.BatchNorm2d):
    """A norm that does more than its parts tell."""

    def forward(self, x):
        return 2 * super().forward(x)


class Stubborn(nn.BatchNorm2d):
    """A norm that measures its statistics on the batch, whatever it is told."""

    def train(self, mode=True):
        return super().train(True)


def _chain(*parts):
    return nn.Sequential(*parts, nn.Flatten(2))


def _widened(conv, transposed, norm):
    """Two groups of two inputs and three outputs each."""
    return _chain(conv(2, 4, 1), transposed(4, 6, 3, groups=2, bias=False), norm(6))


def _hooked(place):
    net = _chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    net[place].register_forward_hook(lambda module, inputs, output: 3 * output)
    return net


def _pre_hooked():
    net = _chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    net[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    return net


def _weight_normed():
    return _chain(parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.BatchNorm2d(4))


SPACE = {1: (9,), 2: (9, 8), 3: (9, 8, 7)}

FOLDED = {
    "2d": (lambda: _chain(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(True)), 2, 1),
    "2d, bias": (lambda: _chain(nn.Conv2d(2, 4, 3, stride=2, dilation=2), nn.BatchNorm2d(4)), 2, 1),
    "2d, groups": (lambda: _chain(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4, eps=0.3)), 2, 1),
    "2d, not affine": (lambda: _chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False)), 2, 1),
    "2d, padding": (lambda: _chain(nn.Conv2d(2, 4, 3, padding=2, padding_mode="reflect"), nn.BatchNorm2d(4)), 2, 1),
    "2d, identity between": (lambda: _chain(nn.Conv2d(2, 4, 3), nn.Identity(), nn.Dropout(), nn.BatchNorm2d(4)), 2, 1),
    "3d": (lambda: _chain(nn.Conv3d(2, 4, 3, bias=False), nn.BatchNorm3d(4)), 3, 1),
    "transposed 2d": (lambda: _chain(nn.ConvTranspose2d(2, 6, 3, stride=2), nn.BatchNorm2d(6)), 2, 1),
    "transposed 2d, groups": (lambda: _widened(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d), 2, 1),
    "transposed 3d, groups": (lambda: _widened(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d), 3, 1),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5)), 2, 1),
    "weights tied": (Tied, 2, 2),
    "activation inside": (lambda: _chain(nn.Conv2d(2, 4, 3), Acting(4)), 2, 1),
}
"""What is folded: network, rank, and pairs."""

LEFT = {
    "run twice": Twice,
    "norm run twice": Reused,
    "added to": lambda: Spread(_added),
    "changed in place": lambda: Spread(_in_place),
    "view written to": lambda: Spread(_view_written),
    "returned too": lambda: Spread(_returned),
    "read again": lambda: Spread(_detached_user),
    "norm called by hand": lambda: Spread(_by_hand),
    "norm first": lambda: _chain(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 4, 3)),
    "activation between": lambda: _chain(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    "statistics of the batch": lambda: _chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "always training": lambda: _chain(nn.Conv2d(2, 4, 3), Stubborn(4)),
    "instance norm": lambda: _chain(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True)),
    "weights scaled each time": lambda: _chain(Scaling(2, 4, 3), nn.BatchNorm2d(4)),
    "norm of others": lambda: _chain(nn.Conv2d(2, 4, 3), Doubling(4)),
    "weight norm": _weight_normed,
    "hook on the layer": lambda: _hooked(0),
    "hook on the norm": lambda: _hooked(1),
    "hook before the norm": _pre_hooked,
    "linear over rows": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(72, 2), nn.BatchNorm1d(2)),
}
"""What is never folded: networks of pictures."""


def made(build, seed=0):
    """A float64 network with statistics and affine weights that are not the defaults."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
        for part in net.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase):
                if part.running_mean is not None:
                    part.running_mean.normal_(0, 0.5)
                    part.running_var.uniform_(0.3, 3)
                if part.affine:
                    nn.init.normal_(part.weight)
                    nn.init.normal_(part.bias)
    return net.double().eval()


def drawn(rank=2, count=3):
    return torch.randn(count, 2, *SPACE[rank], generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def slope(model, x):
    leaf = x.clone().requires_grad_()
    output = model(leaf.clone()).flatten(1)
    weights = torch.linspace(-1, 1, output.shape[1], dtype=output.dtype)
    return torch.autograd.grad((output * weights).sum(), leaf)[0]


def norms(module):
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def assert_same(model, network, x):
    for found, expected in ((network(x), model(x)), (slope(network, x), slope(model, x))):
        assert float((found - expected).abs().max()) <= EXACT * float(expected.abs().max())


@pytest.mark.parametrize("name", FOLDED)
def test_folds_what_goes_into_one_norm_only(name):
    build, rank, pairs = FOLDED[name]
    model, x = Model.of(made(build)), drawn(rank)
    network = model.network(x)
    assert norms(model.module) - norms(network.module) == pairs
    assert_same(model, network, x)


@pytest.mark.parametrize("name", LEFT)
def test_leaves_what_goes_anywhere_else(name):
    module = made(LEFT[name])
    model, x = Model.of(module, output="out" if name == "returned too" else None), drawn()
    assert foldable(model.module, x) == []
    network = model.network(x)
    assert norms(network.module) == norms(model.module)
    assert_same(model, network, x)


def test_a_tapped_layer_its_norm_and_what_hands_its_output_on_stay_as_they_are():
    inner = nn.Sequential(nn.Identity(), nn.Conv2d(2, 4, 3))
    model = Model.of(made(lambda: nn.Sequential(inner, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))))
    x = drawn()
    for tapped in ("0", "0.1", "1"):
        network = model.network(x, [tapped])
        assert norms(network.module) == 1
        assert isinstance(network.layer("1"), nn.BatchNorm2d)
        assert_same(model, network, x)
    assert norms(model.network(x, ["3"]).module) == 1
    assert norms(model.network(x, ["0.0"]).module) == 0


def test_every_layer_keeps_its_name_and_its_place():
    model, x = Model.of(made(FOLDED["activation inside"][0])), drawn()
    network = model.network(x)
    assert list(network.layers) == list(model.layers)
    assert [name for name, _ in network.module.named_modules()] == [name for name, _ in model.module.named_modules()]
    assert all(dict(network.module.named_modules())[name] is layer for name, layer in network.layers.items())


def test_the_models_own_network_and_its_hash_stay_as_they_were():
    module = made(Tied)
    model, x = Model.of(module), drawn()
    before = weights_hash(module)
    model.network(x)(x)
    assert weights_hash(module) == weights_hash(model.module) == model.weights_hash == before


def test_a_twin_is_made_once_and_shares_the_weights_that_it_does_not_change():
    model, x = Model.of(made(lambda: nn.Sequential(FOLDED["2d"][0](), nn.Linear(42, 3)))), drawn()
    assert model.network(x) is model.network(x[:1])
    assert model.network(x).layer("1").weight is model.layer("1").weight
    assert model.network(x).layer("0.0").weight is not model.layer("0.0").weight


def test_a_network_as_it_is_has_no_twin():
    model, x = Model.of(made(Tied), execution=AS_IT_IS), drawn()
    assert model.network(x) is model
    prepared = Model.of(made(Tied))
    alone = apart(prepared)
    assert alone.network(x) is alone


def test_a_way_that_depends_on_the_size_is_watched_for_every_size():
    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return (self.norm(y) + y if x.shape[-1] > 10 else self.norm(y)).mean((2, 3))

    model, small = Model.of(made(Large)), drawn()
    large = torch.cat([small, small], dim=-1)
    assert norms(model.network(small).module) == 0
    assert norms(model.network(large).module) == 1
    assert_same(model, model.network(large), large)
    assert_same(model, model.network(small), small)


def test_a_way_that_depends_on_the_voxels_is_never_folded_and_told():
    class Choosy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return (self.norm(y) if x.mean() > 0 else self.norm(y) + y).mean((2, 3))

    model, x = Model.of(made(Choosy)), drawn()
    for one in (x - x.mean() + 1, x - x.mean() - 1):
        assert norms(model.network(one).module) == 1
        assert_same(model, model.network(one), one)
    assert any("does not run on shapes alone" in remark for remark in model.remarks)


def test_a_use_that_no_mode_can_see_is_caught_by_comparing_outputs():
    class Hidden(nn.Module):
        """Remembers its convolution's output as a list of numbers, where nobody can follow it."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            kept = 0 if y.is_meta else y.tolist()[0][0][0][0]
            return self.norm(y).mean((2, 3)) + kept

    model, x = Model.of(made(Hidden)), drawn(count=1)
    assert norms(model.network(x).module) == 1
    assert any("gave other outputs" in remark for remark in model.remarks)


def test_the_weights_are_computed_in_float64():
    module = prepare(made(FOLDED["2d, bias"][0])).module
    (exact,) = foldable(module, drawn()) or []
    single = prepare(made(FOLDED["2d, bias"][0]).float()).module
    (rounded,) = foldable(single, drawn().float()) or []
    for wide, short in zip(folded(exact), folded(rounded), strict=True):
        assert torch.allclose(wide, short.double(), rtol=3 * torch.finfo(torch.float32).eps, atol=1e-7)


def test_a_copy_with_no_pairs_is_a_copy():
    module = prepare(made(Tied)).module
    twin = with_folded(module, [], {})
    assert twin is not module
    assert torch.equal(twin(drawn()), module(drawn()))
