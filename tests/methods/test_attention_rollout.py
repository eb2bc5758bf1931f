"""Attention rollout: the paper's formula on weights read by other means, what it sums to, what it refuses."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.nets import Awkward, TinyViT, batch, seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.score.attention import attention
from voxplain.score.cells import Cells
from voxplain.score.model import Model
from voxplain.score.score import Score

KINDS = [(rank, task) for rank in (2, 3) for task in ("classification", "segmentation")]


def scored(module: nn.Module, target: str = "class_score(0)", **options: object) -> Score:
    return Score(module, target, **options)


def weights_of(module: TinyViT, x: Tensor) -> list[Tensor]:
    """The attention of the three layers of the toy network (batch, head, token, token), by its own arithmetic."""
    patches = module.embed(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([module.token.expand(len(x), -1, -1), patches], 1) + module.position
    found = []

    def attend(query, key, value, scale):
        found.append((scale * query @ key.transpose(-2, -1)).softmax(-1))
        return (found[-1] @ value).transpose(1, 2).flatten(2)

    tokens = tokens + attend(*module.heads(0, tokens), 4**-0.5)
    inner = module.norms[1](tokens)
    every = functional.linear(inner, module.inside.in_proj_weight, module.inside.in_proj_bias)
    split = every.unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
    tokens = tokens + module.inside.out_proj(attend(*split, 4**-0.5))
    attend(*module.heads(1, module.norms[2](tokens)), 2)
    return found


def slow(weights: list[Tensor], row: str, heads=lambda one: sum(one) / len(one)) -> Tensor:
    """The paper's recursion, matrix by matrix and sample by sample; without the class token's own share."""
    found = []
    for n in range(len(weights[0])):
        rollout = None
        for layer in weights:
            matrix = heads(list(layer[n]))
            mixed = 0.5 * matrix + 0.5 * torch.eye(len(matrix))
            mixed = torch.stack([line / line.sum() for line in mixed])
            rollout = mixed if rollout is None else torch.einsum("ij,jk->ik", mixed, rollout)
        found.append(rollout[0, 1:] if row == "class" else sum(rollout[1:, 1:]) / (len(rollout) - 1))
    return torch.stack(found)


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_equals_the_papers_recursion_on_weights_read_by_other_means(rank, task):
    module, x = seeded(TinyViT, rank, task), batch(rank, count=3)
    found = method("attention_rollout")(scored(module, "class_score(0)" if rank == 0 else _target(task)), x)
    with torch.no_grad():
        expected = slow(weights_of(module, x), "class" if task == "classification" else "mean")
    torch.testing.assert_close(found.values.flatten(1), expected, rtol=1e-12, atol=1e-15)
    assert found.numbers["layers"] == 3
    assert found.values.shape == (3, 1, *(4, 5, 4)[:rank])
    assert found.cells == Cells((0.5,) * rank, (2.0,) * rank)


def _target(task: str) -> str:
    return "class_score(0)" if task == "classification" else "region(1, over='whole')"


@pytest.mark.parametrize(
    ("heads", "join"),
    [("max", lambda one: torch.stack(one).amax(0)), ("min", lambda one: torch.stack(one).amin(0))],
)
def test_heads_are_joined_as_asked(heads, join):
    module, x = seeded(TinyViT, 2, "classification"), batch(2)
    found = method(f"attention_rollout(heads={heads!r})")(scored(module), x)
    with torch.no_grad():
        expected = slow(weights_of(module, x), "class", join)
    torch.testing.assert_close(found.values.flatten(1), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("options", ["", "heads='max'", "heads='min'", "discard=0.6", "residual=0.0", "row='mean'"])
@pytest.mark.parametrize("rank", [2, 3])
def test_shares_sum_to_one_with_those_of_tokens_without_a_place(rank, options):
    found = method(f"attention_rollout({options})")(scored(seeded(TinyViT, rank, "classification")), batch(rank))
    total = found.values.flatten(1).sum(1) + found.numbers["share_without_place"]
    torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64), rtol=1e-12, atol=0)
    assert (found.values >= 0).all()
    assert (found.numbers["share_without_place"] > 0).all()


class Told(nn.Module):
    """One layer whose weights are given: token n attends by row n."""

    def __init__(self, matrix: Tensor, classes: bool = True):
        super().__init__()
        self.embed = nn.Conv2d(1, 4, 2, stride=2)
        self.matrix = nn.Parameter(matrix.log())
        self.token = nn.Parameter(torch.zeros(1, int(classes), 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x).flatten(2).transpose(1, 2)], 1)
        weights = (0 * tokens @ tokens.transpose(1, 2) + self.matrix).softmax(-1)
        tokens = weights @ tokens
        return self.head(tokens[:, 0] if self.token.numel() else tokens.mean(1))


ROWS = torch.tensor(
    [[0.1, 0.2, 0.3, 0.1, 0.3], *[[0.5, 0.2, 0.1, 0.1, 0.1]] * 2, *[[0.6, 0.1, 0.1, 0.1, 0.1]] * 2],
    dtype=torch.float64,
)


def told(options: str = "", matrix: Tensor = ROWS, classes: bool = True) -> Tensor:
    found = method(f"attention_rollout({options})")(
        scored(Told(matrix, classes).double()), torch.ones(1, 1, 4, 4).double()
    )
    return found.values[0, 0]


def test_one_layer_shows_half_the_class_tokens_row():
    torch.testing.assert_close(told(), torch.tensor([[0.1, 0.15], [0.05, 0.15]]).double())


def test_the_residual_is_the_share_a_token_keeps():
    torch.testing.assert_close(told("residual=0.0"), torch.tensor([[0.2, 0.3], [0.1, 0.3]]).double())
    torch.testing.assert_close(told("residual=0.9"), torch.tensor([[0.02, 0.03], [0.01, 0.03]]).double())


def test_the_smallest_weights_are_discarded_and_rows_share_anew():
    """16 of the 25 weights are 0.1."""
    found = told("discard=0.64")
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.15], [0.0, 0.15]]).double() / 0.9, rtol=1e-6, atol=0)
    assert told("discard=0.04").sum() > told("discard=0.64").sum()


def test_without_a_class_token_the_mean_over_patches_is_read():
    rows = torch.tensor([[0.4, 0.2, 0.2, 0.2], *[[0.1, 0.7, 0.1, 0.1]] * 3], dtype=torch.float64)
    found = told("residual=0.0", rows, classes=False)
    torch.testing.assert_close(found, torch.tensor([[0.175, 0.575], [0.125, 0.125]]).double())


def test_whose_row_is_read_is_said_and_can_be_asked_for():
    module, x = seeded(TinyViT, 2, "classification"), batch(2)
    notes = {
        row: method(f"attention_rollout(row={row!r})")(scored(module), x).notes for row in ("auto", "class", "mean")
    }
    assert notes["auto"] == notes["class"] == ("shares of the class token, the same for every class",)
    assert notes["mean"] == ("shares of the mean over patches, the same for every class",)


def test_is_the_same_for_every_class():
    module, x = seeded(TinyViT, 2, "classification"), batch(2)
    one, other = (method("attention_rollout")(scored(module, f"class_score({n})"), x) for n in (0, 2))
    assert torch.equal(one.values, other.values)
    assert not torch.equal(one.score, other.score)


def test_looking_changes_nothing_of_what_the_network_says():
    module, x = seeded(TinyViT, 3, "classification"), batch(3)
    score = scored(module)
    torch.testing.assert_close(method("attention_rollout")(score, x).score, score(x), rtol=1e-12, atol=1e-15)


# --- how attention is called -----------------------------------------------------------------------------------------


class Calls(nn.Module):
    """One self-attention, called in a way of the caller's choice."""

    def __init__(self, attend):
        super().__init__()
        self.embed = nn.Conv2d(1, 4, 2, stride=2)
        self.attend = attend
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((tokens + self.attend(tokens)).mean(1))


