"""What follows a layer, played alone, gives what the whole network gives; what cannot be followed runs whole."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.score import ablated as module_of_ablated
from voxplain.score import suffix as module_of_suffix
from voxplain.score.ablated import ablated
from voxplain.score.dry import LiveBytes
from voxplain.score.model import Model
from voxplain.score.rehearsal import rehearsed
from voxplain.score.score import Score
from voxplain.score.suffix import recorded
from voxplain.score.windows_trace import Unfollowed

SAME = 1e-9
"""Of the clean score (at least of one): float64 rounds to 1e-16, and networks of a hundred layers add that up."""


def asked(model, x, layer, target="class_score(0)", some=None, **options):
    """What `ablated` finds, the clean scores and the score; of `some`, the first channels only count as alive."""
    score = Score(model, target, **options)
    values, frozen = score.freeze(x)
    (tap,) = frozen.tap(x, [layer]).taps
    if some is not None:
        tap.activation[:, some:] = 0
    score.ledger.forwards = 0
    return ablated(frozen, x, tap, values), values, frozen


def whole(monkeypatch, *arguments, **options):
    """The same by whole forwards."""

    def refuse(*_):
        raise Unfollowed("the test says so")

    with monkeypatch.context() as patch:
        patch.setattr(module_of_ablated, "recorded", refuse)
        found, _, score = asked(*arguments, **options)
    assert sum("the test says so" in said for said in score.ledger.fallbacks) == 1
    assert found.notes == ()
    return found.values


def holds(monkeypatch, module, x, layer, target="class_score(0)", some=None, **options):
    """Compare both ways, and see that it was the short way and that channels matter."""
    model = Model.of(module)
    with monkeypatch.context() as patch:
        patch.setattr(module_of_ablated._Ablation, "_pays", lambda *_: True)
        found, clean, score = asked(model, x, layer, target, some, **options)
    assert score.ledger.fallbacks == []
    assert found.notes[0].startswith(f"each channel ran on from layer {layer!r}: ")
    expected = whole(monkeypatch, model, x, layer, target, some, **options)
    off = (found.values - expected).abs() / clean.abs().clamp_min(1)[:, None]
    assert off.max() < SAME
    assert (expected - clean[:, None]).abs().max() > 1e-6, "no channel matters, so nothing was tested"
    return found


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("chunk", [None, 4])
def test_residuals_past_the_layer_operations_in_place_after_it_and_dropout(monkeypatch, rank, task, layer, chunk):
    holds(monkeypatch, seeded(Awkward, rank, task), batch(rank, count=3), layer, target_for(task), chunk=chunk)


class Past(nn.Module):
    """Values that go past the layer: read later, changed in place later, and without an axis of samples."""

    def __init__(self):
        super().__init__()
        self.early, self.layer, self.head = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(12, 3, 1)

    def forward(self, x):
        early = self.early(x)
        gain = early.flatten(0, 1).mean((1, 2), keepdim=True).sigmoid()  # of samples and channels together
        y = self.layer(early.tanh())
        early.add_(0.5)
        y += early
        y = (y.flatten(0, 1) * gain).unflatten(0, (len(x), 4))
        early.mul_(-1)  # after it was read
        late = functional.max_pool2d(early, 3, 1, 1)  # depends on the image alone, though it runs after the layer
        y = torch.cat([y.square_(), late, torch.zeros_like(y)], 1)
        y = torch.roll(y, 1, 2).transpose(2, 3)
        return self.head(y).relu().mean((2, 3))


def test_whatever_goes_past_the_layer_is_what_it_was_when_it_was_read(monkeypatch):
    holds(monkeypatch, seeded(Past), batch(2, count=3), "layer")
    holds(monkeypatch, seeded(Past), batch(2, count=1), "early")


class Pair(nn.Module):
    """A layer that gives two tensors."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        y = self.inner(x)
        return y, y.sigmoid()


class Twofold(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = Pair(), nn.Linear(4, 3)

    def forward(self, x):
        one, other = self.layer(x)
        return self.head((one * other).flatten(2).amax(2))


def test_of_a_layer_that_gives_several_tensors_the_first_changes(monkeypatch):
    holds(monkeypatch, seeded(Twofold), batch(2), "layer")


class Rows(nn.Module):
    """Tokens in windows: an attention whose linear layers see rows without an axis of samples."""

    def __init__(self):
        super().__init__()
        self.embed, self.block, self.mix = nn.Conv2d(2, 8, 2, 2), nn.Linear(8, 8), nn.Linear(8, 24)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)
        self.shift = nn.Parameter(torch.randn(1, 4, 8))

    def forward(self, x):
        rows = self.block(self.embed(x).flatten(2).transpose(1, 2))
        windows = rows.reshape(-1, 4, 8) + self.shift
        q, k, v = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.mix(windows).chunk(3, 2))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        back = mixed.reshape(len(rows), -1, 8)
        return self.head(self.norm(rows + back).amax(1))


