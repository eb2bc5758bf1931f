"""Activations computed again on the way back change nothing: gradients, taps, rules, their books, the model."""

import copy
import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, TinyViT, batch, seeded, target_for
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score import passes
from voxplain.score import score as score_module
from voxplain.score.activation_rules import DECONVOLVED, GUIDED
from voxplain.score.deep_lift import RESCALE
from voxplain.score.lrp_composites import Sizes, composite_rules, single_rules
from voxplain.score.lrp_linear import Handling
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.passes import answered
from voxplain.score.rules import DERIVATIVE, recorded
from voxplain.score.score import Score

SAME = {"rtol": 1e-12, "atol": 1e-300}
"""Operations run again as they ran, so only the order of a sum could differ; on one machine not even that does."""

RULES = {
    "derivative": DERIVATIVE,
    "guided": GUIDED,
    "deconvolved": DECONVOLVED,
    "deep_lift": RESCALE,
    "epsilon_plus_flat": composite_rules("epsilon_plus_flat", Sizes(), Handling()),
    "epsilon_gamma_box": composite_rules("epsilon_gamma_box", Sizes(), Handling()),
    "alpha_beta": single_rules("alpha_beta", Sizes(), Handling(bias=False)),
    "spread": single_rules("z_plus", Sizes(), Handling(bias=False, spread=True)),
}


