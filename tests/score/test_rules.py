"""The recorded forward: what it sees, what it leaves alone, and that plain derivatives come back exactly."""

import gc
import threading
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import CheckpointFunction, checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.score.activation_rules import DECONVOLVED, GUIDED
from voxplain.score.model import Model
from voxplain.score.rules import DERIVATIVE, Rules, recorded
from voxplain.score.score import Score

SHAPE = (2, 4, 6, 6)


def conv() -> nn.Module:
    return seeded(nn.Conv2d, 4, 4, 3, padding=1).requires_grad_(False)


CONV = conv()


def inputs(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def ruled(function, rules=DERIVATIVE, shape=SHAPE):
    """Gradient of the sum of squares of a function under rules, what was met, and the plain gradient."""
    leaf = inputs(shape).requires_grad_()
    with recorded() as tape:
        output = function(leaf.clone())
    (found,), met = tape.gradients(rules, output, (output * output).flatten(1).sum(1), [leaf])
    return found, met


def plain(function, shape=SHAPE):
    leaf = inputs(shape).requires_grad_()
    output = function(leaf.clone())
    return torch.autograd.grad((output * output).sum(), leaf)[0]


def in_place_without_return(x):
    y = CONV(x)
    flat = y.flatten(1)  # a view made before the change sees it too
    functional.relu_(y)
    return flat * 2


def into_views(x):
    y = CONV(x)
    y[:, :2].mul_(3)
    y[:, 1:] += x[:, 1:]
    y[:, 0] = x[:, 1]
    torch.sigmoid_(y[:, 2])
    return y


def into_a_constant(x):
    out = torch.zeros(SHAPE, dtype=torch.float64)
    for n in range(4):
        out[:, n] += CONV(x)[:, n] * 2
    out += x
    return out


def factors_changed_in_place(x):
    y = CONV(x)
    y += x
    y = y + y
    y *= torch.sigmoid(x.mean((2, 3), keepdim=True))
    return functional.gelu(y) + functional.silu(x) - functional.elu(x) / functional.softplus(y)


def many_results(x):
    largest = x.max(dim=2)[0].sum() + x.topk(2, dim=1)[0].mean()
    parts = torch.stack(x.unbind(1)).sum(0).norm() + x.split(2, 1)[1].std()
    return torch.einsum("bchw,bdhw->bcd", x, x) + largest + parts


def branches_on_values(x):
    y = CONV(x)
    return y.relu() if y.sum().item() > 0 else y.tanh()


def reused(x):
    act = nn.ReLU(inplace=True)
    return act(CONV(act(CONV(act(CONV(x)))))) + x


ALL = [
    in_place_without_return,
    into_views,
    into_a_constant,
    factors_changed_in_place,
    many_results,
    branches_on_values,
    reused,
]


@pytest.mark.parametrize("function", ALL, ids=lambda function: function.__name__)
def test_the_derivative_comes_back_exactly(function):
    assert torch.equal(ruled(function)[0], plain(function))


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_awkward_networks_give_their_gradient(rank, task):
    module = seeded(Awkward, rank, task).requires_grad_(False)
    x = batch(rank).requires_grad_()
    with recorded() as tape:
        output = module(x.clone())
    (found,), met = tape.gradients(DERIVATIVE, output, output.flatten(1).sum(1), [x])
    assert torch.equal(found, torch.autograd.grad(module(x).sum(), x)[0])
    assert met.missed == {"relu": 2, "leaky_relu": 1}


def test_the_forward_is_untouched():
    with recorded():
        seen = many_results(inputs().requires_grad_())
    assert torch.equal(seen, many_results(inputs()))


def test_attention_is_seen_inside():
    attention = seeded(nn.MultiheadAttention, 8, 2, batch_first=True).requires_grad_(False)
    for weights in (True, False):
        function = lambda x: attention(x, x, x, need_weights=weights)[0]  # noqa: B023, E731
        found, met = ruled(function, shape=(2, 5, 8))
        torch.testing.assert_close(found, plain(function, (2, 5, 8)), rtol=1e-12, atol=1e-14)
        assert ("softmax" in met.missed) == weights


def block(x):
    return functional.relu(CONV(functional.relu(CONV(x))) + x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_parts_are_recorded(reentrant):
    found, met = ruled(lambda x: checkpoint(block, x, use_reentrant=reentrant), GUIDED)
    assert torch.equal(found, ruled(block, GUIDED)[0])
    assert met.covered == {"relu": 2}


def test_checkpointing_is_itself_again_after_the_recording():
    with pytest.raises(ZeroDivisionError), recorded():
        raise ZeroDivisionError
    assert torch.utils.checkpoint.CheckpointFunction is CheckpointFunction


def test_recordings_in_several_threads_put_checkpointing_back():
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with recorded():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with recorded():
        thread.start()
        inside.wait(10)
    leave.set()
    thread.join(10)
    assert torch.utils.checkpoint.CheckpointFunction is CheckpointFunction


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0] > 0)


def test_a_custom_function_is_refused_by_name():
    with pytest.raises(InputError, match=r"guided_backprop: the network computes 'Hidden'"):
        ruled(lambda x: Hidden.apply(CONV(x)), GUIDED)


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return torch.relu(x) * 2


def test_compiled_code_is_refused():
    with pytest.raises(InputError, match="cannot be seen"):
        ruled(lambda x: scripted(CONV(x)), GUIDED)


