"""One calling convention for every network, and its complaints in the user's words."""

import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, network, seeded
from tests.specs import SPECS
from voxplain.errors import InputError, MemoryShort, OptionError
from voxplain.methods import METHODS, method
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Access


class Says(nn.Module):
    """A network that returns whatever it is told to, with one weight."""

    def __init__(self, answer):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.answer = answer

    def forward(self, x):
        return self.answer(x * self.weight)


class Raises(nn.Module):
    """A network that raises."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


# --- outputs -------------------------------------------------------------------------------------------------------


def test_one_number_a_sample_becomes_one_column():
    model = Model.of(Says(lambda x: x.flatten(1).sum(1)))
    assert model(batch(2)).shape == (2, 1)


def test_one_number_for_one_sample_becomes_one_column():
    model = Model.of(Says(lambda x: x.flatten(1).sum(1)))
    assert model(batch(2, count=1)).shape == (1, 1)


@pytest.mark.parametrize("rank", [2, 3])
def test_one_number_a_voxel_becomes_a_map_of_one_class(rank):
    """A segmenter that squeezes its only channel away; in 3D its first axis must not be read as classes."""
    x = batch(rank)
    model = Model.of(Says(lambda x: x.mean(1)))
    assert torch.equal(model(x), x.mean(1, keepdim=True))
    found = method("gradient")(Score(model, "region(1, over='whole')"), x)
    assert found.unit == "logits per input unit"


@pytest.mark.parametrize("rank", [2, 3])
def test_a_map_of_a_single_place_is_a_row_of_classes(rank):
    """A classifier that ends in pooling and forgets to flatten."""
    x = batch(rank)
    model = Model.of(Says(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True)))
    assert torch.equal(model(x), x.flatten(2).mean(2))
    assert Score(model, "class_score(1)")(x).shape == (2,)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x: x.sum(), r"got \(\) for a batch of 3"),
        (lambda x: x.flatten(1).sum(0), r"got \(\d+,\) for a batch of 3"),
        (lambda x: x.mean(0, keepdim=True), r"got \(1, 2, 8, 10\) for a batch of 3"),
        (lambda x: torch.cat([x, x]), r"got \(6, 2, 8, 10\) for a batch of 3"),
    ],
)
def test_an_output_that_is_not_one_row_a_sample_is_refused(answer, told):
    with pytest.raises(InputError, match=rf"^the model must return one row a sample, {told}$"):
        Model.of(Says(answer))(batch(2, count=3))


def test_the_output_of_a_dictionary_is_picked_by_name():
    model = Model.of(Says(lambda x: {"out": x.mean((2, 3)), "aux": [x, x * 2]}), output="aux.1")
    assert torch.equal(model(batch(2)), batch(2) * 2)


def test_several_outputs_are_told_with_their_names_when_none_was_picked():
    model = Model.of(Says(lambda x: (x.mean((2, 3)), x)))
    with pytest.raises(
        InputError, match=r"returns 2 outputs; choose one of '0' \(2, 2\), '1' \(2, 2, 8, 10\) with --o"
    ):
        model(batch(2))


# --- complaints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rank", "x", "wanted"),
    [
        (2, torch.zeros(1, 1, 8, 8), "2 channels in 2D, got (1, 8, 8) (channel, *space)"),
        (2, torch.zeros(1, 2, 8, 8, 8), "2 channels in 2D, got (2, 8, 8, 8) (channel, *space)"),
        (3, torch.zeros(1, 3, 8, 8, 8), "2 channels in 3D, got (3, 8, 8, 8) (channel, *space)"),
        (3, torch.zeros(2, 2, 8, 8), "2 channels in 3D, got (2, 8, 8) (channel, *space)"),
    ],
)
def test_wrong_channels_and_rank_are_told_by_what_the_model_wants(rank, x, wanted):
    with pytest.raises(InputError) as caught:
        Model.of(seeded(Awkward, rank, "classification"))(x)
    assert str(caught.value) == f"the model wants {wanted}"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_tells_wrong_channels_in_those_words(name):
    x = batch(2, channels=3)
    segments = torch.arange(80).reshape(1, 8, 10) // 20
    score = Score(seeded(network(name), 2, "classification"), "class_score(0)", reference=x, segments=segments)
    with pytest.raises(InputError, match=r"the model wants 2 channels in 2D, got \(3, 8, 10\)"):
        method(SPECS[name])(score, x)


def test_what_the_caller_knows_about_the_input_wins_over_the_guess():
    model = Model.of(Raises(RuntimeError("no")), channels=4, rank=3)
    assert model.wanted_input == "4 channels in 3D"
    with pytest.raises(InputError, match=r"^the model wants 4 channels in 3D, got \(2, 8, 10\)"):
        model(batch(2))


@pytest.mark.parametrize(
    ("channels", "rank", "words"),
    [(1, 2, "1 channel in 2D"), (3, None, "3 channels"), (None, 3, "channels in 3D"), (None, None, "channels")],
)
def test_wanted_input_is_told_as_far_as_it_is_known(channels, rank, words):
    assert Model.of(nn.ReLU(), channels=channels, rank=rank).wanted_input == words


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2\nsecond line"),
        ValueError("too small"),
        TypeError("wrong"),
        IndexError("Dimension"),
        KeyError("mask"),
        AssertionError(),
        AttributeError("'NoneType' object has no attribute 'shape'"),
        ZeroDivisionError("division by zero"),
        NotImplementedError(),
    ],
)
def test_whatever_a_network_raises_becomes_one_sentence_with_its_reason(error):
    with pytest.raises(InputError) as caught:
        Model.of(Raises(error))(batch(2))
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    assert str(caught.value) == f"the model failed on an input of (2, 8, 10) (channel, *space): {reason}"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_running_out_of_memory_is_no_complaint_about_the_input(error):
    with pytest.raises(RuntimeError, match=r"memory"):
        Model.of(Raises(error)).run(batch(2))


def test_our_own_sentences_pass_through_unwrapped():
    with pytest.raises(InputError, match=r"^ours$"):
        Model.of(Raises(InputError("ours")))(batch(2))


# --- what it knows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, 3])
def test_channels_and_rank_are_guessed_from_the_first_convolution(rank):
    model = Model.of(seeded(Awkward, rank, "segmentation", channels=4))
    assert (model.channels, model.rank) == (4, rank)


def test_nothing_is_guessed_without_a_convolution():
    model = Model.of(nn.Linear(4, 2))
    assert (model.channels, model.rank) == (None, None)


def test_an_unknown_head_is_told_with_the_nearest():
    with pytest.raises(OptionError, match=r"unknown head 'multilabel'; did you mean 'multi_label'\?"):
        Model.of(nn.ReLU(), head="multilabel")


def test_the_label_is_the_users_or_the_class():
    assert Model.of(nn.ReLU()).label == "ReLU"
    assert Model.of(nn.ReLU(), label="mine").label == "mine"


def test_access_can_be_lowered_but_not_raised():
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert Model.of(scripted, access=Access.RULES).access is Access.GRADIENT
    assert Model.of(nn.ReLU(), access=Access.CALLS).access is Access.CALLS


def test_a_network_without_weights_has_a_type_and_a_device():
    model = Model.of(nn.ReLU())
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))


def test_the_weights_hash_is_that_of_the_weights():
    module = seeded(Awkward, 2, "classification")
    before = Model.of(module).weights_hash
    assert Model.of(module).weights_hash == before
    with torch.no_grad():
        module.head.bias[0] += 1e-6
    assert Model.of(module).weights_hash != before


@pytest.mark.parametrize(("name", "told"), [("secnd", "did you mean 'second'"), ("zzz", "choose from act, drop")])
def test_an_unknown_layer_is_told_with_the_nearest_or_all(name, told):
    with pytest.raises(OptionError, match=rf"unknown layer '{name}'; {told}"):
        Model.of(seeded(Awkward, 2, "classification")).layer(name)


def test_a_model_without_layers_says_why():
    model = Model.of(nn.ReLU(), reason="it is a black box")
    with pytest.raises(InputError, match=r"^the model offers no layers by name: it is a black box$"):
        model.layer("anything")


@pytest.mark.parametrize("access", list(Access))
def test_access_that_is_missing_is_told_in_words(access):
    model = Model.of(nn.ReLU(), access=access, reason="so it was built")
    for asked in Access:
        if asked <= access:
            model.require(asked, "this")
        else:
            told = rf"^this needs {asked.words}, but this model offers {access.words}: so it was built$"
            with pytest.raises(InputError, match=told):
                model.require(asked, "this")


# --- devices -------------------------------------------------------------------------------------------------------


def test_the_device_it_lies_on_gives_the_model_itself():
    model = Model.of(seeded(Awkward, 2, "classification"))
    assert model.on("cpu") is model


def test_a_move_leaves_the_model_where_it_was_and_keeps_all_it_knows():
    model = Model.of(seeded(Awkward, 2, "classification"), class_names=["a", "b", "c"], head="multi_label")
    moved = model.on("meta")
    assert (model.device.type, moved.device.type) == ("cpu", "meta")
    assert (moved.class_names, moved.head, list(moved.layers)) == (("a", "b", "c"), "multi_label", list(model.layers))
    assert all(moved.layers[name] is part for name, part in moved.module.named_modules() if name)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_does_not_exist_is_told_in_one_sentence(device):
    with pytest.raises(InputError, match=rf"^device '{device}' cannot be used: "):
        Model.of(nn.Linear(2, 2)).on(device)


def test_weights_too_large_for_a_device_are_told_as_memory(monkeypatch):
    def full(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(nn.Linear, "to", full)
    with pytest.raises(MemoryShort, match=r"^the model's weights do not fit on device 'meta'$"):
        Model.of(nn.Linear(2, 2)).on("meta")
