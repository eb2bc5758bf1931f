"""Ways of running a network: layout, half precision, compiling; what each changes, and what is said about it."""

import pytest
import torch
from torch import nn

from tests.score.test_folding import FOLDED, made
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.score import execution
from voxplain.score.compiled import Compiled
from voxplain.score.execution import Execution, Twin, same
from voxplain.score.layout import PLAIN, layout
from voxplain.score.model import Model
from voxplain.score.score import Score

ROUNDED = 1e-5
"""Share of the largest value by which float32 results may differ between two orders of the same sums."""

SHORT = 0.05
"""Share of the largest output that 8 bits of mantissa may cost a network of two layers."""


class Net(nn.Module):
    """Convolution, norm, ReLU twice; `rank` spatial axes."""

    def __init__(self, rank=2):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[rank]
        self.first, self.one = conv(2, 6, 3, padding=1, bias=False), norm(6)
        self.second, self.two = conv(6, 8, 3, padding=1, stride=2), norm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.one(self.first(x)).relu_()
        return self.head(self.two(self.second(x)).relu().flatten(2).mean(2))


def single(rank=2, seed=0):
    return made(lambda: Net(rank), seed).float()


def picture(rank=2, count=2):
    sides = (12, 11, 10)[:rank]
    return torch.randn(count, 2, *sides, generator=torch.Generator().manual_seed(3))


def close(found, expected, share):
    assert float((found - expected).abs().max()) <= share * float(expected.abs().max())


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(
    "spec", ["gradient", "grad_cam(layer='two')", "grad_cam(layer='first')", "lrp", "occlusion(window=4)"]
)
def test_maps_do_not_depend_on_it_but_for_rounding(rank, spec):
    module, x = single(rank), picture(rank)
    prepared, plain = (
        method(spec)(Score(Model.of(module).run_as(prepared=on), "class_score"), x) for on in (True, False)
    )
    largest = max(plain.values.abs().max(), plain.score.abs().max())  # occlusion subtracts scores from each other
    assert (prepared.values - plain.values).abs().max() <= ROUNDED * largest
    close(prepared.score, plain.score, ROUNDED)
    assert prepared.values.is_contiguous()


@pytest.mark.parametrize("rank", [2, 3])
def test_convolutions_get_their_channels_last(rank):
    model, x = Model.of(single(rank)), picture(rank)
    network = model.network(x)
    order = {2: torch.channels_last, 3: torch.channels_last_3d}[rank]
    assert network.order == order
    assert network.layer("second").weight.is_contiguous(memory_format=order)
    assert model.layer("second").weight.is_contiguous()


def test_networks_of_linear_layers_and_float64_keep_the_plain_order():
    linear = nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(2), nn.Linear(4, 4), nn.Linear(4, 4))
    assert layout(linear, picture()) == PLAIN
    assert layout(single(), picture().double()) == PLAIN
    assert layout(single(3), picture(2)) == PLAIN


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pass_reads_the_batch_without_changing_it(dtype):
    class Greedy(Net):
        def forward(self, x):
            return super().forward(x.mul_(2))

    model, x = Model.of(made(Greedy).to(dtype)), picture().to(dtype)
    before = x.clone()
    score = Score(model, "class_score(1)")
    values, slope = score(x), score.grad(x).gradient
    assert torch.equal(x, before)
    close(values, Score(Model.of(made(Greedy).to(dtype)).run_as(prepared=False), "class_score(1)")(x), ROUNDED)
    assert slope.is_contiguous()


def test_a_batch_made_in_inference_mode_can_be_differentiated():
    with torch.inference_mode():
        x = picture()
    found = Score(Model.of(single()), "class_score(1)").grad(x).gradient
    close(found, Score(Model.of(single()), "class_score(1)").grad(picture()).gradient, ROUNDED)


def test_memory_is_planned_for_the_network_that_runs():
    score = Score(Model.of(single()), "class_score(1)")
    score.grad(picture())
    (key,) = score.ledger.plans
    assert key[0] == id(score.model.network(picture(), (), "gradient").module)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_measured_and_told(precision):
    model, x = Model.of(single()).run_as(precision=precision), picture()
    full = Score(Model.of(single()), "class_score(1)").grad(x)
    found = Score(model, "class_score(1)").grad(x)
    assert found.values.dtype == torch.float64
    assert found.gradient.dtype == torch.float32
    close(found.values, full.values, SHORT)
    assert not torch.equal(found.values, full.values)
    assert [remark for remark in model.remarks if remark.startswith(f"the network ran in {precision}: on the first")]


def test_taps_in_half_precision_come_back_in_full():
    model = Model.of(single()).run_as(precision="bfloat16")
    tap = Score(model, "class_score(1)").tap(picture(), ["two"]).taps[0]
    assert tap.activation.dtype == tap.gradient.dtype == torch.float32


def test_backward_rules_stay_in_full_precision():
    short, full = (Model.of(single()).run_as(precision=one) for one in ("bfloat16", "full"))
    maps = [method("lrp")(Score(model, "class_score(1)"), picture()) for model in (short, full)]
    close(maps[0].values, maps[1].values, ROUNDED)