class Winding(nn.Module):
    """A U-shaped network with what could go wrong: values changed in place after they were read, views, padding, a norm
    far from its layer, instance norm, interpolation, a gate, a reused part, dropout, a detached copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Conv3d(2, 4, 3, padding=1)
        self.norm = nn.InstanceNorm3d(4, affine=True)
        self.act = nn.ReLU(inplace=True)
        self.down = nn.Conv3d(4, 8, 3, stride=2, padding=1, bias=False)
        self.far = nn.BatchNorm3d(8)
        self.side = nn.Conv3d(4, 8, 1, stride=2)
        self.reused = nn.Conv3d(8, 8, 1)
        self.gate = nn.Linear(8, 8)
        self.up = nn.ConvTranspose3d(8, 4, 2, stride=2)
        self.merge = nn.Conv3d(8, 4, 3)
        self.drop = nn.Dropout3d(0.5)
        self.head = nn.Conv3d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(0.5)  # the batch itself, in place
        skip = self.act(self.norm(self.entry(x)))
        below, beside = self.down(skip), self.side(skip)
        below = self.far(below)  # runs after another layer with weights
        below = functional.relu(self.reused(functional.leaky_relu(below, 0.1))) + self.reused(beside)
        gates = self.gate(below.mean((2, 3, 4))).sigmoid()
        below = below * gates[:, :, None, None, None]
        above = functional.interpolate(self.up(below), skip.shape[2:], mode="trilinear", align_corners=False)
        above[:, :1] += 0.1  # a view, changed in place
        joined = torch.cat([skip, self.drop(above)], 1)
        above.add_(1).mul_(2)  # after it was joined, and before it is read again
        joined = functional.pad(joined, (1, 1, 1, 1, 1, 1))
        out = self.act(self.merge(joined)) + skip.detach().mean() * 0.1 + skip
        out = self.act(out) + above
        return self.head(out)


def build(name: str) -> tuple[nn.Module, Tensor]:
    if name == "winding":
        return seeded(Winding), batch(3)
    if name.startswith("tokens"):
        return seeded(TinyViT, 2, "classification"), batch(2)
    rank, task = int(name[-1]), name[:-1]
    return seeded(Awkward, rank, task), batch(rank)


NETWORKS = ("winding", "tokens", "classification2", "segmentation3")
LIMITS = (1, 3000, 20_000)
"""Bytes of a stretch: one for each layer, and coarser."""


def run(name: str, limit: int | None, *rules, lean: bool = False, last: bool = False):
    """What comes back under each set of rules, and the tape of the one forward."""
    module, x = build(name)
    module.requires_grad_(False)
    leaf = x.requires_grad_()
    with recorded(limit, lean=lean) as tape:
        output = module(leaf.clone())
    values = output.flatten(1)[:, 1:3].sum(1)
    found = []
    for number, one in enumerate(rules):
        keep = not (last and number == len(rules) - 1)
        (gradient,), met = tape.gradients(one, output, values, [leaf], keep=keep)
        found.append((gradient, met.kept, met.covered, met.missed))
    return found, tape


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_gives_what_it_gave(name, limit):
    rules = [rule for key, rule in RULES.items() if name == "winding" or key != "deep_lift"]
    plain, _ = run(name, None, *rules)
    again, tape = run(name, limit, *rules, last=True)
    assert tape.stretches.count > 1 or limit > 1
    for one, other in zip(again, plain, strict=True):
        torch.testing.assert_close(one[0], other[0], **SAME)
        assert one[1] == pytest.approx(other[1], rel=1e-12)
        assert one[2:] == other[2:], "each nonlinearity is met once"


@pytest.mark.parametrize("rule", RULES)
def test_a_single_way_back_that_gives_things_up_as_it_goes(rule):
    plain, _ = run("winding", None, RULES[rule])
    for limit in LIMITS:
        again, _ = run("winding", limit, RULES[rule], last=True)
        torch.testing.assert_close(again[0][0], plain[0][0], **SAME)
        assert again[0][1] == pytest.approx(plain[0][1], rel=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_lean_recording_gives_the_gradient_as_often_as_wanted(name, limit):
    module, x = build(name)
    module.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf.clone()).flatten(1)[:, 1:3].sum(), leaf)
    again, _ = run(name, limit, DERIVATIVE, DERIVATIVE, lean=True, last=True)
    for found in again:
        torch.testing.assert_close(found[0], expected, **SAME)


def flops(work) -> float:
    with FlopCounterMode(display=False) as counted:
        work()
    return counted.get_total_flops()


@pytest.mark.parametrize("lean", [True, False])
def test_each_way_back_costs_less_than_one_more_forward(lean):
    module, x = build("winding")
    forward = flops(lambda: module(x.clone()))
    plain = [flops(lambda times=times: run("winding", None, *[DERIVATIVE] * times)) for times in (1, 2)]
    again = [flops(lambda times=times: run("winding", 1, *[DERIVATIVE] * times, lean=lean)) for times in (1, 2)]
    assert 0.5 * forward < again[0] - plain[0] < forward, "the last stretch was still there"
    assert again[1] - plain[1] - (again[0] - plain[0]) == pytest.approx(forward, rel=1e-9)


def test_what_a_stretch_made_is_let_go_and_all_of_it_with_the_graph():
    module, x = build("winding")
    module.requires_grad_(False)
    made: list[weakref.ref] = []
    module.entry.register_forward_hook(lambda part, given, out: made.append(weakref.ref(out.untyped_storage())))
    leaf = x.requires_grad_()
    gc.disable()
    try:
        with recorded(50_000) as tape:
            output = module(leaf.clone())
        assert made[0]() is None, "nobody reads it but a norm of the same stretch"
        assert tape.stretches.count > 1
        operation = weakref.ref(output.grad_fn.operation)
        tape.gradients(GUIDED, output, output.flatten(1).sum(1), [leaf])
        del output, tape
        assert operation() is None
    finally:
        gc.enable()


def test_what_was_joined_at_the_end_of_a_stretch_is_not_kept():
    """Its parts are kept, and joined again."""
    one, two = seeded(nn.Linear, 5, 5).requires_grad_(False), seeded(nn.Linear, 10, 5).requires_grad_(False)
    joined: list[weakref.ref] = []

    def network(x: Tensor) -> Tensor:
        parts = torch.cat([one(x), one(x).tanh()], 1)
        joined.append(weakref.ref(parts.untyped_storage()))
        return two(parts)

    leaf = torch.randn(2, 5, dtype=torch.float64).requires_grad_()
    gc.disable()
    try:
        with recorded(1) as tape:
            output = one(network(leaf.clone()).tanh())
        assert joined[0]() is None
        tape.gradients(DERIVATIVE, output, output.sum(1), [leaf])
    finally:
        gc.enable()


# --- what cannot be run again --------------------------------------------------------------------------------------


def gradient_of(function, x: Tensor, limit: int | None, *, seed: int = 3) -> Tensor:
    leaf = x.clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with recorded(limit) as tape:
            output = function(leaf.clone())
        torch.manual_seed(seed + 1)  # as any work between a forward and its backward would
        return tape.gradients(DERIVATIVE, output, output.flatten(1).sum(1), [leaf])[0][0]


LINEAR = seeded(nn.Linear, 5, 5).requires_grad_(False)


def noisy(x: Tensor) -> Tensor:
    x = LINEAR(functional.dropout(LINEAR(x), 0.5, training=True)).tanh()
    return LINEAR(torch.rand_like(x) * x).tanh()


def scratch(x: Tensor) -> Tensor:
    """A buffer that is written to between its uses."""
    buffer = torch.ones(5, dtype=x.dtype)
    x = LINEAR(x) + buffer
    buffer.mul_(3)
    x = LINEAR(x.tanh()) - buffer
    buffer.zero_()
    return LINEAR(x.tanh()).tanh()


def overwritten(x: Tensor) -> Tensor:
    """A value that later stretches read, then written to, then read again, also through a view made before."""
    kept = LINEAR(x) + 1
    view = kept[:, :3]
    out = LINEAR(LINEAR(x).tanh()) + kept
    kept.mul_(2)
    out = LINEAR(out.tanh()) - kept
    out = torch.cat([LINEAR(out.tanh()), kept], 1)
    kept[:, 1:].add_(3)
    out = LINEAR(out[:, 2:7].tanh()) + kept
    out[:, 3:] = out[:, 3:] * 2
    return LINEAR(out).tanh()[:, :3] * view


def viewed(x: Tensor) -> Tensor:
    """Views are read after what they show was written to, in the same stretch."""
    whole = LINEAR(x) + 1
    left, right = whole[:, :3], whole[:, 3:]
    left.mul_(2)
    whole.add_(1)
    out = torch.cat([right, left], 1).tanh()
    out = LINEAR(out).tanh()
    return LINEAR(LINEAR(out).tanh()).tanh()


def several(x: Tensor) -> Tensor:
    """Two results of one operation are joined where a stretch ends."""
    spread, middle = torch.std_mean(LINEAR(x), 1, keepdim=True)
    out = LINEAR(torch.cat([spread, middle, middle, spread, middle], 1)).tanh()
    return LINEAR(LINEAR(out).tanh()).tanh()


@pytest.mark.parametrize("function", [noisy, scratch, overwritten, viewed, several])
@pytest.mark.parametrize("limit", [1, 100, 300])
def test_chance_and_writing_in_place_change_nothing(function, limit):
    x = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gradient_of(function, x, limit), gradient_of(function, x, None), **SAME)


def test_a_value_changed_where_nobody_sees_it_is_an_error_and_no_wrong_map():
    def hidden(x: Tensor) -> Tensor:
        kept = LINEAR(x).tanh()
        out = LINEAR(kept).tanh()
        out = LINEAR(out) + kept
        with torch.no_grad(), torch._C.DisableTorchFunction():
            kept.zero_()
        return LINEAR(out).tanh()

    def hidden_constant(x: Tensor) -> Tensor:
        buffer = torch.ones(5, dtype=x.dtype)
        out = LINEAR(x).tanh() * buffer
        with torch._C.DisableTorchFunction():
            buffer.zero_()
        return LINEAR(LINEAR(out).tanh()).tanh()

    x = torch.randn(2, 5, dtype=torch.float64)
    for function in (hidden, hidden_constant):
        with pytest.raises(RuntimeError, match="changed in place where that could not be seen"):
            gradient_of(function, x, 1)


def test_a_network_that_checkpoints_itself_is_cut_as_any_other():
    def itself(x: Tensor) -> Tensor:
        for reentrant in (False, True):
            x = checkpoint.checkpoint(lambda y: LINEAR(y).tanh() + y, x, use_reentrant=reentrant)
        return LINEAR(x).tanh()

    x = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(gradient_of(itself, x, 1), gradient_of(itself, x, None), **SAME)


# --- through the score ---------------------------------------------------------------------------------------------

ASKED = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients(steps=3)",
    "smoothgrad(samples=3)",
    "guided_backprop",
    "deconvnet",
    "lrp",
    "lrp(composite='epsilon_gamma_box')",
    "deep_lift",
    "excitation_backprop",
    "grad_cam(layer='down')",
    "layer_cam(layer='entry')",
    "hires_cam(layer='far')",
    "gated_grad_cam(layer='side')",
    "guided_grad_cam(layer='up')",
    "full_grad",
)


@pytest.fixture
def cut(monkeypatch):
    """Every backward is cut into stretches of so many bytes, whatever the memory is."""

    def into(size: int) -> None:
        monkeypatch.setattr(score_module.Score, "_stretch", lambda self, *_: size)

    return into


def asked(spec: str, score: Score, x: Tensor):
    try:
        return method(spec)(score, x)
    except InputError as error:
        return str(error)


def alike(one, other) -> None:
    if isinstance(one, str):
        assert one == other
        return
    torch.testing.assert_close(one.values, other.values, **SAME)
    assert torch.equal(one.score, other.score)
    for name, number in one.numbers.items():
        torch.testing.assert_close(torch.as_tensor(number), torch.as_tensor(other.numbers[name]), **SAME)


def scored(module: nn.Module, x: Tensor, **options) -> Score:
    return Score(module, "region(1, over='whole')", reference=torch.zeros_like(x[:1]), **options)


@pytest.mark.parametrize("spec", ASKED)
@pytest.mark.parametrize("size", [1, 20_000])
def test_methods_say_what_they_said(spec, size, cut):
    module, x = build("winding")
    score = scored(module, x)
    plain = asked(spec, score, x)
    cut(size)
    again = scored(module, x)
    alike(plain, asked(spec, again, x))
    assert again.ledger.backwards == score.ledger.backwards
    assert again.ledger.forwards == score.ledger.forwards + score.ledger.backwards
    assert (again.ledger.covered, again.ledger.missed) == (score.ledger.covered, score.ledger.missed) or not plain


def test_methods_that_meet_share_one_forward_that_is_cut(cut):
    module, x = build("winding")
    specs = [spec for spec in ASKED if not spec.startswith(("integrated", "smooth", "deep", "excitation"))]
    plain = [method(spec)(scored(module, x), x) for spec in specs]
    cut(1)
    model = Model.of(module)
    scores = [scored(model, x) for _ in specs]
    jobs = [lambda bound, spec=spec: method(spec)(bound, x) for spec in specs]
    found = together(list(zip(scores, jobs, strict=True)))
    for one, other in zip(plain, found, strict=True):
        alike(one, other)


def test_nothing_is_left_on_the_model(cut):
    module, x = build("winding")
    before = copy.deepcopy(module.state_dict())
    cut(1)
    model = Model.of(module)
    for spec in ("gradient", "lrp", "layer_cam(layer='entry')"):
        method(spec)(scored(model, x), x)
    for part in (*module.modules(), *model.module.modules()):
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks
        assert all(weight.grad is None for weight in part.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(weight.requires_grad for weight in module.parameters())


def test_hooks_of_the_user_run_once_a_forward(cut):
    """The network's own code does not run again: what it counts stays right."""
    calls: list[int] = []

    class Counting(Winding):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(not x.is_meta)
            return super().forward(x)

    module, (_, x) = seeded(Counting), build("winding")
    cut(1)
    score = scored(Model.of(module).run_as(prepared=False), x, chunk=2)
    calls.clear()
    score.grad(x)
    assert sum(calls) == 1


def test_one_ask_that_needs_it_cuts_the_pass_that_all_share(monkeypatch):
    limits = []
    spy = lambda limit, **options: limits.append(limit) or recorded(limit, **options)  # noqa: E731
    monkeypatch.setattr(passes, "recorded", spy)
    module, x = build("segmentation3")
    score, asks = Score(Model.of(module), target_for("segmentation")), []

    def answer(given):
        asks.extend([*given, replace(given[0], stretch=1)])
        return answered(asks)[:1]

    score.ask = answer
    found = score.grad(x).gradient
    torch.testing.assert_close(found, Score(Model.of(module), target_for("segmentation")).grad(x).gradient, **SAME)
    assert [ask.stretch for ask in asks] == [None, 1]
    assert limits == [1]
    assert score.ledger.forwards == 2 * len(x), "the forward, and once more for the backward they share"
