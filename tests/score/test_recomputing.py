"""Where the activations of one sample do not fit, the plan cuts the forward; what it says is what happens."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.nets import seeded
from tests.score.test_memory import real_peak
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import MemoryShort
from voxplain.methods import method
from voxplain.score.dry import peak_bytes
from voxplain.score.memory import SAFETY
from voxplain.score.model import Model
from voxplain.score.recomputing import fitting, room
from voxplain.score.rehearsal import rehearsed
from voxplain.score.rules import recorded
from voxplain.score.score import Score
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan
from voxplain.study.rehearse import forecast
from voxplain.study.run import run

SPREAD = 1.15
"""The dry pass and torch's allocator count alike but for a few small tensors."""


class Deep(nn.Module):
    """Much to keep for a backward and little at once: layers without kernels, a skip over all of them."""

    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        self.entry = nn.Conv3d(2, 4, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv3d(4, 4, 1) for _ in range(depth))
        self.norms = nn.ModuleList(nn.InstanceNorm3d(4, affine=True) for _ in range(depth))
        self.head = nn.Conv3d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.entry(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.silu(norm(layer(x))) + x
        return self.head(torch.cat([x, first], 1))


X = torch.randn(2, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MODEL = Model.of(seeded(Deep))
TARGET = "region(1, over='whole')"


def needed(backward: bool = True) -> float:
    network = MODEL.network(X[:1], (), "gradient")
    return SAFETY * peak_bytes(network.module, X[:1], backward)


def asked(spec: str, budget: float | None):
    score = Score(MODEL, TARGET, budget=None if budget is None else int(budget), reference=torch.zeros_like(X[:1]))
    return method(spec)(score, X), score.ledger


ROOM = {"guided_backprop": 1.6, "lrp": 1.6, "deep_lift": 3.2}
"""Budgets that are too small for all activations, as shares of what a plain gradient needs; half of it elsewhere."""

SPECS = ("gradient", "integrated_gradients(steps=3)", "guided_backprop", "lrp", "deep_lift", "full_grad", "grad_cam")


@pytest.mark.parametrize("spec", SPECS)
def test_a_sample_that_does_not_fit_is_cut_and_its_map_is_the_same(spec):
    plain, ledger = asked(spec, None)
    share = 0.5 if spec in ("gradient", "integrated_gradients(steps=3)", "full_grad") else 1.6
    cut, told = asked(
        spec, share * needed() * (2 if spec == "deep_lift" else 1) if spec != "grad_cam" else 0.5 * needed()
    )
    torch.testing.assert_close(cut.values, plain.values, rtol=1e-12, atol=1e-300)
    assert told.backwards == ledger.backwards
    if spec == "grad_cam":
        return
    (sentence,) = told.fallbacks
    assert re.fullmatch(
        r"activations were computed again on the way back, in \d+ stretches of the forward: that takes about "
        r"\d+\.\d MB instead of \d+\.\d MB, and one more forward for each backward",
        sentence,
    )
    assert told.forwards == ledger.forwards + told.backwards


def test_a_sample_that_fits_is_not_cut():
    _, ledger = asked("gradient", 1.01 * needed())
    assert ledger.fallbacks == []
    assert (ledger.forwards, ledger.backwards) == (2, 2)


def test_numbers_only_are_never_cut():
    with pytest.raises(MemoryShort, match=r"^one sample of \(2, 16, 16, 16\) needs about \d+\.\d MB, more than"):
        Score(MODEL, TARGET, budget=int(0.9 * needed(backward=False)))(X)


def test_what_does_not_fit_even_so_is_told():
    with pytest.raises(
        MemoryShort, match=r"even with activations computed again on the way back, more than .* allowed"
    ):
        asked("gradient", 0.1 * needed())


def test_layers_near_the_output_need_no_cut():
    """The graph begins at the layer, so nothing before it is kept."""
    score = Score(MODEL, TARGET, budget=int(0.6 * needed()))
    score.tap(X, ["layers.11"])
    assert score.ledger.fallbacks == []
    assert score.ledger.forwards == 2
    score = Score(MODEL, TARGET, budget=int(0.6 * needed()))
    score.tap(X, ["layers.0"])
    assert len(score.ledger.fallbacks) == 1
    assert score.ledger.forwards == 4


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != "grad_cam"])
def test_the_rehearsal_counts_the_forwards_that_run_again(spec):
    budget = int((0.5 if spec == "gradient" else 2.2) * needed())
    real = Score(MODEL, TARGET, budget=budget, reference=torch.zeros_like(X[:1]))
    method(spec)(real, X)
    dry = Score(MODEL, TARGET, budget=budget, reference=torch.zeros_like(X[:1]))
    dry = rehearsed(dry, MODEL(X))
    method(spec)(dry, X)
    assert (dry.ledger.forwards, dry.ledger.backwards) == (real.ledger.forwards, real.ledger.backwards)
    assert dry.ledger.fallbacks == real.ledger.fallbacks