def network() -> nn.Module:
    layers = (
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
    )
    return seeded(nn.Sequential, *layers, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3)).requires_grad_(False)


def test_exported_programs_are_seen():
    module = network()
    program = torch.export.unflatten(torch.export.export(module, (inputs(),)))
    found, met = ruled(program, GUIDED)
    torch.testing.assert_close(found, ruled(module, GUIDED)[0], rtol=1e-12, atol=1e-15)
    assert met.covered == {"relu": 2}


def test_one_forward_serves_all_rules():
    module = network()
    leaf = inputs().requires_grad_()
    with FlopCounterMode(display=False) as one:
        module(inputs())
    with FlopCounterMode(display=False) as all_of_it:
        with recorded() as tape:
            output = module(leaf.clone())
        sets = (GUIDED, DERIVATIVE, DECONVOLVED)
        found = [tape.gradients(rules, output, output[:, 1], [leaf], keep=True)[0][0] for rules in sets]
    assert all_of_it.get_total_flops() == 4 * one.get_total_flops()
    assert torch.equal(found[1], torch.autograd.grad(module(leaf)[:, 1].sum(), leaf)[0])
    assert not torch.equal(found[0], found[2])


def test_rules_end_with_their_block():
    leaf = inputs().requires_grad_()
    with recorded() as tape:
        output = block(leaf.clone())
    with pytest.raises(InputError, match="'relu' has no rule"):
        tape.gradients(Rules("nothing", {}, default="refuse"), output, output.flatten(1).sum(1), [leaf], keep=True)
    assert torch.equal(torch.autograd.grad(output.sum(), leaf)[0], torch.autograd.grad(block(leaf).sum(), leaf)[0])


def test_a_branch_that_nothing_comes_back_to_costs_nothing_and_needs_no_rule():
    """A rule that gives one factor nothing spares everything behind that factor."""
    keep_first = Rules("first", {"product": lambda op, grad, met: [grad, None], "weights": derived}, "refuse")
    leaf = inputs().requires_grad_()
    with recorded() as tape:
        output = CONV(leaf) * torch.erf(CONV(leaf))
    with FlopCounterMode(display=False) as back:
        tape.gradients(keep_first, output, output.flatten(1).sum(1), [leaf])
    with FlopCounterMode(display=False) as one:
        CONV(inputs())
    assert back.get_total_flops() == one.get_total_flops()


def derived(operation, grad, met):
    return operation.derivative([grad])


def test_names_win_over_kinds_but_a_kind_is_never_read_as_a_name():
    """'add' in a table means additions of two followed tensors, not every call of torch.add."""
    seen = []
    table = {
        name: lambda operation, grad, met, name=name: seen.append(name) or operation.derivative([grad])
        for name in ("add", "rectifier", "relu")
    }
    ruled(lambda x: functional.relu(x + 1) + functional.gelu(x), Rules("told", table))
    assert sorted(seen) == ["add", "rectifier", "relu"]


def test_values_that_rules_read_are_those_before_an_in_place_change():
    read = {}

    def reading(operation, grad, met):
        read[operation.name] = (operation.inputs[0].clone(), operation.output.clone())
        return operation.derivative([grad])

    ruled(lambda x: CONV(x).relu_().add_(1), Rules("reading", {"conv2d": reading, "relu": reading}))
    before = CONV(inputs())
    assert torch.equal(read["conv2d"][1], before)
    assert torch.equal(read["relu"][0], before)
    assert torch.equal(read["relu"][1], before.relu())


def test_the_first_layers_with_weights_are_known():
    first = {}

    def reading(operation, grad, met):
        first.setdefault(operation.name, []).append(operation.first)
        return operation.derivative([grad])

    linear = seeded(nn.Linear, 6, 6).requires_grad_(False)
    ruled(lambda x: linear(CONV(x / 2).relu_()) + CONV(x), Rules("reading", {"weights": reading}))
    assert sorted(first["conv2d"]) == [True, True]
    assert first["linear"] == [False]


def test_a_recording_is_freed_without_the_garbage_collector():
    module = network()
    gc.disable()
    try:
        leaf = inputs().requires_grad_()
        with recorded() as tape:
            output = module(leaf.clone())
        alive = weakref.ref(output.grad_fn.operation)
        tape.gradients(GUIDED, output, output[:, 1], [leaf])
        del output, tape
        assert alive() is None
    finally:
        gc.enable()


def test_a_tapped_layer_gets_what_comes_back_under_the_rules():
    module = network()
    (tap,) = Score(Model.of(module), "class_score(1)").with_rules(GUIDED).tap(inputs(), ["3"]).taps
    leaf = tap.activation.clone().requires_grad_()
    with recorded() as tape:
        output = module[4:](leaf.clone())
    (expected,), _ = tape.gradients(GUIDED, output, output[:, 1], [leaf])
    assert expected.abs().sum() > 0
    torch.testing.assert_close(tap.gradient, expected, rtol=1e-12, atol=0)


def test_the_ledger_tells_the_nonlinearities():
    score = Score(Model.of(network()), "class_score(1)")
    score.with_rules(GUIDED).grad(inputs())
    assert score.ledger.covered == {"relu": 2}
    assert score.ledger.missed == {"max_pool2d": 1}
