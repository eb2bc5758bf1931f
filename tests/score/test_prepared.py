"""The prepared copy: everything a user may hand in, and nothing of it changed."""

import copy

import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError, KindError, OptionError
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.prepared import prepare, weights_hash
from voxplain.score.score import Score
from voxplain.types import Access


def small() -> nn.Module:
    """A plain float32 classifier of one-channel pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def picture(count: int = 2) -> torch.Tensor:
    return batch(2, count=count, channels=1).float()


def test_the_copy_is_frozen_and_in_evaluation_mode_and_the_original_neither():
    module = seeded(Awkward, 2, "classification").train()
    twin = prepare(module).module
    assert not any(part.training for part in twin.modules())
    assert not any(weight.requires_grad for weight in twin.parameters())
    assert all(part.training for part in module.modules())
    assert all(weight.requires_grad for weight in module.parameters())


def test_the_copy_shares_no_memory_with_the_original():
    module = small()
    twin = prepare(module).module
    before = twin(picture())
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    assert torch.equal(twin(picture()), before)


def test_what_the_user_froze_or_trained_half_way_stays_so():
    module = small()
    module[0].requires_grad_(False)
    module[0].eval()
    prepare(module)
    assert [weight.requires_grad for weight in module.parameters()] == [False, False, True, True]
    assert [part.training for part in module] == [False, True, True, True, True]


def test_gradients_the_user_collected_stay():
    module = small()
    module(picture()).sum().backward()
    before = [weight.grad.clone() for weight in module.parameters()]
    method("gradient")(Score(module, "class_score(0)"), picture())
    assert all(torch.equal(weight.grad, old) for weight, old in zip(module.parameters(), before, strict=True))


def test_batch_norm_uses_and_keeps_its_running_statistics():
    module = seeded(Awkward, 2, "classification").train()
    before = module.norm.running_mean.clone(), int(module.norm.num_batches_tracked)
    score = Score(module, "class_score(0)")(batch(2))
    assert torch.equal(module.norm.running_mean, before[0])
    assert int(module.norm.num_batches_tracked) == before[1]
    assert torch.equal(score, module.eval()(batch(2))[:, 0].detach())


@pytest.mark.parametrize("wrap", [lambda module: torch.compile(module, backend="eager"), nn.DataParallel])
def test_wrappers_are_taken_off(wrap):
    module = small()
    twin = prepare(wrap(module)).module
    assert type(twin) is nn.Sequential
    assert torch.equal(twin(picture()), module(picture()))


def test_a_wrapper_around_a_wrapper_is_taken_off():
    twin = prepare(torch.compile(nn.DataParallel(small()), backend="eager")).module
    assert type(twin) is nn.Sequential


def test_a_compiled_part_inside_a_network_is_taken_out_too():
    module = small()
    mixed = nn.Sequential(torch.compile(module[0], backend="eager"), *module[1:])
    prepared = prepare(mixed)
    assert list(dict(prepared.module.named_modules())) == ["", "0", "1", "2", "3", "4"]
    assert type(mixed[0]) is not nn.Conv2d, "the user's own module keeps its compiled part"
    assert len(prepared.notices) == 1
    tapped = Score(Model.of(mixed).run_as(prepared=False), "class_score(0)").tap(picture(), ["0"])
    assert torch.equal(tapped.taps[0].activation, module[0](picture()).detach())


def test_a_module_compiled_in_place_is_explained_by_its_copy():
    module = small()
    expected = module(picture()).detach()
    module.compile(backend="eager")
    twin = prepare(module).module
    with torch.no_grad():
        module[4].weight.zero_()
    assert torch.equal(twin(picture()), expected)


def test_taking_off_compilation_is_said():
    (notice,) = prepare(torch.compile(small(), backend="eager")).notices
    assert "torch.compile was taken off" in notice


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_said(dtype):
    module = small().to(dtype)
    prepared = prepare(module)
    assert {weight.dtype for weight in prepared.module.parameters()} == {torch.float32}
    assert {weight.dtype for weight in module.parameters()} == {dtype}
    assert prepared.notices == ("the model's half-precision weights were widened to float32",)
    assert torch.isfinite(Score(module, "class_score(0)").grad(picture()).gradient).all()


def test_float64_stays_float64():
    assert Model.of(small().double()).dtype == torch.float64


@pytest.mark.parametrize("build", [torch.jit.script, lambda module: torch.jit.trace(module, picture())])
def test_torchscript_offers_gradients_and_says_why_not_more(build):
    module = small().eval()
    model = Model.of(build(module))
    assert model.access is Access.GRADIENT
    assert "TorchScript" in model.reason
    assert torch.allclose(model(picture()), module(picture()))
    ours = Score(model, "class_score(1)").grad(picture()).gradient
    torch.testing.assert_close(ours, Score(module, "class_score(1)").grad(picture()).gradient)
    with pytest.raises(InputError, match=r"grad_cam needs layers, but this model offers input gradient: it is TorchS"):
        method("grad_cam")(Score(model, "class_score(1)"), picture())


def test_a_scripted_module_is_copied_and_stays_as_it_was():
    module = torch.jit.script(small().train())
    twin = prepare(module).module
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())
    assert not any(weight.requires_grad for weight in twin.parameters())
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert next(twin.parameters()).abs().sum() > 0


def test_a_scripted_part_is_no_layer_to_tap_and_the_others_are():
    module = small().eval()
    mixed = nn.Sequential(torch.jit.script(module[:2]), *module[2:])
    model = Model.of(mixed)
    assert list(model.layers) == ["1", "2", "3"]
    with pytest.raises(OptionError, match=r"unknown layer '0'"):
        Score(model, "class_score(0)").tap(picture(), ["0"])


def test_a_network_that_keeps_what_it_computed_can_be_copied():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(1, 3, 3)

        def forward(self, x):
            self.kept = self.features(x)
            self.several = {"maps": [self.kept * 2]}
            return self.kept.mean((2, 3))

    module = Keeps()
    module(picture())
    kept = module.kept
    assert torch.allclose(Score(module, "class_score(0)")(picture()).float(), module(picture())[:, 0])
    assert kept.requires_grad, "the user's tensor keeps its history"


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_normed_weights_survive_the_copy(norm):
    module = small()
    norm(module[0])
    module.eval()
    expected = module(picture())
    torch.testing.assert_close(Model.of(module)(picture()), expected)


def test_a_network_that_cannot_be_copied_is_refused_in_one_sentence():
    class Locked(nn.Module):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle '_io.BufferedReader' object")

    with pytest.raises(InputError, match=r"^the model must be copyable .*, got Locked: cannot pickle"):
        prepare(Locked())


@pytest.mark.parametrize("thing", [None, "resnet18", torch.zeros(2), nn.Conv2d, lambda x: x])
def test_what_is_no_module_is_refused_by_its_kind(thing):
    with pytest.raises(KindError, match=r"^model must be a torch.nn.Module, got \w+$"):
        prepare(thing)


def test_the_hash_changes_with_every_weight_and_buffer_and_nothing_else():
    module = seeded(Awkward, 2, "classification")
    before = weights_hash(module)
    assert weights_hash(copy.deepcopy(module).train()) == before
    for name, tensor in module.state_dict().items():
        changed = copy.deepcopy(module)
        state = changed.state_dict()
        with torch.no_grad():
            state[name].view(-1)[-1] += 1
        assert weights_hash(changed) != before, name
        assert tensor is not state[name]


def test_the_hash_knows_names_shapes_and_types():
    one = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        one.weight.zero_()
    other = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        other.weight.zero_()
    named = nn.Sequential(one)
    assert len({weights_hash(part) for part in (one, other, named, copy.deepcopy(one).half())}) == 4


def test_the_hash_does_not_depend_on_memory_layout():
    module = nn.Conv2d(3, 4, 3)
    assert weights_hash(copy.deepcopy(module).to(memory_format=torch.channels_last)) == weights_hash(module)