def test_a_network_that_cannot_run_in_half_precision_runs_in_full_and_says_so():
    class Picky(Net):
        def forward(self, x):
            if x.dtype != torch.float32 and not x.is_meta:
                raise TypeError("float32 only")
            return super().forward(x)

    model, x = Model.of(made(Picky).float()).run_as(precision="bfloat16"), picture()
    close(Score(model, "class_score(1)")(x), Score(Model.of(single()), "class_score(1)")(x), ROUNDED)
    assert "the network does not run in bfloat16" in model.remarks


def test_compiled_passes_fall_back_in_words(monkeypatch):
    def broken(function):
        def fails(x):
            raise RuntimeError("no compiler here")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    model, x = Model.of(single()).run_as(compiled=True), picture()
    close(Score(model, "class_score(1)")(x), Score(Model.of(single()), "class_score(1)")(x), ROUNDED)
    assert any("torch.compile failed (RuntimeError)" in remark for remark in model.remarks)


def test_only_passes_for_numbers_are_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    model, x = Model.of(single()).run_as(compiled=True), picture()
    assert isinstance(model.network(x, (), "forward").module, Compiled)
    assert not isinstance(model.network(x, (), "gradient").module, Compiled)
    assert not isinstance(model.network(x, ["two"], "forward").module, Compiled)
    assert model.network(x).layer("two") is not model.layer("two")


@pytest.mark.slow
def test_a_compiled_network_says_the_same():
    model, x = Model.of(single()).run_as(compiled=True), picture()
    close(Score(model, "class_score(1)")(x), Score(Model.of(single()), "class_score(1)")(x), ROUNDED)


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(OptionError, match="precision must be full where the network is not prepared, got 'bfloat16'"):
        Execution(prepared=False, precision="bfloat16")
    with pytest.raises(OptionError, match="compiled must be off where the network is not prepared, got True"):
        Execution(prepared=False, compiled=True)


def test_a_twin_that_says_something_else_is_not_the_same():
    one, x = single(), picture()
    other = Twin(single(), {}, PLAIN)
    assert same(one, other, x, None)
    with torch.no_grad():
        other.module.head.bias[1] += 0.05
    assert not same(one, other, x, None)


def test_a_wrong_fold_would_be_found_out(monkeypatch):
    right = execution.with_folded

    def wrong(module, pairs, known):
        twin = right(module, pairs, known)
        for pair in pairs:
            known[id(pair.layer)].bias.data += 0.1
        return twin

    monkeypatch.setattr(execution, "with_folded", wrong)
    model, x = Model.of(made(FOLDED["2d"][0])), picture().double()
    assert any(isinstance(part, nn.BatchNorm2d) for part in model.network(x).module.modules())
    assert any("gave other outputs" in remark for remark in model.remarks)


def test_a_network_that_wants_its_whole_image_is_compared_on_it():
    class Whole(Net):
        def forward(self, x):
            if x.shape[-1] != 80:
                raise ValueError("80 columns, please")
            return super().forward(x)

    model, x = Model.of(made(Whole).float()), torch.randn(1, 2, 70, 80)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.network(x).module.modules())


def test_a_network_that_views_its_features_keeps_the_plain_order_and_its_folded_norms():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(360, 3)

        def forward(self, x):
            return self.head(self.norm(self.conv(x)).view(-1, 360))

    module, x = made(Viewing).float(), picture()
    model = Model.of(module)
    assert model.network(x).order == PLAIN
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.network(x).module.modules())
    plain = Score(Model.of(module).run_as(prepared=False), "class_score(1)").grad(x)
    close(Score(model, "class_score(1)").grad(x).gradient, plain.gradient, ROUNDED)


def test_a_prepared_network_that_fails_in_a_pass_hands_over_to_the_network_itself():
    class Late(Net):
        def forward(self, x):
            if len(x) > 1 and not x.is_contiguous():
                raise RuntimeError("view size is not compatible")
            return super().forward(x)

    model, x = Model.of(made(Late).float()), picture()
    assert model.network(x) is not model
    found = Score(model, "class_score(1)").grad(x)
    close(found.gradient, Score(Model.of(single()), "class_score(1)").grad(x).gradient, ROUNDED)
    assert model.network(x) is model
    assert "the prepared network failed (InputError), so the network ran as it is" in model.remarks


def test_an_error_of_the_networks_own_is_told_as_such():
    class Broken(Net):
        def forward(self, x):
            if len(x) > 1:
                raise RuntimeError("one image at a time")
            return super().forward(x)

    model = Model.of(made(Broken).float())
    with pytest.raises(InputError, match=r"the model failed on an input of .*: one image at a time"):
        Score(model, "class_score(1)", chunk=2)(picture())
    assert model.network(picture()) is not model


def test_an_order_that_fails_at_the_full_size_only_is_left_then():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.norm(self.conv(x))
            return (y.view(len(y), -1) if x.shape[-1] > execution.CROP else y.flatten(1))[:, :3]

    model, x = Model.of(made(Wide).float()), torch.randn(2, 2, 8, execution.CROP + 6)
    plain = Score(model.run_as(prepared=False), "class_score(1)")
    close(Score(model, "class_score(1)")(x), plain(x), ROUNDED)
    assert any("the prepared network failed" in remark for remark in model.remarks)