MASK = torch.rand(8, 8).double()
PLAIN = functional.scaled_dot_product_attention


def module_weights(tokens, **options):
    torch.manual_seed(0)
    made = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
    return made(tokens, tokens, tokens, **options)[0]


def by_einsum(tokens):
    weights = torch.einsum("bxd,byd->bxy", tokens, tokens) / 2
    return torch.einsum("bxy,byd->bxd", functional.dropout(weights.softmax(dim=-1), 0.5, False), tokens)


def by_heads(tokens):
    heads = tokens.unflatten(2, (2, 2)).transpose(1, 2)
    return PLAIN(heads, heads, heads).transpose(1, 2).flatten(2)


def by_heads_and_hand(tokens):
    heads = tokens.unflatten(2, (2, 2)).transpose(1, 2)
    return ((heads @ heads.mT / 2**0.5).softmax(-1) @ heads).transpose(1, 2).flatten(2)


ALIKE = {
    "products": (lambda t: (t @ t.mT / 2).softmax(-1) @ t, lambda t: torch.bmm((t @ t.mT / 2).softmax(-1), t)),
    "einsum": (by_einsum, lambda t: PLAIN(t, t, t)),
    "by name": (lambda t: PLAIN(query=t, key=t, value=t), lambda t: PLAIN(t, t, t)),
    "scaled": (lambda t: PLAIN(t, t, t, scale=2.0), lambda t: (t @ t.mT * 2).softmax(-1) @ t),
    "masked": (
        lambda t: PLAIN(t, t, t, MASK > 0.5),
        lambda t: (t @ t.mT / 2).masked_fill(MASK <= 0.5, -torch.inf).softmax(-1) @ t,
    ),
    "biased": (lambda t: PLAIN(t, t, t, attn_mask=MASK), lambda t: (t @ t.mT / 2 + MASK).softmax(-1) @ t),
    "causal": (
        lambda t: PLAIN(t, t, t, is_causal=True),
        lambda t: (t @ t.mT / 2).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf).softmax(-1) @ t,
    ),
    "heads": (by_heads, by_heads_and_hand),
    "module": (lambda t: module_weights(t, need_weights=False), lambda t: module_weights(t, need_weights=True)),
    "module's heads": (
        lambda t: module_weights(t, average_attn_weights=False),
        lambda t: module_weights(t, need_weights=False),
    ),
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_attention_is_read_however_it_is_called(one, other):
    x = torch.randn(2, 1, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    maps = []
    for attend in (one, other):
        found = method("attention_rollout")(scored(seeded(Calls, attend)), x)
        assert found.numbers["layers"] == 1
        maps.append(found.values)
    torch.testing.assert_close(*maps, rtol=1e-12, atol=1e-15)
    assert float(maps[0].std()) > 0


def test_what_a_module_was_asked_for_is_what_it_gives():
    seen = {}

    class Asks(Calls):
        def forward(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            torch.manual_seed(0)
            made = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
            for name, options in OPTIONS.items():
                seen[name] = made(tokens, tokens, tokens, **options)[1]
            return self.head(made(tokens, tokens, tokens)[0].mean(1))

    method("attention_rollout")(scored(seeded(Asks, None), chunk=2), torch.ones(2, 1, 4, 8).double())
    assert seen["none"] is None
    assert seen["mean"].shape == (2, 8, 8)
    torch.testing.assert_close(seen["heads"].mean(1), seen["mean"])


OPTIONS = {"none": {"need_weights": False}, "mean": {}, "heads": {"average_attn_weights": False}}


# --- what it refuses -------------------------------------------------------------------------------------------------


def swin() -> nn.Module:
    options = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2), "img_size": (48, 64)}
    return pytest.importorskip("timm").create_model("swin_tiny_patch4_window7_224", num_classes=3, **options)