def test_rows_and_windows_of_tokens_together_equal_one_by_one(monkeypatch):
    module, x = seeded(Rows), batch(2, count=3)[..., :8]
    together = holds(monkeypatch, module, x, "block")
    monkeypatch.setattr(module_of_suffix, "MAPPED", frozenset())
    monkeypatch.setattr(module_of_suffix, "ATTENTION", frozenset())
    alone = holds(monkeypatch, module, x, "block")
    torch.testing.assert_close(together.values, alone.values, rtol=1e-10, atol=1e-12)


class Aside(nn.Module):
    """A layer that the answer does not depend on."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(2, 4, 3), nn.Linear(2, 3)

    def forward(self, x):
        unused = self.layer(x)
        return self.head(x.flatten(2).mean(2)) + 0 * unused.shape[1]


def test_a_layer_that_the_answer_does_not_depend_on_leaves_it():
    x = batch(2, count=1)
    suffix = recorded(Model.of(seeded(Aside)), "layer", x, 10**9)
    assert suffix.steps == []
    assert suffix.share == 0
    assert torch.equal(suffix.output(suffix.copies(5)), Model.of(seeded(Aside))(x).expand(5, 3))


# --- what cannot be followed ---------------------------------------------------------------------------------------


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.layer(self.layer(x).relu()).flatten(2).mean(2))


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        y = self.layer(x).flatten(2).mean(2).tanh()
        return self.head(-y if y[0, 0].item() > 0 else y)


class Doubled(torch.autograd.Function):
    """Runs where no recording sees it."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


class Unseen(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        y = self.layer(x).flatten(2).mean(2)
        return self.head(y.tanh() + Doubled.apply(y))


@pytest.mark.parametrize(
    ("build", "words"),
    [(Twice, "runs more than once"), (Deciding, "depends on values"), (Unseen, "a channel that was looked at")],
)
def test_what_cannot_be_followed_runs_whole_and_says_so(monkeypatch, build, words):
    model, x = Model.of(seeded(build)), batch(2)
    score = Score(model, "class_score(0)")
    clean, frozen = score.freeze(x)
    if build is Twice:
        with pytest.raises(Unfollowed, match=words):
            recorded(model, "layer", x[:1], 10**9)
        return
    (tap,) = frozen.tap(x, ["layer"]).taps
    found = ablated(frozen, x, tap, clean)
    (said,) = [said for said in score.ledger.fallbacks if "memory could not be planned" not in said]
    assert said.startswith("channels of layer 'layer' went through the whole network: ")
    assert words in said
    assert found.notes == ()
    assert torch.equal(found.values, whole(monkeypatch, model, x, "layer"))


def test_a_program_of_one_batch_size_runs_whole():
    model = Model.of(seeded(Awkward, 2, "classification"), fixed_batch=4)
    found, _, score = asked(model, batch(2), "second")
    free, _, _ = asked(Model.of(seeded(Awkward, 2, "classification")), batch(2), "second")
    assert score.ledger.forwards == 2 * 6
    assert found.notes == ()
    torch.testing.assert_close(found.values, free.values, rtol=1e-12, atol=1e-13)


def test_what_goes_past_the_layer_must_fit_the_memory_allowed():
    model, x = Model.of(seeded(Past)), batch(2, count=1)
    with pytest.raises(Unfollowed, match="does not fit the memory allowed"):
        recorded(model, "layer", x, 1000)
    assert recorded(model, "layer", x, 10**6).chunk(1000) == 0


def test_a_failure_of_the_network_itself_keeps_its_words():
    class Failing(Score):
        def stream(self, *arguments, **options):
            raise RuntimeError("some operation is missing")

    failing = Failing(Model.of(seeded(Awkward, 2, "classification")), "class_score(0)")
    clean, frozen = failing.freeze(batch(2))
    (tap,) = frozen.tap(batch(2), ["second"]).taps
    with pytest.raises(RuntimeError, match="some operation is missing"):
        ablated(frozen, batch(2), tap, clean)


# --- books and cost ------------------------------------------------------------------------------------------------


def test_channels_that_are_dead_take_nothing():
    x = batch(2, count=3)
    found, clean, score = asked(Model.of(seeded(Awkward, 2, "classification")), x, "second", some=0)
    assert score.ledger.forwards == 0
    assert torch.equal(found.values, clean[:, None].expand(3, 6))
    found, clean, score = asked(Model.of(seeded(Awkward, 2, "classification")), x, "second", some=2)
    assert score.ledger.forwards == 3 * (1 + 2) + 1
    assert torch.equal(found.values[:, 2:], clean[:, None].expand(3, 4))


def test_a_rehearsal_counts_the_same_and_plays_nothing(monkeypatch):
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2, count=3)
    _, _, real = asked(model, x, "second")
    score = rehearsed(Score(model, "class_score(0)"), model(x))
    clean, frozen = score.freeze(x)
    (tap,) = frozen.tap(x, ["second"]).taps
    score.ledger.forwards = 0
    monkeypatch.setattr(module_of_suffix.Suffix, "output", None)
    ablated(frozen, x, tap, clean)
    assert score.ledger.forwards == real.ledger.forwards == 3 * (1 + 6) + 1
    assert score.ledger.fallbacks == []


