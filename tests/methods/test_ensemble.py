"""The ensemble of methods: members in their own grid, evidence by sign, one pass for all, words about blank members."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, batch, seeded
from voxplain.errors import OptionError, VoxplainError
from voxplain.methods import method
from voxplain.methods.ensemble import Ensemble
from voxplain.ops.enlarge import enlarged
from voxplain.ops.fusion import blocks, fused, to_unit_range
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.spec import text
from voxplain.types import Access

MEMBERS = "['grad_cam(layer=\\'second\\')', 'occlusion(window=4)', 'gradient']"
MODEL = {rank: Model.of(seeded(Awkward, rank, "classification")) for rank in (2, 3)}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("sign", ["positive", "absolute"])
def test_is_the_fusion_of_its_members_at_the_voxels_of_the_input(rank, sign):
    x, score = batch(rank, side=12), Score(MODEL[rank], "class_score(1)")
    found = method(f"ensemble(of={MEMBERS}, rule='median', block=2, sign='{sign}')")(score, x)
    single = [method(spec)(score, x) for spec in ("grad_cam(layer='second')", "occlusion(window=4)", "gradient")]
    cam = enlarged(single[0].values, single[0].cells.start, single[0].cells.step, x.shape[2:])
    maps = [cam, single[1].values, single[2].values]
    ready = torch.stack(
        [to_unit_range(blocks(one.abs() if sign == "absolute" else one, 2)).expand_as(x) for one in maps]
    )
    expected = fused(ready, "median", threshold=0.5, weights=[1] * 3, binary=False)
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.parts["agreement"], (ready >= 0.5).double().mean(dim=0))
    assert found.numbers["rank_correlations"].shape == (2, 3, 3)


def test_members_share_their_pass():
    score, x = Score(MODEL[2], "class_score(1)"), batch(2)
    with FlopCounterMode(display=False) as one:
        MODEL[2](x)
    with FlopCounterMode(display=False) as all_of_it:
        method("ensemble(of=['gradient', 'grad_cam(layer=\\'second\\')', 'grad_cam(layer=\\'first\\')'])")(score, x)
    # The correlations of the members are matrix products too, which the counter sees; apart they would cost five.
    assert 2 <= all_of_it.get_total_flops() / one.get_total_flops() < 2.2


def test_needs_what_its_members_need():
    assert method("ensemble(of=['occlusion', 'gradient'])").needed_access is Access.GRADIENT
    with pytest.raises(VoxplainError, match="needs layers"):
        method(f"ensemble(of={MEMBERS})")(
            Score(Model.of(MODEL[2].module, access=Access.GRADIENT), "class_score"), batch(2)
        )


def test_a_blank_member_is_told():
    module = seeded(Awkward, 2, "classification")
    with torch.no_grad():
        module.head.weight.zero_()
    found = method("ensemble(of=['gradient', 'occlusion(window=4)'])")(Score(module, "class_score(0)"), batch(2))
    assert [note for note in found.notes if "constant" in note] == [
        "gradient is constant here and adds nothing",
        "occlusion(window=4) is constant here and adds nothing",
    ]
    assert not found.values.any()


def test_its_text_builds_it_again():
    built = method(f"ensemble(of={MEMBERS}, rule='product')")
    assert method(text(built)) == built


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ensemble(of=['gradient'])", "of must be a list of at least two methods"),
        ("ensemble(of=['gradient', 'gradient'], block=0)", "block must be at least 1, got 0"),
        ("ensemble(of=['gradient', 'gradient'], weights=[1])", r"weights must be one number a member \(2\)"),
        ("ensemble(of=['gradient', 'gradient'], weights=[0, 0])", "weights must be more than 0 in all"),
        ("ensemble(of=['gradient', 'gradient'], threshold=0)", "threshold must be above 0"),
        ("ensemble(of=['gradient', 'gradeint'])", "unknown method 'gradeint'; did you mean 'gradient'"),
        ("ensemble()", "of"),
    ],
)
def test_refuses_in_words(spec, words):
    with pytest.raises(OptionError, match=words):
        method(spec)


def test_a_member_with_many_layers_is_refused():
    with pytest.raises(VoxplainError, match="a member must give one map, got one for each of 2 layers"):
        method("ensemble(of=['gradient', 'grad_cam(layer=[\\'first\\', \\'second\\'])'])")(
            Score(MODEL[2], "class_score"), batch(2)
        )


def test_weights_of_the_class_are_listed():
    assert Ensemble.name == "ensemble"