def test_a_run_costs_what_its_plan_said_and_its_certificate_tells(tmp_path):
    values = X[0].numpy()
    image = Image.of(values, Grid(values.shape[1:], torch.eye(4).numpy()), identifier="case")
    model = Model.of(seeded(Deep).float())
    specs = (
        "gradient",
        "input_x_gradient",
        "integrated_gradients(steps=3)",
        "guided_backprop",
        "grad_cam(layer='entry')",
    )
    plan = Plan(model, Prepare(), (None,), tuple(map(method, specs)), budget=int(0.8 * needed() / 2))
    found = forecast(plan, Case("c", image))
    outcome = run(plan, [Case("c", image)], tmp_path / "out")
    rows = [(row["forwards"], row["backwards"]) for row in outcome.rows]
    assert rows == [(cost.forwards, cost.backwards) for cost in found.costs]
    assert any(note.startswith("activations were computed again") for note in found.costs[0].notes)
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*gradient*.json")]
    assert any("activations were computed again on the way back" in text for text in texts)


@pytest.mark.parametrize("parts", [1, 3, 8])
@pytest.mark.parametrize("ruled", [False, True])
def test_the_dry_peak_of_a_cut_forward_is_what_torch_takes(parts, ruled):
    module, x = MODEL.network(X[:1], (), "gradient").module, X[:1]
    whole = room(module, x, (), ruled, 2**60)
    one = room(module, x, (), ruled, max(1, whole.made // parts))

    class Cut(nn.Module):
        def forward(self, batch):
            with recorded(one.limit, lean=not ruled) as tape:
                output = module(batch)
            tape.stretches.turn(last=True)
            return output

    module(x)
    assert 1 / SPREAD < one.peak / real_peak(Cut(), x, True) < SPREAD


def test_the_coarsest_cut_that_fits_is_taken():
    module, x = MODEL.network(X[:1], (), "gradient").module, X[:1]
    whole = fitting(module, x, (), False, 1e12)
    assert (whole.stretches, whole.limit) == (1, None)
    half = fitting(module, x, (), False, 0.6 * whole.peak)
    assert half.peak <= 0.6 * whole.peak
    finer = fitting(module, x, (), False, half.peak - 1)
    assert finer.stretches > half.stretches
    least = fitting(module, x, (), False, 1)
    assert least.peak <= min(half.peak, finer.peak)


def test_a_deep_network_takes_less_than_two_fifths():
    module, x = Model.of(seeded(Deep, 40)).module, X[:1]
    plain = peak_bytes(module, x, True)
    assert 2.5 * fitting(module, x, (), False, 1).peak < plain


def test_each_kind_of_pass_has_a_cut_of_its_own():
    """Rules keep more than derivatives do: a pass by rules is cut where a derivative fits as it is."""
    score = Score(MODEL, TARGET, budget=int(1.2 * needed()))
    seen = []
    answer = score.ask
    score.ask = lambda asks: seen.extend(ask.stretch for ask in asks) or answer(asks)
    method("guided_backprop")(score, X)
    method("gradient")(score, X)
    assert seen[0] is not None
    assert seen[-1] is None, "a derivative fits as it is"
