"""Rows of tokens and maps with their channels last, folded back to space."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.nets import TinyViT, batch, seeded
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score.cells import Cells, CellTracker, Place
from voxplain.score.layers import chosen_layer
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.tokens import channels_last, folded, folded_shape, refilled


def image(*sides: int, channels: int = 1, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, *sides, generator=generator, dtype=torch.float64)


def followed(network, x: Tensor) -> tuple[Tensor, Place | None]:
    tracker = CellTracker(x)
    with torch.no_grad(), tracker:
        out = network(x)
        return out, tracker.place(out)


# --- folding ---------------------------------------------------------------------------------------------------------

ROW = Place(Cells((0.5, 0.5), (2.0, 2.0)), (1,), 0, (3, 4), (2, 1))
LAST = Place(Cells((0.5, 0.5), (2.0, 2.0)), (1, 2))
HEADS = Place(Cells((0.5, 0.5), (2.0, 2.0)), (2,), 0, (3, 4), (1, 0))

LAYOUTS = [(ROW, (2, 15, 5), 5), (LAST, (2, 3, 4, 5), 5), (HEADS, (2, 6, 13, 5), 30)]


def test_a_map_in_its_usual_order_is_its_own_folding_and_its_copy_is_apart():
    x = image(3, 4, channels=5).to(memory_format=torch.channels_last)
    place = Place(Cells((0.5, 0.5), (2.0, 2.0)), (2, 3))
    kept = folded(x, place)
    assert kept is x
    copy = refilled(x, kept, place)
    assert torch.equal(copy, x)
    assert copy.stride() == x.stride()
    assert copy.data_ptr() != x.data_ptr()
    assert torch.equal(refilled(x, 2 * kept, place), 2 * x)


@pytest.mark.parametrize(("place", "shape", "channels"), LAYOUTS)
def test_every_value_goes_to_its_place(place, shape, channels):
    tensor = torch.randn(shape)
    found = folded(tensor, place)
    assert tuple(found.shape) == folded_shape(shape, place) == (2, channels, 3, 4)
    if place is ROW:
        assert found[1, 3, 2, 1] == tensor[1, 2 + 2 * 4 + 1, 3]
    elif place is LAST:
        assert found[1, 3, 2, 1] == tensor[1, 2, 1, 3]
    else:
        assert found[1, 4 * 5 + 3, 2, 1] == tensor[1, 4, 1 + 2 * 4 + 1, 3]


@pytest.mark.parametrize(("place", "shape", "channels"), LAYOUTS)
def test_refilling_puts_values_back_and_leaves_tokens_without_a_place_alone(place, shape, channels):
    tensor, values = torch.randn(shape), torch.randn(2, channels, 3, 4)
    back = refilled(tensor, values, place)
    assert torch.equal(folded(back, place), values)
    assert torch.equal(refilled(back, folded(tensor, place), place), tensor)
    assert back.stride() == tensor.stride()


def test_gradients_reach_the_places_and_the_other_tokens_by_ways_of_their_own():
    tensor, weight = torch.randn(2, 15, 5, requires_grad=True), torch.randn(2, 15, 5)
    values = folded(tensor, ROW).detach().requires_grad_()
    by_tensor, by_values = torch.autograd.grad((refilled(tensor, values, ROW) * weight).sum(), [tensor, values])
    assert torch.equal(by_values, folded(weight, ROW))
    assert torch.equal(by_tensor[:, [0, 1, 14]], weight[:, [0, 1, 14]])
    assert not by_tensor[:, 2:14].any()


@pytest.mark.parametrize(
    ("shape", "size", "last"),
    [((1, 8, 9, 24), (32, 36), True), ((1, 24, 8, 9), (32, 36), False), ((1, 5, 16, 4), (16, 16), False)],
)
def test_channels_last_are_told_by_the_sides_of_the_image(shape, size, last):
    assert channels_last(shape, size) is last


# --- following -------------------------------------------------------------------------------------------------------


def embedded(x: Tensor) -> Tensor:
    """A map of patches (2, 1, 3, 4) of an image of 6 x 8 voxels."""
    return functional.avg_pool2d(x, 2)


def row(x: Tensor) -> Tensor:
    return embedded(x).expand(-1, 5, -1, -1).flatten(2).transpose(1, 2)


def with_class(x: Tensor, before: int = 1, after: int = 0) -> Tensor:
    parts = [x.new_zeros(len(x), before, 5), row(x), x.new_zeros(len(x), after, 5)]
    return torch.cat([part for part in parts if part.shape[1]], dim=1)


def mixed(tokens: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(tokens, tokens, tokens)


FOLLOWED = {
    "a row": (row, (0, 0)),
    "by reshape and swapaxes": (lambda x: embedded(x).expand(-1, 5, -1, -1).reshape(2, 5, -1).swapaxes(1, 2), (0, 0)),
    "by einsum": (lambda x: torch.einsum("bchw->bhwc", embedded(x).repeat(1, 5, 1, 1)).flatten(1, 2), (0, 0)),
    "by permute and view": (lambda x: embedded(x).repeat(1, 5, 1, 1).permute(0, 2, 3, 1).reshape(2, -1, 5), (0, 0)),
    "a class token": (with_class, (1, 0)),
    "a class token twice": (lambda x: torch.cat([x.new_zeros(2, 1, 5), with_class(x)], 1), (2, 0)),
    "tokens behind": (lambda x: with_class(x, 1, 3), (1, 3)),
    "a position added": (lambda x: with_class(x) + torch.randn(1, 13, 5), (1, 0)),
    "the class token dropped": (lambda x: with_class(x, 2, 1)[:, 2:], (0, 1)),
    "both ends dropped": (lambda x: with_class(x, 2, 1)[:, 2:-1, :], (0, 0)),
    "narrowed": (lambda x: with_class(x, 2).narrow(1, 1, 13), (1, 0)),
    "a layer norm": (lambda x: functional.layer_norm(with_class(x), (5,)), (1, 0)),
    "a matrix over channels": (lambda x: functional.linear(with_class(x), torch.ones(7, 5).double()), (1, 0)),
    "a new axis and away": (lambda x: with_class(x)[:, None].squeeze(1).unsqueeze(3)[..., 0], (1, 0)),
    "attended": (lambda x: mixed(with_class(x)), (1, 0)),
    "attended by hand": (lambda x: (with_class(x) @ with_class(x).mT).softmax(-1) @ with_class(x), (1, 0)),
    "attended by einsum": (
        lambda x: torch.einsum("bxy,byd->bxd", torch.einsum("bxd, byd -> bxy", row(x), row(x)), row(x)),
        (0, 0),
    ),
    "heads": (lambda x: mixed(with_class(x)[..., None].expand(-1, -1, -1, 2).permute(0, 3, 1, 2))[:, 1], (1, 0)),
    "unbound": (lambda x: torch.stack([with_class(x)] * 2, 0).sum(0) + with_class(x)[None].unbind(0)[0], (1, 0)),
    "padding of channels": (lambda x: functional.pad(with_class(x), (1, 2)), (1, 0)),
    "moved about": (lambda x: with_class(x).movedim(1, 0).movedim(0, -2), (1, 0)),
    "module": (lambda x: nn.MultiheadAttention(5, 1, batch_first=True).double()(*[with_class(x)] * 3)[0], (1, 0)),
}


@pytest.mark.parametrize(("network", "extra"), FOLLOWED.values(), ids=FOLLOWED)
def test_rows_of_tokens_are_followed(network, extra):
    out, place = followed(network, image(6, 8))
    assert place is not None
    assert place.grid == (3, 4)
    assert place.extra == extra
    assert place.cells == Cells((0.5, 0.5), (2.0, 2.0))
    assert out.shape[place.axes[0]] == place.tokens


LOST = {
    "the class token alone": lambda x: with_class(x)[:, 0],
    "cut inside": lambda x: with_class(x)[:, :7],
    "every other token": lambda x: row(x)[:, ::2],
    "another grid": lambda x: row(x).reshape(2, 4, 3, 5),
    "a class token kept in a map": lambda x: with_class(x).reshape(2, 13, 5, 1).squeeze(3).flatten(1),
    "two rows joined": lambda x: torch.cat([row(x), row(x)], 1),
    "a matrix over tokens": lambda x: functional.linear(row(x).transpose(1, 2), torch.ones(12, 12).double()),
    "shuffled": lambda x: row(x)[:, torch.randperm(12)],
    "rolled": lambda x: row(x).roll(1, 1),
    "samples mixed with places": lambda x: row(x).reshape(1, 24, 5),
    "columns before rows": lambda x: embedded(x).transpose(2, 3).flatten(2),
    "tokens padded": lambda x: functional.pad(row(x), (0, 0, 1, 0)),
}


@pytest.mark.parametrize("network", LOST.values(), ids=LOST)
def test_what_cuts_or_mixes_tokens_is_not_followed(network):
    _, place = followed(network, image(6, 8))
    assert place is None


def test_axes_of_a_volume_in_another_order_are_no_row():
    for joined in (lambda x: x.transpose(3, 4).flatten(2, 3), lambda x: x.transpose(2, 3).flatten(2)):
        assert followed(joined, image(4, 3, 2))[1] is None
    assert followed(lambda x: x.flatten(2), image(4, 3, 2))[1] is not None


def test_a_row_becomes_a_map_again():
    _, place = followed(lambda x: with_class(x)[:, 1:].transpose(1, 2).unflatten(2, (3, 4)), image(6, 8))
    assert place == Place(Cells((0.5, 0.5), (2.0, 2.0)), (2, 3))


def test_merged_patches_keep_the_coarser_part():
    """As a Swin transformer merges four neighbours into channels."""

    def merged(x):
        x = x.permute(0, 2, 3, 1)
        return x.reshape(2, 3, 2, 4, 2, 1).permute(0, 1, 3, 4, 2, 5).flatten(3)

    out, place = followed(merged, image(6, 8))
    assert place == Place(Cells((0.5, 0.5), (2.0, 2.0)), (1, 2))
    assert tuple(out.shape) == (2, 3, 4, 4)


def test_patches_cut_by_reshaping_a_volume_are_tokens():
    def cut(x):
        b, c, _, _, _ = x.shape
        x = x.reshape(b, c, 2, 4, 3, 2, 4, 2).permute(0, 2, 4, 6, 3, 5, 7, 1)
        return x.reshape(b, 24, 16 * c)

    _, place = followed(cut, image(8, 6, 8))
    assert place == Place(Cells((1.5, 0.5, 0.5), (4.0, 2.0, 2.0)), (1,), 0, (2, 3, 4))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_place_does_not_depend_on_the_size_of_the_batch(count):
    """Windows of one sample look like tokens of it; they are none."""

    def windows(x):
        return x.reshape(count, 1, 3, 2, 4, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 1)

    assert followed(windows, image(6, 8, count=count))[1] is None
    assert followed(with_class, image(6, 8, count=count))[1] is not None


# --- against brute force -------------------------------------------------------------------------------------------


def tap(module: nn.Module, x: Tensor, layer: str, target: str = "class_score(0)", output: str | None = None):
    (found,) = Score(Model.of(module, output=output), target, chunk=2).tap(x, [layer]).taps
    return found


@pytest.mark.parametrize("rank", [2, 3])
def test_a_token_lies_where_its_patch_is(rank):
    """Each cell of the embedding answers to the voxels of its own patch alone, and these lie around its centre."""
    module, x = seeded(TinyViT, rank, "classification"), batch(rank)
    found = tap(module, x, "norms.2")
    sides = found.activation.shape[2:]
    cell = tuple(side // 2 for side in sides)
    centre = [s + n * j for s, n, j in zip(found.cells.start, cell, found.cells.step, strict=True)]
    leaf = x.clone().requires_grad_()
    number = 1 + int(torch.arange(sides.numel()).reshape(sides)[cell])
    (gradient,) = torch.autograd.grad(module.embed(leaf).flatten(2)[0, :, number - 1].sum(), leaf)
    reached = gradient[0].abs().sum(0).nonzero().double()
    assert reached.mean(0).tolist() == centre


@pytest.mark.parametrize("rank", [2, 3])
def test_activation_and_gradient_are_those_of_the_patch_tokens(rank):
    """Against finite differences of the rest of the network, at a token told by its number."""
    module, x = seeded(TinyViT, rank, "classification"), batch(rank, count=1)
    found = tap(module, x, "norms.2", "class_score(2)")
    sides = found.activation.shape[2:]
    kept = {}

    def run(change: Tensor | None = None) -> float:
        def hook(part, inputs, output):
            kept["plain"] = output
            return output if change is None else output + change

        handle = module.norms[2].register_forward_hook(hook)
        with torch.no_grad():
            value = float(module(x)[0, 2])
        handle.remove()
        return value

    run()
    tokens = kept["plain"]
    assert tokens.shape[1] == 1 + sides.numel()
    for number, cell in ((0, (0,) * rank), (sides.numel() - 2, (*[side - 1 for side in sides[:-1]], sides[-1] - 2))):
        torch.testing.assert_close(found.activation[(0, slice(None), *cell)], tokens[0, 1 + number])
        step = torch.zeros_like(tokens)
        step[0, 1 + number, 3] = 1e-5
        slope = (run(step) - run(-step)) / 2e-5
        assert slope == pytest.approx(float(found.gradient[(0, 3, *cell)]), rel=1e-5, abs=1e-10)


def test_a_layer_before_and_one_after_are_tapped_in_one_pass():
    module, x = seeded(TinyViT, 2, "classification"), batch(2)
    score = Score(module, "class_score(1)")
    for found in score.tap(x, ["embed", "norms.1", "norms.2"]).taps:
        alone = tap(module, x, found.layer, "class_score(1)")
        assert torch.equal(found.activation, alone.activation)
        torch.testing.assert_close(found.gradient, alone.gradient, rtol=1e-12, atol=1e-16)
        assert found.gradient.abs().sum() > 0


def test_tapping_changes_nothing_of_what_the_network_says():
    module, x = seeded(TinyViT, 3, "segmentation"), batch(3)
    score = Score(module, "region(1, over='whole')")
    torch.testing.assert_close(score.tap(x, ["norms.1", "norms.3"]).values, score(x), rtol=1e-12, atol=0)


# --- the automatic layer -------------------------------------------------------------------------------------------


def test_before_a_class_token_the_last_layer_whose_patches_reach_the_answer_is_chosen_and_it_is_said():
    module, x = seeded(TinyViT, 2, "classification"), batch(2)
    chosen = chosen_layer(Model.of(module), x, maps=False)
    assert chosen == ("norms.2", True)
    assert chosen.words == "layer 'norms.2' was chosen automatically: after it only the class token reaches the answer"
    assert not tap(module, x, "norms.3").gradient.any()
    found = method("grad_cam(relu=False)")(Score(module, "class_score(0)"), x)
    assert found.notes == (chosen.words,)
    assert found.values.any()


def test_where_patches_are_read_the_last_layer_is_chosen():
    chosen = chosen_layer(Model.of(seeded(TinyViT, 3, "segmentation")), batch(3), maps=True)
    assert chosen == ("norms.3", False)
    assert chosen.words == "layer 'norms.3' was chosen automatically"


def test_projections_are_passed_over():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(2, 8, 2, 2)
            self.norm = nn.LayerNorm(8)
            self.keys, self.values, self.head = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x):
            tokens = self.norm(self.embed(x).flatten(2).transpose(1, 2))
            shares = self.keys(tokens).softmax(1)
            return self.head((shares * self.values(tokens)).sum(1))

    assert chosen_layer(Model.of(seeded(Pooled)), batch(2), maps=False) == ("norm", None)


def test_the_choice_does_not_depend_on_the_image_and_draws_nothing_at_random():
    model, state = Model.of(seeded(TinyViT, 2, "classification")), torch.get_rng_state()
    assert chosen_layer(model, torch.zeros(1, 2, 8, 10, dtype=torch.float64), maps=False).layer == "norms.2"
    assert torch.equal(torch.get_rng_state(), state)


def test_looking_for_the_layer_hooks_no_module_that_others_may_be_running():
    hooked = []

    class Watching(TinyViT):
        def forward(self, x):
            if any(part._forward_hooks for part in self.modules()):
                hooked.append(self)
            return super().forward(x)

    model = Model.of(seeded(Watching, 2, "classification"))
    assert chosen_layer(model, batch(2), maps=False).layer == "norms.2"
    assert hooked
    assert model.module not in hooked


def test_an_answer_that_depends_on_nothing_leaves_the_last_layer():
    module = seeded(TinyViT, 2, "classification")
    nn.init.zeros_(module.head.weight)
    assert chosen_layer(Model.of(module), batch(2), maps=False) == ("norms.3", False)


# --- networks of others --------------------------------------------------------------------------------------------


def timm(name: str, **options: object) -> nn.Module:
    return pytest.importorskip("timm").create_model(name, num_classes=3, **options)


def torchvision_vit() -> nn.Module:
    vit = pytest.importorskip("torchvision").models.VisionTransformer
    module = vit(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=3)
    nn.init.normal_(module.heads.head.weight)  # it begins at zero
    return module


def monai(name: str, *arguments: object, **options: object) -> nn.Module:
    return getattr(pytest.importorskip("monai.networks.nets"), name)(*arguments, **options)


def monai_vit(sides: tuple[int, ...], **options: object) -> nn.Module:
    return monai(
        "ViT", 1, sides, 8, 16, 16, 2, 2, classification=True, num_classes=3, spatial_dims=len(sides), **options
    )


SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2), "img_size": (48, 64)}
UNETR = {"feature_size": 4, "hidden_size": 32, "mlp_dim": 32, "num_heads": 2}

CLASSIFIERS = {
    "timm": (
        lambda: timm("vit_tiny_patch16_224", img_size=(32, 48), **SMALL),
        (3, 32, 48), "blocks.1.norm1", (2, 3), 16,
    ),
    "timm distilled": (
        lambda: timm("deit_tiny_distilled_patch16_224", img_size=(32, 48), **SMALL),
        (3, 32, 48), "blocks.1.norm1", (2, 3), 16,
    ),
    "timm registers": (
        lambda: timm("vit_small_patch14_reg4_dinov2", img_size=(28, 42), **SMALL),
        (3, 28, 42), "blocks.1.norm1", (2, 3), 14,
    ),
    "timm pooled": (
        lambda: timm("vit_tiny_patch16_224", img_size=(32, 48), global_pool="avg", **SMALL),
        (3, 32, 48), "blocks", (2, 3), 16,
    ),
    "timm swin": (lambda: timm("swin_tiny_patch4_window7_224", **SWIN), (3, 48, 64), "norm", (6, 8), 8),
    "torchvision": (torchvision_vit, (3, 32, 32), "encoder.layers.encoder_layer_1.ln_1", (4, 4), 8),
    "monai": (lambda: monai_vit((16, 24)), (1, 16, 24), "blocks.1.norm1", (2, 3), 8),
    "monai volume": (lambda: monai_vit((16, 24, 32)), (1, 16, 24, 32), "blocks.1.norm1", (2, 3, 4), 8),
    "monai cut patches": (
        lambda: monai_vit((16, 24, 32), proj_type="perceptron"),
        (1, 16, 24, 32), "blocks.1.norm1", (2, 3, 4), 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "shape", "layer", "grid", "patch"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers_of_tokens(build, shape, layer, grid, patch):
    module = seeded(build).float()
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    model = Model.of(module, output="0" if "monai" in type(module).__module__ else None)
    found = method("grad_cam(relu=False)")(Score(model, "class_score(1)"), x)
    assert found.layer == layer
    assert tuple(found.values.shape) == (2, 1, *grid)
    assert found.cells == Cells(((patch - 1) / 2,) * len(grid), (float(patch),) * len(grid))
    assert found.values.abs().amin() > 0


@pytest.mark.slow
def test_swin_of_torchvision_is_read_before_and_after_its_permutation():
    module = seeded(pytest.importorskip("torchvision").models.swin_t, num_classes=3).float()
    x = torch.randn(1, 3, 64, 96)
    last, first = Score(module, "class_score(0)").tap(x, ["norm", "permute"]).taps
    assert torch.equal(last.activation, first.activation)
    assert last.activation.shape == (1, 768, 2, 3)
    assert last.cells == first.cells == Cells((15.5, 15.5), (32.0, 32.0))
    torch.testing.assert_close(last.gradient, first.gradient)


SEGMENTERS = {
    "unetr": (lambda: monai("UNETR", 1, 2, (32, 48), spatial_dims=2, **UNETR), (1, 32, 48), "vit", (2, 3)),
    "unetr volume": (lambda: monai("UNETR", 1, 2, (32, 16, 48), **UNETR), (1, 32, 16, 48), "vit", (2, 1, 3)),
    "swin unetr": (
        lambda: monai("SwinUNETR", 1, 2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), spatial_dims=2),
        (1, 64, 96), "encoder10", (2, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "shape", "layer", "grid"), SEGMENTERS.values(), ids=SEGMENTERS)
def test_segmenters_of_tokens(build, shape, layer, grid):
    module = seeded(build).float()
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    found = method("grad_cam(relu=False)")(Score(Model.of(module), "region(1, over='whole')"), x)
    assert found.layer == layer
    assert tuple(found.values.shape) == (1, 1, *grid)
    assert found.cells is not None
    assert found.cells.measured
    assert found.values.abs().amin() > 0


@pytest.mark.parametrize("layer", ["swinViT.layers1.0.blocks.0", "swinViT.layers2.0.blocks.0.norm2"])
def test_blocks_of_a_swin_unetr_give_maps_with_their_channels_last(layer):
    module = seeded(SEGMENTERS["swin unetr"][0]).float()
    found = tap(module, torch.randn(1, 1, 64, 96), layer, "region(1, over='whole')")
    shrunk = 2 if "layers1" in layer else 4
    assert found.activation.shape[2:] == (64 // shrunk, 96 // shrunk)
    assert found.cells == Cells(((shrunk - 1) / 2,) * 2, (float(shrunk),) * 2)


def test_every_layer_of_a_row_can_be_named():
    module = seeded(CLASSIFIERS["timm"][0])
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    score = Score(module, "class_score(1)")
    layers = [
        "blocks.0.attn.qkv",
        "blocks.0.attn",
        "blocks.0.mlp.fc1",
        "blocks.0.norm1",
        "blocks.0",
        "blocks.1.attn.qkv",
    ]
    widths = [96, 32, 128, 32, 32, 96]
    for found, width in zip(score.tap(x, layers).taps, widths, strict=True):
        assert found.activation.shape == (2, width, 2, 3)
        assert found.cells == Cells((7.5, 7.5), (16.0, 16.0))
        assert found.gradient.any()


def test_windows_inside_a_block_are_told():
    module, x = seeded(CLASSIFIERS["timm swin"][0]), torch.randn(2, 3, 48, 64, dtype=torch.float64)
    with pytest.raises(InputError, match=r"^layer 'layers.0.blocks.0.attn' gives \(\d+, 49, 24\).* but windows of it"):
        tap(module, x, "layers.0.blocks.0.attn")


def test_tokens_whose_places_are_lost_are_told():
    class Shuffled(TinyViT):
        def forward(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.head(self.mix(tokens[:, torch.arange(20)]).mean(1))

    with pytest.raises(InputError, match=r"^layer 'mix' gives \(2, 20, 8\), .* tokens whose places could not be foll"):
        tap(seeded(Shuffled, 2, "classification"), batch(2), "mix")
