"""The dry pass: shapes and memory for nothing, and the network as it was."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded
from voxplain.score import dry
from voxplain.score.dry import LiveBytes, peak_bytes, real_visits, visits, workspace
from voxplain.score.layers import automatic_layer
from voxplain.score.model import Model


def first_output(output: object) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def walked(module: nn.Module, x: torch.Tensor, meant=first_output):
    return visits(module, x, {name: part for name, part in module.named_modules() if name}, meant)


class Shared(nn.Module):
    """One convolution under two names, weights tied between two others, and a state that a forward changes."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(2, 2, 3, padding=1)
        self.same = self.one
        self.other = nn.Conv2d(2, 2, 3, padding=1)
        self.tied = nn.Conv2d(2, 2, 3, padding=1)
        self.tied.weight = self.other.weight
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("shift", torch.ones(2, 1, 1), persistent=False)
        self.kept: list[torch.Tensor] = [torch.rand(1)]

    def forward(self, x):
        self.calls += 1
        self.kept[0] = self.tied(self.other(self.same(self.one(x)))) + self.shift
        self.last = self.kept[0]
        return self.last.mean((2, 3))


@pytest.mark.parametrize("backward", [False, True])
def test_leaves_weights_buffers_and_state_as_they_were(backward):
    module = Shared().eval()
    x = torch.rand(1, 2, 8, 8)
    expected = module(x)
    before = {name: (id(value), value.clone()) for name, value in module.state_dict(keep_vars=True).items()}
    kept = module.kept[0]
    assert peak_bytes(module, x, backward) is not None
    assert walked(module, x) is not None
    after = module.state_dict(keep_vars=True)
    assert all(id(after[name]) == key and torch.equal(after[name], value) for name, (key, value) in before.items())
    assert module.kept[0] is kept
    assert module.last is kept
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_every_test_network_runs_dry(rank, task):
    module = seeded(Awkward, rank, task)
    x = batch(rank, count=1)
    assert peak_bytes(module, x, True) > peak_bytes(module, x, False) > x.nbytes
    assert walked(module, x)


def test_no_hooks_stay_and_no_arithmetic_is_done():
    module = seeded(Awkward, 2, "classification")
    with FlopCounterMode(display=False) as counted:
        walked(module, batch(2))
        peak_bytes(module, batch(2), True)
    assert counted.get_total_flops() == 0
    assert not any(part._forward_hooks for part in module.modules())


def test_modes_of_the_caller_do_not_see_it():
    class Counting(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            Counting.seen += 1
            return func(*args, **(kwargs or {}))

    module, x = seeded(Awkward, 2, "classification"), batch(2)
    with Counting():
        peak_bytes(module, x, True)
    inside = Counting.seen
    with Counting():
        module(x)
    assert inside < (Counting.seen - inside) / 2


def test_names_and_shapes_are_those_of_a_real_pass():
    module = seeded(Awkward, 3, "classification")
    layers = {name: part for name, part in module.named_modules() if name}
    x = batch(3, count=1)
    dry = [(visit.name, visit.shape) for visit in walked(module, x)]
    real = [(visit.name, visit.shape) for visit in real_visits(module, x, layers)]
    assert dry == real
    assert ("norm", (1, 6, 4, 5, 5)) in dry
    assert [name for name, _ in dry].count("norm") == 2


def test_only_layers_on_the_way_to_the_meant_output_are_told():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Conv2d(1, 4, 3)
            self.left = nn.Conv2d(4, 2, 1)
            self.right = nn.Conv2d(4, 3, 1)

        def forward(self, x):
            x = self.trunk(x).relu_()
            return self.left(x), self.right(x)

    module, x = TwoHeads(), torch.rand(1, 1, 8, 8)
    assert [visit.name for visit in walked(module, x)] == ["trunk", "left"]
    assert [visit.name for visit in walked(module, x, lambda output: output[1])] == ["trunk", "right"]


def test_all_layers_are_told_where_the_network_records_no_graph():
    class Silent(Awkward):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    seen = walked(seeded(Silent, 2, "classification"), batch(2))
    assert {visit.name for visit in seen} == {"first", "norm", "act", "second", "drop", "head"}


class Peeks(Awkward):
    """A network that looks at values, which no dry pass has."""

    def forward(self, x):
        return super().forward(x / x.abs().max().item())


def test_a_network_that_looks_at_values_cannot_run_dry_and_is_walked_for_real():
    module = seeded(Peeks, 2, "classification")
    assert peak_bytes(module, batch(2), False) is None
    assert walked(module, batch(2)) is None
    model, x = Model.of(module), batch(2)
    before = x.clone()
    assert automatic_layer(model, x, maps=False) == "second"
    assert torch.equal(x, before)
    assert not any(part._forward_hooks for part in model.module.modules())


def test_weights_are_not_counted_as_memory_of_a_sample():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow = nn.Linear(10, 4000)
            self.back = nn.Linear(4000, 2)

        def forward(self, x):
            return self.back(self.narrow(x.flatten(1)[:, :10]))

    module, x = Wide(), torch.rand(1, 1, 5, 2)
    weights = sum(weight.nbytes for weight in module.parameters())
    assert peak_bytes(module, x, True) < weights / 2


def test_a_network_is_walked_once_for_each_shape_however_often_it_is_asked(monkeypatch):
    walks = []
    alone = dry.alone
    monkeypatch.setattr(dry, "alone", lambda job: walks.append(1) or alone(job))
    model, other = (Model.of(seeded(Awkward, 2, "classification")) for _ in range(2))
    for _ in range(3):
        automatic_layer(model, batch(2), maps=False)
        peak_bytes(model.module, batch(2), True)
    assert len(walks) == 2
    peak_bytes(model.module, batch(2), False)
    peak_bytes(model.module, batch(2, side=9), True)
    peak_bytes(other.module, batch(2), True)
    assert len(walks) == 5


def test_what_is_remembered_goes_with_the_network():
    model = Model.of(seeded(Awkward, 2, "classification"))
    automatic_layer(model, batch(2), maps=False)
    gone = weakref.ref(model.module)
    del model
    gc.collect()
    assert gone() is None


def test_what_is_freed_no_longer_counts():
    with LiveBytes() as live:
        for _ in range(5):
            torch.zeros(1000, dtype=torch.uint8)
    assert live.peak == 1000
    assert live.now == 0


def test_what_lives_together_counts_together_and_views_count_once():
    with LiveBytes() as live:
        one = torch.zeros(1000, dtype=torch.uint8)
        other = torch.zeros(500, dtype=torch.uint8)
        view = one[:10].view(2, 5)
    assert live.peak == live.now == 1500
    assert view.numel() + other.numel() > 0


@pytest.mark.parametrize("transposed", [False, True])
def test_float64_convolutions_on_a_cpu_unfold_their_windows(transposed):
    x = torch.empty(1, 4, 20, 20, 20, dtype=torch.float64, device="meta")
    weight = torch.empty(4, 4, 3, 3, 3, dtype=torch.float64, device="meta")
    assert workspace(x, weight, x, transposed, "cpu") == 27 * x.nbytes
    assert workspace(x, weight, x, transposed, "cuda") < 3 * x.nbytes


def test_convolutions_of_one_voxel_unfold_nothing():
    x = torch.empty(1, 4, 8, 8, 8, device="meta")
    weight = torch.empty(4, 4, 1, 1, 1, device="meta")
    assert workspace(x, weight, x, False, "cpu") == 2 * x.nbytes + weight.nbytes