class Deep(nn.Sequential):
    def __init__(self):
        layers = [nn.Sequential(nn.Conv2d(8 if n else 2, 8, 3, padding=1), nn.ReLU()) for n in range(8)]
        super().__init__(*layers, nn.Flatten(2), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("layer", ["1", "6"])
def test_each_channel_costs_the_share_that_is_told(layer):
    model, x = Model.of(seeded(Deep)), batch(2, count=2)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    with FlopCounterMode(display=False) as before:
        score = Score(model, "class_score(0)")
        clean, frozen = score.freeze(x)
        (tap,) = frozen.tap(x, [layer]).taps
    with FlopCounterMode(display=False) as playing:
        ablated(frozen, x, tap, clean)
    assert before.get_total_flops() > 0
    cost = playing.get_total_flops() / one.get_total_flops()
    pairs = int((tap.activation != 0).flatten(2).any(2).sum())
    share = recorded(model, layer, x[:1], 10**9).share
    assert share == pytest.approx((7 - int(layer)) / 7.25, abs=0.02)  # the first convolution has 2 channels of 8
    assert cost == pytest.approx(2 + 1 + pairs * share, rel=0.01)


@pytest.mark.parametrize(
    ("layer", "some", "count", "recordings", "told"),
    [
        ("0", None, 2, 1, "what follows layer '0' is 0.97 of it"),
        ("1", 2, 4, 1, "what follows layer '1' is 0.83 of it"),
        ("6", 1, 3, 0, "only 3 had to"),
    ],
)
def test_where_playing_takes_no_fewer_forwards_each_channel_runs_whole(
    monkeypatch, layer, some, count, recordings, told
):
    model, x = Model.of(seeded(Deep)), batch(2, count=count)
    found, clean, score = asked(model, x, layer, some=some)
    channels = int((found.values != clean[:, None]).sum())
    assert score.ledger.forwards == recordings + channels
    assert score.ledger.fallbacks == []
    assert found.notes == (f"each channel went through the whole network, as {told}",)
    monkeypatch.setattr(module_of_ablated._Ablation, "_played", lambda _: False)
    assert torch.equal(found.values, asked(model, x, layer, some=some)[0].values)


def test_a_rehearsal_of_whole_channels_counts_the_same():
    model, x = Model.of(seeded(Deep)), batch(2, count=2)
    _, _, real = asked(model, x, "0")
    score = rehearsed(Score(model, "class_score(0)"), model(x))
    clean, frozen = score.freeze(x)
    (tap,) = frozen.tap(x, ["0"]).taps
    score.ledger.forwards = 0
    found = ablated(frozen, x, tap, clean)
    assert found.notes[0].startswith("each channel went through the whole network")
    assert score.ledger.forwards == real.ledger.forwards


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("last", [False, True])
def test_copies_lie_in_memory_as_what_the_layer_hands_on_does(rank, last):
    suffix = recorded(Model.of(seeded(Awkward, rank, "classification")), "second", batch(rank, count=1), 10**9)
    order = {2: torch.channels_last, 3: torch.channels_last_3d}[rank] if last else torch.contiguous_format
    suffix = replace(suffix, handed=suffix.handed.contiguous(memory_format=order))
    assert suffix.copies(3).shape == (3, *suffix.handed.shape[1:])
    assert suffix.copies(3).stride() == suffix.handed.stride()


def test_the_planned_chunk_keeps_its_memory():
    model, x = Model.of(seeded(Deep)), batch(2, count=1, side=32)
    suffix = recorded(model, "1", x, 10**9)
    allowed = 4 * 10**6
    chunk = suffix.chunk(allowed)
    assert 2 <= chunk < 64
    with LiveBytes([*model.module.parameters()]) as live, torch.no_grad():
        suffix.output(suffix.copies(chunk))
    assert live.peak <= allowed
    assert live.peak > allowed / 8, "the plan is far too careful"


def test_memory_that_runs_out_halves_the_chunk(monkeypatch):
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2)
    expected, _, _ = asked(model, x, "second")
    play = module_of_suffix.Suffix.output

    def short(suffix, handed):
        if len(handed) > 2:
            raise RuntimeError("out of memory")
        return play(suffix, handed)

    monkeypatch.setattr(module_of_suffix.Suffix, "output", short)
    found, _, score = asked(model, x, "second")
    assert all(said.startswith("memory ran out with") for said in score.ledger.fallbacks)
    assert len(score.ledger.fallbacks) >= 1
    torch.testing.assert_close(found.values, expected.values, rtol=1e-12, atol=1e-13)


def test_the_recording_leaves_no_hook_and_the_clean_values_alone():
    model, x = Model.of(seeded(Past)), batch(2, count=1)
    before = copy.deepcopy(x)
    suffix = recorded(model, "layer", x, 10**9)
    assert torch.equal(x, before)
    assert not model.layer("layer")._forward_hooks
    clean = model(x)
    for _ in range(2):
        torch.testing.assert_close(suffix.output(suffix.copies(2)), clean.expand(2, 3), rtol=1e-12, atol=1e-13)
        suffix.output(suffix.copies(2).zero_())
