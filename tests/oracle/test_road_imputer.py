import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from tests.ops.test_neighbour_linear import holes
from voxplain.ops.neighbour_linear import neighbour_linear

SINGLE = 2e-5
"""Theirs is rounded to single precision; values lie in 0..1 and holes spread an error a few times its size."""


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # theirs hands tensors to NumPy's argwhere
def test_holes_are_filled_as_by_pytorch_grad_cam():
    image = torch.rand(1, 3, 20, 27, generator=torch.Generator().manual_seed(0))
    removed = holes(20, 27)
    for own, mask in zip(neighbour_linear(image, removed), removed, strict=True):
        theirs = NoisyLinearImputer(noise=0.0)(image[0], (~mask).float())
        torch.testing.assert_close(own, theirs, rtol=0, atol=SINGLE)
