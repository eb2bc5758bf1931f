"""Programs exported with one batch size are filled up, and what the filler says is thrown away."""

from pathlib import Path

import pytest
import torch

import voxplain as vx
from tests.nets import Awkward, batch, seeded


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that takes two samples at a time and nothing else."""
    module = seeded(Awkward, 2, "classification").float()
    path = tmp_path_factory.mktemp("programs") / "two.pt2"
    torch.export.save(torch.export.export(module, (torch.randn(2, 2, 8, 10),)), path)
    return path


@pytest.mark.parametrize(
    "spec", ["gradient", "occlusion(window=4)", "integrated_gradients(steps=3)", "grad_cam(layer='second')"]
)
def test_every_method_gives_what_the_module_itself_gives(exported, spec):
    x = batch(2, count=3).float()
    model = vx.load(str(exported))
    assert model.fixed_batch == 2
    ours = vx.method(spec)(vx.Score(model, "class_score"), x)
    plain = vx.method(spec)(vx.Score(seeded(Awkward, 2, "classification").float(), "class_score"), x)
    assert len(ours.values) == 3
    torch.testing.assert_close(ours.values, plain.values, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.classes, plain.classes)


def test_a_layer_is_chosen_automatically_too(exported):
    found = vx.method("grad_cam")(vx.Score(vx.load(str(exported)), "class_score"), batch(2, count=3).float())
    assert found.values.shape == (3, 1, 4, 5)