class Shrinks(Calls):
    """Attends among fewer tokens in its second layer."""

    def forward(self, x):
        tokens = self.embed(x)
        rows = tokens.flatten(2).transpose(1, 2)
        tokens = functional.avg_pool2d((rows + self.attend(rows)).transpose(1, 2).unflatten(2, tokens.shape[2:]), 2)
        return self.head(self.attend(tokens.flatten(2).transpose(1, 2)).mean(1))


def to_fewer(t):
    return PLAIN(t, t[:, :4], t[:, :4])


OFFSET = torch.zeros(768).double()
OFFSET[:2] = torch.tensor([0.5, -0.5])

REFUSED = {
    "convolutions": (lambda: Awkward(2, "classification", channels=1), r"no such attention was found"),
    "windows": (lambda: nn.Sequential(nn.Conv2d(1, 3, 1), swin()), r"^the model attends within windows"),
    "fewer keys": (
        lambda: Calls(to_fewer),
        r"^every token must attend to all tokens, but .*\(2, 768, 4\) for 768 tokens",
    ),
    "fewer tokens later": (lambda: Shrinks(lambda t: PLAIN(t, t, t)), r"their number goes from 768 to 192"),
    "no shares": (lambda: Calls(lambda t: torch.sigmoid(t @ t.mT) @ t), r"must be shares that sum to 1"),
    "negative shares": (lambda: Calls(lambda t: ((t @ t.mT).softmax(-1) + OFFSET) @ t), r"must be shares"),
    "channels attend": (lambda: Calls(lambda t: ((t.mT @ t).softmax(-1) @ t.mT).mT), r"attends within windows"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_rolled_out_is_refused_in_a_sentence(build, message):
    x = torch.rand(2, 1, 48, 64, dtype=torch.float64)
    with pytest.raises(InputError, match=message):
        method("attention_rollout")(scored(seeded(build)), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("residual=1.0", "residual must be from 0 to below 1, got 1.0"),
        ("residual=-0.1", "residual must be from 0 to below 1"),
        ("discard=1.0", "discard must be from 0 to below 1"),
        ("discard=0.5, residual=0.0", "discard must be 0 without a residual"),
        ("heads='sum'", "heads must be one of"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(OptionError, match=f"attention_rollout: {message}"):
        method(f"attention_rollout({options})")


def test_a_class_tokens_row_needs_a_class_token():
    rows = torch.full((4, 4), 0.25, dtype=torch.float64)
    with pytest.raises(OptionError, match="row must be 'mean' or 'auto' for a model without a class token"):
        told("row='class'", rows, classes=False)


def test_memory_is_that_of_one_layer():
    """Weights are joined as they come: what is kept does not grow with the number of layers."""
    sizes = []

    def step(before, weights):
        sizes.append(0 if before is None else before.numel())
        return weights.mean(1)

    found, values, frozen = attention(scored(seeded(TinyViT, 2, "classification"), chunk=2), batch(2, count=4), step)
    assert found.found.shape == (4, 21, 21)
    assert sizes == [0, 2 * 21 * 21, 2 * 21 * 21] * 2
    assert found.layers == 3
    assert values.shape == (4,)
    assert frozen.choice is not None


def test_costs_one_forward():
    score = scored(seeded(TinyViT, 2, "classification"))
    method("attention_rollout")(score, batch(2, count=3))
    assert (score.ledger.forwards, score.ledger.backwards) == (3, 0)


# --- networks of others ----------------------------------------------------------------------------------------------


def monai_vit() -> nn.Module:
    nets = pytest.importorskip("monai.networks.nets")
    options = {"classification": True, "num_classes": 3, "spatial_dims": 3, "save_attn": True}
    return nets.ViT(1, (16, 24, 32), 8, 16, 16, 2, 2, **options)


def test_volumes_of_monai_by_the_weights_that_it_saves_itself():
    module, x = seeded(monai_vit), torch.randn(2, 1, 16, 24, 32, dtype=torch.float64)
    found = method("attention_rollout")(Score(Model.of(module, output="0"), "class_score(0)"), x)
    with torch.no_grad():
        module(x)
    expected = slow([block.attn.att_mat for block in module.blocks], "class")
    torch.testing.assert_close(found.values.flatten(1), expected, rtol=1e-12, atol=1e-15)
    assert found.values.shape == (2, 1, 2, 3, 4)
    for block in module.blocks:
        block.attn.use_flash_attention = True
    again = method("attention_rollout")(Score(Model.of(module, output="0"), "class_score(0)"), x)
    torch.testing.assert_close(again.values, found.values, rtol=1e-12, atol=1e-15)


def test_images_of_timm_fused_or_not_with_all_their_tokens():
    timm = pytest.importorskip("timm")
    options = {"img_size": (32, 48), "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
    module = seeded(timm.create_model, "deit_tiny_distilled_patch16_224", **options)
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    weights = []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda *seen: weights.append(seen[2]))
    with torch.no_grad():
        module(x)
    parted = method("attention_rollout")(scored(module), x)
    for block in module.blocks:
        block.attn.attn_drop._forward_hooks.clear()
        block.attn.fused_attn = True
    fused = method("attention_rollout")(scored(module), x)
    torch.testing.assert_close(parted.values, fused.values, rtol=1e-12, atol=1e-15)
    expected = slow(weights[:2], "class")[:, 1:]  # the second token is that of the distillation
    torch.testing.assert_close(fused.values.flatten(1), expected, rtol=1e-12, atol=1e-15)


def test_a_vit_of_torchvision_by_the_weights_that_its_modules_give():
    vit = pytest.importorskip("torchvision").models.VisionTransformer
    options = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16, "num_classes": 3}
    module = seeded(vit, image_size=32, patch_size=8, **options)
    nn.init.normal_(module.heads.head.weight)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    weights: list[Tensor] = []
    handles = [
        layer.self_attention.register_forward_pre_hook(
            lambda part, inputs, options: (inputs, {**options, "need_weights": True, "average_attn_weights": False}),
            with_kwargs=True,
        )
        for layer in module.encoder.layers
    ]
    handles += [
        layer.self_attention.register_forward_hook(lambda part, inputs, out: weights.append(out[1]))
        for layer in module.encoder.layers
    ]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    found = method("attention_rollout")(scored(module), x)
    torch.testing.assert_close(found.values.flatten(1), slow(weights, "class"), rtol=1e-12, atol=1e-15)
