"""The passes of a score: what each gives, what it costs, in what pieces, and that nothing stays on it."""

import pytest
import torch
from torch import nn

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.target import Choice
from voxplain.types import Access


def built(rank: int = 2, task: str = "classification", target: str | None = None, seed: int = 0, **options) -> Score:
    return Score(seeded(Awkward, rank, task, seed=seed), target or target_for(task), **options)


def mixed(count: int) -> torch.Tensor:
    """Images that the network of seed 3 takes for different classes."""
    return batch(2, count=count, seed=5) * 3


def truth(score: Score, x: torch.Tensor, choice: Choice | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and gradients sample by sample, by torch alone."""
    values, gradients = [], []
    for n in range(len(x)):
        leaf = x[n : n + 1].clone().requires_grad_()
        output = score.model.module(leaf)
        asked = score.target
        own = (
            asked.choose(output.detach(), score.model.head, None) if choice is None else choice.take(torch.tensor([n]))
        )
        value = asked.read(output, own, score.model.head)
        gradients.append(torch.autograd.grad(value.sum(), leaf)[0])
        values.append(value.detach())
    return torch.cat(values), torch.cat(gradients)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


# --- what the passes give ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_scores_and_gradients_are_those_of_each_sample_alone(rank, task, chunk):
    score, x = built(rank, task, chunk=chunk), batch(rank, count=3)
    values, gradients = truth(score, x)
    close(score(x), values)
    close(score.grad(x).values, values)
    close(score.grad(x).gradient, gradients)
    close(score.freeze(x)[0], values)
    close(score.tap(x, ["second"]).values, values)


def test_scores_are_float64_whatever_the_model_computes_in():
    score = Score(seeded(Awkward, 2, "classification").float(), "class_score")
    x = batch(2).float()
    for values in (score(x), score.grad(x).values, score.freeze(x)[0], score.tap(x, ["second"]).values):
        assert values.dtype == torch.float64
        assert not values.requires_grad


def test_the_input_is_taken_in_the_models_own_type():
    score = built()
    close(score(batch(2).float()), score(batch(2).float().double()))
    assert score.grad(batch(2).float()).gradient.dtype == torch.float64


def test_the_output_is_what_the_model_says_in_order_and_without_a_graph():
    score, x = built(chunk=2), batch(2, count=5)
    close(score.output(x), seeded(Awkward, 2, "classification")(x).detach())
    assert not score.output(x).requires_grad


def test_a_module_is_wrapped_and_a_model_taken_as_it_is():
    model = Model.of(seeded(Awkward, 2, "classification"))
    assert Score(model, "class_score").model is model
    assert isinstance(built().model, Model)


# --- freezing ------------------------------------------------------------------------------------------------------


def test_class_and_rival_stay_those_of_the_clean_image():
    score, x = built(target="margin", chunk=2, seed=3), mixed(6)
    clean, frozen = score.freeze(x)
    assert len(frozen.classes.unique()) > 1, "the test needs samples of different classes"
    assert torch.equal(frozen.classes, score.output(x).argmax(1))
    other = batch(2, count=6, seed=9) * 3
    values, gradients = truth(score, other, frozen.choice)
    close(frozen(other), values)
    close(frozen.grad(other).gradient, gradients)
    assert not torch.equal(frozen(other), score(other)), "the test needs other images whose winners differ"
    close(frozen(x), clean)


@pytest.mark.parametrize("rank", [2, 3])
def test_each_sample_keeps_its_own_region(rank):
    score, x = built(rank, "segmentation", "region(1)", chunk=2), batch(rank, count=3)
    _, frozen = score.freeze(x)
    regions = score.output(x).argmax(1) == 1
    assert torch.equal(frozen.choice.region, regions)
    other = score.output(batch(rank, count=3, seed=8))
    expected = torch.stack([other[n, 1][regions[n]].mean() for n in range(3)])
    close(frozen(batch(rank, count=3, seed=8)), expected)


def test_a_mask_for_each_sample_goes_with_its_sample_in_every_pass():
    x = batch(2, count=3)
    mask = torch.zeros(3, 8, 10)
    for n in range(3):
        mask[n, n + 1, 2 * n :] = 1
    score = built(2, "segmentation", "region(2, over='mask')", mask=mask, chunk=2)
    output = score.output(x)
    expected = torch.stack([output[n, 2][mask[n] > 0].mean() for n in range(3)])
    for values in (score(x), score.grad(x).values, score.freeze(x)[0], score.tap(x, ["second"]).values):
        close(values, expected)
    rows = torch.tensor([2, 0, 1, 1, 2])
    pieces = score.stream(5, lambda index: (x[rows[index]], rows[index]), like=x)
    close(torch.cat([piece.values for piece in pieces]), expected[rows])


def test_masks_for_fewer_samples_than_the_batch_are_told():
    score = built(2, "segmentation", "region(2, over='mask')", mask=torch.ones(2, 8, 10))
    with pytest.raises(InputError, match=r"^region mask must hold 1 sample or as many as the batch, got 2$"):
        score(batch(2, count=3))


def test_a_frozen_score_freezes_no_further_and_counts_one_forward_a_sample():
    score, x = built(), batch(2, count=3)
    _, frozen = score.freeze(x)
    values, again = frozen.freeze(batch(2, count=3, seed=4))
    assert again is frozen
    close(values, frozen(batch(2, count=3, seed=4)))


def test_a_frozen_score_is_the_same_in_all_else():
    score = built(spacing_mm=(1.0, 2.0), budget=10**8, access=Access.LAYERS)
    _, frozen = score.freeze(batch(2))
    for name in ("model", "target", "spacing_mm", "mask", "budget", "chunk", "access", "ledger"):
        assert getattr(frozen, name) is getattr(score, name) or getattr(frozen, name) == getattr(score, name), name
    assert frozen.ledger is score.ledger


def test_a_frozen_score_tells_a_batch_that_is_larger_than_its_own():
    _, frozen = built().freeze(batch(2))
    with pytest.raises(InputError, match=r"^the score was frozen by a batch of 2 samples, got a larger one$"):
        frozen(batch(2, count=3))


def test_classes_are_not_known_before_a_clean_batch():
    with pytest.raises(InputError, match=r"^the score must be frozen by a clean batch before its classes are known$"):
        _ = built().classes


# --- nothing stays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["call", "grad", "tap", "freeze", "output", "stream"])
def test_no_pass_changes_the_score_or_the_image(work):
    score, x = built(), batch(2)
    before, image = dict(vars(score)), x.clone()
    {
        "call": lambda: score(x),
        "grad": lambda: score.grad(x),
        "tap": lambda: score.tap(x, ["second"]),
        "freeze": lambda: score.freeze(x),
        "output": lambda: score.output(x),
        "stream": lambda: list(score.stream(2, lambda index: (x[index], index), like=x)),
    }[work]()
    assert vars(score) == before
    assert torch.equal(x, image)
    assert x.grad is None
    assert not x.requires_grad


class ChangesItsInput(Awkward):
    """A network that begins by changing its input in place, and looks at values so that no dry pass runs."""

    def forward(self, x):
        x -= min(0.1, 0.1 + x.abs().max().item())
        x.mul_(2)
        return super().forward(x)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["occlusion", "gradient", "integrated_gradients", "grad_cam"])
def test_a_network_that_changes_its_input_in_place_changes_neither_image_nor_map(rank, name):
    class Plain(Awkward):
        def forward(self, x):
            return super().forward((x - 0.1) * 2)

    x = batch(rank)
    before = x.clone()
    found = method(name)(Score(seeded(ChangesItsInput, rank, "classification"), "class_score"), x)
    assert torch.equal(x, before)
    plain = method(name)(Score(seeded(Plain, rank, "classification"), "class_score"), x)
    torch.testing.assert_close(found.values, plain.values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("asked", [False, True])
def test_gradients_are_taken_also_where_the_caller_records_none_and_the_mode_is_given_back(asked):
    score, x = built(), batch(2)
    expected = truth(score, x)[1]
    with torch.set_grad_enabled(asked):
        close(score.grad(x).gradient, expected)
        assert score.tap(x, ["second"]).taps[0].gradient.abs().sum() > 0
        assert torch.is_grad_enabled() is asked


def test_gradients_are_right_also_under_inference_mode():
    score, x = built(), batch(2)
    expected, tapped = truth(score, x)[1], score.tap(x, ["second"]).taps[0].gradient
    with torch.inference_mode():
        close(score.grad(x).gradient.clone(), expected)
        close(score.grad(x.clone()).gradient.clone(), expected)
        close(score.tap(x, ["second"]).taps[0].gradient.clone(), tapped)
        assert torch.is_inference_mode_enabled()


def test_a_callers_autocast_does_not_round_the_numbers():
    score, x = Score(seeded(Awkward, 2, "classification").float(), "class_score(0)"), batch(2).float()
    expected = score.grad(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(score.grad(x).gradient, expected.gradient)
        assert torch.equal(score(x), expected.values)
        assert torch.is_autocast_enabled("cpu")


def test_a_batch_that_carries_a_graph_is_taken_as_numbers():
    score = built()
    leaf = batch(2).requires_grad_()
    close(score.grad(leaf * 2).gradient, score.grad(batch(2) * 2).gradient)
    assert leaf.grad is None
    assert not score(leaf).requires_grad


def test_taps_have_no_graph():
    (tap,) = built().tap(batch(2), ["second"]).taps
    assert not tap.activation.requires_grad
    assert not tap.gradient.requires_grad


def test_a_score_that_fails_works_afterwards():
    score = built()
    expected = score.grad(batch(2)).gradient
    for wrong in (batch(2, channels=3), batch(3)):
        with pytest.raises(InputError, match=r"the model wants"):
            score.grad(wrong)
    with pytest.raises(InputError, match=r"no single map"):
        score.tap(batch(2), ["norm"])
    close(score.grad(batch(2)).gradient, expected)


# --- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_a_stream_asks_for_each_sample_once_in_order_never_more_than_a_chunk(chunk):
    score, x = built(chunk=chunk), batch(2, count=2)
    asked = []

    def make(index):
        asked.append(index.tolist())
        return x[index % 2] * (1 + index.double()).reshape(-1, 1, 1, 1), index % 2

    pieces = list(score.stream(7, make, like=x))
    assert [n for some in asked for n in some] == list(range(7))
    assert max(map(len, asked)) <= chunk
    assert [piece.samples.tolist() for piece in pieces] == asked
    expected = torch.cat([score(x[n % 2 : n % 2 + 1] * (1 + n)) for n in range(7)])
    close(torch.cat([piece.values for piece in pieces]), expected)


def test_a_stream_builds_nothing_before_it_is_asked():
    score, x = built(chunk=1), batch(2)
    made = []

    def make(index):
        made.extend(index.tolist())
        return x[index], index

    stream = score.stream(2, make, like=x)
    assert made == []
    next(stream)
    assert made == [0]


def test_each_streamed_sample_is_read_by_the_choice_of_its_row():
    score, x = built(target="class_score", chunk=3, seed=3), mixed(6)
    _, frozen = score.freeze(x)
    assert len(frozen.classes.unique()) > 1
    rows = torch.tensor([3, 0, 5, 5, 1])
    output = score.output(x.flip(2))
    pieces = frozen.stream(5, lambda index: (x.flip(2)[rows[index]], rows[index]), like=x)
    expected = output[rows, frozen.classes[rows]]
    close(torch.cat([piece.values for piece in pieces]), expected)


@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_streamed_gradients_are_by_each_sample_itself(chunk):
    score, x = built(chunk=chunk), batch(2, count=3)
    _, frozen = score.freeze(x)
    rows = torch.tensor([2, 0, 1, 2])
    pieces = list(frozen.stream_grad(4, lambda index: (x[rows[index]] * 0.5, rows[index]), like=x))
    values, gradients = truth(score, x * 0.5, frozen.choice)
    close(torch.cat([piece.gradient for piece in pieces]), gradients[rows])
    close(torch.cat([piece.values for piece in pieces]), values[rows])


def test_what_make_gives_is_not_changed():
    score, x = built(), batch(2)
    given = []

    def make(index):
        given.append(x[index])
        return given[-1], index

    list(score.stream_grad(2, make, like=x))
    assert torch.equal(torch.cat(given), x)
    assert not any(part.requires_grad for part in given)


@pytest.mark.parametrize("count", [0, -1])
def test_an_empty_batch_is_told(count):
    score, x = built(), batch(2)
    for ask in (score, score.grad, score.freeze, score.output, lambda x: score.tap(x, ["second"])):
        with pytest.raises(InputError, match=r"^input must hold at least one sample, got \(0, 2, 8, 10\)$"):
            ask(x[:0])
    with pytest.raises(InputError, match=r"at least one sample"):
        list(score.stream(count, lambda index: (x, index), like=x))


# --- fixed batches -------------------------------------------------------------------------------------------------


class Exactly(Awkward):
    """A network that takes three samples at a time and nothing else."""

    def forward(self, x):
        if len(x) != 3:
            raise RuntimeError(f"three at a time, got {len(x)}")
        return super().forward(x)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_fixed_batch_is_filled_up_and_the_filling_forgotten(count):
    model = Model.of(seeded(Exactly, 2, "classification"), fixed_batch=3)
    fixed, free = Score(model, "class_score"), built(target="class_score")
    x = batch(2, count=count)
    close(fixed(x), free(x))
    close(fixed.output(x), free.output(x))
    close(fixed.grad(x).gradient, free.grad(x).gradient)
    (ours,), (plain,) = fixed.tap(x, ["second"]).taps, free.tap(x, ["second"]).taps
    close(ours.activation, plain.activation)
    close(ours.gradient, plain.gradient)
    assert torch.equal(fixed.grad(x).classes, free.grad(x).classes)
    assert fixed.ledger.chunks == {"forward": 3, "backward": 3}


def test_the_filling_is_not_counted():
    score = Score(Model.of(seeded(Exactly, 2, "classification"), fixed_batch=3), "class_score")
    score(batch(2, count=4))
    assert score.ledger.forwards == 4


# --- access --------------------------------------------------------------------------------------------------------


def test_a_score_limited_to_calls_refuses_gradients_and_layers():
    score, x = built(access=Access.CALLS), batch(2)
    score(x)
    score.freeze(x)
    with pytest.raises(
        InputError, match=r"^taking gradients needs input gradient, but this score was limited to calls"
    ):
        score.grad(x)
    with pytest.raises(InputError, match=r"^taking gradients needs input gradient"):
        score.stream_grad(2, lambda index: (x[index], index), like=x)
    with pytest.raises(InputError, match=r"^reading layers needs layers"):
        score.tap(x, ["second"])


def test_the_models_own_limit_wins():
    model = Model.of(seeded(Awkward, 2, "classification"), access=Access.CALLS, reason="it is remote")
    with pytest.raises(InputError, match=r"this model offers calls only: it is remote$"):
        Score(model, "class_score", access=Access.RULES).grad(batch(2))


# --- gradients that are not there ----------------------------------------------------------------------------------


class Detached(Awkward):
    """A network whose output forgets where it came from."""

    def forward(self, x):
        return super().forward(x).detach()


def test_an_output_without_a_graph_is_told():
    score = Score(seeded(Detached, 2, "classification"), "class_score(0)")
    assert torch.isfinite(score(batch(2))).all()
    with pytest.raises(InputError, match=r"^class_score.* does not depend on what the method differentiates by$"):
        score.grad(batch(2))


def test_an_operation_without_a_derivative_is_told_in_one_sentence():
    class Stuck(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            raise NotImplementedError("no derivative\nwas ever written")

    class Network(Awkward):
        def forward(self, x):
            return super().forward(Stuck.apply(x))

    score = Score(seeded(Network, 2, "classification"), "class_score(0)")
    with pytest.raises(InputError, match=r"^the model cannot be differentiated: no derivative$"):
        score.grad(batch(2))


def test_a_layer_the_score_does_not_depend_on_has_a_gradient_of_zero():
    class Aside(Awkward):
        def forward(self, x):
            self.second(self.first(x))
            return super().forward(x)

    class Unused(Awkward):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.aside = nn.Conv2d(2, 1, 1)

        def forward(self, x):
            self.aside(x)
            return super().forward(x)

    score, x = Score(seeded(Unused, 2, "classification"), "class_score(0)"), batch(2)
    aside, second = score.tap(x, ["aside", "second"]).taps
    assert (aside.gradient == 0).all()
    assert aside.gradient.shape == aside.activation.shape
    assert (second.gradient != 0).any()


# --- the ledger ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "forwards", "backwards"),
    [
        ("gradient", 3, 3),
        ("grad_cam(layer='second')", 3, 3),
        ("grad_cam(layer=['second', 'drop'])", 3, 3),
        ("grad_cam", 3, 3),
        ("integrated_gradients(steps=5)", 3 * 5 + 2 * 3, 3 * 5),
        ("occlusion(window=4)", 3 * (1 + 2 * 3), 0),
        ("occlusion(window=4, channels='each')", 3 * (1 + 2 * 2 * 3), 0),
    ],
)
def test_the_ledger_counts_every_sample_sent_through(spec, forwards, backwards):
    score = built(chunk=2)
    method(spec)(score, batch(2, count=3))
    assert (score.ledger.forwards, score.ledger.backwards) == (forwards, backwards)


def test_every_score_has_its_own_ledger():
    one, other = built(), built()
    one(batch(2))
    assert other.ledger.forwards == 0


def test_planned_chunks_stand_in_the_ledger_by_kind_of_pass():
    score = built()
    score(batch(2))
    assert set(score.ledger.chunks) == {"forward"}
    score.grad(batch(2))
    assert set(score.ledger.chunks) == {"forward", "backward"}
    assert score.ledger.fallbacks == []


@pytest.mark.parametrize("count", [3, 1])
def test_masks_must_be_one_or_as_many_as_the_batch(count):
    module, x = seeded(Awkward, 2, "segmentation"), batch(2, count=2)
    score = Score(module, "region(1, over='mask')", mask=torch.ones(count, *x.shape[2:]))
    if count == 1:
        assert len(score.grad(x).values) == len(score.freeze(x)[0]) == 2
        return
    for ask in (score.grad, score.freeze, lambda x: score.tap(x, ["second"])):
        with pytest.raises(InputError, match="must hold 1 sample or as many as the batch, got 3"):
            ask(x)


def test_a_fixed_chunk_that_ran_out_of_memory_is_not_tried_again():
    sizes = []

    class Hungry(Awkward):
        def forward(self, x):
            if x.is_meta:  # a pass on shapes alone sees where batch norms can be folded
                return super().forward(x)
            sizes.append(len(x))
            if len(x) > 2:
                raise RuntimeError("out of memory")
            return super().forward(x)

    score = Score(seeded(Hungry, 2, "classification"), "class_score(0)", chunk=4)
    score(batch(2, count=4)), score(batch(2, count=4))
    assert sizes == [4, 2, 2, 2, 2]


def test_every_class_comes_from_the_same_calls():
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=3)
    clean, frozen = Score(module, "class_score").freeze(x)
    (piece,) = frozen.stream(3, lambda index: (x[index], index), like=x, every=True)
    with torch.no_grad():
        torch.testing.assert_close(piece.values, module(x))
    torch.testing.assert_close(piece.values.gather(1, frozen.classes[:, None])[:, 0], clean)


def test_activations_alone_take_no_way_back():
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2)
    both, one = Score(model, "class_score(0)"), Score(model, "class_score(0)")
    wanted, found = both.tap(x, ["second"]), one.tap(x, ["second"], back=False)
    assert torch.equal(found.taps[0].activation, wanted.taps[0].activation)
    assert torch.equal(found.values, wanted.values)
    assert found.taps[0].gradient.numel() == 0
    assert (one.ledger.forwards, one.ledger.backwards) == (len(x), 0)


def test_one_forward_serves_who_wants_gradients_and_who_does_not():
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2)
    score = Score(model, "class_score(0)")
    alone = score.tap(x, ["second"])
    before = score.ledger.forwards, score.ledger.backwards
    jobs = [(score, lambda own, back=back: own.tap(x, ["second"], back=back)) for back in (True, False)]
    wanted, found = together(jobs)
    assert score.ledger.forwards + score.ledger.backwards - sum(before) == 2 * len(x)
    assert torch.equal(wanted.taps[0].gradient, alone.taps[0].gradient)
    assert torch.equal(found.taps[0].activation, alone.taps[0].activation)
    assert found.taps[0].gradient.numel() == 0
